"""Measure how strongly scores depend on where videos come from: on columns of the labels, and on facts of the files.

For the reals and for the fakes: the share of the variance between the values of a column, or the rank correlation
with a column of numbers, beside what shuffles of people give by chance.
"""

import argparse
import json
from pathlib import Path

from deepfake.commands.arguments import output_file


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="filename (or file, video_id) and p_fake (or label)")
    parser.add_argument("--labels", type=Path, required=True, help="file or filename, label (REAL/FAKE or 0/1), ...")
    parser.add_argument("--columns", required=True, metavar="NAME,NAME", help="of the labels, such as source,width")
    parser.add_argument(
        "--videos", type=Path, metavar="DIR", help="the videos: adds bits_per_pixel, width_px, fps, codec, ..."
    )
    parser.add_argument("--json", type=output_file, help="write everything there, too")
    return parser


def run(args: argparse.Namespace) -> None:
    from deepfake.evaluation.labelled import match, read_labels, read_scores
    from deepfake.files import write_whole
    from deepfake.outputs import refuse_inputs
    from deepfake.settings import Ensemble, Validation
    from lab.dependence import dependence_report, measure_dependence, with_facts

    refuse_inputs(args.json, [args.scores, args.labels])
    matched = match(read_scores(args.scores), read_labels(args.labels))
    if args.videos is not None:
        matched = with_facts(matched, args.videos)
    columns = [name.strip() for name in args.columns.split(",") if name.strip()]
    result = {
        words: measure_dependence(matched, label, columns, Validation().seed, Ensemble().clip_p)
        for words, label in (("real", 0), ("fake", 1))
    }
    if args.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(args.json, (text + "\n").encode())
    print(dependence_report(result), end="")
