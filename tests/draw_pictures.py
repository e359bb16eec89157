"""Draw the README's pictures into notebooks/pictures: the stages, a check page, a validation report.

The stages are drawn from their own registry; the pages are made of drawn faces and invented numbers with
the tests' tools, and photographed in Chromium. --only stages needs no browser.
"""

import argparse
from pathlib import Path

from deepfake.commands.guard import guarded
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.settings_file import parse_config


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT / "notebooks/pictures", help="folder of the pictures")
    parser.add_argument("--only", choices=("stages", "check", "report"), help="this picture alone")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from deepfake.files import write_whole
    from deepfake.report.stages_picture import stage_diagram

    wanted = [args.only] if args.only else ["stages", "check", "report"]
    if "stages" in wanted:
        write_whole(args.out / "stages.svg", stage_diagram(parse_config({})).encode())
    if wanted != ["stages"]:
        from browser import CHROMIUM, WHY_SKIPPED
        from pictures import photograph

        if CHROMIUM is None:
            raise UserError(WHY_SKIPPED)
        for name in wanted:
            if name != "stages":
                write_whole(args.out / f"{name}.webp", photograph(name))
    print(f"{', '.join(wanted)}\n  -> {args.out}")


if __name__ == "__main__":
    guarded(main)
