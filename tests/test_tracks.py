"""Linking: a person keeps one number through a shot, two people never share one."""

from collections.abc import Sequence

import numpy as np
import pytest

from deepfake.faces import Faces
from deepfake.tracks import Linker, match, overlap

SIDE = 40.0


def faces(*centres: tuple[float, float], side: float = SIDE) -> Faces:
    boxes = np.array([(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centres], np.float32)
    n = len(centres)
    return Faces(boxes.reshape(-1, 4), np.full(n, 0.99, np.float32), np.zeros((n, 5, 2), np.float32))


def linked(frames: Sequence[Faces], step_s: float = 1 / 3, max_gap_s: float = 1.0) -> list[list[int]]:
    linker = Linker(max_gap_s)
    return [linker.update(i * 10, i * step_s, 0, found) for i, found in enumerate(frames)]


def test_overlap_is_intersection_over_union() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 15, 15]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    # 50 of 150, 25 of 175, 50 of 150
    assert overlap(a, b) == pytest.approx(np.array([[1, 1 / 3, 0], [1 / 7, 1 / 3, 0]]))


def test_overlap_agrees_with_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 30, (20, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 20, (20, 2))], 1)
    masks = np.zeros((20, 50, 50), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    counted = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    assert overlap(boxes.astype(np.float32), boxes.astype(np.float32)) == pytest.approx(np.array(counted))


def test_a_box_without_area_overlaps_nothing() -> None:
    flat = np.array([[5, 5, 5, 5]], np.float32)
    assert overlap(flat, flat).tolist() == [[0.0]]


def test_no_faces_match_nothing() -> None:
    none, one = np.zeros((0, 4), np.float32), faces((50, 50)).boxes
    assert match(none, one, np.zeros(0)) == [] == match(one, none, np.zeros(1))


def test_faces_are_matched_all_at_once_not_one_after_another() -> None:
    # The nearest to old face 0 is new face 0, but only new face 0 is within old face 1's reach.
    old, new = faces((0, 0), (60, 0)), faces((28, 0), (-20, 0))
    assert sorted(match(old.boxes, new.boxes, np.array([0.3, 0.3]))) == [(0, 1), (1, 0)]


def test_a_still_person_keeps_the_number() -> None:
    assert linked([faces((50, 50))] * 4) == [[0]] * 4


def test_two_people_who_cross_keep_their_numbers_at_every_tenth_frame() -> None:
    # 25 px in a third of a second, past each other at different heights.
    frames = [faces((100 + 25 * i, 90), (300 - 25 * i, 125)) for i in range(9)]
    assert linked(frames) == [[0, 1]] * 9


def test_the_order_in_which_faces_are_found_does_not_matter() -> None:
    frames = [faces((100, 100), (200, 100)), faces((202, 100), (101, 100))]
    assert linked(frames) == [[0, 1], [1, 0]]


def test_three_people_side_by_side_keep_their_numbers_when_one_is_missed() -> None:
    all_three = faces((100, 100), (160, 100), (220, 100))
    numbers = linked([all_three, faces((100, 100), (220, 100)), all_three])
    assert numbers == [[0, 1, 2], [0, 2], [0, 1, 2]]


def test_a_miss_within_the_gap_is_bridged_and_a_longer_one_is_a_new_track() -> None:
    seen, missed = faces((50, 50)), Faces.none()
    assert linked([seen, missed, seen], step_s=0.5) == [[0], [], [0]]
    assert linked([seen, missed, missed, seen], step_s=0.5) == [[0], [], [], [1]]


def test_a_new_shot_starts_new_tracks_even_at_the_same_place() -> None:
    linker = Linker(1.0)
    assert linker.update(0, 0.0, 0, faces((50, 50))) == [0]
    assert linker.update(1, 0.1, 1, faces((50, 50))) == [1]
    assert [track.shot for track in linker.tracks] == [0, 1]


def test_a_jump_in_size_is_another_person() -> None:
    assert linked([faces((50, 50)), faces((50, 50), side=SIDE * 3)]) == [[0], [1]]
    assert linked([faces((50, 50)), faces((50, 50), side=SIDE * 1.5)]) == [[0], [0]]


def test_a_jump_across_the_frame_is_another_person() -> None:
    assert linked([faces((50, 50)), faces((400, 50))]) == [[0], [1]]


def test_the_speed_of_a_person_is_carried_on() -> None:
    # 50 px a sixth of a second: from the third frame on reached only by prediction (0.8 sides are 32 px).
    frames = [faces((100, 100)), faces((130, 100)), faces((160, 100)), faces((192, 100))]
    assert linked(frames, step_s=1 / 6) == [[0]] * 4


def test_empty_frames_give_no_numbers_and_no_tracks() -> None:
    linker = Linker(1.0)
    assert [linker.update(i, i / 3, 0, Faces.none()) for i in range(3)] == [[], [], []]
    assert linker.tracks == []


def test_a_track_remembers_when_and_where() -> None:
    linker = Linker(1.0)
    for i in range(3):
        linker.update(i * 10, i / 3, 0, faces((50 + i, 50)))
    track = linker.tracks[0]
    assert track.frame_indices == [0, 10, 20] and track.times_s == [0, 1 / 3, 2 / 3]
    assert [box[0] for box in track.boxes] == [30, 31, 32]


def test_numbers_are_equal_in_two_runs() -> None:
    rng = np.random.default_rng(1)
    frames = [faces(*map(tuple, rng.uniform(0, 400, (4, 2)))) for _ in range(12)]
    assert linked(frames) == linked(frames)
