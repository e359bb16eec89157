"""Measure how many frames a detector needs on labelled clips -> frames.csv, .png and .svg, and a table.

AUC, log loss (calibrated on the other half of the people) and processor seconds for 1 to 64 frames of every sampling
mode, with early exit off, on and forced (its margin is chosen on the other half of the people, too), and with skip
gates. Each mode is extracted and shown to the networks once, at the most frames. Stopped and started again it goes
on where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import grey_levels, output_folder, whole_number, whole_numbers
from deepfake.files import default_cache

MODES = ("reference", "uniform", "keyframe", "adaptive", "shot_aware", "fps")
FRAMES = [1, 2, 4, 8, 16, 32, 64]
SKIPS = [0.5, 1.0, 2.0, 4.0, 8.0]


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, required=True, metavar="CSV", help="file, label, identity")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where curve and notes go")
    parser.add_argument("--frames", type=whole_numbers, default=FRAMES, metavar="N,N", help=f"({FRAMES})")
    parser.add_argument("--skip", type=grey_levels, default=SKIPS, metavar="X,X", help=f"grey levels ({SKIPS})")
    parser.add_argument("--sampling", default=",".join(MODES), metavar="MODE,MODE", help=f"({','.join(MODES)})")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    parser.add_argument("--limit", type=whole_number, metavar="N", help="so many clips, half of them real (all)")
    parser.add_argument("--workers", type=whole_number, default=2, help="processes that find faces (2)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="predict.*, validation.*")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import default_config

    config = default_config(args.set)
    from deepfake.models.detector_file import shipped_weights
    from deepfake.stages import alone
    from lab.frames_curve import as_markdown, write
    from lab.frames_sweep import Wanted, sweep_modes

    places = (args.clips, args.labels, args.sampling.split(","), args.frames, args.cache, args.workers, args.out)
    wanted = Wanted(*places, args.skip, args.limit)
    with alone(args.out):
        for points in sweep_modes(args.weights or shipped_weights(), wanted, config):
            write(points, args.out)
        print(f"{as_markdown(points)}\n\n  -> {args.out / 'frames.csv'}, .png, .svg")
