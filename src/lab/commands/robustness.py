"""Measure how a detector bears damage: videos x kinds x levels -> robustness.csv, .json and .svg, and a table.

Each video's beginning is damaged as a whole, before any face is detected, written as a clip and scored as
`deepfake predict` scores it. Kinds: jpeg, h264, scale, blur, noise, fps, cut, brightness, contrast; beside them
always `original` (the files as they are) and `none` (written without damage). Stopped and started again it goes on
where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import above_zero, output_folder, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, metavar="DIR", help="folder of videos")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label and perhaps family")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where the table goes")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=[], help="such as jpeg,h264 (all)")
    parser.add_argument("--levels", action="append", default=[], metavar="KIND=A,B", help="instead of a kind's own")
    parser.add_argument("--limit", type=whole_number, metavar="N", help="so many videos, half of them real")
    parser.add_argument("--seconds", type=above_zero, help="so much of each video (robustness.seconds: 4)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="robustness.*, predict.*, validation.*"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import default_config

    seconds = [] if args.seconds is None else [f"robustness.seconds={args.seconds}"]
    config = default_config([*args.set, *seconds])
    from deepfake.evaluation.labelled import read_labels
    from lab.distortions import choose
    from lab.robustness import gather, measure

    chosen = choose(args.kinds, args.levels)
    material = gather(args.videos, read_labels(args.labels), args.limit)
    from deepfake.models.detector_file import shipped_weights
    from deepfake.stages import alone
    from lab.robustness_report import write_table

    with alone(args.out):
        weights = args.weights or shipped_weights()
        measured = measure(weights, material, chosen, config, args.out)
        print(write_table(measured.cells, measured.about, args.out))
