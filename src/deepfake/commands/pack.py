"""Write a pack: all that `deepfake train --pack` needs, in a few files to carry to another machine.

Needs the tables of stages 01 and 02 of the settings file, whose photos and lists of clips are taken, too. `--crops`
names a list of further crops to measure on (the columns of more.csv in data/README.md; those of split `train`).
Example: deepfake pack --config configs/selfblend.yaml --crops ../shared/data/more/more.csv --out data/work/packs
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import above_zero, file_stem, output_folder, quality, stage_parser
from deepfake.errors import UserError

if TYPE_CHECKING:
    from deepfake.packs.file import Pack

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = stage_parser(__doc__)
    parser.add_argument("--crops", type=Path, metavar="CSV", help="further crops of labelled clips")
    parser.add_argument("--out", type=output_folder, default="data/work/packs", help="folder for NAME-00.pack, ...")
    parser.add_argument("--name", type=file_stem, default="faces", help="NAME (faces)")
    parser.add_argument("--most-mb", type=above_zero, default=60, metavar="N", help="megabytes of a part (60)")
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=["tf_efficientnet_lite0"],
        metavar="NAME",
        help="whose starting weights travel along; others than Lite0 want their package, see models/frames.py",
    )
    parser.add_argument("--of", type=Path, metavar="PACK", help="write this pack anew, smaller, instead (see --webp)")
    parser.add_argument("--webp", type=quality, default=90, metavar="QUALITY", help="of the pictures with --of (90)")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.packs.building import shrunk
    from deepfake.packs.file import read_pack, write_pack

    pack = shrunk(read_pack(args.of), args.webp) if args.of else _gathered(args)
    for path in write_pack(args.out, args.name, pack, args.most_mb):
        print(f"pack: {path}, {path.stat().st_size / 2**20:.1f} MB")
    print(f"pack: {pack.describe()}")


def _gathered(args: argparse.Namespace) -> Pack:
    from deepfake.settings_file import load_config

    config = load_config(args.config, args.set, args.run)
    selfblend = config.frames.selfblend
    if selfblend is None:
        raise UserError("pack: frames.selfblend is not set, so there are no photos; use configs/selfblend.yaml")

    from deepfake.packs.building import Contents, build_pack

    photos, clips = (config.path(p) if p else None for p in (selfblend.photos_csv, selfblend.groups_csv))
    work_dir = config.work_dir if (config.work_dir / "faces.parquet").is_file() else None
    contents = Contents(photos, work_dir, clips, args.crops, backbones=tuple(args.backbones), limit=args.limit)
    return build_pack(contents)
