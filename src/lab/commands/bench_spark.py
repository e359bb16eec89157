"""Measure the Spark engine: its overhead beside worker processes, two executors beside one, the driver's memory.

Three tables. Everything runs on this machine; on one that does other things, too, the ratios count, and hardly.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import whole_number, whole_numbers

if TYPE_CHECKING:
    from lab.bench.spark import Timed

ONE, TWO = "local-cluster[1,1,1024]", "local-cluster[2,1,1024]"
PARTS = ("overhead", "executors", "naps", "memory")


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("data/raw/demo"), help="videos (the demo's)")
    parser.add_argument("--n", type=whole_number, default=60, help="of them (60)")
    parser.add_argument("--rounds", type=whole_number, default=2, help="the best of which counts (2)")
    parser.add_argument("--items", type=whole_numbers, default="1000,1000000", help="paths for the driver's memory")
    parser.add_argument("--items-per-task", type=whole_number, default=1000, help="of these (1000)")
    parser.add_argument("--only", choices=PARTS, action="append", help="some of the parts")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    from lab.bench import spark

    parts = args.only or PARTS
    videos = spark.videos_of(args.clips, args.n) if {"overhead", "executors"} & set(parts) else []
    if "overhead" in parts:
        times = spark.extraction_times(videos, [None, TWO], args.rounds)
        show(f"Faces of {len(videos)} clips, two processes at once", times)
    if "executors" in parts:
        show(
            f"Faces of {len(videos)} clips by executors of one core",
            spark.extraction_times(videos, [ONE, TWO], args.rounds),
        )
    if "naps" in parts:
        naps = spark.nap_times(60, [None, ONE, TWO])
        show(f"60 items of {spark.NAP_S:g} s that compute nothing (worker processes: two)", naps)
    if "memory" in parts:
        print("\n| paths | seconds | driver: Python | Java | together |\n|---|---|---|---|---|")
        for n in args.items:
            made = spark.driver_memory(n, TWO, args.items_per_task)
            together = made.python_mb + made.java_mb
            cells = (f"{n}", f"{made.seconds:.0f}", f"{made.python_mb:.0f} MB", f"{made.java_mb:.0f} MB")
            print(f"| {' | '.join(cells)} | {together:.0f} MB |", flush=True)


def show(title: str, rows: "Sequence[Timed]") -> None:
    """Print one table; the ratio is that to its first row."""
    print(f"\n{title}\n\n| engine | start | rounds | of the first row's |\n|---|---|---|---|")
    for row in rows:
        rounds = ", ".join(f"{seconds:.1f} s" for seconds in row.seconds)
        print(f"| {row.name} | {row.start_s:.1f} s | {rounds} | {row.best_s / rows[0].best_s:.2f} |", flush=True)
