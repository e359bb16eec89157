"""MTCNN by ONNX Runtime beside facenet-pytorch in torch, on real pictures and drawn ones.

Wanted: the same faces, boxes and landmarks within half a pixel, scores within 1e-3; else the exit code is 1. Also
milliseconds of a processor for a picture whose longer side is at most --side-px, and, with --crops, how many crops of
so many clips are the same to the last byte.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import natural_number, whole_number


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pictures", type=Path, nargs="*", default=[], metavar="DIR", help="folders of real photos and clips"
    )
    parser.add_argument(
        "--n", type=whole_number, default=200, help="pictures of each folder at most, spread evenly (200)"
    )
    parser.add_argument("--generated", type=natural_number, default=50, help="drawn ones (50)")
    parser.add_argument("--side-px", type=whole_number, default=640, help="longer side of a picture (640)")
    parser.add_argument(
        "--crops", type=natural_number, default=0, metavar="N", help="extract so many of the clips, by both (0)"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    from lab import mtcnn_equality as equality

    compared = [equality.compare("drawn", equality.generated_pictures(args.generated))]
    for root in args.pictures:
        compared.append(equality.compare(root.name, equality.real_pictures(root, args.n, args.side_px)))
    print(equality.table(compared))
    if args.crops:
        clips = equality.spread([path for root in args.pictures for path in equality.clips_of(root)], args.crops)
        crops = equality.compare_crops(clips)
        print(f"\n{len(clips)} clips: {crops.n_same} of {crops.n} crops are the same to the last byte")
    return 1 if any(kind.n_different for kind in compared) else 0
