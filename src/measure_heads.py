"""Measure networks over tracks on labelled clips they never learnt from, beside their frame network.

Prints a table with intervals resampled over people: AUC and log loss of each set, stacked and calibrated on the
other half of the people, and what it gains over the best single member.
"""

import argparse

from deepfake.cli import guarded, trial_parser
from deepfake.config import load_config


def parse() -> argparse.Namespace:
    parser = trial_parser(__doc__)
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="such as sequences.heads=[motion]"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    from deepfake import trials
    from deepfake.ensemble_table import as_markdown, compare
    from deepfake.head_trials import evidence

    for run in args.run:
        config = load_config(args.config, args.set, run)
        clips = trials.read_clips(args.clips, args.labels, config.extract, args.cache)
        print(f"{run}\n{as_markdown(compare(evidence(config, clips), config.ensemble, config.validation))}")


if __name__ == "__main__":
    guarded(main)
