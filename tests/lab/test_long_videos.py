"""What long videos cost: clips put together from groups of pictures, and how what is found in them is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepfake.media.clips import join_groups, write_clip
from deepfake.media.video import probe, sample
from deepfake.settings import Extract
from drawn_faces import write_person
from lab.long_videos import (
    FPS,
    GROUP_S,
    PLACES,
    STAYS_S,
    Row,
    measure_repeated,
    plan_clip,
    smallest_judged,
    table,
    write_group,
)


def test_groups_of_pictures_are_joined_in_the_order_asked_for(tmp_path: Path) -> None:
    source, joined = tmp_path / "source.mp4", tmp_path / "joined.mp4"
    greys = [40, 120, 200]
    options = {"g": "4", "sc_threshold": "0", "bf": "0"}
    write_clip(source, [np.full((48, 64, 3), grey, np.uint8) for grey in greys for _ in range(4)], 8, options=options)
    join_groups(source, joined, [2, 0, 0, 1])
    assert probe(joined).n_frames == 16 and probe(joined).duration_s == pytest.approx(2.0)
    seen = [round(float(frame.rgb().mean()) / 40) * 40 for frame in sample(joined, "uniform", 16)]
    assert seen == [200] * 4 + [40] * 8 + [120] * 4


def test_guests_are_spread_over_the_whole_length_and_stay_within_it() -> None:
    order, guests = plan_clip(120, 0)
    assert len(order) == 120 and len(guests) == 6 * len(STAYS_S)
    assert guests[-1].from_s >= 590 and all(guest.from_s + guest.stays_s <= 600 for guest in guests)
    assert {guest.stays_s for guest in guests} == set(STAYS_S)
    assert all(guest.from_s * FPS == round(guest.from_s * FPS) for guest in guests), "on a frame"
    for guest in guests:
        group = order[int(guest.from_s // GROUP_S)]
        assert STAYS_S[(group - 1) // PLACES] == guest.stays_s


def test_short_clips_take_turns_so_that_every_stay_is_tried() -> None:
    stays = {plan_clip(2, number)[1][0].stays_s for number in range(len(STAYS_S))}
    assert stays == set(STAYS_S)


def test_the_smallest_appearance_is_one_above_which_nobody_was_missed() -> None:
    assert smallest_judged({0.5: [0, 9], 1: [3, 4], 2: [5, 5]}) == 1
    assert smallest_judged({0.5: [9, 9], 1: [2, 4], 2: [5, 5]}) == 2, "who was judged by luck proves nothing"
    assert smallest_judged({1: [9], 2: [0]}) is None


def test_the_table_says_how_many_of_each_stay_were_judged() -> None:
    found = dict.fromkeys(STAYS_S, "6/6")
    text = table(
        [Row("1 h", 1, 87.2, 2161, 499, 618, 2.38, 42, 2, found), Row("3 h", 1, 1, 1, 1, 1, 9, 42, None, found)]
    )
    lines = text.splitlines()
    assert lines[2].startswith("| 1 h | 1 | 87.2 | 2161 | 499 | 618 | 2.38 s | 2 s | 6/6 |")
    assert "| 9.00 s | none |" in lines[3] and len({line.count("|") for line in lines}) == 1


def test_the_beginning_of_a_clip_is_repeated_and_its_table_has_no_guests(tmp_path: Path) -> None:
    write_person(tmp_path / "a.mp4", 1, n_frames=24)
    assert write_group(tmp_path / "a.mp4", tmp_path / "group.mp4") == pytest.approx(1.0), "all it has"
    settings = Extract(frames_per_video=4, detection_side_px=96)
    (row,) = measure_repeated(tmp_path / "a.mp4", ["10 s"], settings, lambda _: None)
    assert (row.length, row.n_sampled, row.n_guests) == ("10 s", 4, 0)
    assert row.gap_s == pytest.approx(2.5, abs=0.3), "four looks in ten seconds"
    first, _, last = table([row]).splitlines()
    assert first.endswith("| smallest judged |") and last.endswith("s | - |")
