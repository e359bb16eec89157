"""Stages 01, 02, 06 and `deepfake predict` on worker processes and on Spark: seconds, and whether all bytes are equal.

Needs a run with trained networks, such as that of `make demo`. All is made anew in a folder that goes afterwards.
The exit code is 1 where a table, a crop or a score differs.
"""

import argparse
import tempfile
from pathlib import Path

from deepfake.commands.arguments import stage_parser


def arguments() -> argparse.ArgumentParser:
    parser = stage_parser(__doc__)
    parser.add_argument(
        "--master", default="local-cluster[2,1,2048]", help="Spark's master (two executors of one core each)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    from deepfake.settings_file import load_config
    from lab import compare_engines

    config = load_config(args.config, args.set, args.run)
    with tempfile.TemporaryDirectory(prefix="compare-engines-") as folder:
        rows = compare_engines.compare(config, args.config, args.set, args.master, Path(folder))
    print(f"Spark on {args.master}, each command with its own start of Spark\n\n{compare_engines.table(rows)}")
    return 1 if any(row.different for row in rows) else 0
