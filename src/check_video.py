"""Check one video with the shipped detector -> verdict, per face and per second, as text and JSON.

The text goes to the screen, the JSON beside the other checks in data/work/checks (or to --json;
`--json -` prints it instead of the text). With --probe the file is only described: packets, frames,
codec, and what each decoder may be trusted with.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from deepfake.cli import guarded
from deepfake.config import PROJECT_ROOT, UserError


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="video file")
    parser.add_argument("--json", metavar="FILE", help="where the JSON goes; - is the screen")
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=Path, default=PROJECT_ROOT / "data/work/predict", help="where crops are kept")
    parser.add_argument("--probe", action="store_true", help="describe the file and stop")
    return parser.parse_args()


def describe(path: Path) -> None:
    from deepfake.video import VideoError, probe

    try:
        found = dataclasses.asdict(probe(path))
    except VideoError as error:
        raise UserError(str(error)) from None
    print(json.dumps(found, indent=1, default=str))


def main() -> None:
    args = parse()
    if not args.video.is_file():
        kind = "is a folder; use predict_folder.py" if args.video.is_dir() else "does not exist"
        raise UserError(f"video {str(args.video)!r} {kind}")
    if args.probe:
        return describe(args.video)
    from deepfake.bundle import find_weights, load_detector
    from deepfake.files import sha256_of, write_whole
    from deepfake.verdict import check_text, check_video

    weights = args.weights or find_weights(PROJECT_ROOT / "data/weights")
    found = check_video(args.video, load_detector(weights), sha256_of(weights), args.cache)
    text = json.dumps(found, indent=1) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
        return None
    out = Path(args.json or PROJECT_ROOT / "data/work/checks" / f"{found['sha256'][:16]}.json")
    write_whole(out, text.encode())
    print(f"{check_text(found)}\n  all of it: {out}")
    return None


if __name__ == "__main__":
    guarded(main)
