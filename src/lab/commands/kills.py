"""`kill -9` at random moments, of commands and of their workers: what they make in the end must be the same bytes.

`deepfake predict` and `check` and the stages 02, 04 and 06 on clips of drawn people, each with a network of a few
weights. A trial kills a command up to eight times, then lets it come to its end. The exit code is 1 where the bytes
differ, a file is left half-written, a process outlives its parent or a command hangs.
"""

import argparse
import logging
import tempfile
from pathlib import Path

from deepfake.commands.arguments import natural_number, whole_number

log = logging.getLogger(__name__)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=natural_number, default=0, help="decides when and what is killed (0)")
    parser.add_argument("--n", type=whole_number, default=100, help="kills, spread over the commands (100)")
    parser.add_argument("--only", metavar="A,B", help="these commands alone, such as predict,04_train_frames")
    return parser


def run(args: argparse.Namespace) -> int:
    from lab import kills

    targets = kills.targets_of(args.only)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        tallies: list[kills.Tally] = []
        for tallies in kills.attack(args.seed, args.n, Path(folder), targets):
            log.info("%s", ", ".join(f"{one.target}: {one.kills} kills, {one.equal}/{one.trials}" for one in tallies))
    print(f"seed {args.seed}\n{kills.table(tallies)}")
    return 1 if any(tally.breaches for tally in tallies) else 0
