"""Make a member of a class-token network: its head a line through the tokens of labelled clips, its blocks as they are.

With --face the line goes through the class token and through mean and spread of the patches of eyes, nose and mouth.

Learns from the clips of --clips and the --splits of --crops, two collections: a line through each, without clips that
share a publisher, a person or a generator with the other one. Writes the network with the mean of both lines as run
--name, and to --out scores of each collection by the line through the other: for `deepfake recalibrate --left-out` and
`python -m lab cross-validate --left-out`. NETWORK is what `python -m lab pack-encoder` writes, or a snapshot of a
training that went on from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake.commands.arguments import file_stem, output_file, output_folder
from deepfake.errors import UserError
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True, metavar="FILE", help="NAME.safetensors of a pack")
    parser.add_argument("--face", action="store_true", help="the line goes through its face's patches, too")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: extraction and ensemble")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="over the settings")
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity, family, ...")
    parser.add_argument("--crops", type=Path, required=True, metavar="CSV", help="a second collection: crops")
    parser.add_argument("--splits", nargs="+", required=True, metavar="SPLIT", help="which splits of these")
    parser.add_argument("--name", type=file_stem, required=True, help="name of the run, and of the member")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE", help="Parquet: FRAME_SCORES")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake import tables
    from deepfake.detector.labelled_clips import read_clips
    from deepfake.detector.listed_crops import read_crops
    from deepfake.files import digest
    from deepfake.models.checkpoints import CARD, fold_folder, read_card, save_model
    from deepfake.settings_file import load_config
    from lab.labelled_crops import MORE, seen_clips
    from lab.token_heads import collect, left_out_rows, mean_head, with_head
    from lab.token_lines import Network

    config = load_config(args.config, args.set, args.name)
    folder = fold_folder(config.run_dir, "frames", None)
    network = Network(args.network, args.face)
    sets = [
        (args.clips.name, read_clips(args.clips, args.labels, config.extract, args.cache), ""),
        (args.crops.stem, read_crops(args.crops, args.splits, config.extract, args.cache), MORE),
    ]
    stride = config.ensemble.stride_of(args.name)
    key = digest(["mean", network.key, stride, *(clips.video_ids for _, clips, _ in sets)])
    if (folder / CARD).exists() and read_card(folder).settings_digest != key:
        raise UserError(f"run {args.name!r}: {folder} holds another network; choose another --name, or move it away")
    collections = [collect(name, seen_clips(clips, prefix), clips, network, stride) for name, clips, prefix in sets]
    tables.write(tables.FRAME_SCORES, left_out_rows(collections, args.name), args.out)
    made = with_head(network.model, mean_head(collections))
    crops = {"margin_ratio": config.extract.margin_ratio, "crop_px": config.extract.crop_px}
    save_model(folder, "frames", made, fold=None, settings_digest=key, metrics={}, about=crops)
    told = " and ".join(f"{len(one.clips)} clips of {one.name}" for one in collections)
    print(f"fit-line: the mean of lines through {told} -> {folder}\n{args.out}: what each says of the other's clips")
