"""Ask the clips kept for confirmation (split `fresh` of --crops) about one candidate: all --run together, or a file.

--weights: a detector's file as it is, with its own calibration and band; nothing is fitted then.

Only with --ask-fresh WHY; the row is written to submissions/ablations.md before it is shown. Without it, says how often
they have been asked. Choose by `python -m lab cross-validate`, whose flags these are.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import output_file
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from lab.commands.cross_validate import asked_of, parser_of

if TYPE_CHECKING:
    from deepfake.settings import Config
    from lab.confirmation import Confirmed


def arguments() -> argparse.ArgumentParser:
    parser = parser_of(__doc__, needs_run=False)
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a detector's file, in place of --run")
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
    from deepfake.settings_file import load_config
    from lab.confirmation import HEADER, append_asking, refuse_unasked

    if bool(args.run) == (args.weights is not None):
        raise UserError("confirm: wanted either --run, once or more, or --weights")
    if args.run and None in (args.config, args.clips, args.labels):
        raise UserError("confirm: --run wants --config, --clips and --labels, too: its calibration is fitted on them")
    refuse_unasked(args.log, bool(args.ask_fresh))
    if args.crops is None:
        raise UserError("confirm: --crops is not given, and it holds the clips kept for confirmation")
    found = _of_runs(args, load_config(args.config, args.set)) if args.run else _of_file(args)
    candidate = " + ".join(args.run) or f"{args.weights.name}, as it is"
    row = append_asking(args.log, datetime.date.today().isoformat(), candidate, args.ask_fresh, found)
    print(f"{HEADER}\n{row}")


def _of_runs(args: argparse.Namespace, config: Config) -> Confirmed:
    from lab.confirmation import confirm
    from lab.labelled_crops import fresh_clips, known_clips

    asked = asked_of(args, config)
    known, known_tracks = known_clips(args.clips, args.labels, args.crops, asked, config)
    fresh, fresh_tracks = fresh_clips(args.crops, asked, config)
    return confirm(known, known_tracks, fresh, fresh_tracks, config.ensemble)


def _of_file(args: argparse.Namespace) -> Confirmed:
    from deepfake.detector import by_sources, recalibration
    from deepfake.detector.file import open_detector
    from deepfake.detector.listed_crops import read_crops
    from deepfake.settings import Predict
    from lab.confirmation import confirm_stack
    from lab.labelled_crops import FRESH

    detector = open_detector(args.weights, Predict())
    clips = read_crops(args.crops, [FRESH], detector.extract, args.cache)
    networks = recalibration.networks_sha256(args.weights)
    fresh = by_sources.measured(detector, networks, [clips], Predict())
    return confirm_stack(fresh.clips, fresh.tracks, detector.stack, detector.ensemble)
