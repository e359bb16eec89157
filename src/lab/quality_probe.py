"""Whether noise and detail of a face and of what surrounds it tell forged clips, on sources and collections left out.

A line through some hundred statistics, no network: what it finds, a network finds, too. It is asked twice: by sources
left out of the clips it learns from, and on another collection of clips. Where the first is high and the second is .5,
it learnt how each kind of clip was gathered, and leaving out sources does not show that. Letters: N clips, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake.detector.labelled_clips import Clips, some_frames
from deepfake.ensemble.stack import group_counts
from deepfake.evaluation.ranking import rank_auc
from deepfake.faces.crop_store import read_crop
from deepfake.training.source_groups import LINKS, shared_names
from lab.cross_validation import Spread

SIDE_PX, MOST_PX = 192, 220  # crops are made alike: those of some collections have no more pixels
FRAMES = 5
INVERSE_PENALTY = 0.1
LEAST = 5  # reals and fakes of a fold that is counted
FOLDS, SEEDS = 8, 3
# Second differences along rows and columns, and across both: what a smooth picture has none of.
FILTERS = tuple(
    np.array(rows, np.float32)
    for rows in (
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
        [[-0.25, 0.5, -0.25], [0.5, -1, 0.5], [-0.25, 0.5, -0.25]],
    )
)
RINGS = ((0.0, 0.75), (0.75, 1.25), (1.25, 1.9), (1.9, 9.0))  # the face, its edge, about it, beyond; 1 is the edge
ELLIPSE_PX = (96.0, 98.0, 42.0, 54.0)  # centre and half axes of a face in a crop of SIDE_PX


def statistics(crop_HWC: np.ndarray) -> np.ndarray:
    """Features (D,) of a crop (uint8 RGB, twice as wide as the face): residuals by ring, and rings compared."""
    side = min(MOST_PX, len(crop_HWC))
    alike = cv2.resize(crop_HWC, (side, side), interpolation=cv2.INTER_AREA)
    alike = cv2.resize(alike, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    found: list[float] = []
    for plane in np.moveaxis(cv2.cvtColor(alike, cv2.COLOR_RGB2YCrCb).astype(np.float32), 2, 0):
        for picture in (plane, cv2.pyrDown(plane)):
            rings = _rings(len(picture))
            for kernel in FILTERS:
                residual = np.abs(cv2.filter2D(picture, -1, kernel))
                mean = [float(np.log(residual[ring].mean() + 0.05)) for ring in rings]
                middle = [float(np.log(np.median(residual[ring]) + 0.05)) for ring in rings]
                found += [mean[0], mean[3], mean[0] - mean[3], mean[1] - mean[0], mean[1] - mean[2], mean[2] - mean[3]]
                found += [middle[0], middle[0] - middle[3], middle[1] - middle[0]]
    return np.array(found, np.float32)


def _rings(side: int) -> list[np.ndarray]:
    """Masks (side, side) of RINGS."""
    x, y, a, b = (value * side / SIDE_PX for value in ELLIPSE_PX)
    rows, columns = np.mgrid[:side, :side]
    distance = np.hypot((columns - x) / a, (rows - y) / b)
    return [(distance >= low) & (distance < high) for low, high in RINGS]


def clip_features(clips: Clips, video_ids: list[str]) -> np.ndarray:
    """Mean statistics (N, D) of some frames of each clip's first track, in the order of `video_ids`."""
    faces = some_frames(clips.faces, FRAMES)
    made = {}
    for video_id, rows in faces.groupby("video_id"):
        own = rows[rows["track"] == rows["track"].min()]
        places = zip(own["shard"], own["offset"], own["size"], strict=True)
        crops = [read_crop(clips.cache_dir, shard, int(offset), int(size)) for shard, offset, size in places]
        made[str(video_id)] = np.mean([statistics(crop) for crop in crops], axis=0)
    return np.stack([made[video_id] for video_id in video_ids])


def linked(clips: pd.DataFrame, told: np.ndarray) -> np.ndarray:
    """Which clips (N,) share a publisher, a person or a generator with one that is `told` (N,), those included."""
    found = told.copy()
    for column in LINKS:
        names = shared_names(clips, column)
        shared = {name for name, is_told in zip(names, told, strict=True) if is_told and name}
        found |= np.array([name in shared for name in names])
    return found


def clip_weights(clips: pd.DataFrame, learnt: np.ndarray) -> np.ndarray:
    """How much each clip (N,) counts among those `learnt` (N,): a source by the root of its clips, labels alike."""
    labels = clips["label"].to_numpy()
    weights = np.zeros(len(clips))
    for label in (0, 1):
        own = learnt & (labels == label)
        weights[own] = group_counts(clips.loc[own, "source"].to_numpy(str))
        weights[own] *= learnt.sum() / weights[own].sum()
    return weights


def family_aucs(labels: np.ndarray, families: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """AUC of logits (N,) by family of the forged, and of all."""
    reals, forged = logits[labels == 0], labels == 1
    kinds = sorted(set(families[forged].tolist()))
    aucs = {str(kind): rank_auc(reals, logits[forged & (families == kind)]) for kind in kinds}
    return {**aucs, "all": rank_auc(reals, logits[forged])}


def line_logits(clips: pd.DataFrame, features: np.ndarray, learnt: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Logits of the clips `told` (N,) by a line fitted to those `learnt` (N,), each source counting by its root."""
    weights = clip_weights(clips, learnt)
    line = make_pipeline(StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=2000))
    labels = clips["label"].to_numpy()
    line.fit(features[learnt], labels[learnt], logisticregression__sample_weight=weights[learnt])
    return np.asarray(line.decision_function(features[told]))


@dataclass(frozen=True)
class Probed:
    """AUC over folds of left-out sources, and on the other collection by family and in all."""

    left_out: Spread
    other: dict[str, float]


def probe(clips: pd.DataFrame, features: np.ndarray, is_other: np.ndarray) -> Probed:
    """Clips with CLIPS columns and their features; `is_other` (N,) are of the other collection, never learnt from."""
    labels, families = clips["label"].to_numpy(), clips["family"].to_numpy()
    logits = line_logits(clips, features, ~linked(clips, is_other), is_other)
    found = family_aucs(labels[is_other], families[is_other], logits)
    return Probed(Spread.of(list(_folds(clips, features, ~is_other))), found)


def _folds(clips: pd.DataFrame, features: np.ndarray, used: np.ndarray) -> Iterator[float]:
    labels = clips["label"].to_numpy()
    sources = sorted(set(clips.loc[used, "source"].astype(str)))
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(sources)
        fold_of = {name: place % FOLDS for place, name in enumerate(order)}
        fold = np.where(used, clips["source"].astype(str).map(fold_of).fillna(-1), -1)
        for number in range(FOLDS):
            told = fold == number
            learnt = used & ~linked(clips, told)
            counts = [int((told & (labels == label)).sum()) for label in (0, 1)]
            if min(counts) < LEAST or len(set(labels[learnt].tolist())) < 2:
                continue
            logits = line_logits(clips, features, learnt, told)
            yield rank_auc(logits[labels[told] == 0], logits[labels[told] == 1])
