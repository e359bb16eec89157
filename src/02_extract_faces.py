"""Extract faces: videos table -> extractions, faces and failures tables, and crops in shards.

Samples frames, finds faces with MTCNN, links them into tracks and stores square crops. A video that
hangs, crashes its process or needs too much memory becomes a row in failures. Can be stopped at
any moment: videos that are done are not read again.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.engines import open_runner
    from deepfake.faces.extraction import Stores, extract_rows, write_tables
    from deepfake.faces.shard_store import note_store

    work_dir, root = config.work_dir, config.path(config.index.root)
    videos = tables.spread(tables.read(tables.VIDEOS, work_dir / "videos.parquet"), args.limit)
    run = open_runner(config.engine, work_dir)
    stores = Stores(config.engine.videos, config.engine.shards, config.engine.max_video_mb)
    note_store(work_dir, stores.shards)
    return write_tables(extract_rows(videos, root, work_dir, config.extract, args.force, run, stores), work_dir)


if __name__ == "__main__":
    run_stage("02_extract_faces", __doc__, main)
