"""Measure how far harmless changes move the scores of labelled clips -> stability.csv and .json, and a table.

Each clip's beginning is written anew as it is (`none`) and changed: grey, gamma, mirrored, 2 % cut off, encoded at
CRF 20, at 95 % of its size; then scored as `deepfake predict` scores it. A score that moves says how much of it is
luck. Stopped and started again it goes on where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, metavar="DIR", help="folder of videos")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label and perhaps family")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where the table goes")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--limit", type=whole_number, default=30, metavar="N", help="so many, half of them real (30)")
    parser.add_argument("--changes", type=lambda text: text.split(","), metavar="KINDS", help="such as crop,h264 (all)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="robustness.*, predict.*")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import default_config

    config = default_config(args.set)
    from deepfake.detector.header import read_detector
    from deepfake.evaluation.labelled import read_labels
    from deepfake.models.detector_file import shipped_weights
    from deepfake.stages import alone
    from lab.robustness import gather, measure
    from lab.stability import chosen, write_moves

    changes = chosen(args.changes)
    material = gather(args.videos, read_labels(args.labels), args.limit)
    weights = args.weights or shipped_weights()
    with alone(args.out):
        measured = measure(weights, material, changes, config, args.out)
        print(write_moves(measured.cells, measured.about, read_detector(weights).stack.band, args.out))
