"""The pages' pictures: there, small, described in words, and made again by their command."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from browser import needs_browser
from deepfake.config import PROJECT_ROOT
from pages_of_text import PAGES_OF_TEXT
from pictures import CUT, ENTERS, HEIGHT_PX, N_FRAMES, PAGES, WIDTH_PX, WINDOW_PX, drawn_frames, photograph

FOLDER = PROJECT_ROOT / "notebooks/pictures"
SHOWN = [
    (words, (page.parent / target).resolve())
    for page in PAGES_OF_TEXT
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
]


def test_every_picture_that_is_kept_is_shown_on_one_page_and_described_in_words() -> None:
    assert sorted(path for _, path in SHOWN) == sorted(FOLDER.resolve().iterdir())
    assert all(len(words.split()) > 7 for words, _ in SHOWN)


def test_the_readme_shows_a_check() -> None:
    assert "](notebooks/pictures/check.webp)" in (PROJECT_ROOT / "README.md").read_text()


def test_pictures_are_small_enough_for_git() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert max(sizes.values()) < 150_000 and sum(sizes.values()) < 500_000, sizes


def test_the_drawn_clip_has_a_newcomer_and_then_a_cut() -> None:
    frames = np.stack(list(drawn_frames())).astype(np.int16)
    assert frames.shape == (N_FRAMES, HEIGHT_PX, WIDTH_PX, 3)
    jumps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert (np.argsort(jumps)[::-1][:2] + 1).tolist() == [CUT, ENTERS]


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_photographed(name: str) -> None:
    picture = Image.open(io.BytesIO(photograph(name)))
    assert picture.format == "WEBP" and picture.size == (WINDOW_PX, PAGES[name][2])
    assert np.asarray(picture.convert("L")).std() > 10, "an empty page"
