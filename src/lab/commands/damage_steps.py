"""Damage clips step by step and check each: p_fake must come nearer to the prior, never past it -> damage.csv, a table.

Each clip's first 4 s are blurred (sigma 2.2, 4.2, 6.2, 10.2 px), shrunk (1/2, 1/4, 1/6), cut to two frames and one,
darkened (to .35, .15) and encoded at CRF 45; a clip whose verdict is turned into its opposite makes the exit code 1.
Stopped and started again it goes on where it was.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import output_folder


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="such as fakes that are found forged")
    parser.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where table and clips go")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="detector file (the one in data/weights)")
    return parser


def run(args: argparse.Namespace) -> int:
    from deepfake.detector.file import open_detector
    from deepfake.files import sha256_of, write_whole
    from deepfake.models.detector_file import shipped_weights
    from deepfake.settings import Predict
    from deepfake.stages import alone
    from lab import damage_steps

    weights = args.weights or shipped_weights()
    with alone(args.out):
        detector = open_detector(weights, Predict())
        found = list(damage_steps.check_steps(args.clips, detector, sha256_of(weights), args.out))
        prior = detector.stack.prior
        steps = damage_steps.in_order(found)
        write_whole(args.out / "damage.csv", damage_steps.as_csv(steps, prior))
        print(f"{damage_steps.as_markdown(steps, prior)}\n  -> {args.out / 'damage.csv'}")
    return 1 if damage_steps.turned(steps, prior) else 0
