"""Ship a run's detector: data/runs/<run> -> data/weights/<name>.safetensors, for predict_folder and check_video.

Takes the networks of the first folds only, in half precision, and says how far that moves logits.
Write the model card data/weights/<name>.md beside it: sources, terms, recipe, figures, what it cannot see.
"""

import argparse
import json
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT, UserError, load_config


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings of the run")
    parser.add_argument("--run", metavar="NAME", help="name of the run, instead of the settings file's")
    parser.add_argument("--name", default="demo", help="name of the file in data/weights (demo)")
    parser.add_argument("--folds", type=int, default=1, help="how many folds' networks go in (1)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    config = load_config(args.config, run=args.run)
    stack_path = config.run_dir / "ensemble.json"
    if not stack_path.is_file():
        raise UserError(f"{stack_path} does not exist; run src/07_ensemble.py first with the same --config and --run")
    if not 1 <= args.folds <= config.folds.n_folds:
        raise UserError(f"--folds {args.folds}: wanted 1 to {config.folds.n_folds}, as many as the run has")
    from deepfake.bundle import half_precision_error, save_run
    from deepfake.ensemble import Stack

    out = PROJECT_ROOT / "data/weights" / f"{args.name}.safetensors"
    save_run(config, Stack.from_dict(json.loads(stack_path.read_text())), out, args.folds)
    moved = half_precision_error(config, out)
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MB; half precision moves logits of test crops by up to {moved:.4f}")


if __name__ == "__main__":
    guarded(main)
