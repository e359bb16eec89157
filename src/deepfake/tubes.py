"""A face through time, held still: crops turned, scaled and moved so that the landmarks stay in place, and their flow.

Letters: T frames, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepfake.blend import fit_similarity, smooth_in_time

TUBE_PX = 112
LARGE_TUBE_PX = 192  # a face as large as the shipped frame network sees it
FLOW_PX = 56
MAX_FLOW_PX = 8.0  # further a point of the still face does not move between two frames
# Left eye, right eye, nose and mouth corners in the tube, as shares of its side: brows and chin stay inside.
PLACES = np.array([(0.34, 0.40), (0.66, 0.40), (0.5, 0.58), (0.37, 0.74), (0.63, 0.74)])
MIDDLE = 0.62  # of a crop whose landmarks are not known


def steady(landmarks_T52: np.ndarray) -> np.ndarray:
    """A track's landmarks without jitter, short gaps (NaN) filled; `landmarks_T52` are shares of a crop's side."""
    sane = np.where(_is_face(landmarks_T52)[:, None, None], landmarks_T52, np.nan)
    return smooth_in_time(sane, 0.5) if len(sane) > 1 else sane


def face_tube(crops: Sequence[np.ndarray], landmarks_T52: np.ndarray, side_px: int) -> np.ndarray:
    """uint8 (T, side, side, 3) of square RGB crops; a crop without landmarks (NaN) gives its middle.

    `landmarks_T52` are shares of the crop's side.
    """
    tube = np.empty((len(crops), side_px, side_px, 3), np.uint8)
    for t, crop in enumerate(crops):
        matrix = _middle(crop.shape[0], side_px)
        if np.isfinite(landmarks_T52[t]).all():
            matrix = fit_similarity(landmarks_T52[t] * crop.shape[0], PLACES * side_px)
        shrinks = np.hypot(matrix[0, 0], matrix[1, 0]) < 0.5
        tube[t] = cv2.warpAffine(
            cv2.blur(crop, (2, 2)) if shrinks else crop,
            matrix,
            (side_px, side_px),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return tube


def _is_face(points_T52: np.ndarray) -> np.ndarray:
    eyes = points_T52[:, 1] - points_T52[:, 0]
    return np.asarray(np.isfinite(points_T52).all((1, 2)) & (np.hypot(eyes[:, 0], eyes[:, 1]) > 0.01))


def _middle(crop_px: int, side_px: int) -> np.ndarray:
    scale = side_px / (MIDDLE * crop_px)
    shift = side_px / 2 * (1 - 1 / MIDDLE)
    return np.array([[scale, 0, shift], [0, scale, shift]])


def tube_flow(tube_THWC: np.ndarray) -> np.ndarray:
    """float32 (T, 2, FLOW_PX, FLOW_PX), -1 to 1: how far each point moves from the frame before, x and y; first: 0."""
    flow = np.zeros((len(tube_THWC), 2, FLOW_PX, FLOW_PX), np.float32)
    if len(tube_THWC) < 2:
        return flow
    searcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in tube_THWC]
    for t in range(1, len(greys)):
        found = searcher.calc(greys[t - 1], greys[t], np.empty(0))
        small = cv2.resize(found, (FLOW_PX, FLOW_PX), interpolation=cv2.INTER_AREA)
        flow[t] = np.clip(small.transpose(2, 0, 1) / MAX_FLOW_PX, -1, 1)
    return flow
