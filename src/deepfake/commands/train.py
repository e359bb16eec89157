"""Train one image classifier on all labelled clips and photos of a settings file, no one held out.

Needs the tables of stages 01 and 02. Writes data/runs/<run>/frames/all, with snapshots on the way
(frames.snapshot_steps) to choose from by `python -m lab measure` on other clips. Can be stopped at any moment.
"""

import argparse

from deepfake.commands.arguments import stage_parser


def arguments() -> argparse.ArgumentParser:
    return stage_parser(__doc__)


def run(args: argparse.Namespace) -> None:
    from deepfake.errors import UserError
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
