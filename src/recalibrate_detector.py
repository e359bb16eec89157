"""Calibrate a detector file anew on labelled clips its networks never learnt from; the networks stay as they are.

Weights of the members, calibration and inconclusive band are fitted under the file's own settings, and the figures
printed are of clips that were each scored by a fit on the other half of the people. Other crops are not looked for:
extraction is the file's own.
"""

import argparse
import os
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT

MOVED = 0.005  # of p_fake: what is told of


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="detector file to write")
    parser.add_argument("--cache", type=Path, default=PROJECT_ROOT / "data/work/predict", help="where crops are kept")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from deepfake import bundle, recalibration, trials
    from deepfake.config import Predict
    from deepfake.verdict import level_of

    path = args.weights or bundle.find_weights(PROJECT_ROOT / "data/weights")
    detector = bundle.load_detector(path)
    extract = detector.extract.model_copy(update={"workers": os.cpu_count() or 1})
    clips = trials.read_clips(args.clips, args.labels, extract, args.cache)
    found = recalibration.refit(detector, recalibration.networks_sha256(path), clips, Predict())
    print(f"{trials.HEADER}\n{found.trial.row(' + '.join(found.after.members), '-')}")
    levels = []
    for what, stack in (("before", found.before), ("after", found.after)):
        p = stack.p_fake(found.tracks)
        levels.append([level_of(float(one), *stack.band) for one in p])
        print(f"{what}: {stack.to_dict()}")
    several, moved = found.changed(MOVED)
    changed = [
        f"{video_id} {before} -> {after}"
        for video_id, before, after in zip(found.tracks.video_ids, *levels, strict=True)
        if before != after
    ]
    print(f"{several} clips have two tracks or more; p_fake of {moved} of them moves by more than {MOVED}")
    print(f"{len(changed)} of {len(levels[0])} verdicts change{''.join(chr(10) + '  ' + line for line in changed)}")
    bundle.write_stack(path, args.out, found.after)
    print(f"{args.out}: the networks of {path} with the new stack")


if __name__ == "__main__":
    guarded(main)
