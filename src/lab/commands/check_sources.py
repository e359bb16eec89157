"""Check that quality alone does not separate real from fake training material.

Makes items as the settings' training would, takes a few statistics of each picture (colour, sharpness,
noise, blocks, spectrum, edges) and prints the AUC of small classifiers that see nothing else. 0.5 is good.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import whole_number
from deepfake.errors import UserError

LEAST_ITEMS = 50


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings with frames.selfblend")
    parser.add_argument(
        "--items", type=whole_number, default=400, metavar="N", help="pairs of each kind to measure (400)"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the items, measure them, print the table."""
    from deepfake.settings_file import load_config

    if args.items < LEAST_ITEMS:
        raise UserError(f"--items {args.items}: wanted at least {LEAST_ITEMS}; fewer say nothing")
    config = load_config(args.config)
    from deepfake.datasets.views import before_workers
    from deepfake.forging.mixture import read_mixture
    from lab.source_check import check, text_report

    before_workers()
    mixture = read_mixture(config, config.frames.seed)
    print(mixture.sources.describe())
    print(text_report(check(mixture, args.items)))
