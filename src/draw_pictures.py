"""Draw the README's pictures into notebooks/pictures: the stages, from their own registry."""

import argparse
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT, parse_config


def parse() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT / "notebooks/pictures", help="folder of the pictures")
    return parser.parse_args()


def main() -> None:
    """Draw each picture and write it whole."""
    args = parse()
    from deepfake.files import write_whole
    from deepfake.report.stage_diagram import stage_diagram

    write_whole(args.out / "stages.svg", stage_diagram(parse_config({})).encode())
    print(f"stages.svg\n  -> {args.out}")


if __name__ == "__main__":
    guarded(main)
