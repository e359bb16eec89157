"""Which frames to look at: pure arithmetic over display times, no files, no pixels.

`keys` are the display times of candidate frames in rising order, in ticks or in frame numbers; every
function returns positions in `keys`, rising and without repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

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

    `seen` are the display times at which luma was looked at, `change[i]` what changed from
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
