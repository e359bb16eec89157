"""The faces that a detector found in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Faces:
    """Faces of one picture, best score first.

    `boxes` (n, 4) float32 x0 y0 x1 y1 and `landmarks` (n, 5, 2) float32 x y (left eye, right eye,
    nose, left and right mouth corner, as seen in the picture) in its pixels; `scores` (n,) in 0..1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def scaled(self, x_ratio: float, y_ratio: float) -> Self:
        """The same faces in a picture of another size."""
        ratio = np.array([x_ratio, y_ratio], np.float32)
        return type(self)(self.boxes * np.tile(ratio, 2), self.scores, self.landmarks * ratio)

    def keep(self, which: np.ndarray) -> Self:
        """Some of the faces, by mask or index."""
        return type(self)(self.boxes[which], self.scores[which], self.landmarks[which])

    @classmethod
    def none(cls) -> Self:
        """No faces."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
