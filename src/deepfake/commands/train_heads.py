"""Train networks over tracks (sequences.heads) beside one frame network, on all labelled clips of a settings file.

Needs the tables of stages 01 and 02. The frame network is that of --weights, a detector's file, or the run's own
by `deepfake train`. Writes data/runs/<run>/<head>/all; `python -m lab measure-heads` and `measure-spans` measure them.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from deepfake.commands.arguments import stage_parser, whole_number
from deepfake.errors import UserError

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = stage_parser(__doc__)
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a detector whose frame network is taken")
    parser.add_argument("--member", metavar="NAME", help="of the detector's members, the one to take (the first)")
    parser.add_argument(
        "--frames", type=whole_number, metavar="N", help="so many of each track alone, for a quick trial"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import load_config

    config = load_config(args.config, args.set, args.run)
    if args.member is not None and args.weights is None:
        raise UserError(f"--member {args.member}: of which detector? Give --weights FILE, too")
    from deepfake.datasets.pairs import read_all
    from deepfake.detector.file import unpack_frames
    from deepfake.detector.labelled_clips import some_frames
    from deepfake.models.checkpoints import fold_folder
    from deepfake.scoring.run_scores import fold_features
    from deepfake.stages import alone
    from deepfake.training.forged_features import forged_features
    from deepfake.training.train import forget_folds, train_head_fold

    with alone(config.run_dir):
        if args.weights is not None:
            unpack_frames(args.weights, fold_folder(config.run_dir, "frames", None), args.member)
        data = read_all(config.work_dir, args.limit)
        data = replace(data, faces=some_frames(data.faces, args.frames)) if args.frames else data
        tracks = fold_features(config, data, None, held_out=False) + forged_features(config, data, None)
        for head in config.sequences.heads:
            if args.force:
                forget_folds(config, head)
            print(f"train-heads: {head} -> {train_head_fold(config, head, tracks, None).parent}")
