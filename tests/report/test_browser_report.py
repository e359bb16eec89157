"""The validation report in a browser: it holds together, stays on the disk, sorts, and can be read by everybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import invented_report as invented
from browser import NARROW_PX, WIDE_PX, Opened, chromium, needs_browser, opened

pytestmark = [needs_browser, pytest.mark.slow]
inputs, report = invented.inputs, invented.report  # its fixtures: invented tables, hostile names among them
THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def page_file(report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.html)
    return path


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width_px", [NARROW_PX, WIDE_PX])
def test_the_report_fits_its_window_and_asks_nobody(browser, page_file, width_px, theme) -> None:
    with opened(browser, page_file, width_px, theme) as tab:
        assert tab.overflow_px() == 0
        assert tab.faults == [] and tab.asked_elsewhere == []


@pytest.mark.parametrize(("width_px", "theme"), [(NARROW_PX, "light"), (WIDE_PX, "light"), (WIDE_PX, "dark")])
def test_axe_finds_no_serious_fault_in_the_report(browser, page_file, width_px, theme) -> None:
    with opened(browser, page_file, width_px, theme) as tab:
        assert tab.severe_faults() == []


def column(tab: Opened, table: str, place: int) -> list[float]:
    """The numbers of a column from the top, unknown ones left out."""
    cells = tab.page.locator(f"{table} tbody tr > :nth-child({place})").all()
    texts = [cell.get_attribute("data-value") for cell in cells]
    return [float(text) for text in texts if text]


def test_a_heading_sorts_its_table_by_click_and_by_key_as_numbers(browser, page_file) -> None:
    with opened(browser, page_file) as tab:
        heading = tab.page.locator("#group-manipulation thead th").nth(3)
        before = column(tab, "#group-manipulation", 4)
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        assert column(tab, "#group-manipulation", 4) == sorted(before) and len(before) > 1
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert column(tab, "#group-manipulation", 4) == sorted(before, reverse=True)
        cells = "document.querySelectorAll('#group-face_size tbody tr > :nth-child(2)')"
        tab.page.evaluate(f"['10', '', '9', '-1'].forEach((text, i) => {{ {cells}[i].dataset.value = text }})")
        tab.page.locator("#group-face_size thead th").nth(1).get_by_role("button").press("Space")
        assert column(tab, "#group-face_size", 2) == [-1, 9, 10]
        assert tab.page.evaluate(f"[...{cells}].pop().dataset.value") == "", "what is unknown stays below"
        assert tab.page.locator("#said").inner_text().endswith("rising")


def test_the_tab_key_reaches_everything_on_the_report_and_shows_where_it_is(browser, page_file) -> None:
    with opened(browser, page_file) as tab:
        reached = tab.tab_through()
        assert set(tab.usable()) <= {stop["number"] for stop in reached}
        assert all(stop["ring"] and stop["seen"] for stop in reached), reached


def test_hostile_names_run_nothing_and_are_read_as_text(browser, page_file) -> None:
    with opened(browser, page_file) as tab:
        assert tab.page.locator("script", has_text="alert").count() == 0
        assert "<script>alert(" in tab.page.locator("main").inner_text()


def test_the_report_prints_on_white_within_the_paper(browser, page_file) -> None:
    with opened(browser, page_file, width_px=760, theme="dark") as tab:
        tab.page.emulate_media(media="print")
        assert tab.overflow_px() <= 0
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert len(tab.page.pdf(format="A4")) > 10_000
