"""Black areas along the border of a picture, filled as crops of clips are. Letters: H rows, W columns, C channels."""

from __future__ import annotations

import cv2
import numpy as np

BLACK_LEVELS = 14


def fill_padding(picture_HWC: np.ndarray) -> np.ndarray:
    """The picture with black areas along its border filled with the nearest pixels, as crops of clips are.

    83 % of the photos learnt from have such padding, clips have none: it would tell the source.
    """
    dark = cv2.inRange(picture_HWC, (0, 0, 0), (BLACK_LEVELS, BLACK_LEVELS, BLACK_LEVELS))
    n, areas = cv2.connectedComponents(dark)
    at_border = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    keep = np.zeros(n, np.uint8)
    keep[at_border] = 1
    keep[0] = 0
    padding = keep[areas]
    if not 0.002 < padding.mean() < 0.9:
        return picture_HWC
    padding = cv2.dilate(padding, np.ones((5, 5), np.uint8))  # JPEG bleeds over the edge
    _, nearest = cv2.distanceTransformWithLabels(padding, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known = padding == 0
    if not known.any():
        return picture_HWC
    colour = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colour[nearest[known]] = picture_HWC[known]
    return np.asarray(np.where(known[..., None], picture_HWC, colour[nearest]))
