"""Pictures for the README: photographs of pages made of drawn people and invented numbers."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import playwright.sync_api
from PIL import Image

from browser import Opened, chromium, opened
from deepfake.errors import UserError
from deepfake.media.clips import write_clip
from deepfake.report.validation import build_report
from drawn_faces import SKINS, drawn_face, paste
from invented_report import invented_inputs
from run_command import run

WIDTH_PX, HEIGHT_PX, FPS, N_FRAMES = 640, 360, 10, 60
ENTERS, CUT = 20, 40  # frames: a second person comes in, a third has the next shot to herself
MOUTHS = 6  # steps between shut and open
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Person:
    """How one drawn person looks, where, and how fast it talks and sways."""

    skin: Colour
    hair: Colour
    shirt: Colour
    side_px: int
    corner: tuple[int, int]
    talks: float
    sways: float


ANN = Person(
    skin=SKINS[0], hair=(70, 45, 30), shirt=(60, 85, 120), side_px=140, corner=(110, 80), talks=0.9, sways=1 / 7
)
BEN = Person(
    skin=SKINS[4], hair=(30, 25, 25), shirt=(140, 105, 60), side_px=132, corner=(385, 92), talks=1.3, sways=1 / 9
)
EVA = Person(
    skin=SKINS[5], hair=(120, 85, 45), shirt=(70, 110, 85), side_px=168, corner=(240, 62), talks=1.1, sways=1 / 8
)


@cache
def _face(person: Person, mouth: int) -> tuple[np.ndarray, np.ndarray]:
    return drawn_face(person.side_px, person.skin, mouth / (MOUTHS - 1))


def _oval(scene: np.ndarray, centre: tuple[int, int], axes: tuple[float, float], colour: object) -> None:
    share = np.zeros(scene.shape[:2], np.float32)
    cv2.ellipse(share, centre, (round(axes[0]), round(axes[1])), 0, 0, 360, 1, -1, cv2.LINE_AA)
    scene[:] = scene * (1 - share[..., None]) + np.asarray(colour, np.float32) * share[..., None]


def _draw(scene: np.ndarray, person: Person, i: int) -> None:
    """Lay a head with hair, neck and shoulders over the scene as it is in frame `i`."""
    face, mask = _face(person, round((0.5 + 0.5 * np.sin(i * person.talks)) * (MOUTHS - 1)))
    side, x, y = person.side_px, person.corner[0] + round(14 * np.sin(i * person.sways)), person.corner[1]
    middle = x + side // 2
    _oval(scene, (middle, y + round(1.8 * side)), (0.85 * side, 0.75 * side), person.shirt)
    _oval(scene, (middle, y + round(0.98 * side)), (0.17 * side, 0.25 * side), [0.8 * c for c in person.skin])
    _oval(scene, (middle, y + round(0.42 * side)), (0.40 * side, 0.45 * side), person.hair)
    paste(scene, face, mask, x, y)


def _wall(seed: int, tint: tuple[float, float, float]) -> np.ndarray:
    tones = np.random.default_rng(seed).uniform(110, 190, (4, 6, 1)) * tint
    return cv2.resize(tones.astype(np.float32), (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)


def drawn_frames() -> Iterator[np.ndarray]:
    """Drawn people who talk and sway (HWC uint8 RGB): one, from ENTERS on two, after the CUT another one."""
    rng = np.random.default_rng(0)
    walls = (_wall(4, (0.92, 0.97, 1.0)), _wall(7, (1.0, 0.93, 0.82)))
    for i in range(N_FRAMES):
        scene = walls[i >= CUT] + rng.normal(0, 3, (HEIGHT_PX, WIDTH_PX, 3)).astype(np.float32)
        for person in (EVA,) if i >= CUT else (ANN, BEN) if i >= ENTERS else (ANN,):
            _draw(scene, person, i)
        yield scene.clip(0, 255).astype(np.uint8)


def write_drawn(path: Path) -> Path:
    """The drawn people as a clip of six seconds."""
    write_clip(path, drawn_frames(), FPS)
    return path


def check_page(folder: Path) -> Path:
    """The page that `deepfake check` makes of the drawn people with the shipped detector."""
    video, made = write_drawn(folder / "drawn.mp4"), folder / "check.html"
    # Drawn people have one face, by which nobody is told apart.
    outputs = ("--no-people", "--html", made, "--json", folder / "check.json", "--cache", folder / "cache")
    done = run("deepfake.check", video, *outputs)
    if not made.is_file():
        raise UserError(f"deepfake check made no page of the drawn people (exit code {done.returncode}): {done.stderr}")
    return made


def report_page(folder: Path) -> Path:
    """The validation report of invented tables."""
    inputs = invented_inputs(folder)
    config = inputs.config.model_copy(update={"run": "an invented run", "dataset": "drawn data"})
    made = folder / "report.html"
    made.write_text(build_report(replace(inputs, config=config)).html)
    return made


def _seek(tab: Opened) -> None:
    """Show a moment with two people."""
    tab.page.wait_for_function("() => document.getElementById('player').readyState >= 2")
    lane = tab.page.locator(".lane > svg").first
    lane.click(position={"x": lane.bounding_box()["width"] * 0.5, "y": 30})
    tab.page.wait_for_function("() => !document.getElementById('player').seeking")
    tab.page.evaluate("() => document.activeElement.blur()")
    tab.page.mouse.move(0, 0)
    tab.page.wait_for_timeout(500)  # the frame is drawn after it was found


PAGES: dict[str, tuple[Callable[[Path], Path], Callable[[Opened], None] | None, int]] = {
    "check": (check_page, _seek, 2490),
    "report": (report_page, None, 1620),
}
WINDOW_PX, QUALITY = 1120, 82
TRIES = 3  # Chromium on a machine short of memory now and then has no picture to give


def photograph(name: str) -> bytes:
    """The top of a page, made anew, as a WebP file."""
    with tempfile.TemporaryDirectory() as folder:
        page = PAGES[name][0](Path(folder))
        shot = Image.open(io.BytesIO(_screenshot(page, name))).convert("RGB")
    stream = io.BytesIO()
    shot.save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def _screenshot(page: Path, name: str) -> bytes:
    """The top of a page as a PNG file, by a browser started anew where one gave none."""
    _, prepare, height_px = PAGES[name]
    for left in reversed(range(TRIES)):
        try:
            with chromium() as browser, opened(browser, page, WINDOW_PX) as tab:
                tab.page.set_viewport_size({"width": WINDOW_PX, "height": height_px})
                if prepare:
                    prepare(tab)
                return tab.page.screenshot()
        except playwright.sync_api.Error as error:
            if not left or "capture screenshot" not in str(error):
                raise
    raise AssertionError("unreachable")
