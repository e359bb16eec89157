"""Train the networks over tracks (sequences.heads): features, landmarks and crops of every track -> one a fold, head.

The LRCN head reads each fold's image classifier's features of a track in order by a bidirectional LSTM with
attention; others see landmarks, optical flow or the face's tube. Same folds as stage 04, same rules for
stopping and going on. With sequences.forged_clips they learn from fakes made of the real tracks, too.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.datasets.pairs import read_tables
    from deepfake.scoring.run_heads import oof_heads
    from deepfake.scoring.run_scores import fold_features
    from deepfake.training.forged_features import forged_features
    from deepfake.training.train import forget_folds, train_head_fold

    data = read_tables(config.work_dir, args.limit)
    heads = config.sequences.heads
    for head in heads if args.force else ():
        forget_folds(config, head)
    for fold in range(config.folds.n_folds):
        tracks = fold_features(config, data, fold, held_out=False) + forged_features(config, data, fold)
        for head in heads:
            train_head_fold(config, head, tracks, fold)
    scores = oof_heads(config, data)
    for head, rows in scores.items():
        tables.write(tables.TRACK_SCORES, rows, config.run_dir / f"{head}_oof.parquet")
    return {"folds": config.folds.n_folds, "heads": " ".join(heads), "track logits": sum(map(len, scores.values()))}


if __name__ == "__main__":
    run_stage("05_train_sequences", __doc__, main)
