"""Train one image classifier: on everything a settings file names, or from a pack within a time.

--config FILE: on all labelled clips and photos of the settings, no one held out. Needs the tables of stages 01 and 02.
Writes data/runs/<run>/frames/all, with snapshots on the way (frames.snapshot_steps) to choose from by
`python -m lab cross-validate` and `measure`. Can be stopped at any moment.

--pack FILE --minutes N --out DIR: from a pack alone (`deepfake pack`), without the data tree, a network or further
libraries than PyTorch's usual ones. One training with --set key=value, or several one after the other with --plan FILE
(YAML: `common` and `trials`). Writes log.jsonl, results.jsonl and snapshots NAME-PAIRS.safetensors; the same command
goes on where it was stopped. `deepfake adopt` makes a snapshot a run's network.
"""

import argparse
import logging
import os
from pathlib import Path

from deepfake.commands.arguments import above_zero, file_stem, natural_number, output_folder, stage_parser
from deepfake.errors import UserError

OF_PACKS = ("minutes", "out", "plan", "name", "workers", "device")

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = stage_parser(__doc__)
    next(action for action in parser._actions if action.dest == "config").required = False
    pack = parser.add_argument_group("from a pack")
    pack.add_argument("--pack", type=Path, metavar="FILE", help="a part of the pack; those beside it are read, too")
    pack.add_argument("--minutes", type=above_zero, metavar="N", help="for everything, validation included")
    pack.add_argument("--out", type=output_folder, metavar="DIR", help="where log and snapshots go")
    pack.add_argument("--plan", type=Path, metavar="FILE", help="several trainings that share the minutes")
    pack.add_argument("--name", type=file_stem, help="of a single training and its files (pack)")
    pack.add_argument(
        "--workers", type=natural_number, metavar="N", help="processes that make pairs (by the processors)"
    )
    pack.add_argument("--device", help="auto, cpu or cuda (auto)")
    return parser


def run(args: argparse.Namespace) -> None:
    if (args.config is None) == (args.pack is None):
        raise UserError("train: wanted one of --config FILE (data at hand) and --pack FILE (all in one file)")
    given = [name for name in OF_PACKS if getattr(args, name) is not None]
    if args.pack is None and given:
        raise UserError(f"train: --{given[0]} belongs to --pack FILE")
    if args.pack is not None:
        _from_pack(args)
    else:
        _from_settings(args)


def _from_pack(args: argparse.Namespace) -> None:
    missing = [name for name in ("minutes", "out") if getattr(args, name) is None]
    if missing:
        raise UserError(f"train: --pack wants --{missing[0]}, too")
    # Small matrices while pairs are made: more threads than one only get into each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from deepfake.packs.command import train_within

    logging.getLogger().setLevel(logging.INFO)
    name, device = args.name or "pack", args.device or "auto"
    print(train_within(args.pack, args.minutes, args.out, args.plan, name, args.set, args.workers, device))


def _from_settings(args: argparse.Namespace) -> None:
    from deepfake.settings_file import load_config

    config = load_config(args.config, args.set, args.run)
    for name, stage in (("videos", "01_index_videos"), ("faces", "02_extract_faces")):
        path = config.work_dir / f"{name}.parquet"
        if not path.is_file():
            raise UserError(f"train: {path} does not exist; run src/{stage}.py first with the same --config")

    from deepfake.datasets.pairs import read_all
    from deepfake.stages import alone
    from deepfake.training.train import forget_folds, train_frames_fold

    with alone(config.run_dir):
        if args.force:
            forget_folds(config, "frames")
        card = train_frames_fold(config, read_all(config.work_dir, args.limit), None)
    print(f"train: {config.run} -> {card.parent}")
