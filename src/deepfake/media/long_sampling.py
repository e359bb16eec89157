"""Where to search a long video for faces, and which of its frames to sample once it is known where they are.

Pure arithmetic over display times, as `media.sampling`: no files, no pixels. Where frames are spread evenly, the longer
a video the less of it is seen; here two moments that are searched lie at most `search_step_s` apart, and the sampled
frames lie where faces were detected. Both numbers grow with the root of the length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from deepfake.media.sampling import Ints, distinct, even, nearest, shares

SECOND_S = 1.0  # who is to be seen for so long gets enough frames
WIDER = 1.25  # a step that costs too much is made so much longer ...
# ... up to this or to this part of the length: x264's keyframes are 250 frames apart at most, and are enough then.
WIDEST_S, WIDEST_PARTS = 12.0, 64


@dataclass(frozen=True)
class SearchPlan:
    """Frames to search, as places in display order, and the seconds between two of them at most."""

    places: Ints
    gap_s: float
    keyframes_only: bool


@dataclass(frozen=True)
class Timeline:
    """A video's frames in display order: when each is shown, and what decoding it takes.

    `allowed` are the places of frames that may be chosen. `is_keyframe` says where decoding can start; None where all
    frames have to be decoded.
    """

    times_s: npt.NDArray[np.float64]
    end_s: float
    allowed: Ints
    is_keyframe: npt.NDArray[np.bool_] | None

    @property
    def length_s(self) -> float:
        """From the first frame to the end of the last one."""
        return self.end_s - float(self.times_s[0])


@dataclass(frozen=True)
class Appearance:
    """One face in one shot, as the search saw it: from the first to the last searched frame that shows it.

    `weight` says which of too many to keep: its length times the size of the face.
    """

    shot: int
    from_s: float
    to_s: float
    weight: float


def grown(at_start: float, length_s: float, start_s: float) -> float:
    """What is `at_start` up to a length of `start_s` and grows with the root of the length from there."""
    return at_start * math.sqrt(max(length_s / start_s, 1.0))


def search_step_s(length_s: float, every_s: float, most: int) -> float:
    """Seconds between two searched frames: `every_s` up to `most` of these, then as few more as the root gives."""
    return max(every_s, length_s / grown(most, length_s, most * every_s))


def plan_search(timeline: Timeline, step_s: float, most_decoded: float) -> SearchPlan:
    """The frames to search: no further apart than `step_s`, where decoding them costs `most_decoded` frames or less.

    Else fewer frames between keyframes, up to `widest_s`; keyframes are searched whatever they cost.
    """
    between_s, widest_s = step_s, max(step_s, WIDEST_S, timeline.length_s / WIDEST_PARTS)
    places = places_to_search(timeline, step_s, between_s)
    is_keyframe = timeline.is_keyframe
    while is_keyframe is not None and between_s < widest_s and decoded_for(timeline, places) > most_decoded:
        between_s = min(between_s * WIDER, widest_s)
        places = places_to_search(timeline, step_s, between_s)
    keyframes_only = is_keyframe is not None and bool(is_keyframe[places[:-1]].all())
    if keyframes_only and is_keyframe is not None and not is_keyframe[places[-1]]:
        # Keyframes alone are decoded far quicker than with the last frame as well; the last keyframe is near it.
        places = places[:-1]
    return SearchPlan(places, longest_gap_s(timeline, places), keyframes_only)


def longest_gap_s(timeline: Timeline, places: Ints) -> float:
    """The longest time between two searched frames with others between them; 0 where every frame is searched."""
    edges = np.concatenate([places, [len(timeline.times_s)]])
    shown_s = np.append(timeline.times_s, timeline.end_s)
    leaves_out = np.diff(edges) > 1
    return float((np.diff(shown_s[edges]) * leaves_out).max())


def places_to_search(timeline: Timeline, step_s: float, between_s: float) -> Ints:
    """Places of allowed frames from the first to the last one, each `step_s` or less after the one before.

    Keyframes are preferred, for they cost least; where none comes for longer, frames between two keyframes follow each
    other by `between_s` at most. Where frames are missing, the next one there is.
    """
    times = timeline.times_s[timeline.allowed]
    is_key = np.zeros(len(times), bool) if timeline.is_keyframe is None else timeline.is_keyframe[timeline.allowed]
    keys, final = np.flatnonzero(is_key), len(times) - 1
    chosen, at = [0], 0
    while at < final:
        reached = int(np.searchsorted(times, times[at] + step_s + 1e-6, side="right")) - 1
        after = int(np.searchsorted(keys, reached, side="right"))
        late = int(keys[after - 1]) if after > 0 else -1
        if late > at and times[late] - times[at] >= step_s / 2:
            at = late
        else:
            following = int(keys[after]) if after < len(keys) else final
            parts = max(math.ceil((times[following] - times[at]) / between_s - 1e-6), 1)
            wanted = times[at] + (times[following] - times[at]) / parts
            at = max(int(np.searchsorted(times, wanted + 1e-6, side="right")) - 1, at + 1)
        chosen.append(at)
    return np.asarray(timeline.allowed[chosen], np.int64)


def decoded_for(timeline: Timeline, places: Ints) -> float:
    """How many frames are decoded to see those at some places: from each one's keyframe on, among allowed frames."""
    assert timeline.is_keyframe is not None, "where there is no keyframe, all frames are decoded"
    n_frames = len(timeline.times_s)
    is_allowed = np.zeros(n_frames, np.int64)
    is_allowed[timeline.allowed] = 1
    count = np.cumsum(is_allowed)
    start = np.maximum.accumulate(np.where(timeline.is_keyframe, np.arange(n_frames), 0))
    last_of = {int(start[place]): int(place) for place in places}  # rising places: the last one of a start stays
    return float(sum(count[last] - count[first] + 1 for first, last in last_of.items()))


def weightiest_in_time(weights: Sequence[float], most: int) -> list[int]:
    """Places of at most so many of what follows in time: the weightiest of each of `most` groups; the earlier of two.

    The longest of all would be those of the main speaker, and who is seen for a second would never be among them.
    """
    if len(weights) <= most:
        return list(range(len(weights)))
    groups = np.array_split(np.arange(len(weights)), most)
    return [max(group.tolist(), key=lambda i: (weights[i], -i)) for group in groups]


def chosen_appearances(appearances: Sequence[Appearance], most: int) -> list[Appearance]:
    """At most so many, in the order of time and spread over it."""
    ordered = sorted(appearances, key=lambda one: (one.from_s, one.to_s, -one.weight))
    return [ordered[i] for i in weightiest_in_time([one.weight for one in ordered], most)]


def boundaries(timeline: Timeline, appearances: Sequence[Appearance]) -> Ints:
    """First place of each stretch with faces but the first one; none of its faces goes on from the stretch before."""
    stretches = _stretches(appearances)
    middles = [(end + start) / 2 for (_, end), (start, _) in pairwise(stretches)]
    return np.searchsorted(timeline.times_s, np.array(middles)).astype(np.int64)


def frames_of_appearances(timeline: Timeline, appearances: Sequence[Appearance], n_frames: int, at_least: int) -> Ints:
    """Places of frames to sample: `n_frames` over all stretches with a face, by length; `at_least` in each appearance.

    Who was seen in one searched frame alone may come or go right beside it: so many frames lie around it that
    `at_least` of them show a face which is there for a second.
    """
    times = timeline.times_s[timeline.allowed]
    chosen = _spread(times, _stretches(appearances), n_frames) if appearances else set()
    for one in sorted(appearances, key=lambda one: (one.to_s - one.from_s, one.from_s, one.shot)):
        chosen |= _enough(times, one, chosen, at_least)
    return np.asarray(timeline.allowed[sorted(chosen)], np.int64)


def _stretches(appearances: Sequence[Appearance]) -> list[tuple[float, float]]:
    """The times at which at least one face is there; those of two shots stay apart."""
    joined: list[tuple[int, float, float]] = []
    for one in sorted(appearances, key=lambda one: (one.from_s, one.shot)):
        if joined and joined[-1][0] == one.shot and one.from_s <= joined[-1][2]:
            shot, start, end = joined.pop()
            joined.append((shot, start, max(end, one.to_s)))
        else:
            joined.append((one.shot, one.from_s, one.to_s))
    return [(start, end) for _, start, end in joined]


def _spread(times: npt.NDArray[np.float64], stretches: Sequence[tuple[float, float]], n_frames: int) -> set[int]:
    bounds = [_between(times, start, end) for start, end in stretches]
    lengths = [last - first for first, last in bounds]
    chosen: set[int] = set()
    for (first, last), (start, end), count in zip(bounds, stretches, shares(lengths, n_frames), strict=True):
        if count:
            chosen |= set((first + _even(times[first:last], count, start, end)).tolist())
    return chosen


def _between(times: npt.NDArray[np.float64], start: float, end: float) -> tuple[int, int]:
    """Places from, and up to but not with; at least the frame nearest to `start`."""
    first = int(np.searchsorted(times, start - 1e-6))
    last = int(np.searchsorted(times, end + 1e-6, side="right"))
    if last > first:
        return first, last
    near = int(np.argmin(np.abs(times - start)))
    return near, near + 1


def _even(times: npt.NDArray[np.float64], count: int, start: float, end: float) -> Ints:
    if count >= len(times):
        return np.arange(len(times), dtype=np.int64)
    ticks = np.round(times * 1e6).astype(np.int64)  # `even` is given whole ticks
    return even(ticks, count, start * 1e6, end * 1e6)


def _enough(times: npt.NDArray[np.float64], one: Appearance, chosen: set[int], at_least: int) -> set[int]:
    """Frames that an appearance still lacks."""
    if one.to_s <= one.from_s:
        wanted = one.from_s + np.arange(1 - at_least, at_least) * SECOND_S / at_least
        return set(nearest(np.round(times * 1e6).astype(np.int64), wanted * 1e6).tolist())
    first, last = _between(times, one.from_s, one.to_s)
    if len(chosen.intersection(range(first, last))) >= min(at_least, last - first):
        return set()
    ticks = np.linspace(first, last - 1, min(at_least, last - first))
    return set((first + distinct(np.round(ticks - first).astype(np.int64), last - first)).tolist())
