"""Scores of any detector against labels: match names, measure the whole and each group, lay out tables.

`read_scores` and `read_labels` take the CSV files people have; `evaluate` takes what they give.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deepfake.errors import UserError
from deepfake.evaluation import bootstrap, metrics
from deepfake.evaluation.labelled import Labelled, Matched
from deepfake.settings import Validation


def evaluate(matched: Matched, group_columns: Sequence[str], settings: Validation, clip_p: float) -> dict[str, Any]:
    """Every metric of the whole and of each value of each group column, as plain values for JSON.

    A group's fakes are measured against all reals; of its own reals come false alarms and mean p_fake.
    """
    check_columns(matched, group_columns, "--group")
    labels, p = matched.labels, matched.p
    resampled_by, groups = bootstrap_groups(matched.videos)
    values = {column: [video.columns[column].strip() for video in matched.videos] for column in group_columns}
    overall = bootstrap.measure(labels, p, groups, settings, clip_p)
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
        measures = bootstrap.measure(labels[forged], p[forged], resampled[forged], settings, clip_p)
        measures = _without_lone_videos(measures, int(labels[forged].sum()), int((labels[forged] == 0).sum()))
        if against_all_reals:
            reals = own & (labels == 0)
            own_reals = bootstrap.measure(labels[reals], p[reals], resampled[reals], settings, clip_p)
            measures = measures | {name: own_reals[name] for name in ("false_alarm_rate", "mean_p_real")}
        rows.append(
            {
                "value": value,
                "n_real": n_real,
                "n_fake": n_fake,
                "metrics": {n: m.to_dict() for n, m in measures.items()},
            }
        )
    return rows


def _natural(text: str) -> list[Any]:
    """A sort key that puts part_2 before part_10."""
    return [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"(\d+)", text))]


def _without_lone_videos(measures: dict[str, metrics.Measure], n_fake: int, n_real: int) -> dict[str, metrics.Measure]:
    """Numbers that compare two labels, withdrawn where one label has a single video."""
    if min(n_fake, n_real) != 1:
        return measures
    reason = f"only 1 {'fake' if n_fake == 1 else 'real'}"
    two_labels = {name for name in measures if metrics.BY_NAME[name].over == "both"}
    return {name: metrics.Measure(None, reason) if name in two_labels else value for name, value in measures.items()}


def bootstrap_groups(videos: Sequence[Labelled]) -> tuple[str, list[str]]:
    """What is drawn together: videos of one identity where the column is filled, else each by itself."""
    if not any(video.columns.get("identity", "").strip() for video in videos):
        return "video", [video.name for video in videos]
    groups = []
    for video in videos:
        identity = video.columns["identity"].strip()
        groups.append(f"identity {identity}" if identity else f"video {video.name}")
    return "identity", groups
