"""Predict the test videos: every fold's networks over every track -> frame and track logits.

The logits of the folds' networks are averaged. Videos without a face have no rows here; stage 07
gives them the prior, with the reason.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.datasets.pairs import read_tables
    from deepfake.engines import open_runner
    from deepfake.scoring.parts import predict_on
    from deepfake.scoring.run_heads import predict_heads
    from deepfake.scoring.run_scores import predict_frames

    data = read_tables(config.work_dir, None)
    videos = tables.spread(data.videos[data.videos["split"] == "test"], args.limit)
    faces = data.faces_of(list(videos["video_id"]))
    folds = range(config.folds.n_folds)
    if config.engine.kind == "local":  # in this process, with all its cores or its GPU
        frames, heads = predict_frames(config, faces, folds), predict_heads(config, faces, folds)
    else:
        frames, heads = predict_on(open_runner(config.engine, config.work_dir), config, faces, folds)
    tables.write(tables.FRAME_SCORES, frames, config.run_dir / "frames_test.parquet")
    for head, rows in heads.items():
        tables.write(tables.TRACK_SCORES, rows, config.run_dir / f"{head}_test.parquet")
    return {"videos": len(videos), "with a face": frames["video_id"].nunique(), "frame logits": len(frames)}


if __name__ == "__main__":
    run_stage("06_predict_videos", __doc__, main)
