"""Ask the clips kept for confirmation (split `fresh` of --crops) about one candidate: all --run together.

Only with --ask-fresh WHY; the row is written to submissions/ablations.md before it is shown. Without it, says how often
they have been asked. Choose by `python -m lab cross-validate`, whose flags these are.
"""

import argparse
import datetime

from deepfake.commands.arguments import output_file
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from lab.commands.cross_validate import asked_of, parser_of


def arguments() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--ask-fresh", metavar="WHY", help="ask, and log that it was done and why")
    parser.add_argument(
        "--log",
        type=output_file,
        default=str(PROJECT_ROOT / "submissions/ablations.md"),
        metavar="FILE",
        help="where the row goes",
    )
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.detector.source_groups import deal_folds
    from deepfake.settings_file import load_config
    from lab.confirmation import HEADER, append_asking, confirm, refuse_unasked
    from lab.labelled_crops import fresh_clips, known_clips

    config = load_config(args.config, args.set)
    refuse_unasked(args.log, bool(args.ask_fresh))
    if args.crops is None:
        raise UserError("confirm: --crops is not given, and it holds the clips kept for confirmation")
    asked = asked_of(args, config)
    known, known_tracks = known_clips(args.clips, args.labels, args.crops, asked, config)
    fresh, fresh_tracks = fresh_clips(args.crops, asked, config)
    found = confirm(known, known_tracks, deal_folds(known, args.folds), fresh, fresh_tracks, config.ensemble)
    row = append_asking(args.log, datetime.date.today().isoformat(), " + ".join(args.run), args.ask_fresh, found)
    print(f"{HEADER}\n{row}")
