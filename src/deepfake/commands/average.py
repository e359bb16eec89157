"""Average the weights of networks that were tuned from one start: a run of its own, as cheap as each of them.

Measure it with `python -m lab measure` before use. Networks of different starts have no useful mean.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import file_stem
from deepfake.errors import UserError

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings of the runs")
    parser.add_argument("--run", action="append", required=True, metavar="NAME[/STEP]", help="two or more of them")
    parser.add_argument("--name", type=file_stem, required=True, help="name of the new run")
    parser.add_argument("--force", action="store_true", help="put it in the place of an average of that name")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import load_config

    config = load_config(args.config, run=args.name)
    from deepfake.models.checkpoints import fold_folder
    from deepfake.training.averaging import average_networks, is_taken
    from deepfake.training.train import run_network

    parts = [(name, run_network(config.run_dir.parent, name)) for name in args.run]
    out = fold_folder(config.run_dir, "frames", None)
    if is_taken(out, args.force):
        raise UserError(f"run {args.name!r}: {out} holds a network already; choose another --name")
    average_networks(parts, out)
    print(f"average: mean of {', '.join(args.run)} -> {out}")
