"""Which frames to sample: pure arithmetic over display times, no files, no pixels.

`keys` are the display times of candidate frames in rising order, in ticks or in frame numbers; every
function returns positions in `keys`, rising and without repeats. A new mode is a function of `Candidates` with
`@register_sampling`, here or in a module of your own (settings: plugins).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deepfake.registry import Registry

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

# Weight of mere time beside luma change, as a share of the mean change: still passages keep some cover.
COVER_RATIO = 0.2


def nearest(keys: Ints, wanted: Floats) -> Ints:
    """Position of the key nearest to each wanted time; the earlier one on a tie."""
    if len(keys) == 1:
        return np.zeros(len(wanted), np.int64)
    right = np.clip(np.searchsorted(keys, wanted), 1, len(keys) - 1)
    left_is_nearer = wanted - keys[right - 1] <= keys[right] - wanted
    return np.asarray(right - left_is_nearer, np.int64)


def distinct(positions: Ints, n_keys: int) -> Ints:
    """Push rising positions apart until none repeats, inside 0..n_keys - 1; needs len <= n_keys."""
    steps = np.arange(len(positions))
    pushed = np.maximum.accumulate(positions - steps) + steps
    return np.asarray(np.minimum(pushed, n_keys - len(positions) + steps), np.int64)


def even(keys: Ints, n_frames: int, start: float, end: float) -> Ints:
    """The candidates nearest to the middles of `n_frames` equal parts of start..end."""
    if n_frames >= len(keys):
        return np.arange(len(keys), dtype=np.int64)
    wanted = start + (np.arange(n_frames) + 0.5) * (end - start) / n_frames
    # Half a frame back: the middle of a part lies between two frames' starts.
    wanted -= (end - start) / (2 * max(len(keys), 1))
    return distinct(nearest(keys, wanted), len(keys))


def every(keys: Ints, step: float) -> Ints:
    """The candidates nearest to 0, 1, 2 ... steps from the first."""
    first, last = float(keys[0]), float(keys[-1])
    wanted = first + np.arange(int(np.floor((last - first) / step + 1e-9)) + 1) * step
    return np.unique(nearest(keys, wanted))


def by_change(keys: Ints, seen: Ints, change: Floats, n_frames: int) -> Ints:
    """Candidates at equal steps of cumulative change, so that moving passages get more.

    `seen` are the display times at which luma was read, `change[i]` what changed from
    `seen[i - 1]` to `seen[i]`; `change[0]` is not used.
    """
    if n_frames >= len(keys):
        return np.arange(len(keys), dtype=np.int64)
    if len(seen) < 2:
        return even(keys, n_frames, float(keys[0]), float(keys[-1]))
    gaps = np.diff(seen).astype(float)
    mean_change = max(float(change[1:].mean()), 1e-6)
    weight = change[1:] + COVER_RATIO * mean_change * gaps / gaps.mean()
    total = np.concatenate([[0.0], np.cumsum(weight)])
    wanted = np.interp((np.arange(n_frames) + 0.5) / n_frames * total[-1], total, seen.astype(float))
    return distinct(nearest(keys, wanted), len(keys))


def shares(lengths: Sequence[int], n_frames: int) -> list[int]:
    """How many of `n_frames` each shot gets: one each, the rest by length.

    With more shots than frames, the longest get one; the earlier of two equal ones.
    """
    lengths_array = np.asarray(lengths, float)
    given = np.zeros(len(lengths), np.int64)
    for shot in np.argsort(-lengths_array, kind="stable")[:n_frames]:
        given[shot] = 1
    for _ in range(n_frames - int(given.sum())):
        room = np.where(given < lengths_array, lengths_array / (given + 0.5), 0)
        if room.max() <= 0:
            break
        given[int(np.argmax(room))] += 1
    return given.tolist()


def by_shot(keys: Ints, first_keys: Sequence[float], n_frames: int) -> Ints:
    """Candidates spread over shots; `first_keys[i]` is the display time at which shot i begins."""
    if n_frames >= len(keys):
        return np.arange(len(keys), dtype=np.int64)
    bounds = np.unique(np.concatenate([[0], np.searchsorted(keys, np.asarray(first_keys)), [len(keys)]]))
    lengths = np.diff(bounds)
    chosen = []
    for start, length, count in zip(bounds[:-1], lengths, shares(lengths.tolist(), n_frames), strict=True):
        middles = start + np.floor((np.arange(count) + 0.5) * length / max(count, 1)).astype(np.int64)
        chosen.append(middles)
    return np.concatenate(chosen)


@dataclass(frozen=True)
class FirstPass:
    """What a pass over small grey pictures gives: times seen, change since the one before, where shots begin.

    `change[0]` is not used; all times are display times in ticks.
    """

    seen: Ints
    change: Floats
    cuts: Sequence[int]


@dataclass(frozen=True)
class Candidates:
    """The frames that a mode chooses from: their display times, rising, in ticks of `tick_s` seconds.

    The video is shown from `start` to `end`. `n_frames` and `sample_fps` are what the settings ask for.
    """

    keys: Ints
    start: float
    end: float
    tick_s: float
    n_frames: int
    sample_fps: float
    first_pass: FirstPass | None = None

    def of_first_pass(self) -> FirstPass:
        """The first pass, of modes that asked for it."""
        assert self.first_pass is not None, "registered without first_pass=True"
        return self.first_pass


Choose = Callable[[Candidates], Ints]
FramesOf = Literal["all", "reference", "keyframes"]


@dataclass(frozen=True)
class Mode:
    """How frames are chosen: out of which ones, whether after a first pass over all of these, and by which function.

    `spreads`: over the whole of a video, so that of a long one they are better spent where faces are.
    """

    choose: Choose
    frames: FramesOf
    first_pass: bool
    spreads: bool = False


MODES: Registry[Mode] = Registry("sampling")


def register_sampling(
    name: str, *, frames: FramesOf = "all", first_pass: bool = False, spreads: bool = False
) -> Callable[[Choose], Choose]:
    """Make a function the sampling mode of this name, which extract.sampling chooses by it.

    `frames`: the candidates; frames that are none are not decoded where that saves time. `first_pass`: decode twice,
    the first time to see how luma changes and where shots begin. `spreads`: of videos longer than extract.long_from_s
    the frames are chosen by `media.long_sampling` instead, out of the same candidates.
    """

    def enter(choose: Choose) -> Choose:
        MODES.add(name, Mode(choose, frames, first_pass, spreads), choose)
        return choose

    return enter


@register_sampling("keyframe", frames="keyframes", spreads=True)
@register_sampling("reference", frames="reference", spreads=True)
@register_sampling("uniform", spreads=True)
def spread_evenly(candidates: Candidates) -> Ints:
    """The middles of equal parts of the video."""
    return even(candidates.keys, candidates.n_frames, candidates.start, candidates.end)


@register_sampling("fps")
def by_rate(candidates: Candidates) -> Ints:
    """So many frames a second, however many that are."""
    return every(candidates.keys, 1 / (candidates.sample_fps * candidates.tick_s))


@register_sampling("adaptive", frames="reference", first_pass=True, spreads=True)
def where_it_moves(candidates: Candidates) -> Ints:
    """Equal steps of cumulative luma change."""
    luma = candidates.of_first_pass()
    return by_change(candidates.keys, luma.seen, luma.change, candidates.n_frames)


@register_sampling("shot_aware", frames="reference", first_pass=True, spreads=True)
def in_every_shot(candidates: Candidates) -> Ints:
    """One or more in each shot."""
    return by_shot(candidates.keys, candidates.of_first_pass().cuts, candidates.n_frames)
