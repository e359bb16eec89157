"""Which frames are chosen, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.media import sampling


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_even_takes_the_middle_frame_of_each_part() -> None:
    assert sampling.even(np.arange(9), 3, 0, 9).tolist() == [1, 4, 7]
    assert sampling.even(np.arange(10), 2, 0, 10).tolist() == [2, 7]
    assert sampling.even(np.arange(5), 1, 0, 5).tolist() == [2]


def test_even_follows_time_not_numbers() -> None:
    # Frames come every tick, then every ten. Middles of the parts less half a mean frame: 11, 38.5, 66, 93.5.
    times = keys(*range(10), *range(10, 110, 10))
    assert sampling.even(times, 4, 0, 110).tolist() == [10, 13, 16, 18]


def test_even_never_repeats_a_frame_and_gives_all_when_asked_for_more() -> None:
    crowded = keys(0, 1, 2, 1000)
    assert sampling.even(crowded, 3, 0, 1250).tolist() == [1, 2, 3]
    assert sampling.even(crowded, 9, 0, 1250).tolist() == [0, 1, 2, 3]


def test_nearest_prefers_the_earlier_on_a_tie() -> None:
    assert sampling.nearest(keys(0, 10, 20), np.array([-5.0, 5.0, 15.1, 99.0])).tolist() == [0, 0, 2, 2]
    assert sampling.nearest(keys(7), np.array([0.0, 99.0])).tolist() == [0, 0]


def test_distinct_pushes_repeats_apart_and_stays_inside() -> None:
    assert sampling.distinct(keys(0, 0, 0), 5).tolist() == [0, 1, 2]
    assert sampling.distinct(keys(4, 4, 4), 5).tolist() == [2, 3, 4]
    assert sampling.distinct(keys(1, 1, 4), 5).tolist() == [1, 2, 4]


def test_every_steps_from_the_first_frame() -> None:
    assert sampling.every(np.arange(100, 130), 10).tolist() == [0, 10, 20]
    assert sampling.every(np.arange(5), 0.1).tolist() == [0, 1, 2, 3, 4]
    assert sampling.every(keys(3), 10).tolist() == [0]


def test_change_draws_samples_but_still_passages_keep_some() -> None:
    seen = np.arange(100)
    change = np.where(seen > 50, 10.0, 0.0)
    chosen = sampling.by_change(seen, seen, change, 12)
    assert len(set(chosen.tolist())) == 12
    assert 1 <= int((chosen <= 50).sum()) <= 2


def test_no_change_at_all_means_even() -> None:
    seen = np.arange(100)
    chosen = sampling.by_change(seen, seen, np.zeros(100), 4)
    assert np.abs(chosen - np.array([12, 37, 62, 87])).max() <= 1


def test_change_seen_at_few_frames_still_chooses_among_all() -> None:
    chosen = sampling.by_change(np.arange(100), keys(0, 50, 99), np.array([0.0, 0.0, 30.0]), 10)
    assert len(chosen) == 10
    assert int((chosen > 50).sum()) >= 8
    assert sampling.by_change(np.arange(10), keys(0), np.zeros(1), 2).tolist() == [2, 6]


@pytest.mark.parametrize(
    ("lengths", "n_frames", "expected"),
    [
        ([10, 10], 4, [2, 2]),
        ([90, 10], 10, [9, 1]),
        ([98, 1, 1], 5, [3, 1, 1]),
        ([5, 50, 5, 40], 2, [0, 1, 0, 1]),
        ([1, 2], 9, [1, 2]),
        ([3, 3], 1, [1, 0]),
    ],
)
def test_shots_share_frames_by_length_with_one_each(lengths: list[int], n_frames: int, expected: list[int]) -> None:
    assert sampling.shares(lengths, n_frames) == expected


def test_shot_aware_takes_the_middles_of_shots() -> None:
    assert sampling.by_shot(np.arange(20), [10], 2).tolist() == [5, 15]
    assert sampling.by_shot(np.arange(20), [], 2).tolist() == [5, 15]
    assert sampling.by_shot(np.arange(20), [18], 3).tolist() == [4, 13, 19]
