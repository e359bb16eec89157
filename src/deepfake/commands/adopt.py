"""Make a snapshot of `deepfake train --pack` a network of a run: data/runs/<run>/frames/all, or its snapshot STEP.

Then `python -m lab measure` and `cross-validate`, `deepfake average` and `deepfake ship` know it, such as
deepfake adopt --config configs/selfblend.yaml --snapshot borders2-0500000.safetensors --run pack/500000
"""

import argparse
from pathlib import Path

from deepfake.errors import UserError

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: crops, where runs lie")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="over the settings")
    parser.add_argument("--snapshot", type=Path, required=True, metavar="FILE", help="NAME-PAIRS.safetensors")
    parser.add_argument("--run", required=True, metavar="NAME[/STEP]", help="name of the run, or of its snapshot")
    return parser


def run(args: argparse.Namespace) -> None:
    name, slash, step = args.run.partition("/")
    if slash and not (step.isascii() and step.isdecimal()):
        raise UserError(f"--run {args.run}: wanted NAME, or NAME/STEP with a whole number of steps")
    from deepfake.packs.adopting import adopt
    from deepfake.settings_file import load_config

    print(f"adopt: {adopt(args.snapshot, load_config(args.config, args.set, name), int(step) if step else None)}")
