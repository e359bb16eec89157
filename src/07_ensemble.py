"""Ensemble: out-of-fold and test logits -> one calibrated probability a video, and the submission.

Frames are aggregated to tracks and tracks to the video (its worst credible track); the members are
stacked and calibrated out of fold. Writes submissions/<run>/submission.csv in the order of the
sample submission with a manifest, and the whole detector as one file for `deepfake predict`.
"""

import argparse
from typing import Any

from deepfake.commands.stage_command import run_stage
from deepfake.settings import Config


def main(config: Config, args: argparse.Namespace) -> dict[str, Any]:
    from deepfake import tables
    from deepfake.detector.file import run_parts, save_detector
    from deepfake.ensemble.decision import decide

    decision = decide(config)
    tables.write(tables.VIDEO_SCORES, decision.oof, config.run_dir / "oof_video_scores.parquet")
    tables.write(tables.VIDEO_SCORES, decision.test, config.run_dir / "test_video_scores.parquet")
    decision.write_stack(config.run_dir / "ensemble.json")
    save_detector(config.run_dir / "detector.safetensors", config.run, run_parts(config), decision.stack, config)
    decision.write_submission(config)
    return decision.summary()


if __name__ == "__main__":
    run_stage("07_ensemble", __doc__, main)
