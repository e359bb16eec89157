"""Scores of any detector against labels: match names, measure the whole and each group, lay out tables.

`read_scores` and `read_labels` take the CSV files people have; `evaluate` takes what they give.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from deepfake import labels, metrics
from deepfake.config import UserError, Validation, digest
from deepfake.files import printable

SCORE_COLUMNS = ("p_fake", "label")
SHOWN = 5


@dataclass(frozen=True)
class Labelled:
    """One video of the labels file: its name, 1 for fake, and all columns as text."""

    name: str
    label: int
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Matched:
    """Labels with their scores, and the names that found no partner."""

    videos: list[Labelled]
    p: np.ndarray
    unscored: list[str]
    unlabelled: list[str]

    @property
    def labels(self) -> np.ndarray:
        """1 for fake, in the order of `videos`."""
        return np.array([video.label for video in self.videos])


def read_scores(path: Path) -> dict[str, float]:
    """p_fake by video of a CSV with filename, file or video_id and p_fake or label, all in 0..1."""
    table = labels.read_table(path, labels.NAME_HEADINGS, SCORE_COLUMNS)
    name_column, score_column = table.heading(labels.NAME_HEADINGS), table.heading(SCORE_COLUMNS)
    scores: dict[str, float] = {}
    for row in table.rows:
        name = labels.name_of(row.cells[name_column], table.where(row))
        if name in scores:
            raise UserError(f"{table.where(row)}: {name!r} stands there twice; give one score a video")
        scores[name] = _score(row.cells[score_column], f"{table.where(row)}: {name!r}")
    if not scores:
        raise UserError(f"{path} has headings but no videos")
    return scores


def read_labels(path: Path) -> list[Labelled]:
    """Videos of a labels file (`labels.read_labels`), each with a label; other columns are kept."""
    videos = []
    for found in labels.read_labels(path):
        if found.label is None:
            raise UserError(f"{path} line {found.row.line}: {found.name!r} has no label; wanted REAL, FAKE, 0 or 1")
        videos.append(Labelled(found.name, found.label, found.row.cells))
    if not videos:
        raise UserError(f"{path} has headings but no videos")
    return videos


def match(scores: Mapping[str, float], labelled: Sequence[Labelled]) -> Matched:
    """Join by whole name; else where one name ends with the other; else by a base name both files have once."""
    partner = {video.name: video.name for video in labelled if video.name in scores}
    scored_by_base = _by_base(scores)
    labelled_by_base = _by_base(video.name for video in labelled)
    for name in (video.name for video in labelled if video.name not in partner):
        base = PurePosixPath(name).name
        alike = [other for other in scored_by_base.get(base, []) if other not in labelled_by_base[base]]
        near = [other for other in alike if _ends_with(name, other)]
        rivals = [label for label in labelled_by_base[base] if any(_ends_with(label, other) for other in near)]
        if len(near) > 1 or len(rivals) > 1:
            raise UserError(
                f"{base!r} is ambiguous: scores have {_some(near)}, labels have {_some(rivals)}; "
                "give both files the same paths"
            )
        if near or (alike and len(scored_by_base[base]) == len(labelled_by_base[base]) == 1):
            partner[name] = (near or alike)[0]
    if not partner:
        raise UserError(
            f"no score matches a label: scores have {_some(list(scores))}, "
            f"labels have {_some([video.name for video in labelled])}"
        )
    videos = [video for video in labelled if video.name in partner]
    used = set(partner.values())
    return Matched(
        videos,
        np.array([scores[partner[video.name]] for video in videos]),
        [video.name for video in labelled if video.name not in partner],
        [name for name in scores if name not in used],
    )


def pair(names: Iterable[str], labelled: Sequence[Labelled]) -> tuple[list[tuple[Labelled, str]], list[str]]:
    """Labelled videos with the one of `names` each belongs to, by the rules of `match`; and names without a label."""
    known = list(names)
    # Numbers in place of scores: they say which name a label was matched to.
    found = match({name: float(number) for number, name in enumerate(known)}, labelled)
    return [(video, known[int(number)]) for video, number in zip(found.videos, found.p, strict=True)], found.unlabelled


def evaluate(matched: Matched, group_columns: Sequence[str], settings: Validation, clip_p: float) -> dict[str, Any]:
    """Every metric of the whole and of each value of each group column, as plain values for JSON.

    A group's fakes are measured against all reals; of its own reals come false alarms and mean p_fake.
    """
    check_columns(matched, group_columns, "--group")
    labels, p = matched.labels, matched.p
    resampled_by, groups = bootstrap_groups(matched.videos)
    values = {column: [video.columns[column].strip() for video in matched.videos] for column in group_columns}
    overall = metrics.measure(labels, p, groups, settings, clip_p)
    return {
        "n_videos": len(labels),
        "n_real": int((labels == 0).sum()),
        "n_fake": int(labels.sum()),
        "resampled_by": resampled_by,
        "n_resampled": len(set(groups)),
        "n_resamples": settings.bootstrap,
        "clip_p": clip_p,
        "unscored": matched.unscored,
        "unlabelled": matched.unlabelled,
        "metrics": {name: measure.to_dict() for name, measure in overall.items()},
        "groups": {
            column: measure_groups(labels, p, groups, values[column], settings, clip_p) for column in group_columns
        },
    }


def check_columns(matched: Matched, wanted: Iterable[str], flag: str) -> None:
    """UserError for a column that the labels do not have; `flag` is what asked for it."""
    columns = list(matched.videos[0].columns)
    for column in wanted:
        if column not in columns:
            near = difflib.get_close_matches(column, columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(columns)}"
            raise UserError(f"{flag} {column}: the labels have no such column; {hint}")


def measure_groups(
    labels: np.ndarray,
    p: np.ndarray,
    groups: Sequence[str],
    values: Sequence[str],
    settings: Validation,
    clip_p: float,
    against_all_reals: bool = True,
) -> list[dict[str, Any]]:
    """One row per value: all metrics of its fakes and of its reals.

    `against_all_reals`: a value's fakes stand against every real there is (a kind of forgery has no
    reals of its own); otherwise against the reals of the same value (a part, a face size).
    """
    rows = []
    names, resampled = np.array(values, dtype=object), np.array(groups, dtype=object)
    for value in sorted(set(values), key=_natural):
        own = names == value
        n_fake, n_real = int(labels[own].sum()), int((labels[own] == 0).sum())
        forged = (own & (labels == 1)) | (labels == 0) if against_all_reals and n_fake else own
        found = metrics.measure(labels[forged], p[forged], resampled[forged], settings, clip_p)
        found = _without_lone_videos(found, int(labels[forged].sum()), int((labels[forged] == 0).sum()))
        if against_all_reals:
            reals = own & (labels == 0)
            own_reals = metrics.measure(labels[reals], p[reals], resampled[reals], settings, clip_p)
            found = found | {name: own_reals[name] for name in ("false_alarm_rate", "mean_p_real")}
        rows.append(
            {"value": value, "n_real": n_real, "n_fake": n_fake, "metrics": {n: m.to_dict() for n, m in found.items()}}
        )
    return rows


def _natural(text: str) -> list[Any]:
    """A sort key that puts part_2 before part_10."""
    return [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"(\d+)", text))]


def _without_lone_videos(found: dict[str, metrics.Measure], n_fake: int, n_real: int) -> dict[str, metrics.Measure]:
    """Numbers that compare two labels, withdrawn where one label has a single video."""
    if min(n_fake, n_real) != 1:
        return found
    reason = f"only 1 {'fake' if n_fake == 1 else 'real'}"
    two_labels = {name for name in found if metrics.BY_NAME[name].over == "both"}
    return {name: metrics.Measure(None, reason) if name in two_labels else value for name, value in found.items()}


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
    for words, columns in result.get("dependence", {}).items():
        lines += ["", f"What the scores of the {words} videos depend on", *_dependence_lines(columns)]
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


def _overall_lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = []
    for name, measure in found.items():
        metric = metrics.BY_NAME[name]
        notes = [metric.meaning, measure["reason"] or measure["interval_reason"] or ""]
        rows.append([metric.title, show(measure), "; ".join(note for note in notes if note)])
    return _aligned([["metric", "value [95 %]", "meaning"], *rows], "llx")


def _group_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = ("roc_auc", "pr_auc", "eer", "recall", "balanced_log_loss", "false_alarm_rate", "mean_p_real")
    table = [["value", "fakes", "reals", *(metrics.BY_NAME[name].title for name in shown)]]
    for row in rows:
        cells = [show(row["metrics"][name]) for name in shown]
        table.append([row["value"] or "(empty)", str(row["n_fake"]), str(row["n_real"]), *cells])
    return _aligned(table, "lrr" + "l" * len(shown))


def _dependence_lines(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    table = [["column", "videos", "as", "strength", "by chance", "p", ""]]
    for name, found in columns.items():
        measure = "share of the variance" if found["kind"] == "values" else "rank correlation"
        note = f"{found['n_empty']} without a value" if found["n_empty"] else ""
        figures = number(found["strength"]), number(found["by_chance"]), number(found["p_value"], 4)
        table.append([name, str(found["n_videos"]), measure, *figures, note])
    lines = _aligned(table, "lrlrrrx")
    for name, found in columns.items():
        parts = [
            [part["value"], str(part["n_videos"]), number(part["mean_p"]), number(part["share_above_half"])]
            for part in found["parts"]
        ]
        lines += ["", *_aligned([[name, "videos", "mean p_fake", "above 0.5"], *parts], "lrrr")]
    return lines


def _aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
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


def bootstrap_groups(videos: Sequence[Labelled]) -> tuple[str, list[str]]:
    """What is drawn together: videos of one identity where the column is filled, else each by itself."""
    if not any(video.columns.get("identity", "").strip() for video in videos):
        return "video", [video.name for video in videos]
    groups = []
    for video in videos:
        identity = video.columns["identity"].strip()
        groups.append(f"identity {identity}" if identity else f"video {video.name}")
    return "identity", groups


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where} has score {text!r}; wanted a number in 0..1") from None
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise UserError(f"{where} has score {text.strip()}; wanted a number in 0..1")
    return value


def _by_base(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(PurePosixPath(name).name, []).append(name)
    return found


def _ends_with(one: str, other: str) -> bool:
    """Whether one path is the end of the other, part by part: `dev/a.mp4` and `a.mp4`."""
    a, b = PurePosixPath(one).parts, PurePosixPath(other).parts
    n = min(len(a), len(b))
    return a[-n:] == b[-n:]


def _some(names: Sequence[str]) -> str:
    """The first few names, quoted."""
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def spread(videos: Sequence[Labelled], limit: int | None) -> list[Labelled]:
    """So many videos, half of them real, the fakes of all families in turn; more contain those of fewer."""
    if limit is None or limit >= len(videos):
        return list(videos)
    groups: dict[tuple[int, str], list[Labelled]] = {}
    for video in sorted(videos, key=lambda video: digest(video.name)):
        groups.setdefault((video.label, video.columns.get("family", "")), []).append(video)
    by_label = [_in_turn([groups[key] for key in sorted(groups) if key[0] == label]) for label in (0, 1)]
    chosen = {video.name for video in _in_turn(by_label)[:limit]}
    return [video for video in videos if video.name in chosen]


def _in_turn(lists: Sequence[list[Labelled]]) -> list[Labelled]:
    longest = max((len(videos) for videos in lists), default=0)
    return [videos[i] for i in range(longest) for videos in lists if i < len(videos)]
