"""The page of a running watch in a browser: fit, keys, what is spoken, what is greyed, and what survives a break."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from browser import NARROW_PX, WIDE_PX, Opened, chromium, needs_browser, visited
from deepfake.live.hub import Hub
from deepfake.live.page import Watched, serve
from tcp_relay import Relay
from watched_rows import BAND, PICTURE, update, word

pytestmark = [needs_browser, pytest.mark.slow]
NASTY = "rtsp://camera/<script>alert(1)</script>?'\"&"
READY = "() => document.documentElement.dataset.ready === 'yes'"
IS_OLD = "() => document.getElementById('stage').classList.contains('old')"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as started:
        yield started


@pytest.fixture
def hub() -> Hub:
    """One that has seen person 0 for four seconds, with an alarm, and person 1."""
    hub = Hub()
    for second in range(5):
        hub.publish(update(float(second), 0.9, 0.1, alarms=(0,) if second else ()), PICTURE)
    return hub


@pytest.fixture
def address(hub: Hub) -> Iterator[str]:
    with serve(hub, Watched(NASTY, BAND, "checks/watch.html")) as address:
        yield address


def ready(tab: Opened) -> Opened:
    tab.page.wait_for_function(READY)
    tab.page.wait_for_selector(".card .lane rect.p", state="attached")
    return tab


def state(tab: Opened, text: str) -> None:
    tab.page.wait_for_function("t => document.getElementById('state-word').textContent.includes(t)", arg=text)


def spoken(tab: Opened, text: str) -> str:
    tab.page.wait_for_function("t => document.getElementById('spoken').textContent.includes(t)", arg=text)
    return str(tab.page.locator("#spoken").text_content())


@pytest.mark.parametrize(("width_px", "theme"), [(NARROW_PX, "light"), (NARROW_PX, "dark"), (WIDE_PX, "dark")])
def test_the_page_fits_its_window_asks_nobody_else_and_has_no_serious_fault(
    browser, hub, address, width_px, theme
) -> None:
    with visited(browser, address, width_px, theme) as tab:
        ready(tab)
        hub.publish(word("gap", 6.0, "the connection was lost", 2.0))
        hub.publish(update(7.0, 0.9, None), PICTURE)
        tab.page.wait_for_selector("#boxes text", state="attached")
        assert tab.overflow_px() == 0
        assert tab.severe_faults() == []
        assert tab.faults == [] and tab.asked_elsewhere == []


def test_a_hostile_name_is_text(browser, address) -> None:
    with visited(browser, address) as tab:
        assert tab.page.locator("h1 .name").inner_text() == NASTY
        assert tab.faults == []


def test_the_picture_is_drawn_with_a_box_on_each_face_and_what_it_scored(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        hub.publish(update(6.0, 0.9, None), PICTURE)
        tab.page.wait_for_function("() => document.querySelectorAll('#boxes g').length === 2")
        pixel = tab.page.evaluate(
            "() => [...document.getElementById('picture').getContext('2d').getImageData(160, 90, 1, 1).data]"
        )
        assert pixel[:3] == pytest.approx(list(PICTURE[90, 160]), abs=6)
        rects = [
            [float(rect.get_attribute(name)) for name in ("x", "y", "width", "height")]
            for rect in tab.page.locator("#boxes rect").all()
        ]
        assert rects == [[40, 40, 80, 80], [160, 40, 80, 80]]
        words = tab.page.locator("#boxes text").all_text_contents()
        assert words == ["Person 0: 0.90, looks forged", "Person 1"]
        picture, boxes = (tab.page.locator(name).bounding_box() for name in ("#picture", "#boxes"))
        assert boxes["width"] / boxes["height"] == pytest.approx(320 / 180, rel=0.01)
        middle = [one["x"] + one["width"] / 2 for one in (picture, boxes)]
        assert middle[0] == pytest.approx(middle[1], abs=1)


def test_a_picture_older_than_a_second_is_grey_and_says_so_until_a_new_one_comes(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        hub.publish(update(6.0, 0.9), PICTURE)
        state(tab, "Live")
        assert not tab.page.evaluate(IS_OLD)
        begin = time.monotonic()
        tab.page.wait_for_function(IS_OLD)
        assert time.monotonic() - begin < 1.5
        state(tab, "No new picture")
        tab.page.wait_for_function("() => document.getElementById('age').textContent.includes('2 s old')")
        hub.publish(update(9.0, 0.9), PICTURE)
        state(tab, "Live")
        assert not tab.page.evaluate(IS_OLD)


def test_an_old_picture_is_never_fetched(browser, address) -> None:
    time.sleep(1.2)
    with visited(browser, address) as tab:
        ready(tab)
        state(tab, "Waiting for the first picture")
        assert tab.page.locator("#stage").get_attribute("class") == "none"


def test_each_person_has_a_verdict_scores_and_a_timeline_with_its_alarm(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        first, second = tab.page.locator(".card").all()
        assert first.locator("h3").inner_text().split("\n") == ["Person 0", "likely forged", "alarm since 0:01"]
        assert "0.90 in the last 10 s, 0.90 over all" in first.inner_text()
        assert second.locator("h3").inner_text().split("\n")[:2] == ["Person 1", "likely real"]
        assert first.locator("rect.p.forged").count() == 3 and first.locator("rect.alarm").count() == 3
        assert second.locator("rect.p.real").count() == 3 and second.locator("rect.alarm").count() == 0
        label = first.locator(".lane").get_attribute("aria-label")
        assert label == "Timeline of person 0: highest 0.90, at 0:00"


def test_changes_of_a_verdict_are_spoken_and_mere_updates_are_not(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        assert tab.page.locator("#spoken").text_content() == "", "what was before is not read out"
        for second in range(5, 8):
            hub.publish(update(float(second), 0.9, 0.11, alarms=(0,)))
        tab.page.wait_for_function("() => document.getElementById('at').textContent.startsWith('0:07')")
        tab.page.wait_for_timeout(1200)
        assert tab.page.locator("#spoken").text_content() == ""
        hub.publish(update(8.0, 0.5, 0.1))
        assert spoken(tab, "Person 0") == "Person 0: inconclusive. Person 0: the alarm is over."
        assert tab.page.locator("#spoken").get_attribute("role") == "status"
        assert "0:08 Person 0: the alarm is over." in tab.page.locator("#log").inner_text()


def test_pace_drops_and_size_are_shown(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        facts = tab.page.locator("#pace dd").all_inner_texts()
        assert facts == ["100 ms", "100 ms or less", "80 of 101 (79 %)", "320 × 180"]


def test_a_gap_and_the_end_are_told(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        hub.publish(word("gap", 6.0, "the connection was lost", 2.0))
        assert "Nothing came for 2.0 s: the connection was lost" in spoken(tab, "Nothing came")
        tab.page.wait_for_selector(".card line.gap", state="attached")
        hub.publish(word("end", 8.0, "the stream ended"))
        state(tab, "Ended: the stream ended")
        assert tab.faults == []


def test_a_page_goes_on_where_it_was_when_the_connection_comes_back(browser, hub, address) -> None:
    split = urlsplit(address)
    with Relay(split.port or 0) as relay, visited(browser, f"http://127.0.0.1:{relay.port}{split.path}") as tab:
        ready(tab)
        relay.cut()
        hub.publish(update(5.0, 0.5, 0.1))
        state(tab, "does not answer")
        relay.join()
        tab.page.wait_for_function("() => document.getElementById('at').textContent.startsWith('0:05')")
        hub.publish(update(6.0, 0.5, 0.1), PICTURE)
        state(tab, "Live")
        log = tab.page.locator("#log").inner_text()
        assert log.count("Person 0: likely forged.") == 1, "no row came twice"
        assert "0:05 Person 0: inconclusive." in log, "none is missing"


def test_a_watch_that_is_gone_is_said(browser, hub) -> None:
    with serve(hub, Watched("camera", BAND)) as address:
        context: Any = visited(browser, address)
        tab = ready(context.__enter__())
    try:
        state(tab, "does not answer")
    finally:
        context.__exit__(None, None, None)


def test_keys_reach_everything_and_a_paused_page_stands_still(browser, hub, address) -> None:
    with visited(browser, address) as tab:
        ready(tab)
        hub.publish(update(6.0, 0.9), PICTURE)
        state(tab, "Live")
        reached = tab.tab_through()
        assert set(tab.usable()) <= {stop["number"] for stop in reached}, reached
        assert all(stop["ring"] and stop["seen"] for stop in reached), reached
        tab.page.locator("#pause").press("Enter")
        assert tab.page.locator("#pause").get_attribute("aria-pressed") == "true"
        hub.publish(update(7.0, 0.2), PICTURE)
        state(tab, "Paused")
        tab.page.wait_for_timeout(600)
        assert tab.page.locator("#at").inner_text().startswith("0:06") and tab.page.evaluate(IS_OLD)
        tab.page.locator("#pause").press("Space")
        tab.page.wait_for_function("() => document.getElementById('at').textContent.startsWith('0:07')")


def test_another_page_on_this_machine_cannot_read_the_watch(browser, hub, address, tmp_path: Path) -> None:
    hub.publish(update(6.0, 0.9), PICTURE)
    stranger = f"http://localhost:{urlsplit(address).port}/"
    with visited(browser, stranger) as tab:
        read = tab.page.evaluate("a => fetch(a + 'events').then(r => r.text(), () => 'refused')", address)
        assert read == "refused"
