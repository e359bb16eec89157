"""Validate the run: out-of-fold video scores -> submissions/<run>/report.html and report.json.

Reads the data set's tables, the crops of the worst videos and the scores of stage 07; learns nothing.
"""

import argparse
import json
import platform
from functools import partial
from importlib.metadata import version
from typing import Any

from deepfake.cli import run_stage
from deepfake.config import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    """Read the tables, write page and numbers."""
    from deepfake import tables
    from deepfake.files import current_commit, write_whole
    from deepfake.report.validation import ReportInputs, build_report
    from deepfake.shards import read_crop

    work = (tables.VIDEOS, tables.EXTRACTIONS, tables.FACES, tables.FOLDS, tables.FAILURES)
    packages = ("torch", "timm", "facenet-pytorch", "av", "albumentations", "numpy", "scikit-learn")
    inputs = ReportInputs(
        config,
        *(tables.read(table, config.work_dir / f"{table.name}.parquet") for table in work),
        scores=tables.read(tables.VIDEO_SCORES, config.run_dir / "oof_video_scores.parquet"),
        read_crop=partial(read_crop, config.work_dir),
        frame_scores=tables.read(tables.FRAME_SCORES, config.run_dir / "frames_oof.parquet"),
        test_scores=tables.read(tables.VIDEO_SCORES, config.run_dir / "test_video_scores.parquet"),
        facts={"commit": current_commit(), "python": platform.python_version()}
        | {name: version(name) for name in packages},
    )
    html, result = build_report(inputs)
    write_whole(config.submission_dir / "report.json", json.dumps(result, indent=1, allow_nan=False).encode())
    write_whole(config.submission_dir / "report.html", html.encode())
    found = result["models"][0]["metrics"]
    shown = {name: found[name]["value"] for name in ("log_loss_clipped", "roc_auc", "false_alarm_rate")}
    return {"videos": result["counts"]["scored"]} | {k: v if v is None else round(v, 4) for k, v in shown.items()}


if __name__ == "__main__":
    run_stage("08_validate", __doc__, main)
