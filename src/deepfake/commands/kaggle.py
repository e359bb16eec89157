"""Build what a Kaggle notebook without internet needs -> submissions/kaggle_bundle, and the notebooks themselves.

The bundle holds wheels, the package, the weights and the settings; upload it as a Kaggle dataset and attach it to
notebooks/kaggle_inference.ipynb. Versions are those of requirements.txt, the lists stand in configs/kaggle.yaml.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder
from deepfake.files import PROJECT_ROOT

EXTRA = "kaggle"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=PROJECT_ROOT / "configs/kaggle.yaml", help="settings")
    parser.add_argument(
        "--out", type=output_folder, default=str(PROJECT_ROOT / "submissions/kaggle_bundle"), help="folder to make"
    )
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument(
        "--wheels",
        choices=("none", "missing", "all"),
        default="missing",
        help="missing: what Kaggle's image lacks; all: everything but torch, for this Python",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.kaggle.build import build_bundle, size_table
    from deepfake.kaggle.notebooks import write_notebooks
    from deepfake.models.detector_file import shipped_weights

    weights = args.weights or shipped_weights()
    files = build_bundle(args.config, weights, args.out, args.wheels, PROJECT_ROOT / "data/work/kaggle/wheels")
    print(f"{size_table(files)}\n-> {args.out}")
    for path in write_notebooks(PROJECT_ROOT / "notebooks"):
        print(f"-> {path}")
