"""Measure a CSV of scores, or the evidence of checks, against a CSV of labels, whole and by group, with intervals.

With --evidence: how many real and forged videos have each kind of sign, and what its strength is worth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfake.commands.arguments import output_file

EXTRA = "evaluate"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--scores", type=Path, help="filename (or file, video_id) and p_fake (or label)")
    what.add_argument(
        "--evidence", type=Path, nargs="+", metavar="F", help="JSON of `deepfake check --evidence`: files, or a folder"
    )
    parser.add_argument("--labels", type=Path, required=True, help="file or filename, label (REAL/FAKE or 0/1), ...")
    parser.add_argument("--group", default="", help="columns of the labels, such as family,source: one table each")
    parser.add_argument("--json", type=output_file, help="write everything there, too")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.outputs import refuse_inputs

    refuse_inputs(args.json, [*([args.scores] if args.scores else args.evidence), args.labels])
    result, text = _of_evidence(args) if args.evidence else _of_scores(args)
    if args.json:
        from deepfake.files import write_whole

        written = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(args.json, (written + "\n").encode())
    print(text, end="")


def _of_scores(args: argparse.Namespace) -> tuple[Mapping[str, Any], str]:
    from deepfake.evaluation.evaluate import evaluate
    from deepfake.evaluation.labelled import match, read_labels, read_scores
    from deepfake.evaluation.text_tables import text_report
    from deepfake.settings import Ensemble, Validation

    matched = match(read_scores(args.scores), read_labels(args.labels))
    columns = [name.strip() for name in args.group.split(",") if name.strip()]
    result = evaluate(matched, columns, Validation(), Ensemble().clip_p)
    return result, text_report(result)


def _of_evidence(args: argparse.Namespace) -> tuple[Mapping[str, Any], str]:
    from deepfake.errors import UserError
    from deepfake.evaluation.labelled import read_labels
    from deepfake.evidence.measured import measure_signs, read_evidence, text_of
    from deepfake.settings import Validation

    if args.group:
        raise UserError(f"--group {args.group}: with --evidence there are no groups; leave it out, or give --scores")
    result = measure_signs(read_evidence(args.evidence), read_labels(args.labels), Validation())
    return result, text_of(result)
