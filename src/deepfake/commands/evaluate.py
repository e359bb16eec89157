"""Measure a CSV of scores against a CSV of labels: every metric, whole and by group, with intervals."""

import argparse
import json
from pathlib import Path

from deepfake.commands.arguments import output_file

EXTRA = "evaluate"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="filename (or file, video_id) and p_fake (or label)")
    parser.add_argument("--labels", type=Path, required=True, help="file or filename, label (REAL/FAKE or 0/1), ...")
    parser.add_argument("--group", default="", help="columns of the labels, such as family,source: one table each")
    parser.add_argument("--json", type=output_file, help="write everything there, too")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.evaluation.evaluate import evaluate
    from deepfake.evaluation.labelled import match, read_labels, read_scores
    from deepfake.evaluation.text_tables import text_report
    from deepfake.files import write_whole
    from deepfake.outputs import refuse_inputs
    from deepfake.settings import Ensemble, Validation

    refuse_inputs(args.json, [args.scores, args.labels])
    matched = match(read_scores(args.scores), read_labels(args.labels))
    columns = [name.strip() for name in args.group.split(",") if name.strip()]
    result = evaluate(matched, columns, Validation(), Ensemble().clip_p)
    if args.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(args.json, (text + "\n").encode())
    print(text_report(result), end="")
