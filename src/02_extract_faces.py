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
    from deepfake.faces.extraction import extract_table

    videos = tables.spread(tables.read(tables.VIDEOS, config.work_dir / "videos.parquet"), args.limit)
    run = open_runner(config.engine, config.work_dir)
    extracted = extract_table(videos, config.path(config.index.root), config.work_dir, config.extract, args.force, run)
    tables.write(tables.FACES, extracted.faces, config.work_dir / "faces.parquet")
    tables.write(tables.FAILURES, extracted.failures, config.work_dir / "failures.parquet")
    tables.write(tables.EXTRACTIONS, extracted.extractions, config.work_dir / "extractions.parquet")
    return {
        "videos": len(extracted.extractions),
        "tracks": int(extracted.extractions["n_tracks"].sum()),
        "faces": len(extracted.faces),
        "without a face": int((extracted.extractions["status"] == "no_face").sum()),
        "failed": int((extracted.extractions["status"] == "failed").sum()),
    }


if __name__ == "__main__":
    run_stage("02_extract_faces", __doc__, main)
