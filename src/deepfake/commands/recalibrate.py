"""Calibrate a detector file anew on labelled clips its networks never learnt from; the networks stay as they are.

Weights of the members, calibration and inconclusive band are fitted under the file's own settings, and the figures
printed are of clips that were each scored by a fit on the other half of the people. No other crops are cut:
extraction is the file's own.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_file, output_folder
from deepfake.files import default_cache

MOVED = 0.005  # of p_fake: from here on a change is printed

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE", help="detector file to write")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector import file, fitting, recalibration
    from deepfake.detector.check import level_of
    from deepfake.models.detector_file import shipped_weights
    from deepfake.outputs import refuse_inputs
    from deepfake.settings import Predict

    refuse_inputs(args.out, [args.labels])
    path = args.weights or shipped_weights()
    asked = recalibration.ask(path, args.clips, args.labels, args.cache)
    refitted = recalibration.refit(asked.detector, asked.networks, asked.clips, Predict())
    print(f"{fitting.HEADER}\n{refitted.trial.row(' + '.join(refitted.after.members), '-')}")
    levels = []
    for what, stack in (("before", refitted.before), ("after", refitted.after)):
        p = stack.p_fake(refitted.tracks)
        levels.append([level_of(float(one), *stack.band) for one in p])
        print(f"{what}: {stack.to_dict()}")
    several, moved = refitted.changed(MOVED)
    changed = [
        f"{video_id} {before} -> {after}"
        for video_id, before, after in zip(refitted.tracks.video_ids, *levels, strict=True)
        if before != after
    ]
    print(f"{several} clips have two tracks or more; p_fake of {moved} of them moves by more than {MOVED}")
    print(f"{len(changed)} of {len(levels[0])} verdicts change{''.join(chr(10) + '  ' + line for line in changed)}")
    file.write_stack(path, args.out, refitted.after)
    print(f"{args.out}: the networks of {path} with the new stack")
