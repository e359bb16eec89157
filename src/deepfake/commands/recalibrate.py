"""Calibrate a detector file anew on labelled clips its networks never learnt from; the networks stay as they are.

By sources: calibration and band come from left-out groups of publishers, people and ways of forging, of all --clips
and --crops together. A verdict is given only where it keeps its promise on them; what was found stands in the file
and on every page that is made with it. Clips that helped to choose the networks flatter them: --report measures such
clips and fits nothing to them; fit to them only where the others alone are too few kinds to learn a slope from, and say
so. Clips that a member learnt from do only with --left-out: scores of that member by trainings that left their sources
out (`python -m lab left-out-scores`).

By people: weights, calibration and band by halves of the people. That promises nothing for other sources.

No other crops are cut: extraction is the file's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import output_file, output_folder
from deepfake.errors import UserError
from deepfake.files import default_cache

if TYPE_CHECKING:
    from deepfake.detector.recalibration import Refit

MOVED = 0.005  # of p_fake: from here on a change is printed

EXTRA = "train"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="folder of labelled clips")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="of these: file, label, source, identity, ...")
    parser.add_argument("--crops", type=Path, metavar="CSV", help="further clips, of which crops are there")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="which splits of these")
    parser.add_argument(
        "--left-out", type=Path, metavar="FILE", help="scores of members by networks that did not learn from the clips"
    )
    parser.add_argument("--by", choices=["sources", "people"], default="sources", help="what is left out (sources)")
    parser.add_argument("--report", nargs=2, type=Path, metavar=("DIR", "CSV"), help="clips to be measured only")
    parser.add_argument("--out", type=output_file, required=True, metavar="FILE", help="detector file to write")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.models.detector_file import shipped_weights
    from deepfake.outputs import refuse_inputs

    _refuse_halves(args)
    refuse_inputs(args.out, [p for p in (args.labels, args.crops, args.left_out, *(args.report or [])) if p])
    path = args.weights or shipped_weights()
    _by_people(args, path) if args.by == "people" else _by_sources(args, path)


def _refuse_halves(args: argparse.Namespace) -> None:
    """Raise UserError where of two arguments that belong together one is missing."""
    if (args.clips is None) != (args.labels is None):
        raise UserError("--clips and --labels belong together: a folder and the CSV with its labels")
    if (args.crops is None) != (args.splits is None):
        raise UserError("--crops and --splits belong together: a CSV, and which of its splits the networks do not know")
    if args.left_out is not None and args.by == "people":
        raise UserError("--left-out: wanted with --by sources; halves of the people know no left-out sources")
    if args.clips is None and (args.crops is None or args.by == "people"):
        raise UserError(f"no labelled clips given: wanted --clips{'' if args.by == 'people' else ' or --crops'}")


def _by_people(args: argparse.Namespace, path: Path) -> None:
    from deepfake.detector import file, fitting, recalibration
    from deepfake.settings import Predict

    asked = recalibration.ask(path, args.clips, args.labels, args.cache)
    refitted = recalibration.refit(asked.detector, asked.networks, asked.clips, Predict())
    print(f"{fitting.HEADER}\n{refitted.trial.row(' + '.join(refitted.after.members), '-')}")
    _print_changes(refitted)
    file.write_stack(path, args.out, refitted.after)
    print(f"{args.out}: the networks of {path} with the new stack")


def _print_changes(refitted: Refit) -> None:
    from deepfake.detector.check import level_of

    levels = []
    for what, stack in (("before", refitted.before), ("after", refitted.after)):
        p = stack.p_fake(refitted.tracks)
        levels.append([level_of(float(one), *stack.band) for one in p])
        print(f"{what}: {stack.to_dict()}")
    several, moved = refitted.changed(MOVED)
    changed = [
        f"{video_id} {before} -> {after}"
        for video_id, before, after in zip(refitted.tracks.video_ids, *levels, strict=True)
        if before != after
    ]
    print(f"{several} clips have two tracks or more; p_fake of {moved} of them moves by more than {MOVED}")
    print(f"{len(changed)} of {len(levels[0])} verdicts change{''.join(chr(10) + '  ' + line for line in changed)}")


def _by_sources(args: argparse.Namespace, path: Path) -> None:
    from deepfake.detector import by_sources, file, listed_crops, recalibration
    from deepfake.detector.left_out_scores import read_scores
    from deepfake.ensemble.promise import Rule, sentences
    from deepfake.settings import Predict

    detector, predict = file.open_detector(path, Predict()), Predict()
    networks = recalibration.networks_sha256(path)
    sets = [] if args.clips is None else [recalibration.extracted(detector, args.clips, args.labels, args.cache)]
    if args.crops is not None:
        sets.append(listed_crops.read_crops(args.crops, args.splits, detector.extract, args.cache))
    left_out = None if args.left_out is None else read_scores(args.left_out, detector.stack.members)
    known = by_sources.measured(detector, networks, sets, predict, left_out)
    made = by_sources.refit(detector.stack, known, detector.ensemble)
    promise, after = made.found.promise, made.found.stack
    print(by_sources.compared(known, detector.stack, made.found.decisions, made.found.p, detector.ensemble))
    print(f"before: {detector.stack.to_dict()}\nafter: {after.to_dict()}")
    rule = Rule(detector.ensemble.error_rate, detector.ensemble.fake_share)
    print("\n".join(sentences(promise, rule)))
    if args.report:
        folder, labels_csv = args.report
        clips = recalibration.extracted(detector, folder, labels_csv, args.cache)
        told = by_sources.measured(detector, networks, [clips], predict)
        p = after.p_fake(told.tracks)
        decisions = by_sources.decisions_of(p, after.band)
        print(f"{folder}, nothing fitted to it:")
        print(by_sources.compared(told, detector.stack, decisions, p, detector.ensemble))
    file.write_stack(path, args.out, after, promise)
    print(f"{args.out}: the networks of {path} with the new calibration, band and promise")
