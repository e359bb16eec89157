"""When to stop scoring a video's frames, and which frames need no score of their own.

Arrays in, decisions out. Frames are scored from coarse to fine: after every round those seen are spread
over the whole track. A video is settled as soon as the interval of its score holds neither bound of the
inconclusive band: it is above, below or inside to stay.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from deepfake.ensemble.pooling import credible, of_crowd
from deepfake.settings import Ensemble

# Frames of each track in the first round, which every round doubles: a span forged for a third of the time is then in
# three of them, and the surest quarter are two.
FIRST_ROUND = 8
# How much frames of one clip differ, in logits: the median of 174 labelled clips, worth so many frames of evidence.
USUAL_SPREAD, USUAL_FRAMES = 0.5, 3.0
THUMB_PX = 32


@dataclass(frozen=True)
class PartialScore:
    """A track so far: its calibrated logit, the standard error of that, frames seen and frames there are."""

    logit: float
    error: float
    n_seen: int
    n_frames: int


def coarse_to_fine(n_frames: int) -> np.ndarray:
    """All positions 0..n_frames - 1 in an order whose every beginning is spread over them."""
    bits = max(n_frames - 1, 0).bit_length()
    numbers = np.arange(1 << bits)
    mirrored = np.zeros_like(numbers)
    for bit in range(bits):
        mirrored |= (numbers >> bit & 1) << (bits - 1 - bit)
    # Steps of at most one frame, so that none is left out; an eighth later, so that the first four lie in the middle.
    places = (mirrored * n_frames / (1 << bits) + n_frames / 8) % n_frames
    _, first = np.unique(np.minimum(places.astype(int), n_frames - 1), return_index=True)
    return np.argsort(first, kind="stable")


def rounds(n_frames: int, settings: Ensemble) -> list[int]:
    """How many frames of each track are seen after each round; the last round sees all, unless forced to stop.

    One round sees as many as are enough in any case.
    """
    if settings.early_exit == "off" or n_frames <= FIRST_ROUND:
        return [n_frames]
    if settings.early_exit == "forced":
        return [FIRST_ROUND]
    sizes = {FIRST_ROUND << i for i in range(n_frames.bit_length()) if FIRST_ROUND << i < n_frames}
    return sorted(sizes | {enough(n_frames, settings), n_frames})


def enough(n_frames: int, settings: Ensemble) -> int:
    """Frames of a track after which it needs no more, settled or not."""
    return min(max(math.ceil(settings.exit_most * n_frames), FIRST_ROUND), n_frames)


def standard_error(logits: np.ndarray, n_frames: int) -> float:
    """How far the mean of the frames seen is likely to be from that of all `n_frames` of the track."""
    n_seen = len(logits)
    squares = float(np.sum((logits - np.mean(logits)) ** 2)) + USUAL_FRAMES * USUAL_SPREAD**2
    spread = math.sqrt(squares / (max(n_seen - 1, 0) + USUAL_FRAMES))
    return spread * math.sqrt(max(1 / n_seen - 1 / n_frames, 0))


def is_settled(
    scores: Sequence[PartialScore], band: tuple[float, float], settings: Ensemble, neutral: float = 0.0
) -> bool:
    """Whether more frames are unlikely to carry the video over a bound of the `band`, in calibrated logits; `neutral`
    is that of the prior.

    Above the band the first round may do; all else needs `exit_ratio` of each track, for a forgery may be short.
    With `exit_most` of every track seen a video is settled whatever its score.
    """
    low, high = band
    kept = credible(np.array([score.n_frames for score in scores]), settings.min_track_frames)
    tracks = [score for score, keep in zip(scores, kept, strict=True) if keep]
    if all(score.n_seen >= enough(score.n_frames, settings) for score in tracks):
        return True
    if not (math.isfinite(low) or math.isfinite(high)):
        return False  # without a band nothing says how sure is sure
    widths = [score.error + settings.exit_margin if score.n_seen < score.n_frames else 0.0 for score in tracks]
    bounds = [[score.logit + sign * width for score, width in zip(tracks, widths, strict=True)] for sign in (-1, 1)]
    everyone, one_video = np.ones(len(tracks), bool), np.zeros(len(tracks), int)
    lowest, highest = (float(of_crowd(np.array(some), everyone, one_video, neutral)[0]) for some in bounds)
    if lowest > high:
        return True
    wanted = [min(max(settings.exit_ratio * score.n_frames, FIRST_ROUND), score.n_frames) for score in tracks]
    if any(score.n_seen < needed for score, needed in zip(tracks, wanted, strict=True)):
        return False
    return highest < low or low < lowest <= highest < high


def score_until_settled(
    n_frames: Sequence[int],
    score: Callable[[int, np.ndarray], PartialScore],
    band: tuple[float, float],
    settings: Ensemble,
    neutral: float = 0.0,
) -> list[PartialScore]:
    """Score tracks of `n_frames` each, round by round; the last score of each.

    `score(track, positions)` gets all positions to have been seen by then, rising.
    """
    orders = [coarse_to_fine(n) for n in n_frames]
    scores: list[PartialScore] = []
    for size in rounds(max(n_frames), settings):
        scores = [score(track, np.sort(order[:size])) for track, order in enumerate(orders)]
        if is_settled(scores, band, settings, neutral):
            break
    return scores


def thumb(crop_HWC: np.ndarray) -> np.ndarray:
    """The small grey version of an RGB crop by which a skip gate knows it: int16 (32, 32)."""
    grey = cv2.cvtColor(crop_HWC, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA), np.int16)


class SkipGate:
    """Says which crops of a track need no score of their own, by the crops that were scored.

    A crop whose small grey version differs by at most `difference` grey levels on average from that of the nearest
    one scored gets that one's logit; 0: every crop is scored.
    """

    def __init__(self, difference: float) -> None:
        self.difference = difference
        self._positions: list[int] = []
        self._thumbs: dict[int, np.ndarray] = {}

    def source(self, position: int, crop_HWC: np.ndarray) -> int:
        """The position whose logit this crop gets; its own where it is to be scored."""
        return self.source_of(position, thumb(crop_HWC)) if self.difference else position

    def source_of(self, position: int, thumb_HW: np.ndarray) -> int:
        """The same of a crop by its `thumb`."""
        place = bisect.bisect(self._positions, position)
        beside = self._positions[max(place - 1, 0) : place + 1]
        nearest = min(beside, key=lambda other: (abs(other - position), other), default=position)
        if beside and np.abs(self._thumbs[nearest] - thumb_HW).mean() <= self.difference:
            return nearest
        self._positions.insert(place, position)
        self._thumbs[position] = thumb_HW
        return position
