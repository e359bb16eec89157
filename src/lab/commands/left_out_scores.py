"""Scores of clips by trainings that left them out: what stands in for a member that learnt from them all.

--run of fold 0, then of fold 1, ...: networks that `deepfake adopt` made of trainings from --pack with `fold` 0, 1, ...
of `folds`, which are as many as the runs. Each clip of --crops is scored by the network of the fold it is in; a clip
that the pack has not by all of them, the mean. `deepfake recalibrate` and `python -m lab cross-validate` take what is
written by --left-out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_file, output_folder
from deepfake.errors import UserError
from deepfake.files import default_cache


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings: extraction and ensemble")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="over the settings")
    parser.add_argument("--pack", type=Path, required=True, metavar="FILE", help="its first part")
    parser.add_argument("--run", action="append", required=True, metavar="NAME[/STEP]", help="one a fold, in order")
    parser.add_argument("--crops", type=Path, required=True, metavar="CSV", help="clips, of which crops are there")
    parser.add_argument("--splits", nargs="+", required=True, metavar="SPLIT", help="which splits of these")
    parser.add_argument("--member", required=True, metavar="NAME", help="whose scores these stand in for")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE", help="Parquet: FRAME_SCORES")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    import numpy as np

    from deepfake import tables
    from deepfake.detector import fitting
    from deepfake.detector.listed_crops import read_crops
    from deepfake.packs.file import read_pack
    from deepfake.settings_file import load_config
    from deepfake.training.train import run_network
    from lab.left_out_scores import by_fold, folds_of

    if len(args.run) < 2:
        raise UserError("--run: wanted the network of every fold, two or more; one leaves nothing to the others")
    config = load_config(args.config, args.set)
    networks = [run_network(config.run_dir.parent, name) for name in args.run]
    clips = read_crops(args.crops, args.splits, config.extract, args.cache)
    folds = folds_of(read_pack(args.pack), len(networks), clips.video_ids)
    n_frames = config.extract.frames_per_video
    scores = [fitting.member_scores(path, args.member, clips, config, n_frames) for path in networks]
    tables.write(tables.FRAME_SCORES, by_fold(scores, folds).assign(model=args.member), args.out)
    counts = [sum(fold == number for fold in folds.values()) for number in range(len(networks))]
    elsewhere = len(clips.video_ids) - int(np.sum(counts))
    told = ", ".join(f"{n} by {name}" for n, name in zip(counts, args.run, strict=True))
    print(f"{args.out}: {len(clips.video_ids)} clips, {told}, {elsewhere} by all")
