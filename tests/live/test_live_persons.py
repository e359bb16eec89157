"""A person's score slides, begins and ends alarms, and is that of a file's track of the same crops."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.detector.header import DetectorHeader
from deepfake.detector.judged import TrackScore, judge
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.pooling import track_logit
from deepfake.ensemble.stack import Stack
from deepfake.live.persons import Alarm, Looked, Persons, Spread
from deepfake.settings import Ensemble, Extract

SETTINGS = Ensemble(verdict_frames=4, verdict_s=0.5, real_frames=16, real_s=2.0)
SHARP, LARGE_PX = 100.0, 120.0


def rules(band: tuple[float, float] = (0.3, 0.7), settings: Ensemble = SETTINGS, **weights: float) -> DetectorHeader:
    weights = weights or {"a": 1.0}
    stack = Stack(tuple(weights), tuple(weights.values()), Calibration("platt", 0.8, 0.1, 40), 0.5, band)
    return DetectorHeader(None, "d", stack, Extract(), settings, {})  # type: ignore[arg-type]


def watched(logits: list[float], step_s: float = 0.25, track: int = 0, persons: Persons | None = None) -> Persons:
    persons = persons or Persons(rules(), 0.45)
    for number, value in enumerate(logits):
        persons.see(track, number * step_s)
        persons.of(track).add(Looked(number * step_s, LARGE_PX, SHARP, {"a": value}))
        persons.update(number * step_s)
    return persons


def test_nothing_is_said_before_a_crop_was_scored() -> None:
    persons = Persons(rules(), 0.45)
    persons.see(0, 1.0)
    (row,) = persons.rows(1.0)
    assert (row.verdict, row.overall, row.recent, row.n_scored) == ("inconclusive", None, None, 0)


def test_a_strong_score_is_no_verdict_before_there_was_enough_to_see() -> None:
    (row,) = watched([9.0] * 3).rows(0.5)
    assert row.overall is not None and row.overall > 0.7
    assert row.verdict == "inconclusive"
    assert row.reason == "too little to see: 3 frames of a face, wanted 4"
    (row,) = watched([9.0] * 4).rows(0.75)
    assert (row.verdict, row.reason) == ("likely forged", None)
    assert watched([-9.0] * 15).rows(3.5)[0].verdict == "inconclusive"
    assert watched([-9.0] * 16).rows(3.75)[0].verdict == "likely real"


def test_the_score_over_all_is_that_of_a_files_track_of_the_same_crops() -> None:
    of_two = rules(settings=SETTINGS.model_copy(update={"one_sided_members": ("b",)}), a=0.6, b=0.4)
    persons, rng = Persons(of_two, 0.45), np.random.default_rng(3)
    logits = rng.normal(size=(20, 2))
    for number, (a, b) in enumerate(logits):
        persons.see(0, number * 0.1)
        persons.of(0).add(Looked(number * 0.1, 50.0, 11.0, {"a": a, "b": b}))
    members = np.array([track_logit(column, SETTINGS) for column in logits.T])
    trust = (50 / 64) * (11 / 15)
    track = TrackScore(0, 0, 0.0, np.zeros(20), np.zeros(20), np.zeros(20), np.zeros((20, 4)), members, trust, 11.0)
    wanted = judge([track], of_two.stack, of_two.ensemble).logit
    (row,) = persons.rows(2.0)
    assert row.overall == pytest.approx(1 / (1 + np.exp(-wanted)), abs=1e-6)


def test_of_late_means_the_last_ten_seconds() -> None:
    persons = watched([5.0] * 40 + [-5.0] * 41)
    (row,) = persons.rows(20.0)
    assert row.recent is not None and row.recent < 0.1
    assert row.overall is not None and row.overall > row.recent
    persons.update(40.0)
    assert persons.rows(40.0)[0].recent is None, "nothing was scored in them"


def test_a_network_that_was_left_out_of_late_counts_with_what_it_saw_last() -> None:
    persons = Persons(rules(a=0.5, b=0.5), 0.45)
    persons.see(0, 0.0)
    persons.of(0).add(Looked(0.0, LARGE_PX, SHARP, {"a": 1.0}))
    assert persons.rows(0.0)[0].overall is None, "b saw nothing yet"
    persons.of(0).add(Looked(1.0, LARGE_PX, SHARP, {"b": 3.0}))
    for number in range(4):
        persons.of(0).add(Looked(20.0 + number, LARGE_PX, SHARP, {"a": 1.0}))
    persons.update(23.0)
    both, one = persons.rows(23.0)[0].recent, 1 / (1 + np.exp(-(0.8 * 1.0 + 0.1) * 4 / 5))
    assert both is not None and both > one, "b's 3.0 is in it"


def test_an_alarm_wants_a_second_above_and_five_below() -> None:
    alarm = Alarm(0.7)
    alarm.update(0.0, 0.9, False)
    assert not alarm.is_on, "too little to see"
    for time_s in (1.0, 1.5):
        alarm.update(time_s, 0.9, True)
        assert not alarm.is_on
    alarm.update(2.0, 0.9, True)
    assert (alarm.is_on, alarm.since_s) == (True, 1.0)
    alarm.update(3.0, 0.65, True)  # a little below is not below
    for time_s in (4.0, 8.9):
        alarm.update(time_s, 0.4, True)
    assert alarm.is_on
    alarm.update(9.0, 0.4, True)
    assert (alarm.is_on, alarm.since_s) == (False, None)


def test_a_score_that_dips_in_the_first_second_begins_anew() -> None:
    alarm = Alarm(0.7)
    for time_s, p_fake in ((0.0, 0.8), (0.8, 0.6), (1.2, 0.8), (2.0, 0.8)):
        alarm.update(time_s, p_fake, True)
    assert not alarm.is_on


def test_a_detector_that_never_says_forged_raises_no_alarm_unless_somebody_sets_a_threshold() -> None:
    shut = rules(band=(0.0, 1.0))
    assert Persons(shut, 0.45).threshold is None
    quiet = watched([50.0] * 40, persons=Persons(shut, 0.45))
    assert not quiet.rows(10.0)[0].is_alarmed
    loud = watched([50.0] * 40, persons=Persons(shut, 0.45, alarm_above=0.8))
    (row,) = loud.rows(10.0)
    assert row.is_alarmed
    assert row.verdict == "inconclusive", "an alarm of one's own is no verdict"
    assert row.alarmed_since_s is not None and row.alarmed_since_s < 2


def test_a_list_of_bounded_length_stays_spread_over_all() -> None:
    kept: Spread[int] = Spread(8)
    for number in range(100):
        kept.add(number)
    assert kept.values == [0, 16, 32, 48, 64, 80, 96]
    assert (kept.n_added, kept.step) == (100, 16)


def test_memory_does_not_grow_with_the_hours() -> None:
    persons = watched([1.0] * 2500)
    person = persons.of(0)
    assert len(person.logits["a"].values) <= 1024
    assert len(person.recent) <= 41
    assert person.is_thinned
    assert persons.rows(625.0)[0].n_scored == 2500


def test_of_many_people_those_not_seen_for_longest_are_forgotten() -> None:
    persons = Persons(rules(), 0.45)
    for track in range(300):
        persons.leave([])
        persons.see(track, float(track))
    assert len(persons.all) == 256
    assert min(persons.all) == 44
    assert persons.n_forgotten == 44


A, B = np.eye(128, dtype=np.float32)[:2]


def compared(persons: Persons, track: int, time_s: float, face: np.ndarray, *visible: int) -> tuple[int, int] | None:
    persons.see(track, time_s)
    persons.of(track).add(Looked(time_s, LARGE_PX, SHARP, {"a": float(track)}))
    return persons.compare(track, face, visible)


def test_who_leaves_and_returns_is_the_same_person() -> None:
    persons = Persons(rules(), 0.45)
    assert compared(persons, 0, 0.0, A) is None
    persons.leave([])
    assert compared(persons, 1, 100.0, 0.9 * A + 0.1 * B) == (0, 1)
    (row,) = persons.rows(100.0)
    assert (row.person, row.n_scored, row.first_seen_s, row.last_seen_s) == (0, 2, 0.0, 100.0)
    assert persons.see(1, 101.0).number == 0


def test_another_face_is_another_person_and_so_are_two_faces_in_one_picture() -> None:
    persons = Persons(rules(), 0.45)
    compared(persons, 0, 0.0, A)
    assert compared(persons, 1, 5.0, B) is None, "unlike"
    persons.see(0, 6.0)
    assert compared(persons, 2, 6.0, A, 0, 1) is None, "alike, but both are to be seen"
    assert [row.person for row in persons.rows(6.0)] == [0, 1, 2]


def test_who_was_not_seen_for_a_minute_stands_in_the_last_row_alone() -> None:
    persons = watched([1.0])
    assert len(persons.rows(60.0)) == 1
    assert len(persons.rows(61.0)) == 0
    assert len(persons.rows(61.0, everybody=True)) == 1
