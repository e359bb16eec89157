"""An evaluation as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deepfake.evaluation import metrics
from deepfake.evaluation.labelled import _some
from deepfake.files import printable


def text_report(result: Mapping[str, Any]) -> str:
    """The evaluation as text for a terminal."""
    lines = [
        f"{result['n_videos']} videos: {result['n_real']} real, {result['n_fake']} fake. "
        f"Intervals: 95 %, {result['n_resamples']} resamples of {result['n_resampled']} groups "
        f"(one {result['resampled_by']} each)."
    ]
    for key, words in (("unscored", "have a label but no score"), ("unlabelled", "have a score but no label")):
        if result[key]:
            lines.append(f"{len(result[key])} videos {words}: {_some(result[key])}")
    lines += [f"~ marks an interval with fewer than {metrics.FEW_GROUPS} groups behind it: a rough guess, too narrow."]
    lines += ["", *_overall_lines(result["metrics"])]
    for column, rows in result["groups"].items():
        lines += ["", f"By {column} (fakes of the group against all {result['n_real']} reals)", *_group_lines(rows)]
    return "\n".join(lines) + "\n"


def show(measure: Mapping[str, Any], digits: int = 3) -> str:
    """A measure as `0.912 [0.881, 0.940]`, with ~ where few groups stand behind it; a dash where there is no number."""
    if measure["value"] is None:
        return "inf" if str(measure["reason"]).startswith("infinite") else "-"
    text = f"{measure['value']:.{digits}f}"
    if measure["low"] is not None:
        few = "~" if measure["n_groups"] < metrics.FEW_GROUPS else ""
        text += f" [{measure['low']:.{digits}f}, {measure['high']:.{digits}f}]{few}"
    return text


def _overall_lines(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = []
    for name, measure in measures.items():
        metric = metrics.BY_NAME[name]
        notes = [metric.meaning, measure["reason"] or measure["interval_reason"] or ""]
        rows.append([metric.title, show(measure), "; ".join(note for note in notes if note)])
    return aligned([["metric", "value [95 %]", "meaning"], *rows], "llx")


def _group_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = ("roc_auc", "pr_auc", "eer", "recall", "balanced_log_loss", "false_alarm_rate", "mean_p_real")
    table = [["value", "fakes", "reals", *(metrics.BY_NAME[name].title for name in shown)]]
    for row in rows:
        cells = [show(row["metrics"][name]) for name in shown]
        table.append([row["value"] or "(empty)", str(row["n_fake"]), str(row["n_real"]), *cells])
    return aligned(table, "lrr" + "l" * len(shown))


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Columns of one width each: l(eft), r(ight), x: last and free."""
    clean = [[" ".join(printable(cell, " ").split()) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in clean) for i in range(len(sides))]
    lines = []
    for row in clean:
        cells = [
            cell if side == "x" else cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "-" * max(len(line) for line in lines[:1]), *lines[1:]]
