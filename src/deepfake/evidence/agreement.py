"""How well a mouth's opening goes with the loudness of a voice, at every offset between the two; plain numbers alone.

Both are freed of what changes slowly (a smile, a step nearer to the microphone), and compared by correlation. A mouth
opens before its sound is at its loudest: NATURAL_S is where the two agree best when sound and picture run together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.media.sound import RATE_HZ

GRID_HZ = 50
WINDOW = 640  # samples of a spectrum: 40 ms
# Vowels beyond their pitch: of eight bands tried the one that told own from others' sound best.
BAND_HZ = (1000, 4000)
FLOOR_DB = 40.0  # below the loudest twentieth: what is softer is silence
FAST_S, SLOW_S = 0.1, 0.6
NATURAL_S = 0.08
NEAR_S = 0.12  # offsets up to here belong together: people talk differently, and players are no better
PEAK_S = 0.25  # so wide is a peak of agreement on each side
FAR_S = 1.0  # offsets that are looked at
MIN_OVERLAP = 0.6  # of the mouth's time
MOVES = 0.005  # of the distance of the eyes' corners: a mouth whose opening changes by less over half a second is still
STILL_S = 0.5


@dataclass(frozen=True)
class Agreement:
    """Correlations (K,) of a mouth with a sound that would be so much later, at offsets (K,) in seconds.

    Of an offset of 0 sound and picture run together; NaN where too little of the sound is there.
    """

    offsets_s: np.ndarray
    strengths: np.ndarray

    @property
    def near(self) -> float:
        """The best agreement where sound and picture run together; NaN where that is not known."""
        return self._best(np.abs(self.offsets_s) <= NEAR_S + 1e-9)

    @property
    def best(self) -> float:
        """The best agreement of all."""
        return self._best(np.isfinite(self.strengths))

    @property
    def best_offset_s(self) -> float:
        """Where that is: above 0 the sound runs late."""
        if not np.isfinite(self.strengths).any():
            return float("nan")
        return float(self.offsets_s[np.nanargmax(self.strengths)])

    @property
    def second(self) -> float:
        """The best agreement further than PEAK_S from the best of all: what chance comes to."""
        return self._best(np.abs(self.offsets_s - self.best_offset_s) > PEAK_S)

    def _best(self, mask: np.ndarray) -> float:
        known = self.strengths[mask & np.isfinite(self.strengths)]
        return float(known.max()) if len(known) else float("nan")


def grid(from_s: float, to_s: float) -> np.ndarray:
    """Times GRID_HZ a second from one time to another."""
    return from_s + np.arange(max(int((to_s - from_s) * GRID_HZ), 0)) / GRID_HZ


def loudness(samples: np.ndarray, start_s: float, times_s: np.ndarray) -> np.ndarray:
    """Decibels of BAND_HZ around times of a `grid`; NaN where there is no sound."""
    if not len(times_s):
        return np.zeros(0)
    hop = RATE_HZ // GRID_HZ
    first = round((times_s[0] - start_s) * RATE_HZ) - WINDOW // 2
    at = first + hop * np.arange(len(times_s))
    is_there = (at + WINDOW > 0) & (at < len(samples))
    padded = np.pad(np.asarray(samples, np.float32), WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[np.clip(at + WINDOW, 0, len(samples) + WINDOW)]
    powers = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))) ** 2
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    decibels = 10 * np.log10(powers[:, (hertz >= BAND_HZ[0]) & (hertz < BAND_HZ[1])].sum(axis=1) + 1e-7)
    if is_there.any():
        decibels = np.maximum(decibels, np.percentile(decibels[is_there], 95) - FLOOR_DB)
    return np.asarray(np.where(is_there, decibels, np.nan))


def on_grid(times_s: np.ndarray, values: np.ndarray, grid_s: np.ndarray, max_gap_s: float = 0.3) -> np.ndarray:
    """Values between known ones, at the times of a grid; NaN where the next known one is further off than that."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(grid_s), np.nan)
    known_s = times_s[known]
    after = np.clip(np.searchsorted(known_s, grid_s), 0, len(known_s) - 1)
    before = np.clip(after - 1, 0, None)
    off_s = np.minimum(np.abs(known_s[after] - grid_s), np.abs(grid_s - known_s[before]))
    return np.where(off_s <= max_gap_s, np.interp(grid_s, known_s, values[known]), np.nan)


def swing(values: np.ndarray) -> np.ndarray:
    """What changes within FAST_S to SLOW_S; NaN stays NaN."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return np.full(len(values), np.nan)
    places = np.arange(len(values))
    filled = np.interp(places, places[known], values[known])
    fast = _mean_around(filled, FAST_S)
    return np.where(known, fast - _mean_around(fast, SLOW_S), np.nan)


def agreement(opening: np.ndarray, opening_s: np.ndarray, sound: np.ndarray, sound_s: np.ndarray) -> Agreement:
    """The agreement of an opening and a loudness on grids of their own; the sound's may be wider by any time."""
    mouth, voice = swing(opening), swing(sound)
    reach = round((FAR_S + NATURAL_S) * GRID_HZ)
    shift = round(float(opening_s[0] - sound_s[0]) * GRID_HZ)
    padded = np.full(len(mouth) + 2 * reach, np.nan)
    at = np.arange(len(padded)) + shift - reach
    is_there = (at >= 0) & (at < len(voice))
    padded[is_there] = voice[at[is_there]]
    lags = np.arange(-reach, reach + 1)
    needed = MIN_OVERLAP * len(mouth)
    strengths = [_correlation(mouth, padded[reach + lag : reach + lag + len(mouth)], needed) for lag in lags]
    return Agreement(lags / GRID_HZ - NATURAL_S, np.array(strengths))


def moving(opening: np.ndarray) -> np.ndarray:
    """Whether a mouth on a grid moves around each time (0 or 1); NaN where it is not known."""
    changes = swing(opening)
    known = np.isfinite(changes)
    spread = np.sqrt(_mean_around(np.where(known, changes, 0.0) ** 2, STILL_S))
    return np.where(known, (spread > MOVES).astype(float), np.nan)


def share(values: np.ndarray, mask: np.ndarray) -> float:
    """The mean of the known values in a mask; NaN of none."""
    known = values[mask & np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _mean_around(values: np.ndarray, width_s: float) -> np.ndarray:
    n = max(round(width_s * GRID_HZ), 1)
    padded = np.pad(values, (n // 2, n - 1 - n // 2), mode="edge")
    return np.asarray(np.convolve(padded, np.full(n, 1 / n), "valid"))


def _correlation(one: np.ndarray, other: np.ndarray, needed: float) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < max(needed, 2):
        return float("nan")
    a, b = one[both] - one[both].mean(), other[both] - other[both].mean()
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 1e-9 else 0.0
