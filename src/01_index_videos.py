"""Index the videos: data/raw/<dataset> -> videos table.

Reads DFDC parts (metadata.json) or any folders, with or without a CSV of labels. Every video file
becomes a row with its hash, size, codec, label and status; a bad file becomes a row with a reason.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.engines import open_runner
    from deepfake.media.listing import index_videos, list_folder

    labels_csv = config.path(config.index.labels_csv) if config.index.labels_csv else None
    root = config.path(config.index.root)
    videos = index_videos(root, config.index, labels_csv, args.limit, open_runner(config.engine, config.work_dir))
    tables.write(tables.VIDEOS, videos, config.work_dir / "videos.parquet")
    for line in list_folder(root).summary_lines():
        print(line)
    return {
        "videos": len(videos),
        "real": int((videos["label"] == 0).sum()),
        "fake": int((videos["label"] == 1).sum()),
        "unlabelled": int(videos["label"].isna().sum()),
        "bad": int((videos["status"] != "ok").sum()),
    }


if __name__ == "__main__":
    run_stage("01_index_videos", __doc__, main)
