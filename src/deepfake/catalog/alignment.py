"""Which seconds of a clip are which seconds of another video: by picture hashes, at any offset and several speeds.

Pairs of near hashes vote for an offset in time at a speed (a Hough transform); along the best lines the stretch is
taken whose hashes are near all the way, and the rest of the clip is asked again. Letters: P points in time of the
clip, K variants of the hash of one, N hashes of the other video, W words of 64 bits in a hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deepfake.catalog.hashing import Asked, Held
from deepfake.catalog.search import distance_table, distances_along
from deepfake.faces.descriptors import BITS, bytes_of

# How fast the clip may run beside the video: 1.1 is shown in ten elevenths of the time.
SPEEDS = (1.0, 0.5, 2 / 3, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.25, 1.5, 2.0)
BIN_S = 0.25  # of offsets that are voted for
LINES_PER_SPEED = 2
MOST_RANGES = 8
MOST_PAIRS = 200_000  # that vote
OTHER_SPEED_COST = 0.3  # of a line's worth at half or double speed: still pictures fit at any
NEAR_SPREAD = 16.0  # bits
EIGHTHS, COVERED = 8, 2  # with three left out, other people's clips were as near as copies


@dataclass(frozen=True)
class Limits:
    """What counts as seen again.

    A hash is near with at most `max_bits` different; a range wants `min_frames` hashes in a row, and either
    `sure_bits` or fewer on average where nothing is laid over the picture (`clear_bits`), or no more than `mean_bits`
    and pictures that move alike (`moves_alike`): of two takes in one studio the hashes are near, but what moves in one
    does not in the other.
    """

    max_bits: int
    mean_bits: float
    sure_bits: float
    min_moves_alike: float
    min_frames: int

    def hold(self, one: Range) -> bool:
        """Whether a range is one."""
        if min(one.n_frames, one.n_points) < self.min_frames:
            return False
        return one.clear_bits <= self.sure_bits or (
            one.bits <= self.mean_bits and one.moves_alike >= self.min_moves_alike
        )


@dataclass(frozen=True)
class Range:
    """Seconds of an indexed video that are seconds of a clip; `speed` is the clip's, `bits` differ on average."""

    from_s: float
    to_s: float
    clip_from_s: float
    clip_to_s: float
    speed: float
    is_mirrored: bool
    n_frames: int  # of the video
    n_points: int  # of the clip, beside them
    bits: float
    clear_bits: float  # the same without the parts of the picture that differ most, for all of it: at most `bits`
    moves_alike: float  # 0..1


@dataclass(frozen=True)
class _Line:
    """The second x of the clip is the second offset + speed * x of the video."""

    speed: float
    offset_s: float
    is_mirrored: bool


_Stretch = tuple[float, _Line, int, int]  # its worth, where it lies, its first hash and the one after its last


def _worth(one: _Stretch) -> float:
    return one[0]


def aligned_ranges(asked: Asked, held: Held, limits: Limits) -> list[Range]:
    """The seconds that are alike, in the clip's order; none overlap in the clip."""
    search = _Search(asked, held, limits)
    return sorted(search.ranges(), key=lambda one: (one.clip_from_s, one.from_s))


class _Search:
    def __init__(self, asked: Asked, held: Held, limits: Limits) -> None:
        self.asked, self.held, self.limits = asked, held, limits
        self.is_free_P = np.ones(len(asked.times_P), bool)
        self.point_s = _step(asked.times_P)
        self.frame_s = _step(held.times_N)
        stride = max(1, -(-len(asked.times_P) * len(held.times_N) // MOST_PAIRS))
        self.voters_P = np.arange(0, len(asked.times_P), stride)
        self.bits = {
            is_mirrored: distance_table(asked.words(is_mirrored)[self.voters_P], held.words_NW)
            for is_mirrored in (False, True)
        }
        self.near_bits = 0.0

    def ranges(self) -> Iterator[Range]:
        for _ in range(MOST_RANGES):
            self.near_bits = self._near_bits()
            rough = [self._stretch(line) for line in self._lines()]
            # At the clip's own speed, too: rough lines miss by half a step, which tells against the right one.
            best = [max(some, key=_worth) for some in (rough, [one for one in rough if one[1].speed == 1]) if some]
            found = max((self._stretch(line) for one in best for line in self._near(one[1])), key=_worth, default=None)
            if found is None or found[0] <= 0:
                return
            _, line, first, end = found
            points_M = self._points(line)[first:end]
            made = self._range(line, first, end, points_M)
            self.is_free_P[points_M.min() : points_M.max() + 1] = False
            if self.limits.hold(made):
                yield made

    def _near_bits(self) -> float:
        """How many bits differ at most where the two show the same moment: what still pictures differ by is more."""
        free_P = self.is_free_P[self.voters_P]
        nearest_P = np.minimum(self.bits[False].min(1, initial=BITS), self.bits[True].min(1, initial=BITS))[free_P]
        near_P = nearest_P[nearest_P <= self.limits.max_bits]
        usual = float(np.median(near_P)) if len(near_P) else 0.0
        return min(usual + NEAR_SPREAD, self.limits.max_bits)

    def _lines(self) -> Iterator[_Line]:
        """Lines that many near hashes lie on."""
        times_P = self.asked.times_P[self.voters_P]
        for is_mirrored, bits_PN in self.bits.items():
            gains_PN = np.maximum(self.near_bits - bits_PN, 0)
            points, frames = np.nonzero(gains_PN * self.is_free_P[self.voters_P, None])
            if not len(points):
                continue
            votes = gains_PN[points, frames].astype(float)
            for speed in SPEEDS:
                offsets = self.held.times_N[frames] - speed * times_P[points]
                bins = np.floor(offsets / BIN_S).astype(np.int64)
                lowest = int(bins.min())
                counts = np.bincount(bins - lowest, votes)
                sums = np.bincount(bins - lowest, votes * offsets)
                near = counts + 0.5 * (np.r_[counts[1:], 0] + np.r_[0, counts[:-1]])
                for place in np.argsort(-near, kind="stable")[:LINES_PER_SPEED].tolist():
                    if counts[place]:
                        yield _Line(speed, float(sums[place] / counts[place]), is_mirrored)

    def _near(self, line: _Line) -> Iterator[_Line]:
        """A line and others that lead a little beside it."""
        middle_s = float(self.asked.times_P[self.is_free_P].mean())
        for speed in (line.speed, line.speed - 0.025, line.speed + 0.025) if line.speed != 1 else (1.0,):
            offset_s = line.offset_s + (line.speed - speed) * middle_s
            for shift in (0, -1, 1, -2, 2, -3, 3):
                yield _Line(speed, offset_s + shift * BIN_S / 4, line.is_mirrored)

    def _points(self, line: _Line) -> np.ndarray:
        """The clip's point beside each hash of the video; -1 where it shows none, or one that is used."""
        times_P = self.asked.times_P
        wanted_N = (self.held.times_N - line.offset_s) / line.speed
        right_N = np.clip(np.searchsorted(times_P, wanted_N), 1, max(len(times_P) - 1, 1))
        left_N = right_N - 1
        right_N = np.minimum(right_N, len(times_P) - 1)
        nearest_N = np.where(wanted_N - times_P[left_N] <= times_P[right_N] - wanted_N, left_N, right_N)
        is_shown_N = np.abs(times_P[nearest_N] - wanted_N) <= max(self.point_s, 0.02)
        return np.where(is_shown_N & self.is_free_P[nearest_N], nearest_N, -1)

    def _stretch(self, line: _Line) -> _Stretch:
        """The stretch of the video whose hashes are near all along a line: its worth, where it begins and ends."""
        points_N = self._points(line)
        bits_N = distances_along(self.asked.words(line.is_mirrored), self.held.words_NW, points_N)
        gains_N = np.where(points_N >= 0, self.near_bits - bits_N, -1e9)
        worth, first, end = best_run(gains_N)
        return worth * (1 - OTHER_SPEED_COST * abs(np.log2(line.speed))), line, first, end

    def _range(self, line: _Line, first: int, end: int, points_M: np.ndarray) -> Range:
        """A hash stands for the time around it, up to half a step."""
        asked_MKW, held_MW = self.asked.words(line.is_mirrored)[points_M], self.held.words_NW[first:end]
        own_M = np.arange(len(held_MW))
        bits = [
            distances_along(np.ascontiguousarray(asked_MKW[:, k : k + 1]), held_MW, own_M).mean()
            for k in range(asked_MKW.shape[1])
        ]
        variant = int(np.argmin(bits))
        from_s = max(float(self.held.times_N[first]) - self.frame_s / 2, 0.0)
        to_s = min(float(self.held.times_N[end - 1]) + self.frame_s / 2, self.held.duration_s)
        clip_from_s, clip_to_s = ((second - line.offset_s) / line.speed for second in (from_s, to_s))
        short_s, long_s = max(-clip_from_s, 0.0), max(clip_to_s - self.asked.duration_s, 0.0)
        return Range(
            from_s=from_s + short_s * line.speed,
            to_s=to_s - long_s * line.speed,
            clip_from_s=clip_from_s + short_s,
            clip_to_s=clip_to_s - long_s,
            speed=line.speed,
            is_mirrored=line.is_mirrored,
            n_frames=end - first,
            n_points=len(np.unique(points_M)),
            bits=float(bits[variant]),
            clear_bits=clear_bits(np.ascontiguousarray(asked_MKW[:, variant]), held_MW),
            moves_alike=moves_alike(np.ascontiguousarray(asked_MKW[:, variant]), held_MW),
        )


def clear_bits(one_NW: np.ndarray, other_NW: np.ndarray) -> float:
    """How many bits differ on average where the COVERED eighths of the hash that differ most are left out.

    An eighth is a band across the picture, and a caption or a logo lies in the same ones all the time. Counted as if
    the rest were the whole hash.
    """
    differing_NB = _bits(one_NW ^ other_NW)
    eighths = np.sort(differing_NB.reshape(len(one_NW), EIGHTHS, -1).sum(2).mean(0))
    return float(eighths[: EIGHTHS - COVERED].sum()) * EIGHTHS / (EIGHTHS - COVERED)


def moves_alike(one_NW: np.ndarray, other_NW: np.ndarray) -> float:
    """How far two hashes side by side leave what they mostly are by the same bits: 0..1, 0 where neither moves."""
    moved = [bits_NB ^ (2 * bits_NB.sum(0) > len(bits_NB)) for bits_NB in (_bits(one_NW), _bits(other_NW))]
    n_either = int((moved[0] | moved[1]).sum())
    return float((moved[0] & moved[1]).sum()) / n_either if n_either else 0.0


def _bits(words_NW: np.ndarray) -> np.ndarray:
    raw = np.frombuffer(bytes_of(words_NW), np.uint8).reshape(len(words_NW), -1)
    return np.unpackbits(raw, axis=1).astype(bool)


def best_run(gains_N: np.ndarray) -> tuple[float, int, int]:
    """The run whose sum is highest: the sum, its first place and the one after its last; of equal ones the first."""
    sums = np.concatenate([[0.0], np.cumsum(gains_N)])
    lowest = np.minimum.accumulate(sums)
    end = int(np.argmax(sums[1:] - lowest[:-1])) + 1
    first = int(np.argmin(sums[:end]))
    return float(sums[end] - sums[first]), first, end


def _step(times: np.ndarray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.0
