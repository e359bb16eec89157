"""Measure what each view of a crop is worth to a detector -> a table of every choice of views and members.

AUC, log loss (calibrated on the other half of the people) and verdicts that change, against all views of all frames.
Every crop is shown once in each view; what the networks said is kept in --out, so a stopped run goes on.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder, whole_numbers
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where logits are kept")
    parser.add_argument("--frames", type=whole_numbers, default=[16, 32], metavar="N,N", help="(16,32)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="predict.*, validation.*")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import default_config

    config = default_config(args.set)
    from deepfake.models.detector_file import shipped_weights
    from deepfake.stages import alone
    from lab.views_worth import as_markdown, measure

    weights = args.weights or shipped_weights()
    with alone(args.out):
        rows = list(measure(weights, args.clips, args.labels, args.frames, args.cache, args.out, config))
        print(as_markdown(rows))
