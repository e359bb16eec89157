"""Split videos into folds so that nothing of a held-out person has been learnt from.

An original and its fakes, near-duplicates and clips of one identity form a group; where no identity is named, real
clips of one face do. A group is never divided. Groups are dealt out so that every fold holds about its share of real
and of fake videos.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd

from deepfake.catalog.search import as_words, near_pairs
from deepfake.errors import UserError

log = logging.getLogger(__name__)


def groups_of(video_ids: Iterable[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The group of each video: the smallest id of all it is linked to, however indirectly."""
    parent = {video_id: video_id for video_id in video_ids}

    def find(video_id: str) -> str:
        while parent[video_id] != video_id:
            parent[video_id] = parent[parent[video_id]]
            video_id = parent[video_id]
        return video_id

    for a, b in links:
        a, b = find(a), find(b)
        parent[max(a, b)] = min(a, b)
    return {video_id: find(video_id) for video_id in sorted(parent)}


def links_of(videos: pd.DataFrame, extractions: pd.DataFrame, max_bits: int) -> list[tuple[str, str]]:
    """Pairs of videos that must stay together.

    A fake whose original is not in the table is linked to the other fakes of that original.
    """
    known = set(videos["video_id"])
    links: list[tuple[str, str]] = []
    named = videos[videos["original"].notna()]
    links += [(v, o) for v, o in zip(named["video_id"], named["original"], strict=True) if o in known]
    for column in ("original", "identity"):
        for _, same in videos[videos[column].notna()].groupby(column)["video_id"]:
            links += [(same.iloc[0], other) for other in same.iloc[1:]]
    for _, same in videos[videos["sha256"].notna()].groupby("sha256")["video_id"]:
        links += [(same.iloc[0], other) for other in same.iloc[1:]]
    return links + near_duplicates(extractions[extractions["video_id"].isin(known)], max_bits)


def near_duplicates(extractions: pd.DataFrame, max_bits: int) -> list[tuple[str, str]]:
    """Pairs of videos with a frame each whose hashes differ in at most `max_bits` of 256.

    Hashes of flat pictures (a black or white frame) say nothing and are left out.
    """
    ids = extractions["video_id"].tolist()
    hashes: list[str] = []
    owners: list[int] = []
    for number, of_video in enumerate(extractions["frame_hashes"]):
        distinct = sorted({text for text in of_video if 64 <= int(text, 16).bit_count() <= 192})
        hashes += distinct
        owners += [number] * len(distinct)
    pairs = near_pairs(as_words(hashes), np.array(owners, np.int64), max_bits)
    return [(ids[a], ids[b]) for a, b in pairs]


def deal(groups: pd.DataFrame, n_folds: int, seed: int) -> dict[str, int]:
    """The fold of each group; `groups` has columns group, n_real, n_fake.

    Largest first, each to the fold that is then nearest to its share of both classes.
    """
    if len(groups) < n_folds:
        raise UserError(
            f"{len(groups)} independent groups of videos cannot fill {n_folds} folds; set folds.n_folds to at most "
            f"{len(groups)}, or add videos of other people"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    counts = groups[["n_real", "n_fake"]].to_numpy(float)
    share = np.maximum(counts.sum(0) / n_folds, 1e-9)
    filled = np.zeros((n_folds, 2))
    names = groups["group"].tolist()
    folds: dict[str, int] = {}
    for number in sorted(order, key=lambda i: -counts[i].sum()):
        after = (filled[None] + np.eye(n_folds)[:, :, None] * counts[number]) / share
        uneven = ((after - after.mean(1, keepdims=True)) ** 2).sum((1, 2))
        folds[names[number]] = int(uneven.argmin())
        filled[folds[names[number]]] += counts[number]
    return folds


def to_learn_from(videos: pd.DataFrame) -> pd.DataFrame:
    """The labelled training videos, by name."""
    return videos[(videos["split"] == "train") & videos["label"].notna()].sort_values("video_id")


def with_own_face(videos: pd.DataFrame) -> pd.DataFrame:
    """Videos whose faces say to whom they belong: real ones, and fakes whose original is not in the table.

    Another fake belongs to its original. By the face of a swap, which is another's, all who were swapped with each
    other would be one group.
    """
    made_of = videos["original"].isin(set(videos["video_id"]))
    return videos[(videos["label"] != 1) | ~made_of]


def wants_faces(videos: pd.DataFrame) -> bool:
    """Whether only faces can say who is seen: no label of a training video names an identity."""
    return bool(to_learn_from(videos)["identity"].isna().all())


def make_folds(
    videos: pd.DataFrame,
    extractions: pd.DataFrame,
    n_folds: int,
    max_bits: int,
    seed: int,
    by_face: Iterable[tuple[str, str]] = (),
) -> pd.DataFrame:
    """The folds table of all labelled training videos; refuses folds without both classes.

    `by_face` are further pairs of videos that must stay together, for they show one face.
    """
    learn = to_learn_from(videos)
    if learn["label"].nunique() < 2:
        counts = learn["label"].value_counts().to_dict()
        raise UserError(f"labels of the training videos: {counts}; both REAL (0) and FAKE (1) are needed")
    links = [*links_of(learn, extractions, max_bits), *by_face]
    warn_of_test_links(videos, extractions, max_bits)
    of_video = groups_of(learn["video_id"], links)
    frame = learn[["video_id", "label"]].assign(group=learn["video_id"].map(of_video))
    counts = frame.groupby("group")["label"].agg(n_fake="sum", n_all="count").reset_index()
    counts["n_real"] = counts["n_all"] - counts["n_fake"]
    frame["fold"] = frame["group"].map(deal(counts, n_folds, seed)).astype("int8")
    frame = frame.reset_index(drop=True)
    refuse_overlap(frame, links)
    for fold, part in frame.groupby("fold"):
        if part["label"].nunique() < 2:
            raise UserError(
                f"fold {fold} holds {len(part)} videos of one class only; set folds.n_folds lower than {n_folds}"
            )
    return frame[["video_id", "group", "fold"]]


def refuse_overlap(folds: pd.DataFrame, links: Iterable[tuple[str, str]]) -> None:
    """Raise where two linked videos stand in different folds; `folds` has video_id, group, fold."""
    fold = dict(zip(folds["video_id"], folds["fold"], strict=True))
    for a, b in links:
        if fold[a] != fold[b]:
            raise ValueError(f"videos {a!r} (fold {fold[a]}) and {b!r} (fold {fold[b]}) belong together")
    spread = folds.groupby("group")["fold"].nunique()
    if (spread > 1).any():
        raise ValueError(f"group {spread.idxmax()!r} stands in {spread.max()} folds; wanted one")


def warn_of_test_links(videos: pd.DataFrame, extractions: pd.DataFrame, max_bits: int) -> int:
    """Log and count test videos that look like a training video: their scores are not to be trusted as unseen."""
    split = dict(zip(videos["video_id"], videos["split"], strict=True))
    pairs = [p for p in near_duplicates(extractions, max_bits) if split.get(p[0]) != split.get(p[1])]
    if pairs:
        log.warning("%d test videos look like training videos, the first pair %r", len(pairs), pairs[0])
    return len(pairs)
