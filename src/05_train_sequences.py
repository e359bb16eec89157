"""Train the LRCN heads: features of every track -> one network a fold, out-of-fold track logits.

Each fold's image classifier turns a track's crops into features; a bidirectional LSTM with attention
reads them in order. Same folds as stage 04, same rules for stopping and going on. With sequences.forged_clips it
learns from fakes made of the real tracks, too.
"""

import argparse
from typing import Any

from deepfake.cli import run_stage
from deepfake.config import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.datasets import read_tables
    from deepfake.forged_tracks import forged_features
    from deepfake.scoring import fold_features, oof_sequences
    from deepfake.training import forget_folds, train_sequences_fold

    data = read_tables(config.work_dir, args.limit)
    if args.force:
        forget_folds(config, "sequences")
    for fold in range(config.folds.n_folds):
        tracks = fold_features(config, data, fold, held_out=False) + forged_features(config, data, fold)
        train_sequences_fold(config, tracks, fold)
    scores = oof_sequences(config, data)
    tables.write(tables.TRACK_SCORES, scores, config.run_dir / "sequences_oof.parquet")
    return {"folds": config.folds.n_folds, "videos": scores["video_id"].nunique(), "track logits": len(scores)}


if __name__ == "__main__":
    run_stage("05_train_sequences", __doc__, main)
