"""How long a cluster takes for an archive, on paper: makespan, tail, bytes moved and the driver's memory.

Clips are drawn from timings that were measured: of the clips below --clips, timed now, or of a table that an earlier
call kept. Long ones are timed as one task and by their chunks. All cores are taken to be as quick as the one that
measured.
"""

import argparse
import sys
from pathlib import Path

from deepfake.commands.arguments import output_file, share, whole_number, whole_numbers


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--clips", type=Path, metavar="DIR", help="videos to time now")
    source.add_argument("--timings", type=Path, metavar="CSV", help="what --keep wrote")
    parser.add_argument("--keep", type=output_file, metavar="CSV", help="where the timings of --clips go")
    parser.add_argument("--n", type=whole_number, default=60, help="clips to time, evenly from all (60)")
    parser.add_argument("--archive", type=whole_numbers, default="119154,1000000", help="clips of the archive")
    parser.add_argument("--cores", type=whole_numbers, default="10,100,1000", help="of the cluster")
    parser.add_argument(
        "--long-share", type=share, metavar="SHARE", help="of the archive's clips so many are long; else as timed"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as extract.chunk_s=60")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.errors import UserError
    from deepfake.media.listing import find_videos
    from deepfake.settings_file import default_config
    from lab import cluster_simulation as paper

    if args.timings is not None:
        timings = paper.read_timings(args.timings)
    else:
        found = find_videos(args.clips)
        chosen = [found[i * len(found) // args.n] for i in range(args.n)] if args.n < len(found) else found
        settings = default_config(args.set).extract
        made = paper.measure(chosen, settings, lambda text: print(text, file=sys.stderr, flush=True))
        timings = paper.write_timings(made, args.keep) if args.keep is not None else list(made)
        if not timings:
            raise UserError(f"{args.clips}: no video there could be read; wanted at least one")
    print(paper.about(timings))
    print("\n" + paper.table(timings, args.archive, args.cores, args.long_share))
    print("\n" + paper.moved(timings, args.archive, args.long_share))
