"""Measure networks over tracks on labelled clips they never learnt from, beside their frame network.

Prints a table with intervals resampled over people: AUC and log loss of each set, stacked and calibrated on the
other half of the people, and what it gains over the best single member.
"""

import argparse
from dataclasses import replace

from deepfake.cli import guarded, trial_parser, whole_number
from deepfake.config import load_config


def parse() -> argparse.Namespace:
    parser = trial_parser(__doc__)
    parser.add_argument("--frames", type=whole_number, default=32, metavar="N", help="a track's (32)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from deepfake import trials
    from deepfake.ensemble_table import as_markdown, compare
    from deepfake.head_trials import evidence

    for run in args.run:
        config = load_config(args.config, args.set, run)
        clips = trials.read_clips(args.clips, args.labels, config.extract, args.cache)
        clips = replace(clips, faces=trials.some_frames(clips.faces, args.frames))
        print(f"{run}\n{as_markdown(compare(evidence(config, clips), config.ensemble, config.validation))}")


if __name__ == "__main__":
    guarded(main)
