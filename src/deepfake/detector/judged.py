"""What networks made of a video's tracks, and what that comes to: values, and no network is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepfake.ensemble.pooling import RawTracks, Tracks, joined, video_logits
from deepfake.ensemble.stack import Stack
from deepfake.settings import Ensemble

FORMAT = 6  # raise it when the same weights and crops give other scores


@dataclass(frozen=True)
class TrackScore:
    """One person in one shot: a logit for the whole, calibrated and drawn to the prior as far as it is not trusted,
    and one a frame, stacked but neither calibrated nor drawn anywhere.

    `member_logits` (M,) are the track's logits by the members of the stack, 0 of those without a weight; `trust` is
    how well its faces are to be seen, `sharpness` the median of its crops'. `n_frames` is how many frames the track
    has, where not all were scored.
    """

    track: int
    shot: int
    logit: float
    frame_logits: np.ndarray
    times_s: np.ndarray
    frame_indices: np.ndarray
    boxes: np.ndarray
    member_logits: np.ndarray
    trust: float
    sharpness: float
    n_frames: int | None = None

    @property
    def length(self) -> int:
        """How many frames the track has."""
        return self.n_frames or len(self.frame_logits)


@dataclass(frozen=True)
class Judged:
    """What a video's tracks come to: its calibrated logit, and of each track the row of `tracks` that it is judged in.

    `logits_K` are the rows' own calibrated logits, `decisive` is the row that speaks most for a forgery.
    """

    logit: float
    tracks: Tracks
    row_of: np.ndarray
    logits_K: np.ndarray
    decisive: int

    def most_telling(self, scores: Sequence[TrackScore]) -> int:
        """The place of the track that speaks most for a forgery: of the decisive row, the one of the highest logit."""
        own = np.flatnonzero(self.row_of == self.decisive).tolist()
        return max(own, key=lambda place: scores[place].logit)


def judge(scores: Sequence[TrackScore], stack: Stack, settings: Ensemble) -> Judged:
    """Pool a video's tracks, one or more, in the order of their numbers."""
    raw = RawTracks(
        np.zeros(len(scores), int),
        np.array([score.track for score in scores]),
        np.array([score.shot for score in scores]),
        np.array([score.length for score in scores]),
        np.stack([score.member_logits for score in scores]).astype(np.float64),
        np.array([score.trust for score in scores]),
    )
    tracks = joined(raw, ("",), stack.members, settings)
    logits_N, rows_N = video_logits(tracks, stack.line)
    _, row_of = np.unique(raw.judged_with(settings), return_inverse=True)
    own = stack.line.logits(tracks.logits_KM, tracks.trust_K)
    return Judged(float(logits_N[0]), tracks, row_of, own, int(rows_N[0]))
