"""Measure how often a short forgery is found at the right moment: spans forged into the real clips of a settings file.

A share of each clip's time is forged, the rest stays real, and all of it is damaged alike. Found: the second
that a network suspects most lies in the span. Take clips the run's networks never learnt from: --set dataset=NAME.
"""

import argparse

from deepfake.cli import guarded, stage_parser, whole_number
from deepfake.config import load_config


def parse() -> argparse.Namespace:
    parser: argparse.ArgumentParser = stage_parser(__doc__)
    parser.add_argument("--ratio", type=float, default=0.2, metavar="R", help="share of the clip (0.2: 2 s of 10 s)")
    parser.add_argument("--versions", type=whole_number, default=1, metavar="N", help="forgeries of each clip (1)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    config = load_config(args.config, args.set, args.run)
    from deepfake.checkpoints import fold_folder
    from deepfake.datasets import read_all
    from deepfake.scoring import open_scorer
    from deepfake.spans import find_spans, rates, usable_heads
    from deepfake.track_scoring import load_head

    data = read_all(config.work_dir, args.limit)
    scorer = open_scorer(
        fold_folder(config.run_dir, "frames", None), config.predict, data.faces.head(100), config.work_dir
    )
    heads = {name: load_head(config, name, None) for name in usable_heads(config)}
    print(
        rates(list(find_spans(config, data, scorer, heads, args.ratio, args.versions))).round(2).to_string(index=False)
    )


if __name__ == "__main__":
    guarded(main)
