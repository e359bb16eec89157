"""Leakage checks: what could make a detector look better on this data than it is.

`leakage` asks the tables alone. To add a check, give `_checks` one more entry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from deepfake.catalog.people import is_of, links_by_face
from deepfake.evaluation.metadata_classifier import metadata_classifier
from deepfake.report.inputs import ReportInputs
from deepfake.training.folds import near_duplicates, with_own_face

log = logging.getLogger(__name__)
MAX_PAIRS = 200  # listed of each check


@dataclass(frozen=True)
class Pair:
    """Two videos that should not stand apart."""

    video_id: str
    other_id: str
    where: str


def leakage(inputs: ReportInputs, scored: pd.DataFrame) -> dict[str, Any]:
    """`checks`: name, title, meaning, how many were found and the first of them; `metadata`: the blind classifier."""
    return {"checks": _checks(inputs), "metadata": metadata_classifier(inputs.videos, scored, inputs.config)}


def _checks(inputs: ReportInputs) -> list[dict[str, Any]]:
    videos = inputs.videos
    fold = dict(zip(inputs.folds["video_id"], inputs.folds["fold"].astype(int), strict=True))
    split = dict(zip(videos["video_id"], videos["split"], strict=True))
    learnt = videos[videos["video_id"].isin(set(fold))]
    bits = inputs.config.folds.near_duplicate_bits
    alike = near_duplicates(inputs.extractions[inputs.extractions["video_id"].isin(set(split))], bits)
    copies = list(_alike(videos, "sha256"))
    sources = learnt.assign(source=learnt["original"].fillna(learnt["video_id"]))
    return [
        _check(
            "people",
            "One person in two folds",
            "a network would be tested on a face it has learnt",
            _apart(_alike(learnt, "identity"), fold),
        ),
        _check(
            "sources",
            "An original and its fakes in two folds",
            "the scene would give the answer away",
            _apart(_alike(sources, "source"), fold),
        ),
        _check("copies", "The same file in two folds", "equal SHA-256", _apart(copies, fold)),
        _check(
            "near_duplicates",
            "Frames that look the same in two folds",
            f"256-bit picture hashes that differ in at most {bits} bits",
            _apart(alike, fold),
        ),
        _check(
            "test_copies",
            "Test videos that look like training videos",
            "equal files or near-duplicate frames: their scores are no scores of unseen videos",
            [Pair(a, b, f"{split[a]} and {split[b]}") for a, b in {*copies, *alike} if split[a] != split[b]],
        ),
        _check(
            "stems",
            "One file name in two folders",
            "harmless here, where names carry their folder; tools that drop it mix these videos up",
            list(_same_stem(videos)),
        ),
        *_copy_checks(inputs, fold, split),
        *_face_checks(inputs, fold, split),
    ]


def _copy_checks(inputs: ReportInputs, fold: Mapping[str, int], split: Mapping[str, str]) -> list[dict[str, Any]]:
    """Excerpts and changed copies; none where `deepfake find pairs` has not looked for them."""
    if inputs.copies is None:
        return []
    pairs = sorted({(min(pair), max(pair)) for pair in inputs.copies[["video_id", "other_id"]].to_numpy().tolist()})
    both = [(a, b) for a, b in pairs if a in split and b in split]
    across = [Pair(a, b, f"{split[a]} and {split[b]}") for a, b in both if split[a] != split[b]]
    meaning = "by `deepfake find pairs`: encoded anew, cropped, mirrored or cut out; an original and its fakes, too"
    return [
        _check("excerpts", "Seconds of one video in two folds", meaning, _apart(both, fold)),
        _check("test_excerpts", "Test videos that hold seconds of a training video", meaning, across),
    ]


def _face_checks(inputs: ReportInputs, fold: Mapping[str, int], split: Mapping[str, str]) -> list[dict[str, Any]]:
    """People whom file names and labels hide; none where nobody has compared the faces."""
    if inputs.people is None:
        return []
    if not is_of(inputs.people, inputs.faces):
        log.warning("faces are not compared: the table people is of other tracks; run `deepfake people` again")
        return []
    own = set(with_own_face(inputs.videos)["video_id"])
    pairs = links_by_face(inputs.people[inputs.people["video_id"].isin(own)])
    across = [Pair(a, b, f"{split[a]} and {split[b]}") for a, b in pairs if split[a] != split[b]]
    alike = f"faces alike by {inputs.config.people.min_similarity:g} or more; look at both before you believe it"
    return [
        _check(
            "faces",
            "One face in two folds",
            f"{alike}; a fake with its original in the table is left out",
            _apart(pairs, fold),
        ),
        _check("test_faces", "Test videos with a training video's face", alike, across),
    ]


def _check(name: str, title: str, meaning: str, pairs: Iterable[Pair]) -> dict[str, Any]:
    ordered = sorted(pairs, key=lambda pair: (pair.video_id, pair.other_id))
    shown = [{"video_id": pair.video_id, "other_id": pair.other_id, "where": pair.where} for pair in ordered]
    return {"name": name, "title": title, "meaning": meaning, "n_found": len(ordered), "pairs": shown[:MAX_PAIRS]}


def _alike(videos: pd.DataFrame, column: str) -> Iterable[tuple[str, str]]:
    """The first video of each value of a column with each of the others; empty values are not alike."""
    known = videos[videos[column].notna() & (videos[column] != "")].sort_values("video_id")
    for _, same in known.groupby(column)["video_id"]:
        yield from ((same.iloc[0], other) for other in same.iloc[1:])


def _apart(pairs: Iterable[tuple[str, str]], fold: Mapping[str, int]) -> list[Pair]:
    return [
        Pair(a, b, f"folds {fold[a]} and {fold[b]}") for a, b in pairs if a in fold and b in fold and fold[a] != fold[b]
    ]


def _same_stem(videos: pd.DataFrame) -> Iterable[Pair]:
    stems = videos.assign(stem=[PurePosixPath(video_id).stem for video_id in videos["video_id"]])
    label = dict(zip(videos["video_id"], videos["label"], strict=True))
    for a, b in _alike(stems, "stem"):
        both_known = not (pd.isna(label[a]) or pd.isna(label[b]))
        yield Pair(a, b, "labels differ" if both_known and label[a] != label[b] else "")


def pair_rows(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All listed pairs as flat rows: check, video_id, other_id, where."""
    return [{"check": check["name"], **pair} for check in checks for pair in check["pairs"]]
