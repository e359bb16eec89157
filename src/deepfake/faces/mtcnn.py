"""Find faces in pictures: the one door to MTCNN (facenet-pytorch).

Its traps end here: object arrays, boxes outside the picture, floats that silently find nothing,
a crash on pictures smaller than the smallest face, and false alarms on cartoons and patterns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
import torch


def _nms(boxes_N4: torch.Tensor, scores_N: torch.Tensor, picture_N: torch.Tensor, max_iou: float) -> torch.Tensor:
    """What `torchvision.ops.batched_nms` returns: indices of boxes that no better one overlaps, best first."""
    if not len(boxes_N4):
        return torch.empty(0, dtype=torch.int64, device=boxes_N4.device)
    apart = picture_N.to(boxes_N4) * (boxes_N4.max() + 1)
    boxes = (boxes_N4 + apart[:, None]).cpu().numpy()
    order = np.argsort(-scores_N.cpu().numpy(), kind="stable")
    boxes = boxes[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if not alive[i]:
            continue
        rest = np.flatnonzero(alive[i + 1 :]) + i + 1
        corner0, corner1 = np.maximum(boxes[i, :2], boxes[rest, :2]), np.minimum(boxes[i, 2:], boxes[rest, 2:])
        sides = np.maximum(corner1 - corner0, 0)
        inner = sides[:, 0] * sides[:, 1]
        with np.errstate(invalid="ignore"):  # two boxes without an area: not a number, and so both stay
            iou = inner / (areas[i] + areas[rest] - inner)
        alive[rest[iou > np.float64(max_iou)]] = False
    return torch.from_numpy(order[alive]).to(boxes_N4.device)


def _import_mtcnn() -> Any:
    """MTCNN's class, imported without torchvision: it needs one function of it, at 160 MB and a second a worker."""
    needed: dict[str, dict[str, Any]] = {
        "torchvision": {},
        "torchvision.transforms": {"functional": None},
        "torchvision.ops": {},
        "torchvision.ops.boxes": {"batched_nms": _nms},
    }
    before = {name: sys.modules.get(name) for name in needed}
    for name, contents in needed.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(contents)
    try:
        from facenet_pytorch import MTCNN
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return MTCNN


MTCNN: Any = _import_mtcnn()
MTCNN_INPUT_PX = 12  # side of the picture its first network sees


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


def are_plausible(faces: Faces) -> np.ndarray:
    """Which faces (n,) have landmarks where a face has them, judged inside their own box.

    Frontal to near-profile faces pass, turned by up to about 50 degrees in the picture's plane.
    """
    if not len(faces):
        return np.zeros(0, bool)
    corner, size = faces.boxes[:, None, :2], (faces.boxes[:, 2:] - faces.boxes[:, :2])[:, None, :]
    points = (faces.landmarks - corner) / np.maximum(size, 1e-6)
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouth - eyes
    length = np.hypot(down[:, 0], down[:, 1])
    across = np.maximum(
        np.linalg.norm(points[:, 1] - points[:, 0], axis=1), np.linalg.norm(points[:, 4] - points[:, 3], axis=1)
    )
    nose_share = ((points[:, 2] - eyes) * down).sum(1) / np.maximum(length**2, 1e-6)
    inside = (points > -0.15).all((1, 2)) & (points < 1.15).all((1, 2))
    shape_ratio = size[:, 0, 0] / np.maximum(size[:, 0, 1], 1e-6)
    upright = down[:, 1] > 0.6 * length
    return np.asarray(
        inside
        & upright
        & (length > 0.2)
        & (length < 0.75)
        & (across > 0.12)
        & (nose_share > 0.1)
        & (nose_share < 1.0)
        & (shape_ratio > 0.45)
        & (shape_ratio < 1.4)
    )


class FaceDetector:
    """MTCNN with settings that hold for pictures of any size."""

    def __init__(self, min_face_ratio: float, min_score: float, device: str = "cpu") -> None:
        self.min_face_ratio = min_face_ratio
        self.min_score = min_score
        self.device = device
        self._networks: dict[int, Any] = {}

    def _network(self, min_face_px: int) -> Any:
        if min_face_px not in self._networks:
            thresholds = [0.6, 0.7, self.min_score]
            self._networks[min_face_px] = MTCNN(
                keep_all=True, min_face_size=min_face_px, thresholds=thresholds, post_process=False, device=self.device
            )
        return self._networks[min_face_px]

    def detect(self, pictures: Sequence[np.ndarray], min_face_px: int | None = None) -> list[Faces]:
        """Faces of each HWC uint8 RGB picture; pictures may differ in size.

        `min_face_px`: smallest face's side in the picture; None: `min_face_ratio` of the longer side.
        """
        return [self._detect(picture, min_face_px) for picture in pictures]

    def _detect(self, picture_HWC: np.ndarray, min_face_px: int | None) -> Faces:
        if picture_HWC.dtype != np.uint8 or picture_HWC.ndim != 3 or picture_HWC.shape[2] != 3:
            shape = f"{picture_HWC.dtype} {picture_HWC.shape}"
            raise ValueError(f"face detection: found a picture of {shape}, wanted uint8 (height, width, 3)")
        height_px, width_px = picture_HWC.shape[:2]
        min_face_px = max(20, min_face_px or round(self.min_face_ratio * max(height_px, width_px)))
        if min(height_px, width_px) < max(min_face_px, MTCNN_INPUT_PX * 2):
            min_face_px = 20
            if min(height_px, width_px) < min_face_px + 4:
                return Faces.none()
        # Planes one after the other in memory: area resizes take half as long on them, a detection 28 instead of 32 ms.
        planes_CHW = torch.from_numpy(np.ascontiguousarray(picture_HWC.transpose(2, 0, 1)))
        with torch.inference_mode():
            boxes, scores, landmarks = self._network(min_face_px).detect(planes_CHW.permute(1, 2, 0), landmarks=True)
        if boxes is None:
            return Faces.none()
        found_faces = Faces(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(landmarks, np.float32).reshape(-1, 5, 2),
        )
        sides = found_faces.boxes[:, 2:] - found_faces.boxes[:, :2]
        real = np.isfinite(found_faces.boxes).all(1) & (sides > 4).all(1) & are_plausible(found_faces)
        centre = found_faces.boxes[:, :2] + sides / 2
        real &= (centre >= 0).all(1) & (centre < [width_px, height_px]).all(1)
        kept = found_faces.keep(real)
        return kept.keep(np.lexsort((kept.boxes[:, 0], -kept.scores)))


def plain_mtcnn(thresholds: Sequence[float], min_face_px: int = 20) -> Callable[[np.ndarray], int]:
    """MTCNN as others use it, for `make bench`: a function that counts the faces of an HWC uint8 RGB picture."""
    network = MTCNN(margin=0, thresholds=list(thresholds), min_face_size=min_face_px)

    def count(picture_HWC: np.ndarray) -> int:
        boxes, _ = network.detect(picture_HWC)
        return 0 if boxes is None else len(boxes)

    return count
