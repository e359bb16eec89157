"""Scores and labels out of CSV files, matched by file name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from deepfake import labels
from deepfake.errors import UserError
from deepfake.files import digest

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
    """Labels with their scores, and the names without a partner."""

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
    for entry in labels.read_labels(path):
        if entry.label is None:
            raise UserError(f"{path} line {entry.row.line}: {entry.name!r} has no label; wanted REAL, FAKE, 0 or 1")
        videos.append(Labelled(entry.name, entry.label, entry.row.cells))
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
    matched = match({name: float(number) for number, name in enumerate(known)}, labelled)
    pairs = [(video, known[int(number)]) for video, number in zip(matched.videos, matched.p, strict=True)]
    return pairs, matched.unlabelled


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where} has score {text!r}; wanted a number in 0..1") from None
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise UserError(f"{where} has score {text.strip()}; wanted a number in 0..1")
    return value


def _by_base(names: Iterable[str]) -> dict[str, list[str]]:
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(PurePosixPath(name).name, []).append(name)
    return by_base


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
