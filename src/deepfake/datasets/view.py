"""Which part of a stored face picture a network is shown while it learns. Letters: H rows, W columns, C channels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deepfake.datasets.views import GRID


@dataclass(frozen=True)
class View:
    """Which part of a stored square picture is shown: a turned, shifted, mirrored square of `side_px` pixels.

    `border` (left, top, right, bottom, shares of the view) is hidden behind repeated edges, as where a
    face fills its video.
    """

    matrix: np.ndarray
    side_px: int
    border: tuple[float, float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, picture_px: int, view_ratio: float, zoom: float) -> View:
        """About the middle of a picture of `picture_px`: 8 degrees and 5 % aside at most, larger or smaller.

        The natural logarithm of its side over `view_ratio` of the picture lies between -zoom and zoom.
        """
        side = picture_px * view_ratio * np.exp(rng.uniform(-zoom, zoom))
        angle = np.deg2rad(rng.uniform(-8, 8)) if rng.random() < 0.7 else 0.0
        centre = picture_px / 2 + rng.uniform(-0.05, 0.05, 2) * side
        out_px = max(round(side), 32)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror, 1.0])
        matrix = np.hstack([turn, (centre - turn @ [out_px / 2, out_px / 2])[:, None]])
        border = rng.uniform(0, 0.16, 4) * (rng.random(4) < 0.5) if rng.random() < 0.3 else np.zeros(4)
        left, top, right, bottom = border.tolist()
        return cls(matrix, out_px, (left, top, right, bottom))

    def __call__(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The part of the picture, (side_px, side_px, C)."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        side = self.side_px
        part = cv2.warpAffine(picture_HWC, self.matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if any(self.border):
            left, top, right, bottom = (round(share * side) for share in self.border)
            inner = np.ascontiguousarray(part[top : side - bottom, left : side - right])
            part = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REPLICATE)
        return np.asarray(part)

    def mask(self, mask_HW: np.ndarray) -> np.ndarray:
        """The part of a mask, (GRID, GRID) float32."""
        small = cv2.resize(self(mask_HW), (GRID, GRID), interpolation=cv2.INTER_AREA)
        return np.asarray(np.clip(small, 0, 1), np.float32)
