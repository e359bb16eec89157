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
    parser.add_argument(
        "--dependence",
        default="",
        help="columns of the labels, such as source,width: how strongly the scores depend on them",
    )
    parser.add_argument(
        "--videos",
        type=Path,
        help="folder of the videos: adds bits_per_pixel, width_px, fps, codec, ... to --dependence",
    )
    parser.add_argument("--json", type=Path, help="write everything there, too")
    arguments = parser.parse_args()

    from deepfake import evaluation
    from deepfake.config import Ensemble, Validation
    from deepfake.dependence import measure_dependence, with_facts
    from deepfake.files import write_whole

    matched = evaluation.match(evaluation.read_scores(arguments.scores), evaluation.read_labels(arguments.labels))
    settings, clip_p = Validation(), Ensemble().clip_p
    if arguments.videos is not None:
        matched = with_facts(matched, arguments.videos)
    result = evaluation.evaluate(matched, _names(arguments.group), settings, clip_p)
    if columns := _names(arguments.dependence):
        result["dependence"] = {
            words: measure_dependence(matched, label, columns, settings.seed, clip_p)
            for words, label in (("real", 0), ("fake", 1))
        }
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(arguments.json, (text + "\n").encode())
    print(evaluation.text_report(result), end="")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    guarded(main)
