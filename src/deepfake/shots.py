"""Shot cuts from small grey pictures, found while a video is decoded.

Cuts are hard changes of picture; fades, flashes and camera moves are not. To use another detector,
give `deepfake.video.sample` an object with the same `feed`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Thumb = npt.NDArray[np.uint8]

MIN_SHOT_S = 0.25


class CutDetector(Protocol):
    """Anything that tells from thumbs in display order where shots begin."""

    def feed(self, thumb: Thumb, time_s: float) -> bool:
        """Take the next frame's thumb; True: this frame starts a new shot."""
        ...


def luma_change(before: Thumb, after: Thumb) -> float:
    """Mean absolute difference of two thumbs, 0..255; 255 when their shapes differ."""
    if before.shape != after.shape:
        return 255.0
    return float(np.abs(after.astype(np.int16) - before).mean())


def histogram_change(before: Thumb, after: Thumb) -> float:
    """Share of the pixels, 0..1, that would have to change their grey (of 32 levels) to match histograms."""
    counts_before = np.bincount(before.reshape(-1) >> 3, minlength=32)
    counts_after = np.bincount(after.reshape(-1) >> 3, minlength=32)
    return float(np.abs(counts_before / before.size - counts_after / after.size).sum() / 2)


class CutFinder:
    """Cut where the picture changes much more than it did of late, and a lot in itself."""

    def __init__(self, min_change: float = 18.0, ratio: float = 3.0) -> None:
        self.min_change = min_change
        self.ratio = ratio
        self._before: Thumb | None = None
        self._last_calm: Thumb | None = None
        self._usual = 0.0
        self._last_cut_s = -np.inf

    def feed(self, thumb: Thumb, time_s: float) -> bool:
        """Take the next frame's thumb; True: this frame starts a new shot. The first never does."""
        if self._before is None:
            self._before, self._last_cut_s = thumb, time_s
            return False
        change = luma_change(self._before, thumb)
        is_cut = (
            change >= self.min_change and change >= self.ratio * self._usual and time_s - self._last_cut_s >= MIN_SHOT_S
        )
        self._usual = change * 0.2 + self._usual * 0.8 if not is_cut else self._usual
        self._before = thumb
        if is_cut:
            self._last_cut_s = time_s
        return is_cut
