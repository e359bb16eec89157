"""The page that a watch leaves: what it says of each kind of session, bounded and without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from browser import NARROW_PX, WIDE_PX, chromium, needs_browser, opened
from deepfake.detector.check import DetectorFacts
from deepfake.live.session import Session, session_of
from deepfake.report.session_page import page
from watched_rows import BAND, PICTURE, update, word

NASTY = "rtsp://camera/<script>alert(1)</script>"
DETECTOR = DetectorFacts(
    name="invented",
    weights_sha256="1" * 64,
    about={},
    calibration="platt",
    n_calibration_videos=100,
    error_rate=0.1,
    fake_share=0.5,
    min_track_frames=4,
    max_tracks=8,
)


def text_of(session: Session) -> str:
    return page(session, NASTY, BAND, DETECTOR).decode()


def invented() -> Session:
    rows = [
        update(float(second), 0.9 if second > 3 else 0.2, 0.1, alarms=(0,) if second > 3 else ()) for second in range(8)
    ]
    session = session_of([*rows, word("gap", 8.5, "the <b>line</b> was cut", 2.5), word("end", 12.0, "over")])
    session.look(rows[-1], PICTURE)
    return session


def test_the_page_names_the_gravest_verdict_the_alarm_and_the_gap() -> None:
    text = text_of(invented())
    assert 'data-verdict="likely forged"' in text
    assert "2 persons, 1 alarm, 1 gap" in text
    assert re.search(r"0:01 to 0:07 \(up to 0\.90\)", text)
    assert "Nothing came for 2.5 s: the &lt;b&gt;line&lt;/b&gt; was cut" in text
    assert text.index('data-person="0"') < text.index('data-person="1"')
    assert text.count('class="p forged"') == 4 + 1, "seconds 4 to 7, and the key"
    assert "240 of them not looked at (80 %)" in text
    assert "95 % at most 105 ms" in text
    assert text.count("data:image/jpeg") == 2


def test_a_gap_without_a_reason_of_its_own_says_it_once() -> None:
    text = text_of(session_of([update(0.0, 0.5), word("gap", 3.0, "nothing came", 2.0)]))
    assert "<td>Nothing came for 2.0 s</td>" in text


def test_a_hostile_name_is_text_and_nothing_is_fetched_or_run() -> None:
    text = text_of(invented())
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text
    assert "default-src 'none'" in unescape(text) and "http" not in text.replace(NASTY, "").replace("http-equiv", "")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "No frame came"),
        ([update(0.0), word("end", 1.0, "over")], "No face was seen"),
        ([update(0.0, 0.1)], "This does not show that anybody is genuine"),
        ([update(0.0, 0.5)], "neither for nor against anybody"),
        ([update(0.0, None)], "neither for nor against anybody"),
        ([update(2.0, 0.9, alarms=(0,)), update(3.0, 0.5)], "There was an alarm meanwhile"),
    ],
)
def test_each_kind_of_session_has_its_words(rows: list, said: str) -> None:
    assert said in text_of(session_of(rows))


def test_the_page_of_a_day_is_no_larger_than_a_few_megabytes() -> None:
    session = session_of(update(120.0 * step, *[0.5] * 40, alarms=tuple(range(40))) for step in range(720))
    assert len(page(session, NASTY, BAND, DETECTOR)) < 8e6


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as started:
        yield started


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize(("width_px", "theme"), [(NARROW_PX, "light"), (WIDE_PX, "dark")])
def test_the_page_fits_its_window_and_has_no_serious_fault(browser, tmp_path: Path, width_px, theme) -> None:
    made = tmp_path / "watch.html"
    made.write_bytes(page(invented(), NASTY, BAND, DETECTOR))
    with opened(browser, made, width_px, theme) as tab:
        assert tab.overflow_px() == 0
        assert tab.severe_faults() == []
        assert tab.faults == [] and tab.asked_elsewhere == []
        reached = tab.tab_through()
        assert set(tab.usable()) <= {stop["number"] for stop in reached}, reached
