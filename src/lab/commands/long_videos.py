"""What long videos cost and who is seen in them: a table, on clips of drawn faces made for it.

A speaker is there all the time; guests come for a quarter of a second to five. "Smallest judged" is the shortest stay
of which, as of all longer ones, everybody got three frames or more, enough to be judged; the last columns say how many
of those who stayed so long did. Seconds are a processor's: to read the file, find faces and cut crops.
With --clip nobody comes or goes: its first 5 s, a group of pictures in its size and frame rate, follow each other.
"""

import argparse
import sys
from pathlib import Path


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="10 s,1 min,10 min,1 h,3 h", help="some of: %(default)s")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as extract.long_from_s=1e9"
    )
    parser.add_argument("--clip", type=Path, metavar="FILE", help="the first 5 s of this one, repeated, instead")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.errors import UserError
    from deepfake.settings_file import default_config
    from lab.long_videos import LENGTHS_S, measure, measure_repeated, table

    config = default_config(args.set)
    names = [name.strip() for name in args.lengths.split(",")]
    unknown = [name for name in names if name not in LENGTHS_S]
    if unknown:
        raise UserError(f"--lengths {unknown[0]!r}: no such length; choose from {', '.join(LENGTHS_S)}")

    def report(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if args.clip is None:
        rows = measure(names, config.extract, report)
    else:
        rows = measure_repeated(args.clip, names, config.extract, report)
    print(table(list(rows)))
