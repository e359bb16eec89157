"""Extract faces: videos table -> extractions, faces and failures tables, and crops in shards.

Samples frames, finds faces with MTCNN, links them into tracks and stores square crops. A video that
hangs, crashes its process or needs too much memory becomes a row in failures. Can be stopped at
any moment: videos that are done are not read again.
"""

import argparse
from collections import Counter
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.engines import open_runner
    from deepfake.faces.extraction import Stores, extract_rows
    from deepfake.faces.shard_store import note_store
    from deepfake.gathered import Gathered

    work_dir, root = config.work_dir, config.path(config.index.root)
    videos = tables.spread(tables.read(tables.VIDEOS, work_dir / "videos.parquet"), args.limit)
    run = open_runner(config.engine, work_dir)
    stores = Stores(config.engine.videos, config.engine.shards, config.engine.max_video_mb)
    note_store(work_dir, stores.shards)
    with (
        Gathered(tables.FACES, work_dir) as faces,
        Gathered(tables.FAILURES, work_dir) as failures,
        Gathered(tables.EXTRACTIONS, work_dir) as extractions,
    ):
        counts: Counter[Any] = Counter()
        for one in extract_rows(videos, root, work_dir, config.extract, args.force, run, stores):
            faces.add(one.faces)
            failures.add(one.failures)
            extractions.add([one.extraction])
            counts[one.extraction["status"]] += 1
            counts["tracks"] += one.extraction["n_tracks"]
        for gathered in (faces, failures, extractions):
            gathered.write(work_dir / f"{gathered.table.name}.parquet")
    return {
        "videos": extractions.n_rows,
        "tracks": counts["tracks"],
        "faces": faces.n_rows,
        "without a face": counts["no_face"],
        "failed": counts["failed"],
    }


if __name__ == "__main__":
    run_stage("02_extract_faces", __doc__, main)
