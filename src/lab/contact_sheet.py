"""Pictures of what learning by forging shows: one row a fake, with its mask, its difference and its damage.

Of clips: one row a forged clip, frames spread over its time above what was changed in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepfake.forging.mixture import Made
from deepfake.forging.track_forger import Pair

CELL_PX, GAP_PX, LABEL_PX = 224, 6, 24
DIFFERENCE_GAIN = 4
HEADINGS = ("real", "fake", "mask", f"difference x{DIFFERENCE_GAIN}", "real, as seen", "fake, as seen")
CLIP_CELLS = len(HEADINGS)
SHEET_PX = CLIP_CELLS * (CELL_PX + GAP_PX) + GAP_PX
PAPER, INK = 215, (30, 30, 30)  # grey, so that a white mask shows its size


def sheet(items: Sequence[Made]) -> np.ndarray:
    """All items' rows below a line of headings (HWC uint8 RGB); items without a mask have that cell empty."""
    headings = np.full((LABEL_PX, SHEET_PX, 3), PAPER, np.uint8)
    for column, heading in enumerate(HEADINGS):
        _write(headings, heading, GAP_PX + column * (CELL_PX + GAP_PX))
    return np.vstack([headings, *(_row(made) for made in items)])


def clip_sheet(clips: Sequence[tuple[str, Pair]]) -> np.ndarray:
    """A row for each named clip (HWC uint8 RGB): frames of the fake, below them their differences to the real ones."""
    return np.vstack([_clip_row(name, pair) for name, pair in clips])


def _clip_row(name: str, pair: Pair) -> np.ndarray:
    row = np.full((LABEL_PX + 2 * (CELL_PX + GAP_PX), SHEET_PX, 3), PAPER, np.uint8)
    n_frames = len(pair.real)
    shown = np.linspace(0, n_frames - 1, min(CLIP_CELLS, n_frames)).round().astype(int).tolist()
    forged = ", ".join(str(place) for place in shown if pair.fake.forged_T[place]) or "none"
    _write(row, f"{name}: its {pair.fake.name}; frames {', '.join(map(str, shown))}, forged {forged}", GAP_PX)
    for column, place in enumerate(shown):
        left = GAP_PX + column * (CELL_PX + GAP_PX)
        difference = cv2.convertScaleAbs(cv2.absdiff(pair.real[place], pair.fake.frames[place]), alpha=DIFFERENCE_GAIN)
        for line, cell in enumerate((pair.fake.frames[place], difference)):
            top = LABEL_PX + line * (CELL_PX + GAP_PX)
            row[top : top + CELL_PX, left : left + CELL_PX] = _fitted(cell)
    return row


def _row(made: Made) -> np.ndarray:
    real, fake = made.stored
    row = np.full((LABEL_PX + CELL_PX + GAP_PX, SHEET_PX, 3), PAPER, np.uint8)
    _write(row, f"{made.names[0]}: {made.names[1]}", GAP_PX)
    cells: list[np.ndarray | None] = [real, fake, None, None, *made.seen]
    if made.mask is not None:
        mask = (255 * made.mask + 0.5).astype(np.uint8)
        difference = cv2.convertScaleAbs(cv2.absdiff(real, fake), alpha=DIFFERENCE_GAIN)
        cells[2:4] = [cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), difference]
    for column, cell in enumerate(cells):
        if cell is not None:
            left = GAP_PX + column * (CELL_PX + GAP_PX)
            row[LABEL_PX : LABEL_PX + CELL_PX, left : left + CELL_PX] = _fitted(cell)
    return row


def _fitted(picture_HWC: np.ndarray) -> np.ndarray:
    """The picture in a square cell, its sides kept in proportion."""
    height, width = picture_HWC.shape[:2]
    scale = CELL_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cell = np.full((CELL_PX, CELL_PX, 3), PAPER, np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(picture_HWC, size, interpolation=interpolation)
    return cell


def _write(paper_HWC: np.ndarray, text: str, left: int) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    cv2.putText(paper_HWC, plain, (left, LABEL_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)


def png(picture_HWC: np.ndarray) -> bytes:
    """The picture as a PNG file."""
    done, data = cv2.imencode(".png", picture_HWC[..., ::-1])
    assert done, "OpenCV writes every uint8 picture"
    return bytes(data)
