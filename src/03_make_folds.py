"""Make folds: videos and extractions tables -> folds table.

An original and its fakes, near-duplicates by perceptual hash and clips of the same identity stay
together. Folds are stratified; an overlap between them is refused.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.training.folds import make_folds

    videos = tables.spread(tables.read(tables.VIDEOS, config.work_dir / "videos.parquet"), args.limit)
    extractions = tables.read(tables.EXTRACTIONS, config.work_dir / "extractions.parquet")
    chosen = config.folds
    folds = make_folds(videos, extractions, chosen.n_folds, chosen.near_duplicate_bits, chosen.seed)
    tables.write(tables.FOLDS, folds, config.work_dir / "folds.parquet")
    labels = folds.merge(videos[["video_id", "label"]], on="video_id")
    sizes = [
        f"{int((part['label'] == 0).sum())}+{int((part['label'] == 1).sum())}" for _, part in labels.groupby("fold")
    ]
    return {"videos": len(folds), "groups": folds["group"].nunique(), "real+fake in each fold": " ".join(sizes)}


if __name__ == "__main__":
    run_stage("03_make_folds", __doc__, main)
