"""Build the demo data, or show what `make demo` came to.

build: real clips of real people and our forgeries of them, laid out like DFDC. Reads PyPI (and npm, where it is
installed) once; archives are cached beside the root. Makes <root>/dfdc_train_part_N/, test_videos/,
sample_submission.csv, test_labels.csv.

show: verdicts of the shipped detector on the test videos beside their true labels, and the figures of the run that
was trained just now. Reads <root>/test_videos, <root>/test_labels.csv and the run's report.json; makes
shipped_detector.csv beside the report. Stopped and started again it goes on where it was.
"""

import argparse
import json
import time
from pathlib import Path

from deepfake.commands.arguments import output_folder
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT, default_cache
from deepfake.outputs import try_file

EXTRA = "evaluate"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("build", "show"), nargs="?", default="build", help="(build)")
    parser.add_argument("--root", type=output_folder, help="build: folder to make (data/raw/demo of the project)")
    parser.add_argument("--force", action="store_true", help="build: make everything again")
    parser.add_argument("--config", type=Path, default=PROJECT_ROOT / "configs/demo.yaml", help="show: settings")
    parser.add_argument("--weights", type=Path, help="show: detector file (the shipped one)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="show: where crops are")
    return parser


def run(args: argparse.Namespace) -> None:
    if args.step == "build":
        build_data((args.root or PROJECT_ROOT / "data" / "raw" / "demo").absolute(), args.force)
    else:
        show(args.config, args.weights, args.cache)


def build_data(root: Path, force: bool) -> None:
    from deepfake.demo.build import build, cores, summary
    from deepfake.stages import alone

    start = time.monotonic()
    packages = root.parent / "packages"
    with alone(packages):
        built = build(root, packages, force=force, workers=cores())
    for note in built.notes:
        print(f"note: {note} Once that is mended, --force builds with it.")
    if built.n_made:
        print(summary(built.videos))
        print(f"{built.n_made} videos made in {time.monotonic() - start:.0f} s -> {root}")
    else:
        print(f"up to date: {len(built.videos)} videos in {root}")


def show(settings: Path, weights: Path | None, cache: Path) -> None:
    from deepfake.settings_file import load_config

    config = load_config(settings)
    root, submission = config.path(config.index.root), config.submission_dir
    if not (submission / "report.json").is_file():
        raise UserError(f"{submission / 'report.json'} does not exist; run src/run_stages.py --config {settings}")

    out = submission / "shipped_detector.csv"
    try_file(out)

    from deepfake.demo import verdicts
    from deepfake.demo.build import cores
    from deepfake.demo.plan import TEST_FOLDER
    from deepfake.detector.check import INCONCLUSIVE
    from deepfake.detector.file import open_detector
    from deepfake.detector.score_videos import predict_folder, summary_lines
    from deepfake.ensemble.promise import short_words
    from deepfake.evaluation.labelled import read_labels
    from deepfake.files import sha256_of
    from deepfake.models.detector_file import shipped_weights
    from deepfake.settings import Predict

    weights = weights or shipped_weights()
    detector, labelled = open_detector(weights, Predict()), read_labels(root / "test_labels.csv")
    videos = root / TEST_FOLDER
    print(f"\nThe shipped detector ({weights.name}) on the demo's test videos")
    scored = predict_folder(videos, out, detector, sha256_of(weights), cache, cores())
    print("\n".join(summary_lines(scored, out)))
    judged = verdicts.judge(scored, labelled, detector)
    print(f"\n{verdicts.table(judged)}\n\n{verdicts.tally(judged)}")
    if promise := short_words(detector.promise, INCONCLUSIVE):
        print(f"No verdict was given: {promise}.")
    if (words := verdicts.caution(judged)) is not None:
        print(words)
    report = json.loads((submission / "report.json").read_text(encoding="utf-8"))
    print(f"\nThe network trained just now: {verdicts.outcome(report)}\n  -> {submission / 'report.html'}")
