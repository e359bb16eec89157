"""How a face moves: its five landmarks as a trajectory that says nothing of where it is, how large or how tilted.

A frame without landmarks is skipped: velocities reach from the last frame that had them. To add a
quantity, add its name to STATIC and a line to `_still`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# In eye distances, in a frame whose first axis runs from the left to the right eye: nose and mouth
# corners, mouth width, how far the mouth hangs, then roll (rad), log size, where the head is, where the box is.
STATIC = (
    "nose_x",
    "nose_y",
    "mouth_left_x",
    "mouth_left_y",
    "mouth_right_x",
    "mouth_right_y",
    "mouth_width",
    "mouth_drop",
    "roll",
    "log_size",
    "head_x",
    "head_y",
    "box_x",
    "box_y",
    "log_box",
)
N_STATIC = len(STATIC)
ROLL = STATIC.index("roll")
N_MOTION = 2 * N_STATIC + 2  # each quantity, its change per second, log of the step, whether there are landmarks
MIN_STEP_S = 1 / 240
USUAL_STEP_S = 0.04
MIN_EYE_PX = 2.0


def motion_features(landmarks_T52: np.ndarray, boxes_T4: np.ndarray, times_T: np.ndarray) -> np.ndarray:
    """float32 (T, N_MOTION) of a track; rows of frames without landmarks (NaN, or eyes in one place) are zeros.

    `boxes_T4` x0 y0 x1 y1 and the landmarks are in the same pixels, `times_T` in seconds and never falling.
    """
    points = np.ascontiguousarray(landmarks_T52, np.float64)
    boxes = np.ascontiguousarray(boxes_T4, np.float64)
    eyes = points[:, 1] - points[:, 0]
    size_T = np.hypot(eyes[:, 0], eyes[:, 1])
    known_T = np.isfinite(points).all((1, 2)) & np.isfinite(boxes).all(1) & (size_T >= MIN_EYE_PX)
    if not known_T.any():
        return np.zeros((len(points), N_MOTION), np.float32)
    centre = np.median(points[known_T, :2].mean(axis=1), axis=0)
    still = _stills(points, boxes, known_T, centre, float(np.median(size_T[known_T])))
    out = np.zeros((len(points), N_MOTION), np.float32)
    _speeds(still, np.ascontiguousarray(times_T, np.float64), known_T, out)
    return out


@njit(cache=True)
def _still(points: np.ndarray, box: np.ndarray, centre: np.ndarray, size: float, now: np.ndarray) -> None:
    dx, dy = points[1, 0] - points[0, 0], points[1, 1] - points[0, 1]
    eye = np.sqrt(dx * dx + dy * dy)
    ux, uy = dx / eye, dy / eye
    mid_x, mid_y = (points[0, 0] + points[1, 0]) / 2, (points[0, 1] + points[1, 1]) / 2
    for k in range(3):
        x, y = (points[2 + k, 0] - mid_x) / eye, (points[2 + k, 1] - mid_y) / eye
        now[2 * k], now[2 * k + 1] = ux * x + uy * y, ux * y - uy * x
    now[6] = np.sqrt((now[4] - now[2]) ** 2 + (now[5] - now[3]) ** 2)
    now[7] = (now[3] + now[5]) / 2 - now[1]
    now[8] = np.arctan2(dy, dx)
    now[9] = np.log(eye / size)
    now[10], now[11] = (mid_x - centre[0]) / size, (mid_y - centre[1]) / size
    now[12], now[13] = ((box[0] + box[2]) / 2 - mid_x) / eye, ((box[1] + box[3]) / 2 - mid_y) / eye
    now[14] = np.log(max(max(box[2] - box[0], box[3] - box[1]), 1.0) / eye)


@njit(cache=True)
def _stills(points: np.ndarray, boxes: np.ndarray, known: np.ndarray, centre: np.ndarray, size: float) -> np.ndarray:
    still = np.zeros((len(points), N_STATIC))
    for t in range(len(points)):
        if known[t]:
            _still(points[t], boxes[t], centre, size, still[t])
    return still


@njit(cache=True)
def _speeds(still: np.ndarray, times: np.ndarray, known: np.ndarray, out: np.ndarray) -> None:
    n = still.shape[1]
    last = -1
    for t in range(len(still)):
        if not known[t]:
            continue
        out[t, 2 * n + 1] = 1
        step = MIN_STEP_S
        if last >= 0:
            step = max(times[t] - times[last], MIN_STEP_S)
            out[t, 2 * n] = np.log(step / USUAL_STEP_S)
        for k in range(n):
            # asinh: quick movements and lost points stay within bounds.
            out[t, k] = np.arcsinh(still[t, k])
            if last >= 0:
                change = still[t, k] - still[last, k]
                if k == ROLL:
                    change = (change + np.pi) % (2 * np.pi) - np.pi
                out[t, n + k] = np.arcsinh(change / step)
        last = t
