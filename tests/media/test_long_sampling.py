"""Which frames of a long video are searched, and which are sampled, from display times alone."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.media.long_sampling import (
    Appearance,
    Timeline,
    chosen_appearances,
    decoded_for,
    frames_of_appearances,
    grown,
    longest_gap_s,
    places_to_search,
    plan_search,
    search_step_s,
    weightiest_in_time,
)


def timeline(length_s: float, fps: float = 10, keyframes_every_s: float | None = 2, every_nth: int = 1) -> Timeline:
    n = round(length_s * fps)
    step = n if keyframes_every_s is None else round(keyframes_every_s * fps)
    is_keyframe = np.arange(n) % step == 0
    return Timeline(np.arange(n) / fps, n / fps, np.arange(0, n, every_nth), is_keyframe)


def gaps_of(times: Timeline, places: np.ndarray) -> np.ndarray:
    return np.diff([times.times_s[0], *times.times_s[places], times.end_s])


@pytest.mark.parametrize(
    ("length_s", "step_s", "n_searched"),
    [(60, 1.0, 60), (600, 1.0, 600), (2400, 2.0, 1200), (9600, 4.0, 2400)],
)
def test_up_to_ten_minutes_every_second_is_searched_and_then_as_the_root_of_the_length(
    length_s: float, step_s: float, n_searched: int
) -> None:
    assert search_step_s(length_s, 1.0, 600) == step_s
    assert length_s / step_s == n_searched


def test_four_times_the_length_gets_twice_the_frames() -> None:
    assert [grown(32, length_s, 30) for length_s in (5, 30, 120, 480)] == [32, 32, 64, 128]


@pytest.mark.parametrize("every_s", [0.3, 0.7, 1, 2, 2.5, 9, None])
@pytest.mark.parametrize("every_nth", [1, 3])
def test_nobody_who_is_there_for_a_second_falls_between_two_searched_frames(
    every_s: float | None, every_nth: int
) -> None:
    times = timeline(60, keyframes_every_s=every_s, every_nth=every_nth)
    places = places_to_search(times, 1.0, 1.0)
    assert gaps_of(times, places).max() <= 1.0 + 1e-9
    assert len(places) <= 2 * 60 + 1 and (np.diff(places) > 0).all()
    assert set(places) <= set(times.allowed)


def test_keyframes_are_searched_where_they_are_dense_enough() -> None:
    times = timeline(60, keyframes_every_s=0.5)
    plan = plan_search(times, 1.0, most_decoded=1e9)
    assert plan.keyframes_only and (plan.places % 5 == 0).all() and len(plan.places) == 61 and plan.gap_s == 1.0


def test_where_frames_are_missing_the_next_one_is_searched() -> None:
    shown_s = np.array([0.0, 0.1, 30.0, 30.1, 90.0])
    times = Timeline(shown_s, 91.0, np.arange(5), np.ones(5, bool))
    assert places_to_search(times, 1.0, 1.0).tolist() == [0, 1, 2, 3, 4]


def test_what_no_frame_shows_was_not_missed() -> None:
    """A slide show of half a minute a slide, all of them searched; and one whose second slide flickers."""
    slides = Timeline(np.arange(10) * 30.0, 300, np.arange(10), np.ones(10, bool))
    assert plan_search(slides, 1.0, 1e9).gap_s == 0
    assert longest_gap_s(slides, np.array([0, 1, 3, 4, 5, 6, 7, 8])) == 60


def test_decoding_counts_from_the_keyframe_to_the_last_frame_wanted_of_it() -> None:
    times = timeline(6, keyframes_every_s=2)  # keyframes at 0, 20, 40
    assert decoded_for(times, np.array([0, 5, 20])) == 6 + 1
    assert decoded_for(timeline(6, keyframes_every_s=2, every_nth=2), np.array([0, 6, 20])) == 4 + 1


def test_a_search_that_would_decode_too_much_looks_at_fewer_frames_between_keyframes() -> None:
    times = timeline(600, keyframes_every_s=8)
    whole, half, least = (plan_search(times, 1.0, most) for most in (1e9, 3200, 10))
    assert whole.gap_s <= 1.0 and not whole.keyframes_only
    assert 1.0 < half.gap_s < 8 and decoded_for(times, half.places) <= 3200
    assert least.keyframes_only and least.gap_s == 8.0 and len(least.places) == 75


def test_one_keyframe_at_the_beginning_is_no_excuse_to_search_nothing() -> None:
    plan = plan_search(timeline(600, keyframes_every_s=None), 1.0, most_decoded=10)
    assert plan.gap_s <= 12.01 and len(plan.places) >= 50


def test_the_number_of_searched_frames_is_bounded_whatever_lies_in_the_file() -> None:
    for length_s in (60, 600, 3600):
        for every_s in (0.1, 0.6, 1, 7):
            times = timeline(length_s, keyframes_every_s=every_s)
            step_s = search_step_s(length_s, 1.0, 600)
            plan = plan_search(times, step_s, 1e9)
            assert len(plan.places) <= 2 * length_s / step_s + 1


def test_a_face_seen_once_gets_enough_frames_wherever_its_second_lies() -> None:
    times = timeline(60, fps=25)
    places = frames_of_appearances(times, [Appearance(0, 30.0, 30.0, 1)], n_frames=1, at_least=4)
    for begins_s in np.arange(29.04, 30.01, 0.04):
        seen = times.times_s[places]
        assert ((seen >= begins_s - 1e-6) & (seen < begins_s + 1.0 - 1e-6)).sum() >= 4, begins_s
    assert len(places) == 7


def test_frames_go_to_where_faces_are_by_length() -> None:
    times = timeline(600)
    long, short = Appearance(0, 100.0, 200.0, 50), Appearance(1, 400.0, 425.0, 50)
    seen = times.times_s[frames_of_appearances(times, [long, short], n_frames=50, at_least=4)]
    assert ((seen >= 100) & (seen <= 200)).sum() == 40 and ((seen >= 400) & (seen <= 425)).sum() == 10
    assert np.diff(seen[:40]).max() <= 2.6


def test_two_who_are_seen_together_share_their_frames() -> None:
    times = timeline(600)
    together = [Appearance(0, 100.0, 200.0, 50), Appearance(0, 100.0, 200.0, 40)]
    assert len(frames_of_appearances(times, together, n_frames=50, at_least=4)) == 50


def test_a_guest_in_a_long_shot_gets_frames_of_their_own() -> None:
    times = timeline(600)
    both = [Appearance(0, 0.0, 599.0, 600), Appearance(0, 300.0, 301.0, 2)]
    seen = times.times_s[frames_of_appearances(times, both, n_frames=30, at_least=4)]
    assert ((seen >= 300) & (seen <= 301)).sum() >= 4 and len(seen) <= 34


def test_a_clip_of_few_frames_gives_what_it_has() -> None:
    times = timeline(60, fps=0.5, keyframes_every_s=None)
    places = frames_of_appearances(times, [Appearance(0, 10.0, 20.0, 1)], n_frames=45, at_least=4)
    assert times.times_s[places].tolist() == [10, 12, 14, 16, 18, 20]


def test_of_too_many_faces_those_kept_are_spread_over_the_video() -> None:
    many = [Appearance(i, i * 10.0, i * 10.0 + (5 if i < 50 else 1), 5 if i < 50 else 1) for i in range(100)]
    kept = chosen_appearances(many, 10)
    assert [one.shot for one in kept] == list(range(0, 100, 10)), "not the fifty long ones of the first half"
    assert chosen_appearances(many[:3], 10) == many[:3]


def test_of_neighbours_the_weightiest_is_kept() -> None:
    assert weightiest_in_time([1, 3, 2, 2], 2) == [1, 2]
    assert weightiest_in_time([], 2) == []
