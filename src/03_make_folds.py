"""Make folds: videos, extractions and faces tables -> folds table.

An original and its fakes, near-duplicates by perceptual hash and clips of the same identity stay
together; where no label names an identity, clips of the same face (folds.by_face). Folds are
stratified; an overlap between them is refused.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.catalog.people import links_in
    from deepfake.training.folds import make_folds, to_learn_from, wants_faces, with_own_face

    videos = tables.spread(tables.read(tables.VIDEOS, config.work_dir / "videos.parquet"), args.limit)
    extractions = tables.read(tables.EXTRACTIONS, config.work_dir / "extractions.parquet")
    chosen = config.folds
    by_face: list[tuple[str, str]] = []
    if chosen.by_face and wants_faces(videos):
        ids = with_own_face(to_learn_from(videos))["video_id"]
        by_face = links_in(tables.read(tables.FACES, config.work_dir / "faces.parquet"), ids, config)
    folds = make_folds(videos, extractions, chosen.n_folds, chosen.near_duplicate_bits, chosen.seed, by_face)
    tables.write(tables.FOLDS, folds, config.work_dir / "folds.parquet")
    labels = folds.merge(videos[["video_id", "label"]], on="video_id")
    sizes = [
        f"{int((part['label'] == 0).sum())}+{int((part['label'] == 1).sum())}" for _, part in labels.groupby("fold")
    ]
    return {
        "videos": len(folds),
        "groups": folds["group"].nunique(),
        "pairs by face": len(by_face),
        "real+fake in each fold": " ".join(sizes),
    }


if __name__ == "__main__":
    run_stage("03_make_folds", __doc__, main)
