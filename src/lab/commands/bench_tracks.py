"""Link invented scenes of three people who cross, by our linker and by others, and print one table.

Each cell: IDF1, id switches, tracks made; means over 8 scenes of 10 s, every 1st, 3rd, 10th and 20th frame.
SORT, ByteTrack and OC-SORT stand beside ours where `.venv-bench` holds `trackers`: `make bench-tracks` makes it.
"""

import argparse
import os
from pathlib import Path

from deepfake.commands.arguments import natural_number
from deepfake.files import PROJECT_ROOT


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    venv = PROJECT_ROOT / ".venv-bench"
    parser.add_argument("--venv", type=Path, default=venv, help="virtual environment that holds `trackers`")
    parser.add_argument("--first-seed", type=natural_number, default=0, help="of 8 scenes; 100 to 123 tuned the linker")
    return parser


def run(args: argparse.Namespace) -> None:
    """Link, score, print."""
    from lab.bench.tracks import SEEDS, run, table

    python: Path | None = args.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python is not None and not python.is_file():
        print(f"{args.venv}: not there, so ours stands alone; `make bench-tracks` makes it\n")
        python = None
    scores, versions = run(python, [args.first_seed + seed for seed in SEEDS])
    print(table(scores))
    print(f"\nIDF1, id switches, tracks made (3 people); {versions}")
