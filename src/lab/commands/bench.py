"""Measure every step: a table of seconds, ratios and memory, and the same as JSON.

Generates its videos once from those of `make demo`. Ways that are compared take turns in one run.
"""

import argparse
import sys

from deepfake.commands.arguments import output_file
from deepfake.files import PROJECT_ROOT


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter videos, one round: to see that it works")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this part alone (may be repeated)")
    parser.add_argument(
        "--json", type=output_file, default=str(PROJECT_ROOT / "data/work/bench.json"), help="where the JSON goes"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, print the table, write the JSON."""
    from deepfake.files import write_whole
    from lab.bench.run import as_json, run, table

    def report(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    work_dir = PROJECT_ROOT / "data/work"
    rows = run(PROJECT_ROOT / "data/raw/demo", work_dir / "bench", args.only, args.quick, report)
    write_whole(args.json, as_json(rows))
    print(f"{table(rows)}\n  -> {args.json}")
