"""Faces of the newest frame are detected on a stride and carried on between."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest

from deepfake.live import following
from deepfake.live.following import Follower
from deepfake.media.video import Frame
from deepfake.settings import Extract
from moving_squares import SquareDetector

SETTINGS = Extract(detection_stride=3, detection_side_px=320, second_look=False)


def picture(*squares: tuple[int, int]) -> np.ndarray:
    made = np.full((180, 320, 3), 40, np.uint8)
    for x, y in squares:
        made[y : y + 30, x : x + 30] = 255
    return made


def frame(index: int, time_s: float, *squares: tuple[int, int], shot: int = 0) -> Frame:
    made = Frame(av.VideoFrame.from_ndarray(picture(*squares), format="rgb24"), 0, index, time_s)
    made.shot = shot
    return made


def never(_ratio: float) -> bool:
    return False


def always(_ratio: float) -> bool:
    return True


def followed(
    x_at: Callable[[float], int], n: int, step_s: float = 0.2, settings: Extract = SETTINGS
) -> tuple[list[tuple[bool, float]], SquareDetector]:
    """Of each frame whether its face was carried, and how far its box is from where the square is."""
    detector = SquareDetector()
    follower = Follower(settings, detector)  # type: ignore[arg-type]
    found = []
    for number in range(n):
        time_s = number * step_s
        (face,) = follower.see(frame(number, time_s, (x_at(time_s), 60)), never)
        found.append((face.is_carried, abs(float(face.box[0]) - x_at(time_s))))
    return found, detector


def test_of_a_steady_face_the_detector_is_run_ever_less_often_up_to_its_stride() -> None:
    found, _ = followed(lambda _: 100, 10)
    assert [carried for carried, _ in found] == [False, False, True, False, True, True, False, True, True, False]


def test_a_carried_box_goes_where_the_face_goes() -> None:
    found, _ = followed(lambda time_s: 40 + int(50 * time_s), 12)
    assert any(carried for carried, _ in found)
    assert max(off for _, off in found) <= 3


def test_a_face_that_moves_too_far_for_that_is_detected_in_every_frame() -> None:
    found, _ = followed(lambda time_s: 100 + round(time_s / 0.2) % 2 * 60, 8)
    assert not any(carried for carried, _ in found)


def test_a_new_shot_and_a_second_gone_by_are_looked_at_anew() -> None:
    follower = Follower(Extract(detection_stride=64, second_look=False), SquareDetector())  # type: ignore[arg-type]
    for number in range(9):
        follower.see(frame(number, number * 0.1, (100, 60)), never)
    (carried,) = follower.see(frame(9, 0.9, (100, 60)), never)
    assert carried.is_carried
    (cut,) = follower.see(frame(10, 1.0, (100, 60), shot=1), never)
    assert (cut.is_carried, cut.track) == (False, 1)
    assert follower.is_due(frame(11, 2.0, (100, 60), shot=1))


def test_without_a_face_every_frame_is_searched_and_one_that_left_is_not_carried_on() -> None:
    detector = SquareDetector()
    follower = Follower(SETTINGS, detector)  # type: ignore[arg-type]
    for number in range(5):
        assert follower.see(frame(number, number * 0.2), never) == []
    assert len(detector.sizes_px) == 5
    follower.see(frame(5, 1.0, (100, 60)), never)
    follower.see(frame(6, 1.2, (100, 60)), never)
    assert follower.see(frame(7, 1.4), never) != [], "carried: nobody looked"
    assert follower.see(frame(8, 1.6), never) == []
    assert follower.see(frame(9, 1.8), never) == []


def test_an_unsure_face_is_credible_once_it_was_seen_twice() -> None:
    follower = Follower(SETTINGS, SquareDetector(score=0.95))  # type: ignore[arg-type]
    assert [face.is_credible for face in follower.see(frame(0, 0.0, (100, 60)), never)] == [False]
    assert [face.is_credible for face in follower.see(frame(1, 0.2, (100, 60)), never)] == [True]
    sure = Follower(SETTINGS, SquareDetector(score=0.995))  # type: ignore[arg-type]
    assert [face.is_credible for face in sure.see(frame(0, 0.0, (100, 60)), never)] == [True]


def test_a_closer_look_is_taken_where_there_is_time_and_no_face_and_thrice_a_shot_at_most() -> None:
    settings = Extract(detection_side_px=160, detection_stride=1)
    detector = SquareDetector(min_side_px=200)
    follower = Follower(settings, detector)  # type: ignore[arg-type]
    assert follower.see(frame(0, 0.0, (100, 60)), never) == []
    asked = []
    assert len(follower.see(frame(1, 0.2, (100, 60)), lambda ratio: asked.append(ratio) or True)) == 1
    assert asked == [4.0], "320 instead of 160 px a side"
    assert len(follower.see(frame(2, 0.4, (100, 60)), never)) == 1, "the shot goes on so"
    blind = SquareDetector(min_side_px=1000)
    nothing = Follower(settings, blind)  # type: ignore[arg-type]
    for number in range(6):
        nothing.see(frame(number, number * 0.2, (100, 60)), always)
    assert len(blind.sizes_px) == 6 + 3


def test_memory_does_not_grow_with_the_frames_and_tracks_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FORGET_EVERY", 50)
    follower = Follower(Extract(detection_stride=1, max_gap_s=0.5, second_look=False), SquareDetector())  # type: ignore[arg-type]
    for number in range(201):
        squares = [(100, 60)] if number % 50 < 40 else []
        seen = follower.see(frame(number, number * 0.2, *squares), never)
    assert [face.track for face in seen] == [4]
    held = sum(len(track.boxes) for track in follower.linker.tracks)
    assert held <= 32 + 50


@pytest.mark.parametrize("x", [-20, 310])
def test_a_face_that_is_carried_out_of_the_picture_is_gone(x: int) -> None:
    settings = Extract(detection_stride=8, second_look=False, max_gap_s=5)
    follower = Follower(settings, SquareDetector())  # type: ignore[arg-type]
    at = 26 if x < 0 else 260
    step = -6 if x < 0 else 6
    seen = []
    for number in range(5):
        seen = follower.see(frame(number, number * 0.2, (at + step * number, 60)), never)
    assert seen
    follower.stride = 64
    assert follower.see(frame(9, 1.5, (100, 60)), never) == []
