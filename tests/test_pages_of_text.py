"""The pages people read: links that lead somewhere, lines of a readable length, a first page that stays short."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake.config import PROJECT_ROOT
from pages_of_text import FOLDERS, PAGES_OF_TEXT

MOST_COLUMNS = 120
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMES = [str(page.relative_to(PROJECT_ROOT)) for page in PAGES_OF_TEXT]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither code nor rows of a table."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    ") and not line.lstrip().startswith("|"):
            yield number, line


def anchors(text: str) -> set[str]:
    """What a link may name of a page, as GitHub makes it of the headings."""
    headings = (line.lstrip("#").strip().lower() for _, line in prose(text) if line.startswith("#"))
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


def test_every_folder_has_its_page() -> None:
    without = {".", "data/weights"}  # the first page is README.md itself; a detector's card is named after it
    assert {f"{folder}/README.md" for folder in FOLDERS if folder not in without} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_prose_is_wrapped(name: str) -> None:
    text = (PROJECT_ROOT / name).read_text()
    assert [number for number, line in prose(text) if len(line) > MOST_COLUMNS] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_inside_the_repository_lead_to_a_file_and_a_heading_of_it(name: str) -> None:
    page = PROJECT_ROOT / name
    text = "\n".join(line for _, line in prose(page.read_text()))
    text += "\n".join(line for line in page.read_text().splitlines() if line.lstrip().startswith("|"))
    for target in LINK.findall(text):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        led = page.parent / path if path else page
        assert led.exists(), f"{name}: {target} is not there"
        assert not heading or heading in anchors(Path(led).read_text()), f"{name}: {target} has no such heading"


def test_the_first_page_stays_a_first_page() -> None:
    assert len((PROJECT_ROOT / "README.md").read_text().splitlines()) <= 120


def test_a_long_line_a_missing_page_and_a_missing_heading_would_be_seen() -> None:
    text = "# A `b` c\n" + "x " * 61 + "\n```\n" + "y" * 130 + "\n```\n| " + "z" * 130 + " |\n"
    assert [number for number, line in prose(text) if len(line) > MOST_COLUMNS] == [2]
    assert anchors(text) == {"a-b-c"}
    assert LINK.findall("see [a](b.md#c) and ![d e](f.svg)") == ["b.md#c", "f.svg"]
