"""Validate the run: tables, scores and crops -> submissions/<run>/report.html, report.json and tables/*.csv.

Learns nothing but a classifier of codecs and sizes: what a detector could cheat with. --against compares two runs.
"""

import argparse
import platform
from importlib.metadata import version
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.ensemble.decision import out_of_fold_evidence
    from deepfake.faces.crop_store import read_crop
    from deepfake.files import current_commit
    from deepfake.report.inputs import ReportInputs
    from deepfake.report.validation import build_report

    work = (tables.VIDEOS, tables.EXTRACTIONS, tables.FACES, tables.FOLDS, tables.FAILURES)
    versions = {name: version(name) for name in ("torch", "timm", "facenet-pytorch", "av", "numpy", "scikit-learn")}
    report = build_report(
        ReportInputs(
            config,
            *(tables.read(table, config.work_dir / f"{table.name}.parquet") for table in work),
            scores=tables.read(tables.VIDEO_SCORES, config.run_dir / "oof_video_scores.parquet"),
            read_crop=lambda *place: read_crop(config.work_dir, *place),
            frame_scores=tables.read(tables.FRAME_SCORES, config.run_dir / "frames_oof.parquet"),
            test_scores=tables.read(tables.VIDEO_SCORES, config.run_dir / "test_video_scores.parquet"),
            other_scores=config.against_scores and tables.read(tables.VIDEO_SCORES, config.against_scores),
            evidence=out_of_fold_evidence(config),
            facts={"commit": current_commit(), "python": platform.python_version(), **versions},
            people=tables.read_if_made(tables.PEOPLE, config.work_dir / "people.parquet"),
            copies=tables.read_if_made(tables.COPIES, config.work_dir / "copies.parquet"),
        )
    )
    report.write(config.submission_dir)
    return report.summary()


if __name__ == "__main__":
    run_stage("08_validate", __doc__, main, {"--against": "validation.against"})
