"""The one way from frame logits to a video's score; fitting, measuring and serving all go through it.

Frames -> track, for each member (`track_logit`, `counted`) -> one row a track with a logit a member and how far the
track is trusted (`pool`: a `Tracks`) -> stack over the members, calibration, trust (`Line`) -> the video's worst
credible track (`video_logits`). Letters: N videos, K tracks of all of them, M members. A video is as fake as its
worst credible track, and a track is judged half by all its frames and half by its worst quarter: so neither three
honest bystanders nor twenty untouched frames hide a forged face. What the maximum adds on crowds of real faces is
taken off by the calibration. Members are added up within a track, never each at a track of its own. Trust draws a
track's calibrated logit towards that of the prior: of a face that is too small, too blurred or too briefly seen,
only the prior is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from deepfake.errors import UserError
from deepfake.settings import Ensemble


def track_logit(logits: np.ndarray, settings: Ensemble) -> float:
    """One logit for a track's frame logits (n,), n >= 1."""
    if not len(logits):
        raise ValueError("a track without frames has no logit")
    values = np.sort(np.asarray(logits, np.float64))[::-1]
    worst = values[: max(int(np.ceil(settings.top_ratio * len(values))), 1)].mean()
    return float(settings.top_weight * worst + (1 - settings.top_weight) * values.mean())


def counted(logits: np.ndarray, member: str, settings: Ensemble) -> np.ndarray:
    """What a member's logits count for in a sum over members: as they are, or a one-sided member's log(1 + exp(logit)).

    That is -log(1 - p): of one-sided members alone the sum says that a video is real only if none finds anything
    ("noisy or", Pearl, Probabilistic Reasoning in Intelligent Systems, 1988). The order of the logits stays.
    """
    return np.asarray(np.logaddexp(0.0, logits) if member in settings.one_sided_members else logits)


def trust(side_px: np.ndarray, sharpness: np.ndarray, settings: Ensemble) -> float:
    """How far a track with these boxes and crops (n,) is trusted: 1, or less for a small or blurred face."""
    return float(_seen_well(np.median(side_px), np.median(sharpness), settings))


def _seen_well(side_px: np.ndarray, sharpness: np.ndarray, settings: Ensemble) -> np.ndarray:
    sides, sharp = np.asarray(side_px) / settings.small_face_px, np.asarray(sharpness) / settings.blurred_sharpness
    return np.asarray(np.clip(sides, 0, 1) * np.clip(sharp, 0, 1))


def length_trust(n_frames: np.ndarray, settings: Ensemble) -> np.ndarray:
    """How far tracks of so many frames (n,) are trusted, beside `trust`."""
    return np.asarray(n_frames / (np.asarray(n_frames) + settings.prior_frames), np.float64)


def credible(n_frames: np.ndarray, min_frames: int, video: np.ndarray | None = None) -> np.ndarray:
    """Which tracks (K,) count: those of `min_frames` or more, or all of a video that has none such.

    `video` (K,) are places of videos, rising; without it all tracks are of one.
    """
    long = np.asarray(n_frames) >= min_frames
    videos = np.zeros(len(long), int) if video is None else video
    return np.asarray(long | (np.bincount(videos, long) == 0)[videos], bool)


def worst(values: np.ndarray, counts: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Of each video (N) the row of its largest value (K,) among those that count (K,); of equals the first.

    `video` (K,) are places of videos, rising from 0 with none left out, each with a row that counts.
    """
    if not len(values):
        return np.empty(0, int)
    starts = np.flatnonzero(np.append(True, np.diff(video) != 0))
    kept = np.where(counts, values, -np.inf)
    is_worst = counts & (kept == np.maximum.reduceat(kept, starts)[video])
    rows = np.flatnonzero(is_worst)
    _, first = np.unique(video[rows], return_index=True)
    return np.asarray(rows[first])


def worst_of(values: Sequence[float], n_frames: Sequence[int], min_frames: int) -> int:
    """Which track of one video is its worst credible one."""
    counts = credible(np.array(n_frames), min_frames)
    return int(worst(np.array(values, np.float64), counts, np.zeros(len(values), int))[0])


@dataclass(frozen=True)
class Line:
    """From a track's member logits to its calibrated logit: neutral + trust * (slope * weights . logits + intercept
    - neutral). `neutral` is the logit of the prior: the score of a track that is not trusted at all.
    """

    weights: tuple[float, ...]
    slope: float = 1.0
    intercept: float = 0.0
    neutral: float = 0.0

    def logits(self, logits_KM: np.ndarray, trust_K: np.ndarray) -> np.ndarray:
        """Calibrated logits (K,): they move with trust from neutral to the members' sum, and never past either."""
        told_K = self.slope * (logits_KM @ np.array(self.weights)) + self.intercept
        return np.asarray(self.neutral + trust_K * (told_K - self.neutral), np.float64)


@dataclass(frozen=True)
class Tracks:
    """Every track of N videos, K rows: what each of M members makes of it and how far it is trusted.

    Rows lie by `video_K` (places in `video_ids`, none without a row), then by track number. Logits are as they are
    `counted`, and neither trusted nor weighed yet.
    """

    video_ids: tuple[str, ...]
    members: tuple[str, ...]
    video_K: np.ndarray
    track_K: np.ndarray
    n_frames_K: np.ndarray
    logits_KM: np.ndarray
    trust_K: np.ndarray
    credible_K: np.ndarray

    @classmethod
    def one_each(cls, logits_NM: np.ndarray, members: Sequence[str], video_ids: Sequence[str] | None = None) -> Self:
        """Of each video one track that is wholly trusted."""
        n = len(logits_NM)
        names = tuple(video_ids) if video_ids is not None else tuple(str(i) for i in range(n))
        ones = np.ones(n)
        return cls(
            names,
            tuple(members),
            np.arange(n),
            np.zeros(n, int),
            ones.astype(int),
            np.asarray(logits_NM, np.float64),
            ones,
            ones.astype(bool),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The tracks of several sets of videos by the same members, one set after the other; no video twice."""
        names = tuple(name for part in parts for name in part.video_ids)
        if len(set(names)) < len(names) or len({part.members for part in parts}) != 1:
            raise ValueError(f"{len(parts)} sets of tracks: wanted the same members in all, and no video twice")
        starts = np.cumsum([0, *(len(part) for part in parts)])[:-1]
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in vars(parts[0])
            if name.endswith(("_K", "_KM"))
        }
        places = [part.video_K + start for part, start in zip(parts, starts.tolist(), strict=True)]
        return replace(parts[0], video_ids=names, **(arrays | {"video_K": np.concatenate(places)}))

    def __len__(self) -> int:
        return len(self.video_ids)

    def of_members(self, members: Sequence[str]) -> Self:
        """The same tracks with some members only."""
        places = [self.members.index(name) for name in members]
        return replace(self, members=tuple(members), logits_KM=self.logits_KM[:, places])

    def of_videos(self, chosen_N: np.ndarray) -> Self:
        """The tracks of some videos, by a mask."""
        rows = chosen_N[self.video_K]
        arrays = {name: value[rows] for name, value in vars(self).items() if name.endswith(("_K", "_KM"))}
        arrays["video_K"] = (np.cumsum(chosen_N) - 1)[arrays["video_K"]]
        names = tuple(name for name, is_chosen in zip(self.video_ids, chosen_N.tolist(), strict=True) if is_chosen)
        return replace(self, video_ids=names, **arrays)

    def counts(self) -> pd.DataFrame:
        """Columns n_faces and n_tracks, by video_id."""
        n = len(self)
        faces = np.bincount(self.video_K, self.n_frames_K, minlength=n).astype(int)
        index = pd.Index(self.video_ids, name="video_id", dtype=object)
        return pd.DataFrame({"n_faces": faces, "n_tracks": np.bincount(self.video_K, minlength=n)}, index=index)


def video_logits(tracks: Tracks, line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated logits (N,) of videos, and the rows (N,) of the tracks that they are of: each video's worst."""
    logits_K = line.logits(tracks.logits_KM, tracks.trust_K)
    rows_N = worst(logits_K, tracks.credible_K, tracks.video_K)
    return logits_K[rows_N], rows_N


def track_logits(frame_scores: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Rows of the track_scores table from rows of the frame_scores table."""
    rows = [
        {"model": model, "video_id": video_id, "track": track, "n_frames": len(part), "logit": logit}
        for (model, video_id, track), part in frame_scores.groupby(["model", "video_id", "track"], sort=True)["logit"]
        for logit in [track_logit(part.to_numpy(), settings)]
    ]
    return pd.DataFrame(rows, columns=["model", "video_id", "track", "n_frames", "logit"])


def pool(
    track_scores: pd.DataFrame, faces: pd.DataFrame, settings: Ensemble, members: Sequence[str] | None = None
) -> Tracks:
    """Rows of track_scores of all members as one row a track, videos by their ids.

    `faces` has the faces of all these tracks. `members` gives their order; else it is that of their names.
    """
    wide = track_scores.set_index(["video_id", "track", "model"])["logit"].unstack().sort_index()  # noqa: PD010 - keys are unique
    wide = wide[list(members)] if members is not None and len(wide) else wide
    names = tuple(str(name) for name in (wide.columns if members is None else members))
    _refuse_gaps(wide, "member", "run the training and prediction stages again")
    n_frames = track_scores.groupby(["video_id", "track"])["n_frames"].max().reindex(wide.index).to_numpy(int)
    logits_KM = wide.to_numpy(np.float64, copy=True).reshape(len(wide), len(names))
    for place, name in enumerate(names):
        logits_KM[:, place] = counted(logits_KM[:, place], name, settings)
    video_K, video_ids = pd.factorize(wide.index.get_level_values("video_id"))
    trust_K = _trust_of(faces, wide.index, settings) * length_trust(n_frames, settings)
    return Tracks(
        tuple(video_ids.tolist()),
        names,
        video_K,
        wide.index.get_level_values("track").to_numpy(int),
        n_frames,
        logits_KM,
        trust_K,
        credible(n_frames, settings.min_track_frames, video_K),
    )


def _trust_of(faces: pd.DataFrame, tracks: pd.MultiIndex, settings: Ensemble) -> np.ndarray:
    """`trust` (K,) of tracks (video_id, track)."""
    side = np.maximum(faces["x1_px"] - faces["x0_px"], faces["y1_px"] - faces["y0_px"])
    by_track = faces.assign(side=side).groupby(["video_id", "track"])[["side", "sharpness"]].median().reindex(tracks)
    _refuse_gaps(by_track, "column", "faces.parquet has no such track; run the extraction stage again")
    return _seen_well(by_track["side"].to_numpy(), by_track["sharpness"].to_numpy(), settings)


def _refuse_gaps(table: pd.DataFrame, what: str, advice: str) -> None:
    missing = table.isna().to_numpy()
    if missing.any():
        row, column = np.argwhere(missing)[0]
        video_id, track = table.index[row]
        raise UserError(
            f"{what} {table.columns[column]!r} has no value of track {track} of video {video_id!r}, others have: "
            f"{advice}"
        )
