"""A picture of what learning by forging shows: one row a fake, with its mask, its difference and its damage."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepfake.mixture import Made

CELL_PX, GAP_PX, LABEL_PX = 224, 6, 24
DIFFERENCE_GAIN = 4
HEADINGS = ("real", "fake", "mask", f"difference x{DIFFERENCE_GAIN}", "real, as seen", "fake, as seen")
PAPER, INK = 215, (30, 30, 30)  # grey, so that a white mask shows its size


def sheet(items: Sequence[Made]) -> np.ndarray:
    """All items' rows below a line of headings (HWC uint8 RGB); items without a mask have that cell empty."""
    width = len(HEADINGS) * (CELL_PX + GAP_PX) + GAP_PX
    headings = np.full((LABEL_PX, width, 3), PAPER, np.uint8)
    for column, heading in enumerate(HEADINGS):
        _write(headings, heading, GAP_PX + column * (CELL_PX + GAP_PX))
    return np.vstack([headings, *(_row(made, width) for made in items)])


def _row(made: Made, width: int) -> np.ndarray:
    real, fake = made.stored
    row = np.full((LABEL_PX + CELL_PX + GAP_PX, width, 3), PAPER, np.uint8)
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
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cell = np.full((CELL_PX, CELL_PX, 3), PAPER, np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(picture_HWC, size, interpolation=way)
    return cell


def _write(paper_HWC: np.ndarray, text: str, left: int) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV draws no other letters
    cv2.putText(paper_HWC, plain, (left, LABEL_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)


def png(picture_HWC: np.ndarray) -> bytes:
    """The picture as a PNG file."""
    done, data = cv2.imencode(".png", picture_HWC[..., ::-1])
    assert done, "OpenCV writes every uint8 picture"
    return bytes(data)
