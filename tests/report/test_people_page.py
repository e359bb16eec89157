"""The page of people: who stands where, what is said of it, and that names of files stay text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pandas as pd
import pytest

from browser import NARROW_PX, WIDE_PX, chromium, needs_browser, opened
from deepfake.catalog.people import numbered
from deepfake.faces.crop_store import encode_crop, write_shard
from deepfake.faces.extracted import StoredFace
from deepfake.report.people_page import MOST_FACES, people_csv, people_page, summary
from invented_people import face, people_rows

NASTY = 'b/<img src=x onerror=alert(1)>"&#.mp4'
ROWS = (("a.mp4", 0, 0.0), ("a.mp4", 1, 90.0), (NASTY, 0, 8.0), ("c.mp4", 0, 180.0), ("c.mp4", 1, None))


def invented(folder: Path, rows: tuple[tuple[str, int, float | None], ...]) -> tuple[pd.DataFrame, dict[str, list]]:
    """People of embeddings made by hand, with a grey crop each whose tone is the track's number."""
    faces: dict[str, list[StoredFace]] = {}
    pictures = []
    for number, (video_id, track, _) in enumerate(rows):
        crop = np.full((64, 64, 3), 40 + 30 * number % 200, np.uint8)
        pictures.append((f"{number}.jpg", encode_crop(crop, "jpeg", 90)))
        faces.setdefault(video_id, []).append(face(track, 10 * track, track))
    places = iter(write_shard(folder / "crops/a.tar", pictures, {"faces": [{} for _ in pictures]}))
    for own in faces.values():
        for i, one in enumerate(own):
            offset, size = next(places)
            own[i] = StoredFace(**{**vars(one), "offset": offset, "size": size})
    return numbered(people_rows(*rows), 0.5), faces


def written(folder: Path, rows: tuple[tuple[str, int, float | None], ...] = ROWS) -> Path:
    people, faces = invented(folder, rows)
    videos = {video_id: folder / "videos" / video_id for video_id in faces} | {"d.mp4": folder / "videos/d.mp4"}
    made = folder / "pages/people.html"
    made.parent.mkdir()
    made.write_bytes(people_page(people, faces, folder, videos, made))
    return made


class Parts(HTMLParser):
    """Persons in the order of the page, where links lead, and all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.persons: list[str] = []
        self.links: list[str] = []
        self.elements: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append(tag)
        self.persons += [str(values["data-person"])] if "data-person" in values else []
        self.links += [str(values["href"])] if tag == "a" else []


def test_who_is_in_several_videos_comes_first_with_all_of_them(tmp_path: Path) -> None:
    text = written(tmp_path).read_text()
    parts = Parts(text)
    assert parts.persons == ["0", "1", "2"]
    assert "3 persons in 4 videos" in text and "In several videos (1)" in text and "In one video each (2)" in text
    assert "Too small to be compared (1)" in text and "likeness 0.99" in text
    assert {unquote(link) for link in parts.links} == {"../videos/a.mp4", f"../videos/{NASTY}", "../videos/c.mp4"}


def test_names_of_files_stay_text_and_nothing_runs(tmp_path: Path) -> None:
    text = written(tmp_path).read_text()
    assert "script" not in Parts(text).elements and "<img src=x" not in text
    assert "&lt;img src=x onerror" in text and "default-src &#39;none&#39;" in text


def test_the_page_says_that_nobody_is_named_and_that_it_may_err(tmp_path: Path) -> None:
    text = " ".join(written(tmp_path).read_text().split())
    assert "Nobody is named" in text and "Look before you rely on it" in text and "identify nobody by it" in text


def test_many_tracks_of_one_person_are_cut_and_counted(tmp_path: Path) -> None:
    rows = tuple((f"{i:03d}.mp4", 0, 0.1 * i) for i in range(MOST_FACES + 30))
    text = written(tmp_path, rows).read_text()
    assert text.count("<img ") == MOST_FACES and "and 30 more tracks" in text and "and 18 more videos" in text


def test_a_folder_without_a_face_has_a_page_all_the_same(tmp_path: Path) -> None:
    people = numbered(people_rows(), 0.5)
    text = people_page(people, {}, tmp_path, {"a.mp4": tmp_path / "a.mp4"}, tmp_path / "p.html").decode()
    assert "0 persons in 1 video" in text and "Nobody is seen in more than one video" in text


def test_the_csv_has_a_row_a_track_with_its_times(tmp_path: Path) -> None:
    people, faces = invented(tmp_path, ROWS)
    rows = list(csv.DictReader(io.StringIO(people_csv(people, faces).decode())))
    assert [(row["person"], row["video_id"], row["track"]) for row in rows] == [
        ("0", "a.mp4", "0"),
        ("0", NASTY, "0"),
        ("1", "a.mp4", "1"),
        ("2", "c.mp4", "0"),
        ("", "c.mp4", "1"),
    ]
    assert rows[2]["from_s"] == "1.0" and rows[0]["likeness"] == "0.9903"


def test_the_summary_counts_persons_and_who_could_not_be_compared(tmp_path: Path) -> None:
    people, _ = invented(tmp_path, ROWS)
    (line,) = summary(people, 4)
    assert line == (
        "people: 5 tracks in 4 videos: 3 persons, 1 of them in several videos; 1 tracks too small to be compared"
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as started:
        yield started


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width_px", [NARROW_PX, WIDE_PX])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_and_can_be_used_by_everybody(browser, tmp_path: Path, width_px: int, theme: str) -> None:
    with opened(browser, written(tmp_path), width_px, theme) as tab:
        assert tab.overflow_px() <= 0 and tab.faults == [] and tab.asked_elsewhere == []
        assert tab.severe_faults() == []
        reached = {stop["number"] for stop in tab.tab_through()}
        assert reached == set(tab.usable()) and reached
        assert cv2.imdecode(np.frombuffer(tab.page.screenshot(), np.uint8), cv2.IMREAD_COLOR) is not None
