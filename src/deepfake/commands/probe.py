"""Describe video files: streams, sizes, frame times, damage, and which decoder may be trusted with them. JSON."""

import argparse
import dataclasses
import json
from pathlib import Path


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path, metavar="FILE", help="video file")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.errors import UserError
    from deepfake.media.demux import VideoError
    from deepfake.media.video import probe

    try:
        probes = [dataclasses.asdict(probe(path)) for path in args.videos]
    except VideoError as error:
        raise UserError(str(error)) from None
    print(json.dumps(probes if len(probes) > 1 else probes[0], indent=1, default=str))
