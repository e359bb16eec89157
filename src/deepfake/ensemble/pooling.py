"""The one way from frame logits to a video's score; fitting, measuring and serving all go through it.

Frames -> track, for each member (`track_logit`) -> tracks too short to be judged alone are judged together, across
shots (`judged_with`) -> one row a judged track with a logit a member (`counted`) and how far it is trusted (`pool`,
`joined`: a `Tracks`) -> stack over the members, calibration, trust (`Line`) -> all tracks that count (`of_crowd`)
(`video_logits`). Letters: N videos, K tracks of all of them, M members.

A track is judged half by all its frames and half by its worst quarter, so that twenty untouched frames do not hide a
forged stretch. A video is judged as one of which at most one face is forged, any of them as likely as the others: the
more faces are looked at, the surer one of them must stand out, else the worst of six honest people is reported.
Members are added up within a track, never each at a track of its own. Trust draws a track's calibrated logit towards
that of the prior: of a face that is too small, too blurred or too briefly seen, only the prior is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deepfake.errors import UserError
from deepfake.settings import Ensemble

if TYPE_CHECKING:  # half a second of import, which serving does without
    import pandas as pd


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
    # Below what a verdict wants, blur hides a forgery rather than showing that there is none.
    soft = np.asarray(sharpness) / max(min(settings.verdict_sharpness, settings.blurred_sharpness), 1e-9)
    return np.asarray(np.clip(sides, 0, 1) * np.clip(sharp, 0, 1) * np.clip(soft, 0, 1) ** 2)


def length_trust(n_frames: np.ndarray, settings: Ensemble) -> np.ndarray:
    """How far tracks of so many frames (n,) are trusted, beside `trust`."""
    return np.asarray(n_frames / (np.asarray(n_frames) + settings.prior_frames), np.float64)


def judged_length_trust(n_frames: np.ndarray, settings: Ensemble) -> np.ndarray:
    """The same of what is judged (n,): not at all where it is too short, for a fake's first frames may look real."""
    return length_trust(n_frames, settings) * (np.asarray(n_frames) >= settings.min_track_frames)


def credible(n_frames: np.ndarray, min_frames: int, video: np.ndarray | None = None) -> np.ndarray:
    """Which tracks (K,) count: those of `min_frames` or more, or all of a video that has none such.

    `video` (K,) are places of videos, rising; without it all tracks are of one.
    """
    long = np.asarray(n_frames) >= min_frames
    videos = np.zeros(len(long), int) if video is None else video
    return np.asarray(long | (np.bincount(videos, long) == 0)[videos], bool)


def _starts(video: np.ndarray) -> np.ndarray:
    """The first row of each video; `video` (K,), one or more, as in `worst`."""
    return np.flatnonzero(np.append(True, np.diff(video) != 0))


def worst(values: np.ndarray, counts: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Of each video (N) the row of its largest value (K,) among those that count (K,); of equals the first.

    `video` (K,) are places of videos, rising from 0 with none left out, each with a row that counts.
    """
    if not len(values):
        return np.empty(0, int)
    starts = _starts(video)
    kept = np.where(counts, values, -np.inf)
    is_worst = counts & (kept == np.maximum.reduceat(kept, starts)[video])
    rows = np.flatnonzero(is_worst)
    _, first = np.unique(video[rows], return_index=True)
    return np.asarray(rows[first])


def of_crowd(logits: np.ndarray, counts: np.ndarray, video: np.ndarray, neutral: float) -> np.ndarray:
    """Logits (N,) of videos by the calibrated logits (K,) of their tracks that count (K,).

    Each track's odds over those of the prior say how much likelier its crops are of a forged face. If one face is
    forged, any of n with the same chance, the video's likelihood ratio is the mean of theirs. So one track is as
    fake as it is, n alike ones as one of them, and one strong sign among n is worth 1/n of its odds. It lies between
    the least and the largest logit. `video` as in `worst`.
    """
    if not len(logits):
        return np.empty(0)
    starts = _starts(video)
    kept = np.where(counts, logits, -np.inf)
    n = np.bincount(video, counts)
    mean = neutral + np.logaddexp.reduceat(kept - neutral, starts) - np.log(n)
    return np.asarray(np.where(n == 1, np.maximum.reduceat(kept, starts), mean), np.float64)


def judged_with(video: np.ndarray, shot: np.ndarray, n_frames: np.ndarray, min_frames: int) -> np.ndarray:
    """The row (K,) under which each track is judged: its own, or that of the first of several short ones.

    A track of fewer than `min_frames` says too little alone. Where a video is cut so fast that faces are seen for a
    frame or two, the short tracks of different shots are judged together: the first of each shot, the second of
    each, ... Two of one shot are two people, or a face that was lost, and stay apart. Rows lie by `video`.
    """
    rows = np.arange(len(video))
    seen: dict[tuple[int, int], int] = {}  # by video and shot, how many short tracks came before
    first: dict[tuple[int, int], int] = {}  # by video and place in the shot
    for row in np.flatnonzero(np.asarray(n_frames) < min_frames).tolist():
        of_shot = int(video[row]), int(shot[row])
        place = seen[of_shot] = seen.get(of_shot, -1) + 1
        rows[row] = first.setdefault((of_shot[0], place), row)
    return rows


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

    Rows lie by `video_K` (places in `video_ids`, none without a row), then by track number, that of the first of
    `n_joined_K` tracks that are judged together. Logits are as they are `counted`, and neither trusted nor weighed
    yet.
    """

    video_ids: tuple[str, ...]
    members: tuple[str, ...]
    video_K: np.ndarray
    track_K: np.ndarray
    n_frames_K: np.ndarray
    logits_KM: np.ndarray
    trust_K: np.ndarray
    credible_K: np.ndarray
    n_joined_K: np.ndarray

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
            ones.astype(int),
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
        import pandas as pd

        n = len(self)
        faces = np.bincount(self.video_K, self.n_frames_K, minlength=n).astype(int)
        tracks = np.bincount(self.video_K, self.n_joined_K, minlength=n).astype(int)
        index = pd.Index(self.video_ids, name="video_id", dtype=object)
        return pd.DataFrame({"n_faces": faces, "n_tracks": tracks}, index=index)


def video_logits(tracks: Tracks, line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated logits (N,) of videos, and the rows (N,) of their worst tracks, which speak most for a forgery."""
    logits_K = line.logits(tracks.logits_KM, tracks.trust_K)
    rows_N = worst(logits_K, tracks.credible_K, tracks.video_K)
    return of_crowd(logits_K, tracks.credible_K, tracks.video_K, line.neutral), rows_N


@dataclass(frozen=True)
class Mixtures:
    """Each video's tracks mixed into one by what each has to say: logits (N, M), trust (N,), and a shift (N,).

    A video's logit is that of the mixture by the line, plus the shift; `is_mixed` where a video has several tracks.
    """

    logits_NM: np.ndarray
    trust_N: np.ndarray
    shift_N: np.ndarray
    is_mixed: bool


def mixtures(tracks: Tracks, line: Line) -> Mixtures:
    """What `line` makes videos of, as mixtures on which a better line can be fitted.

    log(mean(exp(z))) = sum(w z) + entropy(w) - log(n) where w are the shares exp(z) / sum(exp(z)), and both sides have
    the same gradient: so a line that is fitted with the shares it leads to is one fitted to the videos' own scores.
    """
    from scipy.special import entr

    own_K = line.logits(tracks.logits_KM, tracks.trust_K)
    kept_K = np.where(tracks.credible_K, own_K, -np.inf)
    n = len(tracks)
    together_N = np.logaddexp.reduceat(kept_K, _starts(tracks.video_K)) if len(own_K) else np.empty(0)
    shares_K = np.exp(kept_K - together_N[tracks.video_K])
    trust_N = np.bincount(tracks.video_K, shares_K * tracks.trust_K, minlength=n)
    part_K = shares_K * tracks.trust_K / np.where(trust_N > 0, trust_N, 1)[tracks.video_K]
    columns = [np.bincount(tracks.video_K, part_K * logits_K, minlength=n) for logits_K in tracks.logits_KM.T]
    several_N = np.bincount(tracks.video_K, tracks.credible_K, minlength=n) > 1
    entropy_N = np.bincount(tracks.video_K, entr(shares_K), minlength=n)
    shift_N = entropy_N - np.log(np.bincount(tracks.video_K, tracks.credible_K, minlength=n))
    return Mixtures(np.stack(columns, axis=1), trust_N, np.where(several_N, shift_N, 0.0), bool(several_N.any()))


def track_logits(frame_scores: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Rows of the track_scores table from rows of the frame_scores table."""
    import pandas as pd

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
    import pandas as pd

    wide = track_scores.set_index(["video_id", "track", "model"])["logit"].unstack().sort_index()  # noqa: PD010 - keys are unique
    wide = wide[list(members)] if members is not None and len(wide) else wide
    names = tuple(str(name) for name in (wide.columns if members is None else members))
    _refuse_gaps(wide, "member", "run the training and prediction stages again")
    n_frames = track_scores.groupby(["video_id", "track"])["n_frames"].max().reindex(wide.index).to_numpy(int)
    video_K, video_ids = pd.factorize(wide.index.get_level_values("video_id"))
    raw = RawTracks(
        video_K,
        wide.index.get_level_values("track").to_numpy(int),
        _shots_of(faces, wide.index),
        n_frames,
        wide.to_numpy(np.float64).reshape(len(wide), len(names)),
        _trust_of(faces, wide.index, settings),
    )
    return joined(raw, tuple(video_ids.tolist()), names, settings)


@dataclass(frozen=True)
class RawTracks:
    """Every track by itself, rows by video and track number: logits (K, M) as the members gave them, and `trust`."""

    video_K: np.ndarray
    track_K: np.ndarray
    shot_K: np.ndarray
    n_frames_K: np.ndarray
    logits_KM: np.ndarray
    seen_well_K: np.ndarray

    def judged_with(self, settings: Ensemble) -> np.ndarray:
        """See `judged_with`."""
        return judged_with(self.video_K, self.shot_K, self.n_frames_K, settings.min_track_frames)


def joined(raw: RawTracks, video_ids: tuple[str, ...], members: tuple[str, ...], settings: Ensemble) -> Tracks:
    """One row for each track, and one for short ones that are judged together.

    Of these each member's logits are pooled as a track's frames are, and trust is the mean over their frames.
    """
    with_K = raw.judged_with(settings)
    first, unit_K = np.unique(with_K, return_inverse=True)
    n_frames = np.bincount(unit_K, raw.n_frames_K).astype(int)
    seen_well = np.bincount(unit_K, raw.n_frames_K * raw.seen_well_K) / np.maximum(n_frames, 1)
    n_joined = np.bincount(unit_K)
    seen_well = np.where(n_joined == 1, raw.seen_well_K[first], seen_well)
    logits_KM = raw.logits_KM[first]
    for unit in np.flatnonzero(n_joined > 1).tolist():
        own = raw.logits_KM[unit_K == unit]
        logits_KM[unit] = [track_logit(column, settings) for column in own.T]
    for place, name in enumerate(members):
        logits_KM[:, place] = counted(logits_KM[:, place], name, settings)
    return Tracks(
        video_ids,
        members,
        raw.video_K[first],
        raw.track_K[first],
        n_frames,
        logits_KM,
        seen_well * judged_length_trust(n_frames, settings),
        credible(n_frames, settings.min_track_frames, raw.video_K[first]),
        n_joined,
    )


def _shots_of(faces: pd.DataFrame, tracks: pd.MultiIndex) -> np.ndarray:
    """The shot (K,) that tracks (video_id, track) lie in."""
    shots = faces.groupby(["video_id", "track"])["shot"].first().reindex(tracks)
    return np.asarray(shots.fillna(0), int)


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
