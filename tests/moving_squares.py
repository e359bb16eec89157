"""Clips of moving squares, and a detector that finds them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepfake.faces.mtcnn import Faces

POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.58), (0.35, 0.78), (0.65, 0.78)], np.float32)


class SquareDetector:
    """Finds white squares of 8 px and more; notes the pictures' sizes; may be blind in some or at a small size."""

    def __init__(self, blind_calls: Sequence[int] = (), min_side_px: int = 0, score: float = 0.95) -> None:
        self.blind_calls, self.min_side_px, self.score = blind_calls, min_side_px, score
        self.sizes_px: list[tuple[int, int]] = []

    def detect(self, pictures: Sequence[np.ndarray], min_face_px: int | None = None) -> list[Faces]:
        faces = []
        for picture_HWC in pictures:
            self.sizes_px.append((picture_HWC.shape[1], picture_HWC.shape[0]))
            white = (picture_HWC.min(2) > 200).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(white, connectivity=4)
            boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:] if w >= 8 and h >= 8], np.float32)
            blind = len(self.sizes_px) - 1 in self.blind_calls or max(picture_HWC.shape) < self.min_side_px
            if blind or not len(boxes):
                faces.append(Faces.none())
                continue
            landmarks = boxes[:, None, :2] + POINTS * (boxes[:, 2:] - boxes[:, :2])[:, None]
            faces.append(Faces(boxes, np.full(len(boxes), self.score, np.float32), landmarks))
        return faces


def moving(number: int) -> list[tuple[int, int, int, int]]:
    return [(20 + 2 * number, 30, 44 + 2 * number, 54)]
