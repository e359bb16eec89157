"""Rows as lines of JSON, as captions in a recording's time, and on a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepfake.live.annotations import Kind, LiveFace, LivePerson, Row
from deepfake.live.writing import Captions, JsonLines, Status, vtt_time


def person(number: int = 0, recent: float | None = 0.43, **more: object) -> LivePerson:
    known: dict[str, object] = {
        "verdict": "inconclusive",
        "overall": 0.5,
        "is_alarmed": False,
        "alarmed_since_s": None,
        "first_seen_s": 0.0,
        "last_seen_s": 1.0,
        "n_scored": 4,
    }
    return LivePerson(person=number, recent=recent, **{**known, **more})  # type: ignore[arg-type]


def row(time_s: float, *persons: LivePerson, kind: Kind = "update", reason: str | None = None, **more: object) -> Row:
    faces = tuple(
        LiveFace(person=one.person, track=0, box_px=(0, 0, 9, 9), is_carried=False, score=None) for one in persons
    )
    return Row(
        kind=kind,
        time_s=time_s,
        clock="2030-01-01T00:00:00+00:00",
        frame=0,
        width_px=64,
        height_px=64,
        faces=faces if kind == "update" else (),
        persons=persons,
        reason=reason,
        **more,  # type: ignore[arg-type]
    )


def test_a_line_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    lines = JsonLines((tmp_path / "rows.jsonl").open("w"))
    lines.write(row(1.0, person()))
    (line,) = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert Row.from_line(line) == row(1.0, person())
    lines.write(row(2.0, kind="end", reason="a\nb"))
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 2
    lines.close()


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (3723.5, "01:02:03.500"), (-1, "00:00:00.000")]
)
def test_times_of_captions(time_s: float, text: str) -> None:
    assert vtt_time(time_s) == text


def test_captions_are_in_the_recordings_time_and_end_where_the_next_begins(tmp_path: Path) -> None:
    recorder = SimpleNamespace(zero_s=None, current=tmp_path / "a.mkv")
    captions = Captions(recorder)  # type: ignore[arg-type]
    captions.write(row(1.0, person()))
    assert not list(tmp_path.iterdir()), "nothing is recorded yet"
    recorder.zero_s = 2.0
    captions.write(row(2.5, person()))
    captions.write(row(2.75, person()))
    captions.write(row(3.0, person(recent=0.61)))
    aside = tmp_path / "a.recording.vtt"
    assert aside.read_text() == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.000\nperson 0: inconclusive, last 10 s 0.43, all 0.50\n\n"
    ), "written out while the stream goes on"
    captions.write(row(4.5, kind="gap", reason="nothing --> <came>", seconds=1.5))
    captions.write(row(5.0))
    recorder.zero_s = None  # the recording is closed first
    captions.close()
    cues = (tmp_path / "a.vtt").read_text().split("\n\n")
    assert cues[2].startswith("00:00:01.000 --> 00:00:02.500\nperson 0")
    assert cues[3] == "00:00:02.500 --> 00:00:03.000\ngap: nothing -&gt; &lt;came&gt; (1.5 s)"
    assert not aside.exists()


def test_a_recording_that_goes_on_in_another_file_has_captions_of_its_own(tmp_path: Path) -> None:
    recorder = SimpleNamespace(zero_s=0.0, current=tmp_path / "a.mkv")
    captions = Captions(recorder)  # type: ignore[arg-type]
    captions.write(row(1.0, person()))
    recorder.zero_s, recorder.current = 10.0, tmp_path / "a-2.mkv"
    captions.write(row(11.0, person(1)))
    captions.write(row(12.0, person(1)))
    captions.close()
    assert "person 0" in (tmp_path / "a.vtt").read_text()
    assert "00:00:01.000 --> 00:00:02.000\nperson 1" in (tmp_path / "a-2.vtt").read_text()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_is_written_over_and_what_happens_above_it() -> None:
    out = Terminal()
    status = Status(out)
    status.write(row(1.0, person(), latency_ms=120.0, n_dropped=7))
    status.write(row(2.0, kind="gap", reason="nothing came", seconds=3.25))
    status.write(row(3.0, person(is_alarmed=True, alarmed_since_s=2.0)))
    status.write(row(4.0, person()))
    status.close()
    text = out.getvalue()
    assert "120 ms old, 7 not looked at  person 0: inconclusive, last 10 s 0.43, all 0.50" in text
    assert "gap: nothing came (3.2 s)\n" in text
    assert "ALARM since 2.0 s\n" in text
    assert "person 0: alarm over\n" in text
    assert text.count("\n") == 4


def test_elsewhere_a_line_now_and_then_is_enough() -> None:
    out, now = io.StringIO(), [0.0]
    status = Status(out, now=lambda: now[0])
    for time_s in range(25):
        now[0] = float(time_s)
        status.write(row(float(time_s), person()))
    assert len(out.getvalue().splitlines()) == 3


def test_the_schema_names_every_key_of_a_line() -> None:
    from deepfake.live.annotations import schema

    made = json.loads(json.dumps(schema()))
    assert set(json.loads(row(1.0, person()).to_line())) == set(made["properties"])
