"""Measure how a detector bears damage: videos x kinds x levels -> robustness.csv, .json and .svg, and a table.

Each video's beginning is damaged as a whole, before any face is looked for, written as a clip and scored as
predict_folder scores it. Kinds: jpeg, h264, scale, blur, noise, fps, brightness, contrast; beside them always
`original` (the files as they are) and `none` (written without damage). Stopped and started again it goes on
where it was.
"""

import argparse
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT, default_config


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, metavar="DIR", help="folder of videos")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label and perhaps family")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the table goes")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=[], help="such as jpeg,h264 (all)")
    parser.add_argument("--levels", action="append", default=[], metavar="KIND=A,B", help="instead of a kind's own")
    parser.add_argument("--limit", type=int, metavar="N", help="so many videos, half of them real")
    parser.add_argument("--seconds", type=float, help="so much of each video (robustness.seconds: 4)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="robustness.*, predict.*, validation.*"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    seconds = [] if args.seconds is None else [f"robustness.seconds={args.seconds}"]
    config = default_config([*args.set, *seconds])
    from deepfake.distortions import choose
    from deepfake.evaluation import read_labels
    from deepfake.robustness import gather, measure

    chosen = choose(args.kinds, args.levels)
    material = gather(args.videos, read_labels(args.labels), args.limit)
    from deepfake.bundle import find_weights
    from deepfake.report.robustness import write_table
    from deepfake.stages import alone

    with alone(args.out):
        weights = args.weights or find_weights(PROJECT_ROOT / "data/weights")
        found = measure(weights, material, chosen, config, args.out)
        print(write_table(found.cells, found.about, args.out))


if __name__ == "__main__":
    guarded(main)
