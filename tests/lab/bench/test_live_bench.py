"""What `make bench` makes of the rows of a watch: hand-worked figures."""

from __future__ import annotations

import pytest

from deepfake.live.annotations import LivePerson, Row
from lab.bench.live import Case, Held, _first_s, _paced, cases
from watched_rows import update, word


def scored(time_s: float, *n_scored: int, first_seen_s: float = 0.0, latency_ms: float = 100.0) -> Row:
    row = update(time_s, *[0.5] * len(n_scored), latency_ms=latency_ms)
    persons: list[LivePerson] = [
        person.model_copy(update={"n_scored": n, "first_seen_s": first_seen_s})
        for person, n in zip(row.persons, n_scored, strict=True)
    ]
    return row.model_copy(update={"persons": tuple(persons)})


def test_the_first_verdict_is_that_of_the_face_that_waited_longest_until_its_row_was_known() -> None:
    rows = [scored(0.5, 1, 0), scored(1.5, 4, 2), scored(2.5, 5, 4, latency_ms=200.0)]
    assert _first_s(rows, 4) == pytest.approx(2.7)
    assert _first_s(rows[:2], 4) is None, "the second face never had enough"
    assert _first_s([scored(3.0, 4, first_seen_s=2.5)], 4) == pytest.approx(0.6)
    assert _first_s([update(0.0)], 4) is None


def test_ages_pauses_drops_and_the_processor_are_those_of_the_rows() -> None:
    rows = [scored(0.0, 1), scored(0.4, 2, latency_ms=300.0), scored(1.0, 4), word("end", 2.0, "over")]
    got = _paced(rows, 4, spent_s=3.0, n_cores=2, peak_mb=99.0)
    assert got.ages_s == (0.1, 0.3, 0.1)
    assert got.age_s(50) == pytest.approx(0.1)
    assert got.between_s == pytest.approx(0.59), "0.6 and 0.4 s: the row of 0.4 s was known at 0.7"
    assert got.dropped == pytest.approx(40 / 51)
    assert got.busy == pytest.approx(0.75)


def test_memory_is_flat_or_not_after_the_first_twelfth() -> None:
    held = Held(tuple(range(12)), (10.0, *[100.0] * 10, 106.0), 100, 5.0)
    assert held.after_start[0] == 100.0
    assert held.spread == pytest.approx((106 - 1106 / 11) / (1106 / 11))


def test_every_size_number_of_faces_and_of_cores_is_measured_once_and_the_page_open() -> None:
    names = [case.name for n_cores in (1, 2) for case in cases(n_cores)]
    assert len(names) == len(set(names)) == 3 * 2 * 2 + 1
    assert Case(720, 1, 2, has_reader=True).name == "watch 720p, 1 face, 2 cores, its page open"
