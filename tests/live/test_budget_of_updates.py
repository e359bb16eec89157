"""What fits into an update: views fall first, then networks take turns, then crops are left out."""

import pytest

from deepfake.live.budget import Budget, Paces, Wish, ladder, plan

BUDGET = Budget(update_ms=300.0, first_verdict_s=3.0, every_s=0.25)
LEVELS = ladder({"wide": 3, "near": 2})


def paces(wide_ms: float = 20.0, near_ms: float = 10.0, crop_ms: float = 5.0) -> Paces:
    known = Paces()
    for what, ms in (("wide", wide_ms), ("near", near_ms), ("crop", crop_ms)):
        known.add(what, ms)
    return known


def face(key: int, since_s: float | None = 1.0, sharpness: float = 1.0, **more: object) -> Wish:
    seen_by = {"wide": 0, "near": 0} if since_s is None else {"wide": 4, "near": 4}
    return Wish(key, since_s, **{"seen_by": seen_by, "sharpness": sharpness, **more})


def test_the_ladder_falls_from_all_views_over_one_each_to_networks_in_turns() -> None:
    assert LEVELS == ({"wide": 3, "near": 2}, {"wide": 1, "near": 1}, None)
    assert ladder({"a": 1, "b": 1}) == ({"a": 1, "b": 1}, None)
    assert ladder({"a": 3}) == ({"a": 3}, {"a": 1})
    assert ladder({"a": 1}) == ({"a": 1},)


@pytest.mark.parametrize(
    ("left_ms", "level", "looks"),
    [
        (170, 0, 2),  # two faces of 3 x 20 + 2 x 10 + 5 = 85 ms
        (169, 1, 2),
        (70, 1, 2),  # of 20 + 10 + 5 = 35 ms
        (69, 2, 2),  # of 20 + 5 = 25 ms, by the network that is named first: both saw as much
        (49, 2, 1),
        (15, 2, 0),
    ],
)
def test_views_fall_before_networks_and_networks_before_crops(left_ms: float, level: int, looks: int) -> None:
    made = plan([face(0), face(1)], left_ms, LEVELS, paces(), 0, BUDGET)
    costs = [paces().look_ms(views) for _, views in made.looks]
    assert made.level == level
    assert sum(costs) <= left_ms
    assert len(made.looks) == looks


def test_in_turns_the_network_that_saw_a_face_least_sees_it_next() -> None:
    made = plan([face(0, seen_by={"wide": 5, "near": 4})], 20, LEVELS, paces(), 0, BUDGET)
    assert made.looks == ((0, {"near": 1}),)


def test_a_new_face_is_shown_to_every_network_at_once() -> None:
    made = plan([face(0, since_s=None)], 40, LEVELS, paces(), 2, BUDGET)
    assert made.looks == ((0, {"wide": 1, "near": 1}),)


def test_new_faces_come_first_then_those_long_unseen_then_sharp_ones() -> None:
    wishes = [face(0, 0.5), face(1, 2.0), face(2, None), face(3, 2.0, sharpness=0.5)]
    made = plan(wishes, 1000, LEVELS, paces(), 0, BUDGET)
    assert [key for key, _ in made.looks] == [2, 1, 3, 0]
    least = plan(wishes, 36, LEVELS, paces(), 0, BUDGET)
    assert [key for key, _ in least.looks] == [2], "the others do not fit beside it"


def test_a_richer_level_than_before_wants_room_to_spare() -> None:
    assert plan([face(0)], 85, LEVELS, paces(), 0, BUDGET).level == 0
    assert plan([face(0)], 101, LEVELS, paces(), 1, BUDGET).level == 1
    assert plan([face(0)], 102, LEVELS, paces(), 1, BUDGET).level == 0


def test_who_waits_too_long_for_a_verdict_is_looked_at_whatever_is_left() -> None:
    assert plan([face(0, waits_s=1.0)], -50, LEVELS, paces(), 0, BUDGET).looks == ()
    made = plan([face(0, waits_s=1.6), face(1, waits_s=1.7)], -50, LEVELS, paces(), 0, BUDGET)
    assert len(made.looks) == 1, "one at a time"
    assert plan([face(0, waits_s=1.6)], -50, LEVELS, paces(), 0, BUDGET, may_overrun=False).looks == ()


def test_the_pace_is_what_nine_of_ten_did_not_exceed_lately() -> None:
    known = Paces()
    assert known.ms("detect") == 60, "before anything was measured"
    for ms in (10, 10, 10, 10, 10, 10, 10, 10, 10, 90):
        known.add("detect", ms)
    assert known.ms("detect") == 90
    for _ in range(16):
        known.add("detect", 12)
    assert known.ms("detect") == 12, "what was slow long ago is forgotten"
    known.add("views", 30, times=3)
    assert known.ms("views") == 10


def test_without_a_limit_everything_is_shown_in_all_views() -> None:
    unlimited = Budget(update_ms=None)
    made = plan([face(key) for key in range(8)], unlimited.left_ms(5.0), LEVELS, paces(), 2, unlimited)
    assert made.level == 0
    assert len(made.looks) == 8


def test_the_age_of_a_frame_counts_and_a_tenth_is_kept_free() -> None:
    assert BUDGET.left_ms(0.1) == pytest.approx(170)


def test_updates_come_faster_while_a_face_waits_for_its_first_verdict() -> None:
    assert BUDGET.every(1.0, 0) == 0.25, "nothing is missing"
    assert BUDGET.every(0.0, 16) == pytest.approx(2.7 / 16), "of three seconds a tenth is kept free"
    assert BUDGET.every(1.2, 10) == pytest.approx(0.15), "it is late"
    assert BUDGET.every(0.0, 2) == 0.25
    assert BUDGET.every(9.0, 10) == 0.1, "too late, and others want to be seen, too"


def test_a_network_of_a_stride_sees_the_first_crop_of_a_face_and_then_one_of_so_many() -> None:
    seen_by = {"wide": 0, "near": 0}
    shown = []
    for number in range(9):
        wish = face(0, None if number == 0 else 1.0, seen_by=dict(seen_by), strides={"wide": 4, "near": 1})
        ((_, views),) = plan([wish], 1000, LEVELS, paces(), 0, BUDGET).looks
        shown.append("wide" in views)
        for name in views:
            seen_by[name] += 1
    assert shown == [True, False, False, False, True, False, False, False, True] and seen_by["near"] == 9


def test_in_turns_a_crop_of_a_network_of_a_stride_is_worth_so_many() -> None:
    made = plan([face(0, seen_by={"wide": 1, "near": 3}, strides={"wide": 4})], 20, LEVELS, paces(), 0, BUDGET)
    assert made.looks == ((0, {"near": 1}),)
