"""Linking: a person keeps one number through a shot, two people never share one."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from deepfake.faces.linker import Linker, assign, match, overlap
from deepfake.faces.mtcnn import Faces

SIDE = 40.0


def faces(*centres: tuple[float, float], side: float = SIDE) -> Faces:
    boxes = np.array([(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y in centres], np.float32)
    n = len(centres)
    return Faces(boxes.reshape(-1, 4), np.full(n, 0.99, np.float32), np.zeros((n, 5, 2), np.float32))


def linked(frames: Sequence[Faces], step_s: float = 1 / 3, max_gap_s: float = 1.0) -> list[list[int]]:
    linker = Linker(max_gap_s)
    return [linker.update(i * 10, i * step_s, 0, detected) for i, detected in enumerate(frames)]


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


@pytest.mark.parametrize("kind", ["smooth", "full of ties"])
def test_pairs_cost_as_little_as_scipy_finds(kind: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(150):
        shape = rng.integers(0, 9, 2)
        cost = rng.normal(size=shape) if kind == "smooth" else rng.integers(0, 4, shape).astype(float)
        pairs = assign(cost)
        rows, columns = linear_sum_assignment(cost)
        assert sum(cost[pair] for pair in pairs) == pytest.approx(cost[rows, columns].sum(), abs=1e-6)
        assert [len({pair[side] for pair in pairs}) for side in (0, 1)] == [min(shape)] * 2
        assert pairs == sorted(pairs)


def test_pairs_are_those_of_the_least_sum_not_of_the_least_single_cost() -> None:
    # 1 + 9 for the greedy choice, 2 + 3 for the other.
    assert assign(np.array([[1.0, 2.0], [3.0, 9.0]])) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3), (1, 4), (0, 2)])
def test_of_equal_pairs_the_lower_indices_are_taken(shape: tuple[int, int]) -> None:
    assert assign(np.full(shape, 0.7)) == [(i, i) for i in range(min(shape))]


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


def test_people_of_a_long_video_sampled_every_twenty_seconds_keep_their_numbers() -> None:
    wander = [0.0, 15.0, -10.0, 20.0, 5.0]
    frames = [faces((100 + x, 100), (300 - x, 100)) for x in wander]
    assert linked(frames, step_s=20) == [[0, 1]] * 5


def test_detections_far_apart_forgive_one_miss_and_not_two() -> None:
    here, none = faces((100, 100)), faces()
    assert linked([here, none, here], step_s=20) == [[0], [], [0]]
    assert linked([here, none, none, here], step_s=20) == [[0], [], [], [1]]


def test_a_speed_is_not_carried_on_over_twenty_seconds() -> None:
    frames = [faces((100, 100)), faces((160, 100)), faces((160, 100))]  # straight on would be at 220
    assert linked(frames, step_s=20) == [[0], [0], [0]]
    linker = Linker(1.0)
    for i, detected in enumerate(frames[:2]):
        linker.update(i, 20.0 * i, 0, detected)
    np.testing.assert_array_equal(linker.tracks[0].predicted(40.0), frames[1].boxes[0])


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


def test_a_fast_person_is_found_again_behind_another_where_the_speed_leads() -> None:
    # 20 px a tenth of a second; unseen for 0.3 s while a second person stands in the way.
    ways = [faces((100 + 20 * i, 100), (200, 100)) for i in range(4)]
    hidden = [faces((200, 100))] * 3
    numbers = linked([*ways, *hidden, faces((200, 100), (240, 100))], step_s=0.1)
    assert numbers == [[0, 1]] * 4 + [[1]] * 3 + [[1, 0]]


def test_a_lost_person_does_not_take_over_one_who_is_seen() -> None:
    # Seen alone: 14 px from the one seen a third of a second ago, 10 px from the one lost for longer.
    frames = [faces((100, 100), (124, 100))] * 2 + [faces((100, 100))] * 2 + [faces((114, 100))]
    assert linked(frames) == [[0, 1]] * 2 + [[0]] * 3


def test_a_shaking_box_has_no_speed() -> None:
    # At 30 frames a second a shake of 2 px a step would be 60 px a second, 1.5 sides.
    linker = Linker(1.0)
    for i in range(9):
        linker.update(i, i / 30, 0, faces((100 + 2 * (i % 2), 100)))
    assert linker.tracks[0].predicted(8 / 30 + 0.5)[:2] == pytest.approx(np.array([80, 80]), abs=1)


def test_age_is_a_time_at_any_sampling() -> None:
    seen, missed = faces((50, 50)), Faces.none()
    assert linked([seen, *[missed] * 28, seen], step_s=1 / 30)[-1] == [0]
    assert linked([seen, *[missed] * 31, seen], step_s=1 / 30)[-1] == [1]


def test_a_false_alarm_does_not_take_over_a_person() -> None:
    # It stood nearer to where the first person came to be, but has been seen only once.
    frames = [faces((100, 100)), faces((100, 100)), faces((100, 100), (138, 100)), faces((126, 100))]
    assert linked(frames) == [[0], [0], [0, 1], [0]]


def turning_back(weight: float) -> list[int]:
    """Red and blue walk towards each other, red hides blue, and each goes back to where it came from."""
    linker = Linker(1.0, weight)
    red, blue = np.array([3.0, 0.0]), np.array([0.0, 0.5])  # of any length
    walk = [(faces((60 + 20 * i, 100), (140 - 20 * i, 100)), [red, blue]) for i in range(2)]
    frames = [*walk, (faces((100, 100)), [red]), (faces((80, 100), (120, 100)), [red, blue])]
    return [linker.update(i, i / 3, 0, detected, np.array(looks)) for i, (detected, looks) in enumerate(frames)][-1]


def test_looks_separate_two_people_whose_places_do_not_tell_them_apart() -> None:
    assert turning_back(0.0) == [1, 0]  # by speed alone each walked on
    assert turning_back(2.0) == [0, 1]


def test_looks_need_one_vector_a_face() -> None:
    linker = Linker(1.0, 1.0)
    with pytest.raises(ValueError, match=r"shape \(1, 2\) found; one vector for each of 2 faces"):
        linker.update(0, 0.0, 0, faces((50, 50), (90, 50)), np.ones((1, 2)))


def test_looks_may_be_missing_in_some_frames_and_are_left_out_at_weight_0() -> None:
    looks = np.eye(2)
    one = faces((50, 50), (150, 50))
    linker = Linker(1.0, 1.0)
    assert [linker.update(i, i / 3, 0, one, v) for i, v in enumerate((None, looks, None, looks))] == [[0, 1]] * 4
    plain = Linker(1.0)
    plain.update(0, 0.0, 0, one, looks)
    assert plain.tracks[0].appearance is None


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
