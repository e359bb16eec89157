"""What is gathered of a watch for its report: hand-worked counts, and a space that does not grow with the hours."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from deepfake.errors import UserError
from deepfake.live.annotations import Row
from deepfake.live.hub import Hub
from deepfake.live.session import MAX_COLUMNS, MAX_EVENTS, MAX_PERSONS, SessionSink, read_rows, session_of
from watched_rows import HEIGHT_PX, PICTURE, WIDTH_PX, face, person, update, word


def test_a_column_holds_the_highest_score_of_its_second_and_only_while_the_person_is_in_the_picture() -> None:
    gone = update(2.0).model_copy(update={"persons": (person(0, 1.5, 0.99),)})
    session = session_of([update(0.0, 0.2), update(0.5, 0.8), update(1.0, 0.3), gone])
    assert {place: column.p_fake for place, column in session.persons[0].columns.items()} == {0: 0.8, 1: 0.3}
    assert session.persons[0].p_highest == 0.8


def test_alarms_are_told_apart_by_when_they_began() -> None:
    def alarmed(time_s: float, p_fake: float, since_s: float | None) -> Row:
        return update(time_s, p_fake).model_copy(update={"persons": (person(0, time_s, p_fake, since_s),)})

    rows = [alarmed(1, 0.8, 1.0), alarmed(2, 0.95, 1.0), alarmed(3, 0.4, None), alarmed(9, 0.85, 9.0)]
    (first, second) = session_of(rows).persons[0].alarms
    assert (first.from_s, first.to_s, first.p_fake) == (1.0, 2.0, 0.95)
    assert (second.from_s, second.to_s) == (9.0, 9.0)


def test_ages_of_frames_are_known_to_five_milliseconds() -> None:
    session = session_of(update(float(i), latency_ms=100.0 if i < 19 else 402.0) for i in range(20))
    assert [session.latency_ms(share) for share in (0.5, 0.95, 0.99)] == [105.0, 105.0, 405.0]
    assert session_of([word("end", 1.0)]).latency_ms(0.5) is None


def test_gaps_sizes_and_the_gravest_verdict_are_counted() -> None:
    larger = update(4.0, 0.1, 0.5).model_copy(update={"width_px": 640, "height_px": 360})
    session = session_of([update(0.0, 0.1), word("gap", 3.0, "cut", 2.5), word("gap", 3.5, "cut", 0.5), larger])
    assert (session.n_gaps, session.gaps_s, session.n_updates) == (2, 3.0, 2)
    assert session.sizes == [(WIDTH_PX, HEIGHT_PX), (640, 360)]
    assert session.verdict == "inconclusive"
    assert session_of([update(0.0, 0.1, 0.2)]).verdict == "likely real"
    assert session_of([update(0.0, 0.1, 0.5, 0.9)]).verdict == "likely forged"
    assert session_of([update(0.0)]).verdict == "no face found"


def test_two_columns_become_one_where_time_outgrows_the_page() -> None:
    session = session_of(update(float(second), 0.9 if second == 601 else 0.1) for second in range(1300))
    columns = session.persons[0].columns
    assert session.column_s == 4.0 and len(columns) == 325
    assert [place for place, column in columns.items() if column.p_fake == 0.9] == [150]


def test_a_day_of_strangers_gaps_and_scores_takes_no_more_space_than_an_hour() -> None:
    def rows(hours: int) -> list[Row]:
        made = []
        for step in range(hours * 600):
            now = update(6.0 * step).model_copy(
                update={
                    "faces": (face(step // 5, 0.5),),
                    "persons": (person(step // 5, 6.0 * step, 0.5, 6.0 * step if step % 2 else None),),
                }
            )
            made += [now, word("gap", 6.0 * step + 3, "cut", 1.0)]
        return made

    hour, day = session_of(rows(1)), session_of(rows(12))
    assert len(day.persons) == MAX_PERSONS and day.n_persons_left_out == 12 * 120 - MAX_PERSONS
    assert len(day.events.first) + len(day.events.last) == MAX_EVENTS
    assert day.events.n_left_out == 12 * 600 - MAX_EVENTS
    assert all(len(seen.columns) <= MAX_COLUMNS for seen in day.persons.values())
    assert len(pickle.dumps(day)) < 1.1 * len(pickle.dumps(hour))


def test_crops_of_the_highest_scores_are_kept_square_and_apart_in_time() -> None:
    picture = PICTURE.copy()
    picture[40:120, 40:120] = (10, 200, 10)
    session = session_of([])
    for time_s, score in ((0.0, 0.3), (0.5, 0.6), (1.0, 0.5), (5.0, 0.9), (9.0, 0.2), (12.0, 0.4)):
        row = update(time_s, score)
        session.add(row)
        session.look(row, picture)
    crops = session.persons[0].crops
    assert [(crop.time_s, crop.score) for crop in crops] == [(5.0, 0.9), (0.5, 0.6), (12.0, 0.4)]
    assert all(crop.picture_HWC.shape == (160, 160, 3) for crop in crops)
    assert crops[0].picture_HWC[80, 80].tolist() == [10, 200, 10]
    assert crops[0].picture_HWC[80, 4].tolist() == [200, 40, 40], "and some of what is around the face"


def test_a_crop_at_the_edge_of_the_picture_is_black_beyond_it() -> None:
    row = update(0.0, 0.5)
    at_edge = row.faces[0].model_copy(update={"box_px": (-20.0, 40.0, 60.0, 120.0)})
    session = session_of([row])
    session.look(row.model_copy(update={"faces": (at_edge,)}), PICTURE)
    (crop,) = session.persons[0].crops
    assert [crop.picture_HWC[80, x].tolist() for x in (20, 80)] == [[0, 0, 0], [200, 40, 40]]


def test_a_crop_is_taken_from_a_picture_that_was_made_smaller() -> None:
    picture = PICTURE[::2, ::2].copy()
    picture[20:60, 20:60] = (10, 200, 10)
    row = update(0.0, 0.5)
    session = session_of([row])
    session.look(row, picture)
    assert session.persons[0].crops[0].picture_HWC[80, 80].tolist() == [10, 200, 10]


def test_a_sink_takes_every_row_and_the_crops_of_the_picture_that_belongs_to_it() -> None:
    hub = Hub()
    sink = SessionSink(hub)
    rows = [(update(0.0, 0.5), PICTURE), (update(9.0, 0.9), None), (word("end", 10.0, "over"), None)]
    for row, picture in rows:
        hub.publish(row, picture)
        sink.write(row)
    sink.close()
    assert sink.session.n_updates == 2 and sink.session.last == rows[-1][0]
    assert [crop.time_s for crop in sink.session.persons[0].crops] == [0.0], "the row of 9 s had no picture"


def test_rows_are_read_from_a_file_even_if_its_last_line_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [update(0.0, 0.5).to_line(), word("end", 1.0, "over").to_line()]
    path.write_text("\n".join(lines) + "\n" + lines[0][:40])
    assert list(read_rows(path)) == [update(0.0, 0.5), word("end", 1.0, "over")]
    path.write_text(f"{lines[0]}\n{{}}\n{lines[1]}\n")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2"):
        list(read_rows(path))
