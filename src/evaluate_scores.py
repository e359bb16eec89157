"""Measure a CSV of scores against a CSV of labels: every metric, whole and by group, with intervals."""

import argparse
import json
from pathlib import Path

from deepfake.cli import guarded


def main() -> None:
    """Read both files, print the tables, write the JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="filename (or file, video_id) and p_fake (or label)")
    parser.add_argument("--labels", type=Path, required=True, help="file or filename, label (REAL/FAKE or 0/1), ...")
    parser.add_argument("--group", default="", help="columns of the labels, such as family,source: one table each")
    parser.add_argument("--json", type=Path, help="write everything there, too")
    arguments = parser.parse_args()

    from deepfake import evaluation
    from deepfake.config import Ensemble, Validation
    from deepfake.files import write_whole

    matched = evaluation.match(evaluation.read_scores(arguments.scores), evaluation.read_labels(arguments.labels))
    columns = [name.strip() for name in arguments.group.split(",") if name.strip()]
    result = evaluation.evaluate(matched, columns, Validation(), Ensemble().clip_p)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(arguments.json, (text + "\n").encode())
    print(evaluation.text_report(result), end="")


if __name__ == "__main__":
    guarded(main)
