"""Shot cuts from small grey pictures, found while a video is decoded.

A cut is a change of what is seen, not of how bright it is: fades and flashes are none. To use another
detector, give `deepfake.media.video.sample` an object with the same `feed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

Thumb = npt.NDArray[np.uint8]

_MIN_SHOT_S = 0.25  # back from a flash within that time is no second cut
_BLANK_CONTRAST = 4.0  # grey levels, standard deviation
_GAP_S = 0.5


class CutDetector(Protocol):
    """Anything that detects from thumbs in display order where shots begin."""

    def feed(self, thumb: Thumb, time_s: float) -> bool:
        """Take the next frame's thumb; True: this frame starts a new shot."""
        ...


def luma_change(before: Thumb, after: Thumb) -> float:
    """Mean absolute difference of two thumbs, 0..255; 255 when their shapes differ."""
    if before.shape != after.shape:
        return 255.0
    return float(np.abs(after.astype(np.int16) - before).mean())


def structure_change(before: Thumb, after: Thumb) -> float:
    """0 for the same picture at any brightness and contrast, about 1 for unrelated ones, 2 for a negative.

    It is 1 minus the correlation of the two thumbs, and 2 when their shapes differ.
    """
    if before.shape != after.shape:
        return 2.0
    first, second = before.astype(np.float32), after.astype(np.float32)
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return 1.0 - float((first * second).sum()) / norm if norm > 0 else 0.0


def is_blank(thumb: Thumb) -> bool:
    """Whether nothing is to be seen: black, or a flash."""
    return bool(thumb.std() < _BLANK_CONTRAST)


class CutFinder:
    """Cut where what is seen changes at once, and far more than it did of late.

    `min_change` and `ratio` are of `structure_change`. A blank frame (black, or a flash) belongs to
    the shot before it; the picture after it is compared with the one before.
    """

    # Seen between neighbouring frames of 35 clips: up to 0.37 inside shots, 0.77 to 1.31 at cuts; after
    # a second that was not decoded 0.6 inside a shot.
    def __init__(self, min_change: float = 0.5, ratio: float = 3.0, gap_change: float = 0.7) -> None:
        self.min_change = min_change
        self.ratio = ratio
        self.gap_change = gap_change
        self._before_s = 0.0
        self._before: Thumb | None = None
        self._usual = 0.0
        self._last_cut_s = -np.inf

    def feed(self, thumb: Thumb, time_s: float) -> bool:
        """Take the next frame's thumb; True: this frame starts a new shot. The first never does."""
        if is_blank(thumb):
            return False
        before, self._before = self._before, thumb
        return self.judge(None if before is None else structure_change(before, thumb), time_s)

    def judge(self, change: float | None, time_s: float) -> bool:
        """The same for a frame that is not blank, by its change of structure from the one before, if any."""
        since_s, self._before_s = time_s - self._before_s, time_s
        if change is None:
            return False
        least = self.min_change if since_s <= _GAP_S else self.gap_change
        is_cut = change >= max(least, self.ratio * self._usual)
        if is_cut and time_s - self._last_cut_s >= _MIN_SHOT_S:
            self._last_cut_s = time_s
            return True
        self._usual = 0.8 * self._usual + 0.2 * min(change, self.min_change)
        return False


@dataclass(frozen=True)
class Changes:
    """How the frames of a part of a video differ from the one before: what a `CutFinder` has to know of them.

    `values` has FIRST for the first frame that is not blank, NaN for blank ones; `first` and `last` are the thumbs of
    the first and the last one that is not.
    """

    values: npt.NDArray[np.float64]
    first: Thumb | None
    last: Thumb | None

    FIRST: ClassVar[float] = -1.0


class ChangeLog:
    """A `CutFinder` that keeps what it needs to find the same cuts again, without thumbs, as part of a whole video."""

    def __init__(self) -> None:
        self._finder = CutFinder()
        self._values: list[float] = []
        self._first: Thumb | None = None
        self._last: Thumb | None = None

    def feed(self, thumb: Thumb, time_s: float) -> bool:
        """Take the next frame's thumb; True: seen from here alone, this frame starts a new shot."""
        if is_blank(thumb):
            self._values.append(np.nan)
            return False
        before, self._last = self._last, thumb
        if before is None:
            self._first = thumb
            self._values.append(Changes.FIRST)
            return self._finder.judge(None, time_s)
        self._values.append(structure_change(before, thumb))
        return self._finder.judge(self._values[-1], time_s)

    def changes(self) -> Changes:
        """All that was fed."""
        return Changes(np.array(self._values), self._first, self._last)


def change_between(before: Changes | None, after: Changes) -> float | None:
    """What the first frame that is not blank of a part changes against the parts before; None: nothing is before it."""
    if before is None or before.last is None or after.first is None:
        return None
    return structure_change(before.last, after.first)


class SceneDetectCuts:
    """PySceneDetect's content detector on the same thumbs; needs `scenedetect-headless`."""

    def __init__(self, threshold: float = 27.0) -> None:
        from scenedetect.detectors import ContentDetector

        # Its own minimum length counts frames, but ours may lie any time apart.
        self._detector: Any = ContentDetector(threshold=threshold, luma_only=True, min_scene_len=1)
        self._last_cut_s = -np.inf
        self._n_fed = 0

    def feed(self, thumb: Thumb, time_s: float) -> bool:
        """Take the next frame's thumb; True: this frame starts a new shot."""
        from scenedetect import FrameTimecode

        at = FrameTimecode(self._n_fed, fps=25.0)
        self._n_fed += 1
        is_cut = bool(self._detector.process_frame(at, np.repeat(thumb[:, :, None], 3, axis=2)))
        if is_cut and time_s - self._last_cut_s >= _MIN_SHOT_S:
            self._last_cut_s = time_s
            return True
        return False


def cut_detector(name: str) -> CutDetector:
    """A fresh detector by its name in the settings."""
    if name == "luma":
        return CutFinder()
    if name == "scenedetect":
        return SceneDetectCuts()
    raise ValueError(f"shot detector {name!r} is not known; choose luma or scenedetect")
