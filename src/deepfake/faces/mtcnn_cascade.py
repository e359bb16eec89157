"""MTCNN's three steps in NumPy: candidates from a pyramid of pictures, judged twice more at higher resolution.

The same steps and the same rounding as facenet-pytorch's, so that boxes agree with it (`python -m lab mtcnn-equality`).
Boxes are x0 y0 x1 y1, float32, in pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from deepfake.faces.area_resize import AreaResizer, Floats, Ints
from deepfake.faces.detections import Faces

WINDOW_PX, STRIDE_PX = 12, 2  # what PNet sees at once, and how far apart
PYRAMID_STEP = 0.709  # each picture of the pyramid has half the area of the one before
SAME_SCALE_IOU, SAME_FACE_IOU = 0.5, 0.7
BATCH = 64  # crops at once: more are no faster, and a pattern of stripes gives hundreds
TABLE_ROWS = 256  # of overlaps at once: thousands of boxes would make a large table

Overlap = Callable[[Floats, Floats], Floats]


class Judges(Protocol):
    """MTCNN's networks, by whatever library runs them; see `mtcnn_networks.Networks`."""

    def propose(self, picture_1CHW: Floats) -> tuple[Floats, Floats]:
        """Scores (h, w) and corrections (4, h, w) of windows of 12 px, one at every second pixel."""

    def refine(self, crops: Iterator[Floats]) -> tuple[Floats, Floats]:
        """Scores (n,) and corrections (n, 4) of crops of 24 px, which come batch by batch."""

    def decide(self, crops: Iterator[Floats]) -> tuple[Floats, Floats, Floats]:
        """Scores (n,), corrections (n, 4) and landmarks (n, 10: five x, five y) of crops of 48 px."""


def find_faces(
    picture_HWC: np.ndarray, networks: Judges, min_face_px: int, thresholds: tuple[float, float, float]
) -> Faces:
    """Faces of an RGB picture; `thresholds`: the least score in each of the three steps."""
    picture = AreaResizer(picture_HWC)
    boxes = _proposed(picture, networks, min_face_px, thresholds[0])
    boxes = _refined(picture, networks, boxes, thresholds[1])
    return _decided(picture, networks, boxes, thresholds[2])


def scales(height_px: int, width_px: int, min_face_px: int) -> list[float]:
    """Of the pictures of the pyramid, the largest first: a face of `min_face_px` fills PNet's window there."""
    scale = WINDOW_PX / min_face_px
    shorter_px = min(height_px, width_px) * scale
    found = []
    while shorter_px >= WINDOW_PX:
        found.append(scale)
        scale, shorter_px = scale * PYRAMID_STEP, shorter_px * PYRAMID_STEP
    return found


def _proposed(picture: AreaResizer, networks: Judges, min_face_px: int, threshold: float) -> Floats:
    """Candidates, as squares."""
    of_scales = [
        _proposed_at(scale, picture, networks, threshold)
        for scale in scales(picture.height_px, picture.width_px, min_face_px)
    ]
    boxes, scores, shifts = (np.concatenate(parts) for parts in zip(*of_scales, _no_candidates(), strict=True))
    kept = suppressed(boxes, scores, SAME_FACE_IOU, iou)
    boxes, shifts = boxes[kept], shifts[kept]
    return _squared(boxes + shifts * _sides(boxes)[:, [0, 1, 0, 1]])


def _no_candidates() -> tuple[Floats, Floats, Floats]:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 4), np.float32)


def _proposed_at(
    scale: float, picture: AreaResizer, networks: Judges, threshold: float
) -> tuple[Floats, Floats, Floats]:
    """Boxes, scores and corrections from one picture of the pyramid."""
    small = picture.whole(int(picture.height_px * scale + 1), int(picture.width_px * scale + 1))
    scores_HW, shifts_4HW = networks.propose(small)
    y, x = np.nonzero(scores_HW >= np.float32(threshold))
    corner = STRIDE_PX * np.stack([x, y], 1).astype(np.float32)
    boxes = np.floor(np.concatenate([corner + 1, corner + WINDOW_PX], 1) / np.float32(scale))
    scores = scores_HW[y, x]
    kept = suppressed(boxes, scores, SAME_SCALE_IOU, iou)
    return boxes[kept], scores[kept], shifts_4HW[:, y[kept], x[kept]].T


def _refined(picture: AreaResizer, networks: Judges, boxes: Floats, threshold: float) -> Floats:
    """The candidates that RNet believes, as squares."""
    boxes, inner = _inside(boxes, picture)
    if not len(boxes):
        return boxes
    scores, shifts = networks.refine(_crops(picture, inner, 24))
    passed = scores > np.float32(threshold)
    boxes, scores, shifts = boxes[passed], scores[passed], shifts[passed]
    kept = suppressed(boxes, scores, SAME_FACE_IOU, iou)
    boxes = boxes[kept]
    return _squared(boxes + shifts[kept] * (_sides(boxes) + 1)[:, [0, 1, 0, 1]])


def _decided(picture: AreaResizer, networks: Judges, boxes: Floats, threshold: float) -> Faces:
    """The faces that ONet sees."""
    boxes, inner = _inside(boxes, picture)
    if not len(boxes):
        return Faces.none()
    scores, shifts, points = networks.decide(_crops(picture, inner, 48))
    passed = scores > np.float32(threshold)
    boxes, scores, shifts, points = boxes[passed], scores[passed], shifts[passed], points[passed]
    sides = _sides(boxes) + 1
    landmarks = sides[:, None] * points.reshape(-1, 2, 5).transpose(0, 2, 1) + boxes[:, None, :2] - 1
    boxes = boxes + shifts * sides[:, [0, 1, 0, 1]]
    kept = surest(boxes, scores)
    return Faces(boxes[kept], scores[kept], landmarks[kept])


def _crops(picture: AreaResizer, boxes: Ints, side_px: int) -> Iterator[Floats]:
    return (picture.squares(boxes[start : start + BATCH], side_px) for start in range(0, len(boxes), BATCH))


def _sides(boxes: Floats) -> Floats:
    return boxes[:, 2:] - boxes[:, :2]


def _squared(boxes: Floats) -> Floats:
    """Squares of the longer side around the same middles."""
    sides = _sides(boxes)
    longer = sides.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.concatenate([corners, corners + longer], 1)


def _inside(boxes: Floats, picture: AreaResizer) -> tuple[Floats, Ints]:
    """The boxes of which something is in the picture, and what of them is, in whole pixels, the ends not included.

    Boxes count pixels from 1, ends included, as MATLAB did, in which MTCNN was written.
    """
    whole = np.trunc(boxes).astype(np.int64)
    inner = np.concatenate(
        [np.maximum(whole[:, :2], 1) - 1, np.minimum(whole[:, 2:], [picture.width_px, picture.height_px])], 1
    )
    kept = (inner[:, 2:] > inner[:, :2]).all(1)
    return boxes[kept], inner[kept]


def suppressed(boxes: Floats, scores: Floats, most: float, overlap: Overlap) -> Ints:
    """Indices of the boxes that overlap no better one by more than `most`, best first, the first of equal ones first.

    Two boxes without an area overlap by what is no number, and so both stay.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) < 2:
        return order
    boxes = boxes[order]
    alive = np.ones(len(order), bool)
    for start in range(0, len(order), TABLE_ROWS):
        with np.errstate(invalid="ignore", divide="ignore"):
            is_same = overlap(boxes[start : start + TABLE_ROWS], boxes[start:]) > np.float64(most)
        for i, same in enumerate(is_same):
            if alive[start + i]:
                alive[start + i + 1 :] &= ~same[i + 1 :]
    return order[alive]


def surest(boxes: Floats, scores: Floats) -> Ints:
    """Indices of the faces that lie in no surer one, the surest first; the last of equally sure ones stays.

    Many are as sure as a float can say. facenet leaves it to an unstable sort which of them stays: nearly always the
    last, but that depends on the processor.
    """
    return len(boxes) - 1 - suppressed(boxes[::-1], scores[::-1], SAME_FACE_IOU, share_of_smaller)


def iou(boxes_N4: Floats, others_M4: Floats) -> Floats:
    """Intersection over union, (n, m)."""
    inner = _intersections(boxes_N4, others_M4, 0)
    return np.asarray(inner / (_areas(boxes_N4, 0)[:, None] + _areas(others_M4, 0) - inner))


def share_of_smaller(boxes_N4: Floats, others_M4: Floats) -> Floats:
    """Intersection over the smaller of the two areas, (n, m); the pixels at both ends count."""
    smaller = np.minimum(_areas(boxes_N4, 1)[:, None], _areas(others_M4, 1))
    return np.asarray(_intersections(boxes_N4, others_M4, 1) / smaller)


def _areas(boxes: Floats, end_px: int) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0] + end_px) * (boxes[:, 3] - boxes[:, 1] + end_px))


def _intersections(boxes_N4: Floats, others_M4: Floats, end_px: int) -> Floats:
    x0, y0, x1, y1 = boxes_N4.T[:, :, None]
    others_x0, others_y0, others_x1, others_y1 = others_M4.T
    widths = np.minimum(x1, others_x1) - np.maximum(x0, others_x0) + end_px
    heights = np.minimum(y1, others_y1) - np.maximum(y0, others_y0) + end_px
    return np.asarray(np.maximum(widths, 0) * np.maximum(heights, 0))
