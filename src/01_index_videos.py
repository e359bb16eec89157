"""Index the videos: data/raw/<dataset> -> videos table.

Reads DFDC parts (metadata.json) or any folders, with or without a CSV of labels. Every video file
becomes a row with its hash, size, codec, label and status; a bad file becomes a row with a reason.
"""

import argparse
from collections import Counter
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.engines import open_runner
    from deepfake.gathered import Gathered
    from deepfake.media.listing import labels_of, list_folder, listed_store, video_rows

    labels_csv = config.path(config.index.labels_csv) if config.index.labels_csv else None
    root, store = config.path(config.index.root), listed_store(config.engine)
    if store is not None:
        root = labels_of(store, config.engine.videos or "", config.work_dir / "labels")
    run = open_runner(config.engine, config.work_dir)
    counts: Counter[str] = Counter()
    with Gathered(tables.VIDEOS, config.work_dir) as videos:
        for row in video_rows(root, config.index, labels_csv, args.limit, run, store):
            videos.add([row])
            counts[{0: "real", 1: "fake"}.get(row["label"], "unlabelled")] += 1
            counts["bad"] += row["status"] != "ok"
        videos.write(config.work_dir / "videos.parquet")
    for line in () if store else list_folder(root).summary_lines():
        print(line)
    return {"videos": videos.n_rows, **{name: counts[name] for name in ("real", "fake", "unlabelled", "bad")}}


if __name__ == "__main__":
    run_stage("01_index_videos", __doc__, main)
