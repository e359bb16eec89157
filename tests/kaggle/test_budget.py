"""The planner of frames a video, by hand-worked numbers and by a simulated clock."""

from __future__ import annotations

import pytest

from deepfake.kaggle.budget import OPENING_FRAMES, Pace, Step, ladder, next_step, seconds_per_video

LEVELS = (32, 16, 8, 4)


def step(paces: list[Pace], n_left: int, seconds_left: float) -> Step | None:
    return next_step(LEVELS, paces, n_left, seconds_left, batch_s=180, first_videos=16)


@pytest.mark.parametrize(
    ("most", "least", "levels"),
    [(32, 4, (32, 16, 8, 4)), (20, 4, (20, 10, 5, 4)), (32, 32, (32,)), (2, 4, (2,)), (3, 1, (3, 1))],
)
def test_each_number_of_frames_is_half_of_the_one_before(most: int, least: int, levels: tuple[int, ...]) -> None:
    assert ladder(most, least) == levels


def test_the_first_batch_is_small_and_has_all_frames() -> None:
    assert step([], 4000, 32400) == Step(32, 16)
    assert step([], 1, 32400) == Step(32, 1)


def test_without_videos_or_time_there_is_no_batch() -> None:
    assert step([], 0, 32400) is None
    assert step([Pace(32, 16, 16)], 10, 0) is None
    assert step([Pace(32, 16, 16)], 10, -5) is None
    assert next_step((), [Pace(32, 16, 16)], 10, 100, 180, 16) is None


def test_all_frames_are_kept_where_they_fit() -> None:
    # 2 s a video: 4,000 take 8,000 of 32,400 s; a batch of 180 s has 90 videos.
    assert step([Pace(32, 16, 32)], 4000, 32400) == Step(32, 90)


def test_slow_videos_get_as_many_frames_as_fit() -> None:
    assert OPENING_FRAMES == 16
    # 12 s a video at 32 frames, so 8 at 16, 6 at 8 and 5 at 4: 4,000 videos have 8.1 s each.
    slow = [Pace(32, 16, 192)]
    assert step(slow, 4000, 32400) == Step(16, 22)
    assert step(slow, 5000, 32400) == Step(8, 30)
    assert step(slow, 6400, 32400) == Step(4, 36)


def test_the_fewest_frames_are_taken_where_nothing_fits() -> None:
    assert step([Pace(32, 16, 160)], 4000, 1000) == Step(4, 43)  # 10 s at 32 frames, 4 1/6 s at 4


def test_a_batch_ends_with_the_time_but_has_a_video() -> None:
    assert step([Pace(4, 16, 16)], 1000, 50) == Step(4, 50)
    assert step([Pace(4, 16, 160)], 1000, 5) == Step(4, 1)


def test_the_pace_is_that_of_the_last_videos() -> None:
    paces = [Pace(32, 100, 1000), Pace(32, 20, 20), Pace(32, 20, 40)]
    assert seconds_per_video(32, paces) == pytest.approx(1.5)  # 60 s for the last 40 videos
    assert seconds_per_video(16, paces) == pytest.approx(1.0)  # 32 of 48 parts of it


def test_frames_rise_again_only_with_room_to_spare() -> None:
    # 4 s a video at 16 frames is 6 s at 32: 100 videos take 600 s, and 720 s with the margin.
    assert step([Pace(16, 50, 200)], 100, 700) == Step(16, 45)
    assert step([Pace(16, 50, 200)], 100, 730) == Step(32, 30)


def simulate(
    cost_s: float, n_videos: int, budget_s: float, slower_after: int | None = None
) -> tuple[list[Step], float]:
    """All batches until the planner stops, and the time it took; a third of `cost_s` is for opening a video."""
    steps: list[Step] = []
    paces: list[Pace] = []
    now, left = 0.0, n_videos
    while (planned := step(paces, left, budget_s - now)) is not None:
        speed = 3.0 if slower_after is not None and n_videos - left >= slower_after else 1.0
        seconds = planned.n_videos * speed * cost_s * (OPENING_FRAMES + planned.n_frames) / (OPENING_FRAMES + 32)
        paces.append(Pace(planned.n_frames, planned.n_videos, seconds))
        steps.append(planned)
        now, left = now + seconds, left - planned.n_videos
    return steps, now


def test_a_fast_machine_does_all_videos_at_all_frames() -> None:
    steps, took_s = simulate(1.0, 4000, 31500)
    assert {s.n_frames for s in steps} == {32}
    assert sum(s.n_videos for s in steps) == 4000 and took_s == pytest.approx(4000)


def test_a_slow_machine_does_all_videos_in_time() -> None:
    steps, took_s = simulate(15.0, 4000, 31500)
    assert sum(s.n_videos for s in steps) == 4000
    assert took_s <= 31500 and took_s > 0.8 * 31500
    assert steps[0].n_frames == 32 and min(s.n_frames for s in steps) in (8, 4)


def test_a_machine_that_becomes_slower_halfway_still_does_all_videos_in_time() -> None:
    steps, took_s = simulate(5.0, 4000, 31500, slower_after=2000)
    assert sum(s.n_videos for s in steps) == 4000
    assert took_s <= 31500
    assert steps[0].n_frames == 32 and {s.n_frames for s in steps[len(steps) // 2 :]} >= {16}


def test_a_budget_too_small_for_all_is_used_up_and_hardly_passed() -> None:
    steps, took_s = simulate(60.0, 4000, 3600)
    assert 0 < sum(s.n_videos for s in steps) < 4000
    assert 3600 <= took_s <= 3600 + 60
    assert steps[-1].n_frames == 4
