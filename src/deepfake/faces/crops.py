"""Cut square face crops out of a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np


class Region(Protocol):
    """A frame that can give a part of itself (`deepfake.media.video.Frame`)."""

    @property
    def width_px(self) -> int:
        """Of the upright picture."""
        ...

    @property
    def height_px(self) -> int:
        """Of the upright picture."""
        ...

    def rgb_region(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """HWC uint8 RGB of a region inside the frame."""
        ...


@dataclass(frozen=True)
class Square:
    """A square in full-frame pixels; it may reach outside the frame."""

    x0_px: float
    y0_px: float
    side_px: float


def points_in_square(square: Square, landmarks: np.ndarray, crop_px: int) -> np.ndarray:
    """Five points (5, 2), given in full-frame pixels in any shape, in pixels of the square's crop of `crop_px`."""
    corner = np.floor([square.x0_px, square.y0_px])  # as `cut_square` rounds it
    return np.asarray((landmarks.reshape(5, 2) - corner) * crop_px / max(round(square.side_px), 2))


def square_around(box: np.ndarray, margin_ratio: float) -> Square:
    """The square about a box (x0, y0, x1, y1), with `margin_ratio` of its longer side added on every side."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0) * (1 + 2 * margin_ratio)
    return Square((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)


def cut_square(frame: Region, square: Square, crop_px: int) -> np.ndarray:
    """The square as (crop_px, crop_px, 3) uint8 RGB; what lies outside the frame repeats its edge."""
    x0, y0 = int(np.floor(square.x0_px)), int(np.floor(square.y0_px))
    side = max(round(square.side_px), 2)
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + side, frame.width_px), min(y0 + side, frame.height_px)
    if right <= left or bottom <= top:
        raise ValueError(f"square {square} lies outside the frame of {frame.width_px}x{frame.height_px}")
    part = frame.rgb_region(left, top, right, bottom)
    scale = crop_px / side
    # Shrink before padding: the same picture for less work on large faces.
    size = (max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    before_x, before_y = (min(round(n * scale), crop_px - 1) for n in (left - x0, top - y0))
    after_x, after_y = crop_px - before_x - size[0], crop_px - before_y - size[1]
    if min(after_x, after_y) < 0:  # rounding gave one pixel too many
        part = part[: crop_px - before_y, : crop_px - before_x]
        after_x, after_y = max(after_x, 0), max(after_y, 0)
    if before_x or before_y or after_x or after_y:
        part = cv2.copyMakeBorder(part, before_y, after_y, before_x, after_x, cv2.BORDER_REPLICATE)
    return np.asarray(part)


@dataclass(frozen=True)
class Picture:
    """A still picture (HWC uint8 RGB) to cut from."""

    pixels: np.ndarray

    @property
    def width_px(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    def rgb_region(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """HWC uint8 RGB of a region inside the picture."""
        return self.pixels[y0:y1, x0:x1]


def cut_face(
    picture_HWC: np.ndarray, box: np.ndarray, margin_ratio: float, most_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """A face out of a still picture as crops of clips are, at most `most_px` a side and never enlarged.

    Also the matrix (2, 3) from pixels of the picture to those of the crop.
    """
    square = square_around(box, margin_ratio)
    side = max(round(square.side_px), 2)  # as `cut_square` rounds it
    crop_px = min(side, most_px)
    scale, corner = crop_px / side, np.floor([square.x0_px, square.y0_px])
    matrix = np.column_stack([np.eye(2) * scale, -corner * scale])
    return cut_square(Picture(picture_HWC), square, crop_px), matrix


def sharpness(crop_HWC: np.ndarray) -> float:
    """Variance of the Laplacian of the grey crop; a few units is blurred, hundreds are sharp."""
    return float(cv2.Laplacian(cv2.cvtColor(crop_HWC, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
