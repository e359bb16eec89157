"""Measure networks by left-out sources: all labelled clips and crops, folded by publisher, person and generator.

--left-out: what `python -m lab left-out-scores` wrote of a run that learnt from clips which are measured on.
--run NAME or NAME/STEP, several times: each is a candidate, and with --together all of them as one. --learnt-reals and
--learnt-fakes name the splits whose real and forged clips a network learnt from; they are left out. A network that
learnt from real pictures alone has every forged clip to be measured on. Clips of split `fresh` are never read here.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake.commands.arguments import trial_parser, two_or_more, whole_number

if TYPE_CHECKING:
    from deepfake.settings import Config
    from lab.labelled_crops import Asked


def arguments() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=two_or_more, default=5, metavar="N", help="(5)")
    parser.add_argument("--together", action="store_true", help="all runs as one candidate, too")
    return parser


def parser_of(description: str | None, needs_run: bool = True) -> argparse.ArgumentParser:
    from pathlib import Path

    parser = trial_parser(description, needs_run)
    parser.add_argument("--crops", type=Path, metavar="CSV", help="further clips, of which crops are there")
    parser.add_argument("--learnt-reals", nargs="*", default=["train"], metavar="SPLIT", help="(train)")
    parser.add_argument("--learnt-fakes", nargs="*", default=[], metavar="SPLIT", help="(none)")
    parser.add_argument("--frames", type=whole_number, default=8, metavar="N", help="of a track (8)")
    parser.add_argument(
        "--left-out", type=Path, metavar="FILE", help="scores of runs by networks that did not learn from the clips"
    )
    return parser


def asked_of(args: argparse.Namespace, config: Config) -> Asked:
    from deepfake.detector.left_out_scores import read_scores
    from deepfake.training.train import run_network
    from lab.labelled_crops import Asked

    runs = {name: run_network(config.run_dir.parent, name) for name in args.run}
    members = [name.replace("/", "-") for name in runs]
    left_out = None if args.left_out is None else read_scores(args.left_out, members)
    return Asked(runs, args.frames, args.cache, args.learnt_reals, args.learnt_fakes, left_out)


def run(args: argparse.Namespace) -> None:
    from deepfake.settings_file import load_config
    from deepfake.training.source_groups import deal_folds
    from lab.cross_validation import HEADER, as_markdown, cross_validate, decisions_line, describe_groups
    from lab.labelled_crops import known_clips

    config = load_config(args.config, args.set)
    clips, tracks = known_clips(args.clips, args.labels, args.crops, asked_of(args, config), config)
    folds = deal_folds(clips, args.folds)
    print(f"{describe_groups(clips, folds)}\n\n{HEADER}")
    candidates = {name: tracks.of_members([name]) for name in args.run}
    if args.together and len(args.run) > 1:
        candidates[" + ".join(args.run)] = tracks
    reports = {name: cross_validate(clips, members, folds, config.ensemble) for name, members in candidates.items()}
    print("\n".join(as_markdown(name, report) for name, report in reports.items()) + "\n")
    print("\n".join(decisions_line(name, report) for name, report in reports.items()))
