"""Damage generated clips in ten ways, score them by `deepfake predict`, and count what must not happen.

Each way (flipped bits, cuts, wrong sizes, huge values, ...) in MP4, MOV, MKV, WebM, AVI and TS. Printed: what became
of the clips by damage and container, why, and the peak memory. A breach is a clip without a row, a process that
died, an error without words, something on stderr, and a process or file that is left; then the exit code is 1.
"""

import argparse
import tempfile
from pathlib import Path

from deepfake.commands.arguments import memory_mb, natural_number, output_file, seconds, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=natural_number, default=0, help="decides what is damaged (0)")
    parser.add_argument("--n", type=whole_number, default=1000, help="clips (1000)")
    parser.add_argument("--workers", type=whole_number, default=2, help="processes that read videos (2)")
    parser.add_argument("--deadline-s", type=seconds, default=20, metavar="S", help="seconds that a clip may take (20)")
    parser.add_argument("--memory-mb", type=memory_mb, default=1500, metavar="MB", help="memory for a clip (1500)")
    parser.add_argument(
        "--whole", action="store_true", help="leave the clips as they are: what a folder of so many small files takes"
    )
    parser.add_argument("--out", type=output_file, metavar="CSV", help="a line a clip; breaches are kept beside it")
    return parser


def run(args: argparse.Namespace) -> int:
    from lab import fuzzing
    from lab.damaged_bytes import DAMAGES

    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        limits = fuzzing.Limits(args.workers, args.deadline_s, args.memory_mb)
        damages = [fuzzing.WHOLE] if args.whole else list(DAMAGES)
        fuzzed = fuzzing.fuzz(args.seed, args.n, folder, limits, damages)
        fuzzing.keep(fuzzed, folder, args.out)
    print(fuzzing.report(fuzzed))
    return 1 if fuzzed.breaches else 0
