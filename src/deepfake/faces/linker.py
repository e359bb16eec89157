"""Link the faces of successive frames into tracks: one person in one shot.

Sampled frames may lie a second apart, so faces are matched by the distance of their centres in
units of their size from where each person should be by now, by overlap and by size, all faces at
once (Hungarian method). Whoever describes faces by vectors may let these count as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deepfake.faces.mtcnn import Faces

# Tuned on seeds 100 to 123 of `track_scenes` for the mean IDF1; `make bench-tracks` shows others.
# A centre may be off by this share of the face's side, plus so much more per second unseen.
BASE_REACH = 0.6
REACH_PER_S = 2.5
MAX_REACH = 2.5
MAX_SIZE_RATIO = 2.2
SIZE_WEIGHT = 1.0
OVERLAP_WEIGHT = 0.5
# Cost of going on with a track of one face, so that a false alarm does not take over a person.
YOUNG_COST = 0.5
# Cost of a second unseen beyond the shortest, so that one who is lost does not take over one who is seen.
GAP_COST_PER_S = 0.5
# A pair that costs more is no pair. Without it a false box may push all people on by one.
MAX_COST = 2.0
# Speed is measured over so many seconds: over one step of 1/30 s it would be the detector's shaking.
SPEED_S = 0.4
MOST_REMEMBERED = 32  # detections that a speed is measured from: 0.4 s at 80 frames a second
MAX_AHEAD_S = 1.0  # nobody goes on straight for longer, so a speed is carried on no further
MISSED_LOOKS = 1.5  # where frames lie further apart than a track's gap, one of them may miss the face
APPEARANCE_MEMORY = 0.8  # share of the old vector when a new one comes


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    areas = (a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)[None] - both
    return np.asarray(both / np.maximum(areas, 1e-9))


def assign(cost: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost, by row, each row or each column used: Hungarian method, for few faces.

    Does what scipy's `linear_sum_assignment` does, whose import costs each worker 36 MB and 0.4 s.
    Of equal totals the one that pairs low indices with low ones is taken.
    """
    n_rows, n_columns = cost.shape
    if n_rows > n_columns:
        return sorted((row, column) for column, row in assign(cost.T))
    # Squares of index differences sum up to least in rising order: a hair of them breaks ties and nothing else.
    cost = cost + 1e-9 * np.subtract.outer(np.arange(n_rows), np.arange(n_columns)) ** 2.0
    row_price, column_price = np.zeros(n_rows), np.zeros(n_columns)
    owner = np.full(n_columns, -1)
    for row in range(n_rows):
        _add_row(row, cost, row_price, column_price, owner)
    return sorted((int(owner[column]), int(column)) for column in np.flatnonzero(owner >= 0))


def _add_row(row: int, cost: np.ndarray, row_price: np.ndarray, column_price: np.ndarray, owner: np.ndarray) -> None:
    """Give a row a column by the cheapest chain of changes; prices and `owner` (row of each column) are updated."""
    cheapest = np.full(len(owner), np.inf)
    came_from = np.full(len(owner), -1)
    reached = np.zeros(len(owner), bool)
    spent, column = 0.0, -1
    while column < 0 or owner[column] >= 0:
        at = row if column < 0 else owner[column]
        through = spent + cost[at] - row_price[at] - column_price
        better = ~reached & (through < cheapest)
        cheapest[better], came_from[better] = through[better], column
        column = int(np.where(reached, np.inf, cheapest).argmin())
        reached[column], spent = True, cheapest[column]
    reached[column] = False
    row_price[row] += spent
    row_price[owner[reached]] += spent - cheapest[reached]
    column_price[reached] -= spent - cheapest[reached]
    while came_from[column] >= 0:
        owner[column] = owner[came_from[column]]
        column = came_from[column]
    owner[column] = row


def match(
    old: np.ndarray, new: np.ndarray, gaps_s: np.ndarray, extra_cost: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Pairs (old, new) of boxes (n, 4) and (m, 4) that may be one person.

    `gaps_s` (n,) is the time since each old box was seen; `extra_cost` (n, m) is added to what place and size cost.
    """
    if not len(old) or not len(new):
        return []
    old_centre, new_centre = (old[:, :2] + old[:, 2:]) / 2, (new[:, :2] + new[:, 2:]) / 2
    old_side, new_side = np.sqrt((old[:, 2:] - old[:, :2]).prod(1)), np.sqrt((new[:, 2:] - new[:, :2]).prod(1))
    side = np.sqrt(old_side[:, None] * new_side[None])
    distance = np.linalg.norm(old_centre[:, None] - new_centre[None], axis=2) / np.maximum(side, 1e-6)
    ratio = np.abs(np.log(np.maximum(old_side[:, None], 1e-6) / np.maximum(new_side[None], 1e-6)))
    reach = np.minimum(BASE_REACH + REACH_PER_S * gaps_s, MAX_REACH)[:, None]
    cost = distance / reach + SIZE_WEIGHT * ratio + OVERLAP_WEIGHT * (1 - overlap(old, new))
    cost = cost + GAP_COST_PER_S * (gaps_s - gaps_s.min())[:, None]
    if extra_cost is not None:
        cost = cost + extra_cost
    allowed = (distance <= reach) & (ratio <= np.log(MAX_SIZE_RATIO)) & (cost < MAX_COST)
    return [(r, c) for r, c in assign(np.where(allowed, cost, MAX_COST)) if allowed[r, c]]


@dataclass
class Track:
    """A person in one shot: parallel lists, one entry a detection."""

    number: int
    shot: int
    frame_indices: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    appearance: np.ndarray | None = None

    def predicted(self, time_s: float) -> np.ndarray:
        """The box (4,) expected at a time: on the straight line through the last `SPEED_S`, or the last two boxes.

        After more than `MAX_AHEAD_S` it is where the last box was.
        """
        if time_s - self.times_s[-1] > MAX_AHEAD_S:
            return np.asarray(self.boxes[-1])
        n = sum(self.times_s[-1] - t <= SPEED_S for t in self.times_s[-MOST_REMEMBERED:])
        n = min(max(n, 2), len(self.boxes))
        times_s, boxes = np.array(self.times_s[-n:]), np.array(self.boxes[-n:], np.float64)
        centres, away_s = (boxes[:, :2] + boxes[:, 2:]) / 2, times_s - times_s.mean()
        speed = away_s @ centres / max(float(away_s @ away_s), 1e-12)
        centre = centres.mean(0) + speed * (time_s - times_s.mean())
        return np.asarray(boxes[-1] + np.tile(centre - centres[-1], 2))

    def remember(self, appearance: np.ndarray) -> None:
        """Take up what the person looks like now: a vector (d,) of length 1."""
        old = appearance if self.appearance is None else self.appearance
        mixed = APPEARANCE_MEMORY * old + (1 - APPEARANCE_MEMORY) * appearance
        self.appearance = mixed / max(float(np.linalg.norm(mixed)), 1e-9)


GONE = Track(-1, -1)  # in place of a track that was forgotten


class Linker:
    """Give every face a track number, frame after frame in rising time.

    `appearance_weight` is the cost of vectors at right angles to each other, where `update` is given
    vectors; 1 equals the cost of a centre at the limit of its reach, 0 leaves them out.
    """

    def __init__(self, max_gap_s: float, appearance_weight: float = 0.0) -> None:
        self.max_gap_s = max_gap_s
        self.appearance_weight = appearance_weight
        self.tracks: list[Track] = []
        self._open: list[Track] = []
        self._last_s: float | None = None

    def update(
        self, frame_index: int, time_s: float, shot: int, faces: Faces, appearance: np.ndarray | None = None
    ) -> list[int]:
        """Track number of each face of this frame; a new shot or a gap over `max_gap_s` starts new tracks.

        Where frames themselves lie further apart, a face may be missed in one of them, not in two.
        `appearance` (n, d): a vector of any length a face, such as an embedding; near in angle means alike.
        """
        vectors = None if appearance is None or not self.appearance_weight else _unit(appearance, len(faces))
        step_s = 0.0 if self._last_s is None else time_s - self._last_s
        gap_s = self.max_gap_s if step_s <= self.max_gap_s else (1 + MISSED_LOOKS) * step_s
        self._last_s = time_s
        self._open = [t for t in self._open if t.shot == shot and time_s - t.times_s[-1] <= gap_s]
        numbers = [-1] * len(faces)
        old = np.array([t.predicted(time_s) for t in self._open], np.float32).reshape(-1, 4)
        gaps_s = np.array([time_s - t.times_s[-1] for t in self._open])
        for row, column in match(old, faces.boxes, gaps_s, self._extra_cost(vectors, len(faces))):
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
            if vectors is not None:
                track.remember(vectors[column])
        return numbers

    def going_on(self, time_s: float, shot: int) -> list[Track]:
        """The tracks that a face of this time may belong to."""
        return [t for t in self._open if t.shot == shot and time_s - t.times_s[-1] <= self.max_gap_s]

    def forget(self) -> None:
        """Drop all that no later update needs, of a stream that goes on for hours; `tracks` keep their places."""
        going_on = {track.number for track in self._open}
        for number, track in enumerate(self.tracks):
            if number in going_on:
                for values in (track.frame_indices, track.times_s, track.boxes):
                    del values[:-MOST_REMEMBERED]
            elif track is not GONE:
                self.tracks[number] = GONE

    def _extra_cost(self, vectors: np.ndarray | None, n_faces: int) -> np.ndarray:
        """What young tracks and unlike appearances cost (open tracks, faces)."""
        cost = np.zeros((len(self._open), n_faces))
        for row, track in enumerate(self._open):
            cost[row] = YOUNG_COST * (len(track.boxes) == 1)
            if vectors is not None and track.appearance is not None:
                cost[row] += self.appearance_weight * (1 - vectors @ track.appearance)
        return cost


def _unit(appearance: np.ndarray, n_faces: int) -> np.ndarray:
    if appearance.ndim != 2 or len(appearance) != n_faces:
        raise ValueError(f"appearance: shape {appearance.shape} found; one vector for each of {n_faces} faces wanted")
    return np.asarray(appearance / np.maximum(np.linalg.norm(appearance, axis=1, keepdims=True), 1e-9), np.float64)
