"""Train the image classifiers: crops and folds -> one network a fold, out-of-fold frame logits.

A timm EfficientNet learns from pairs of a real crop and its fake, one fold held out at a time.
Can be stopped at any moment: finished folds are kept, a fold goes on from its last checkpoint.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.datasets.pairs import read_tables
    from deepfake.scoring.run_scores import oof_frames
    from deepfake.training.train import forget_folds, train_frames_fold

    data = read_tables(config.work_dir, args.limit)
    if args.force:
        forget_folds(config, "frames")
    for fold in range(config.folds.n_folds):
        train_frames_fold(config, data, fold)
    scores = oof_frames(config, data)
    tables.write(tables.FRAME_SCORES, scores, config.run_dir / "frames_oof.parquet")
    return {"folds": config.folds.n_folds, "videos": scores["video_id"].nunique(), "frame logits": len(scores)}


if __name__ == "__main__":
    run_stage("04_train_frames", __doc__, main)
