"""Link the faces of successive frames into tracks: one person in one shot.

Sampled frames may lie a second apart, so faces are matched by the distance of their centres in
units of their size, by overlap and by size, all faces at once (Hungarian method).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from deepfake.faces import Faces

# A centre may move by this share of the face's side, plus so much more per second.
BASE_REACH = 0.6
REACH_PER_S = 1.2
MAX_REACH = 2.0
MAX_SIZE_RATIO = 2.2


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    areas = (a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)[None] - both
    return np.asarray(both / np.maximum(areas, 1e-9))


def match(old: np.ndarray, new: np.ndarray, gaps_s: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (old, new) of boxes (n, 4) and (m, 4) that may be one person; `gaps_s` (n,): time since each old box."""
    if not len(old) or not len(new):
        return []
    old_centre, new_centre = (old[:, :2] + old[:, 2:]) / 2, (new[:, :2] + new[:, 2:]) / 2
    old_side, new_side = np.sqrt((old[:, 2:] - old[:, :2]).prod(1)), np.sqrt((new[:, 2:] - new[:, :2]).prod(1))
    side = np.sqrt(old_side[:, None] * new_side[None])
    distance = np.linalg.norm(old_centre[:, None] - new_centre[None], axis=2) / np.maximum(side, 1e-6)
    ratio = np.abs(np.log(np.maximum(old_side[:, None], 1e-6) / np.maximum(new_side[None], 1e-6)))
    reach = np.minimum(BASE_REACH + REACH_PER_S * gaps_s, MAX_REACH)[:, None]
    allowed = (distance <= reach) & (ratio <= np.log(MAX_SIZE_RATIO))
    cost = distance / reach + 0.5 * ratio + 0.5 * (1 - overlap(old, new))
    forbidden = 1e3
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]


@dataclass
class Track:
    """A person in one shot: parallel lists, one entry a detection."""

    number: int
    shot: int
    frame_indices: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)

    def predicted(self, time_s: float) -> np.ndarray:
        """The box (4,) expected at a time: moved on at the last speed, at most as far as the last step."""
        if len(self.boxes) < 2:
            return self.boxes[-1]
        step_s = self.times_s[-1] - self.times_s[-2]
        ratio = min((time_s - self.times_s[-1]) / max(step_s, 1e-6), 1.0)
        move = (self.boxes[-1][:2] + self.boxes[-1][2:] - self.boxes[-2][:2] - self.boxes[-2][2:]) / 2
        return np.asarray(self.boxes[-1] + np.tile(move, 2) * ratio * 0.5)


class Linker:
    """Give every face a track number, frame after frame in rising time."""

    def __init__(self, max_gap_s: float) -> None:
        self.max_gap_s = max_gap_s
        self.tracks: list[Track] = []
        self._open: list[Track] = []

    def update(self, frame_index: int, time_s: float, shot: int, faces: Faces) -> list[int]:
        """Track number of each face of this frame; a new shot or a gap over `max_gap_s` starts new tracks."""
        self._open = [t for t in self._open if t.shot == shot and time_s - t.times_s[-1] <= self.max_gap_s]
        numbers = [-1] * len(faces)
        old = np.array([t.predicted(time_s) for t in self._open], np.float32).reshape(-1, 4)
        gaps_s = np.array([time_s - t.times_s[-1] for t in self._open])
        for row, column in match(old, faces.boxes, gaps_s):
            numbers[column] = self._open[row].number
        for column, number in enumerate(numbers):
            if number < 0:
                track = Track(len(self.tracks), shot)
                self.tracks.append(track)
                self._open.append(track)
                numbers[column] = track.number
            track = self.tracks[numbers[column]]
            track.frame_indices.append(frame_index)
            track.times_s.append(time_s)
            track.boxes.append(faces.boxes[column])
        return numbers
