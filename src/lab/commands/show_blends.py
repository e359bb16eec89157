"""Draw what learning by forging shows: a PNG with a row for each family of fakes.

A row: the real picture, its fake, the mask, their difference, and both as the network sees them after damage.
With --clip a row is a forged clip: six of its frames, below them what was changed.
The pictures are of real people: look at the sheet, do not publish it.
"""

import argparse
from pathlib import Path

from deepfake.commands.arguments import natural_number, output_file, whole_number
from deepfake.errors import UserError


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings with frames.selfblend")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE.png", help="where the sheet goes")
    parser.add_argument("--pairs", type=whole_number, default=1, metavar="N", help="rows of each family (1)")
    parser.add_argument("--clip", action="store_true", help="forged clips, as stage 05 learns from them")
    parser.add_argument("--seed", type=natural_number, default=0, metavar="S", help="another seed, other pictures (0)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the items of each family, draw them, write the sheet."""
    from deepfake.settings_file import load_config

    if args.out.suffix.lower() != ".png":
        raise UserError(f"--out {args.out}: wanted a file with the ending .png")
    config = load_config(args.config)
    from deepfake.files import write_whole
    from deepfake.forging.families import FAMILIES
    from deepfake.forging.mixture import read_mixture
    from deepfake.forging.track_forger import show_pairs
    from lab.contact_sheet import clip_sheet, png, sheet

    if args.clip:
        picture = clip_sheet(show_pairs(config, args.pairs, args.seed))
    else:
        mixtures = [read_mixture(config, args.seed, {family: 1.0}) for family in FAMILIES]
        picture = sheet([one.make((i, pair)) for i, one in enumerate(mixtures) for pair in range(args.pairs)])
    write_whole(args.out, png(picture))
    print(
        f"{args.pairs * len(FAMILIES)} {'clips' if args.clip else 'pairs'} of {len(FAMILIES)} families\n  -> {args.out}"
    )
