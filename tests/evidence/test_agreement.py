"""How a mouth and a loudness agree, on curves made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.evidence.agreement import (
    GRID_HZ,
    NATURAL_S,
    Agreement,
    agreement,
    grid,
    loudness,
    moving,
    on_grid,
    share,
    swing,
)
from deepfake.media.sound import RATE_HZ

TIMES_S = grid(0.0, 8.0)
RNG = np.random.default_rng(0)
NOISE = np.convolve(RNG.standard_normal(2000), np.ones(6) / 6, "same")


def shown(at_s: float) -> np.ndarray:
    """A curve that is the same for all, from a time on, at GRID_HZ."""
    first = 200 + round(at_s * GRID_HZ)
    return NOISE[first : first + len(TIMES_S)]


@pytest.mark.parametrize("late_s", [0.0, 0.3, -0.5, 1.0, -1.0])
def test_a_sound_that_is_so_much_later_is_found_there(late_s: float) -> None:
    """A sound at its loudest NATURAL_S after the mouth is open runs together with it."""
    found = agreement(shown(0), TIMES_S, shown(-late_s - NATURAL_S), TIMES_S)
    assert found.best_offset_s == pytest.approx(late_s, abs=1.01 / GRID_HZ)
    assert found.best > 0.9 > found.second
    assert (found.near > 0.9) == (late_s == 0)


def test_where_too_little_of_the_sound_is_there_nothing_is_known() -> None:
    half = np.where(TIMES_S < 4, shown(0), np.nan)
    assert np.isnan(agreement(shown(0), TIMES_S, half, TIMES_S).near)


def test_what_does_not_change_agrees_with_nothing() -> None:
    found = agreement(np.ones(len(TIMES_S)), TIMES_S, shown(0), TIMES_S)
    assert found.near == found.best == 0


def test_a_slow_drift_is_no_swing_and_a_quick_one_is() -> None:
    assert np.abs(swing(TIMES_S / 8)[30:-30]).max() < 0.002
    assert swing(np.sin(2 * np.pi * 4 * TIMES_S)).std() > 0.3
    gap = np.where((TIMES_S > 2) & (TIMES_S < 3), np.nan, 1.0)
    assert np.isnan(swing(gap)[110]) and not np.isnan(swing(gap)[90])


def test_loudness_is_of_the_band_and_missing_where_there_is_no_sound() -> None:
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ
    low, high = (np.sin(2 * np.pi * hertz * times_s) for hertz in (150, 2000))
    around = grid(-1.0, 4.0)
    heard = loudness(np.where(times_s < 1, low, high).astype(np.float32), 0.5, around)
    assert np.isnan(heard[around < 0.4]).all() and np.isnan(heard[around > 2.6]).all()
    assert np.median(heard[(around > 1.6) & (around < 2.4)]) - np.median(heard[(around > 0.6) & (around < 1.4)]) > 30
    assert loudness(np.zeros(0, np.float32), 0.0, around).shape == around.shape


def test_known_values_are_joined_only_over_short_gaps() -> None:
    times_s, values = np.array([0.0, 0.1, 2.0, 2.1]), np.array([0.0, 1.0, np.nan, 5.0])
    joined = on_grid(times_s, values, np.array([0.05, 0.3, 1.0, 2.1]))
    assert joined[0] == pytest.approx(0.5) and joined[3] == 5 and np.isnan(joined[2])
    assert np.isnan(on_grid(times_s, np.full(4, np.nan), times_s)).all()


def test_a_mouth_moves_where_its_opening_changes_and_not_where_it_stays_open() -> None:
    opening = np.where(TIMES_S < 4, 0.3, 0.05 + 0.03 * np.sin(2 * np.pi * 4 * TIMES_S))
    found = moving(opening)
    assert share(found, TIMES_S < 3) == 0 and share(found, TIMES_S > 5) == 1
    assert np.isnan(share(found, TIMES_S > 99))


def test_an_agreement_that_nothing_is_known_of_has_no_offset() -> None:
    nothing = Agreement(np.array([0.0, 0.5]), np.full(2, np.nan))
    assert np.isnan([nothing.near, nothing.best, nothing.best_offset_s, nothing.second]).all()
