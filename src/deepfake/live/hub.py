"""Between who watches and who shows: the newest picture and row, and all rows since, for any number of readers."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from deepfake.live.annotations import Row

MAX_ROWS = 3600  # an hour of one a second


@dataclass(frozen=True)
class Shown:
    """The newest frame that was judged (HWC uint8 RGB, or None before it), its row, and the row's number from 0.

    The picture may be smaller than `width_px` and `height_px` of its row, in which boxes are given.
    """

    picture_HWC: np.ndarray | None
    row: Row
    number: int


@dataclass(frozen=True)
class Picture:
    """The newest picture (HWC uint8 RGB), the number of its row, and when its frame came, by `time.monotonic`."""

    picture_HWC: np.ndarray
    number: int
    came_s: float


class Hub:
    """One thread publishes, others read; nobody waits for a reader."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rows: deque[tuple[int, Row]] = deque(maxlen=MAX_ROWS)
        self._newest: Shown | None = None
        self._picture: Picture | None = None
        self._is_ended = False

    def publish(self, row: Row, picture_HWC: np.ndarray | None = None) -> None:
        """Make this the newest; without a picture the one before stays."""
        with self._changed:
            before = self._newest
            kept = picture_HWC if picture_HWC is not None or before is None else before.picture_HWC
            self._newest = Shown(kept, row, before.number + 1 if before else 0)
            if picture_HWC is not None:
                came_s = time.monotonic() - (row.latency_ms or 0.0) / 1000
                self._picture = Picture(picture_HWC, self._newest.number, came_s)
            self._rows.append((self._newest.number, row))
            self._is_ended = self._is_ended or row.kind == "end"
            self._changed.notify_all()

    @property
    def newest(self) -> Shown | None:
        """What was published last."""
        with self._changed:
            return self._newest

    @property
    def picture(self) -> Picture | None:
        """The newest picture, which may be older than the newest row."""
        with self._changed:
            return self._picture

    @property
    def is_ended(self) -> bool:
        """Whether the end was published: no row follows."""
        with self._changed:
            return self._is_ended

    def rows_after(self, number: int, wait_s: float = 0.0) -> list[tuple[int, Row]]:
        """Numbered rows after this number (-1: all that are kept); waits so long for one, or for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ended or self._has_after(number), wait_s)
            return [(own, row) for own, row in self._rows if own > number]

    def _has_after(self, number: int) -> bool:
        return bool(self._rows) and self._rows[-1][0] > number
