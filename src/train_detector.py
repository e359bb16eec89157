"""Train one image classifier on all labelled clips and photos of a settings file, no one held out.

Needs the tables of stages 01 and 02. Writes data/runs/<run>/frames/all, with snapshots on the way
(frames.snapshot_steps) to choose from by src/measure_run.py on other clips. Can be stopped at any moment.
"""

import argparse

from deepfake.cli import guarded, stage_parser
from deepfake.config import UserError, load_config


def main() -> None:
    parser: argparse.ArgumentParser = stage_parser(__doc__)
    args = parser.parse_args()
    config = load_config(args.config, args.set, args.run)
    for name, stage in (("videos", "01_index_videos"), ("faces", "02_extract_faces")):
        path = config.work_dir / f"{name}.parquet"
        if not path.is_file():
            raise UserError(f"train_detector: {path} does not exist; run src/{stage}.py first with the same --config")

    from deepfake.datasets import read_all
    from deepfake.stages import alone
    from deepfake.training import forget_folds, train_frames_fold

    with alone(config.run_dir):
        if args.force:
            forget_folds(config, "frames")
        card = train_frames_fold(config, read_all(config.work_dir, args.limit), None)
    print(f"train_detector: {config.run} -> {card.parent}")


if __name__ == "__main__":
    guarded(main)
