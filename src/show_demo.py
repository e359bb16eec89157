"""Show what `make demo` comes to: verdicts of the shipped detector on its test videos, and the new run's figures.

Reads: <root>/test_videos, <root>/test_labels.csv, data/weights, the run's report.json.
Makes: shipped_detector.csv beside the report.
Stopped and started again it goes on where it was; what is scored already is not scored again.
"""

import argparse
import json
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT, UserError, load_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=PROJECT_ROOT / "configs/demo.yaml", help="(configs/demo.yaml)")
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=Path, default=PROJECT_ROOT / "data/work/predict", help="where crops are kept")
    args = parser.parse_args()
    config = load_config(args.config)
    root, submission = config.path(config.index.root), config.submission_dir
    if not (submission / "report.json").is_file():
        raise UserError(f"{submission / 'report.json'} does not exist; run src/run_stages.py --config {args.config}")

    from deepfake import demo_verdicts
    from deepfake.bundle import find_weights, load_detector
    from deepfake.demo_data import TEST_FOLDER, cores
    from deepfake.evaluation import read_labels
    from deepfake.files import sha256_of

    weights = args.weights or find_weights(PROJECT_ROOT / "data/weights")
    detector, labelled = load_detector(weights), read_labels(root / "test_labels.csv")
    videos, out = root / TEST_FOLDER, submission / "shipped_detector.csv"
    print(f"\nThe shipped detector ({weights.name}) on the demo's test videos")
    scored = demo_verdicts.score(videos, out, detector, sha256_of(weights), args.cache, cores())
    judged = demo_verdicts.judge(scored, labelled, detector.stack.band)
    print(f"\n{demo_verdicts.table(judged)}\n\n{demo_verdicts.tally(judged)}")
    if (words := demo_verdicts.caution(judged)) is not None:
        print(words)
    report = json.loads((submission / "report.json").read_text(encoding="utf-8"))
    print(f"\nThe network trained just now: {demo_verdicts.outcome(report)}\n  -> {submission / 'report.html'}")


if __name__ == "__main__":
    guarded(main)
