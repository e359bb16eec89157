"""Build what a Kaggle notebook without internet needs -> submissions/kaggle_bundle, and the notebooks themselves.

The bundle holds wheels, the package, the weights and the settings; upload it as a Kaggle dataset and attach it to
notebooks/kaggle_inference.ipynb. Versions are those of requirements.txt, the lists stand in configs/kaggle.yaml.
"""

import argparse
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=PROJECT_ROOT / "configs/kaggle.yaml", help="settings")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT / "submissions/kaggle_bundle", help="folder to make")
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument(
        "--wheels",
        choices=("none", "missing", "all"),
        default="missing",
        help="missing: what Kaggle's image lacks; all: everything but torch, for this Python",
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    from deepfake.bundle import find_weights
    from deepfake.kaggle import build_bundle, size_table
    from deepfake.notebooks import write_notebooks

    weights = args.weights or find_weights(PROJECT_ROOT / "data/weights")
    files = build_bundle(args.config, weights, args.out, args.wheels, PROJECT_ROOT / "data/work/kaggle/wheels")
    print(f"{size_table(files)}\n-> {args.out}")
    for path in write_notebooks(PROJECT_ROOT / "notebooks"):
        print(f"-> {path}")


if __name__ == "__main__":
    guarded(main)
