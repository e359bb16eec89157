"""How a face's mesh moves: head pose, mouth, eyes, brows and jaw in the head's own frame, and how steady each part is.

Points of a track's frames in, one row a frame out. The rigid parts of the mesh (nose, eye corners, temples, forehead)
give the pose. All is told against the track's own usual: how much people move is how they were filmed, and says the
opposite of one set of clips than of another (submissions/ablations.md). To add a quantity, add its name to STILL and a
line to `measures`. Letters: T frames, P points, K quantities; "left" is as seen in the picture.
"""

from __future__ import annotations

import numpy as np

from deepfake.motion import with_speeds

# Numbers of the mesh's points, by part.
RIGID = (33, 133, 362, 263, 168, 6, 197, 195, 5, 2, 98, 327, 127, 356, 10, 151, 9)
MOUTH = (61, 291, 78, 308, 13, 14, 0, 17, 81, 178, 311, 402)
EYES = (159, 145, 160, 144, 158, 153, 386, 374, 385, 380, 387, 373)
BROWS = (70, 105, 107, 300, 334, 336)
OUTLINE = (152, 148, 377, 136, 365, 172, 397, 58, 288, 132, 361, 234, 454)
POINTS = (*RIGID, *MOUTH, *EYES, *BROWS, *OUTLINE)
PLACE = {number: place for place, number in enumerate(POINTS)}
N_RIGID = len(RIGID)
PARTS = {"mouth": MOUTH, "eyes": EYES, "outline": OUTLINE}

# Angles in rad; lengths in distances between the outer corners of the eyes.
STILL = (
    "yaw", "pitch", "roll", "log_size", "head_x", "head_y",
    "mouth_open", "mouth_width", "lips_height", "mouth_x", "mouth_y", "mouth_tilt", "mouth_depth",
    "left_eye_open", "right_eye_open", "left_brow", "right_brow",
    "chin_x", "chin_y", "jaw_width", "nose_depth",
)  # fmt: skip
N_STILL = len(STILL)
ANGLES = (0, 1, 2)
# Logarithms, less that of the rigid parts' jitter: what of the rigid parts no pose explains, the other parts' jitter.
UNSTEADY = ("rigid_rest", *(f"{part}_jitter" for part in PARTS))
# Quantities, their change per second, the unsteadiness, log of the step, whether there is a face.
N_MESH_MOTION = 2 * N_STILL + len(UNSTEADY) + 2
USUAL_JITTER, MIN_JITTER = 0.01, 1e-4
MIN_SPREAD, MIN_SPEED = 1e-3, 1e-2  # less than that is the mesh's noise
MIN_EYE_PX = 4.0


def mesh_features(points_TP3: np.ndarray, times_T: np.ndarray) -> np.ndarray:
    """float32 (T, N_MESH_MOTION) of a track; rows of frames without a face (NaN, or a tiny one) are zeros.

    The points are those of POINTS, x y in pixels of the frame, depth alike; `times_T` in seconds and never falling.
    """
    points = np.asarray(points_TP3, np.float64)
    known_T = np.isfinite(points).all((1, 2)) & (_eye_px(points) >= MIN_EYE_PX)
    out = np.zeros((len(points), N_MESH_MOTION), np.float32)
    if not known_T.any():
        return out
    found, times = points[known_T], np.asarray(times_T, np.float64)[known_T]
    head, pose_T6, rest_T = in_head(found)
    still = np.zeros((len(points), N_STILL))
    still[known_T] = np.column_stack([pose_T6, measures(head)])
    moves = with_speeds(still, times_T, known_T, ANGLES)
    values, speeds = np.split(moves[known_T, : 2 * N_STILL], 2, axis=1)
    values = (values - np.median(values, axis=0)) / (values.std(axis=0) + MIN_SPREAD)
    speeds = speeds / (speeds.std(axis=0) + MIN_SPEED)
    unsteady = np.column_stack([rest_T, *(jitter(head, times, part) for part in PARTS.values())])
    ratios = _log(unsteady) - _log(jitter(head, times, RIGID))[:, None]
    # asinh: quick movements and lost points stay within bounds.
    out[known_T] = np.column_stack([np.arcsinh(values), np.arcsinh(speeds), ratios, moves[known_T, -2:]])
    return out


def in_head(points_TP3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in the head's frame, its pose, and what the pose does not explain of the rigid points, for known frames.

    The frame has its origin between the eyes, x to the right eye, y down, z into the picture, and the distance of the
    eyes' outer corners as its unit; it is the median of the track's. The pose: yaw, pitch, roll, log size, and x and y
    of the head against its median place, in median eye distances.
    """
    model_R3 = np.median(_upright(points_TP3)[:, :N_RIGID], axis=0)
    turn_T33, scale_T, origin_T3 = _fit(model_R3, points_TP3[:, :N_RIGID])
    head = (points_TP3 - origin_T3[:, None]) @ turn_T33 / scale_T[:, None, None]
    yaw = np.arcsin(np.clip(-turn_T33[:, 2, 0], -1, 1))
    pitch = np.arctan2(turn_T33[:, 2, 1], turn_T33[:, 2, 2])
    roll = np.arctan2(turn_T33[:, 1, 0], turn_T33[:, 0, 0])
    usual = float(np.median(scale_T))
    moved = (origin_T3[:, :2] - np.median(origin_T3[:, :2], axis=0)) / usual
    pose = np.column_stack([yaw, pitch, roll, np.log(scale_T / usual), moved])
    return head, pose, _spread(head[:, :N_RIGID] - model_R3)


def _eye_px(points_TP3: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(points_TP3[:, PLACE[263]] - points_TP3[:, PLACE[33]], axis=1))


def _upright(points_TP3: np.ndarray) -> np.ndarray:
    """Each frame's points in axes along its own eyes and nose."""
    left, right, bridge, base = (points_TP3[:, PLACE[number]] for number in (33, 263, 168, 2))
    size_T1 = np.maximum(np.linalg.norm(right - left, axis=1, keepdims=True), 1e-9)
    x = (right - left) / size_T1
    down = (base - bridge) - ((base - bridge) * x).sum(axis=1, keepdims=True) * x
    y = down / np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-9)
    axes_T33 = np.stack([x, y, np.cross(x, y)], axis=2)
    return np.asarray((points_TP3 - (left + right)[:, None] / 2) @ axes_T33 / size_T1[:, None])


def _fit(model_R3: np.ndarray, found_TR3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation, scale and origin that bring a model nearest to each frame's points (Umeyama's least squares)."""
    centre_3, centres_T3 = model_R3.mean(axis=0), found_TR3.mean(axis=1)
    flat = model_R3 - centre_3
    left, values, right = np.linalg.svd(np.einsum("ri,trj->tij", flat, found_TR3 - centres_T3[:, None]))
    sign_T = np.sign(np.linalg.det(left) * np.linalg.det(right))
    flip_T3 = np.column_stack([np.ones((len(sign_T), 2)), np.where(sign_T == 0, 1, sign_T)])
    turn_T33 = np.einsum("tji,tj,tkj->tik", right, flip_T3, left)
    scale_T = np.maximum((values * flip_T3).sum(axis=1) / (flat**2).sum(), 1e-9)
    return turn_T33, scale_T, centres_T3 - scale_T[:, None] * (turn_T33 @ centre_3)


def measures(head_TP3: np.ndarray) -> np.ndarray:
    """The quantities of STILL after the pose (T, K - 6), of points in the head's frame."""

    def at(*numbers: int) -> np.ndarray:
        return np.asarray(head_TP3[:, [PLACE[number] for number in numbers]].mean(axis=1))

    def between(one: int, other: int) -> np.ndarray:
        return np.asarray(np.linalg.norm(at(other) - at(one), axis=1))

    def eye_open(pairs: tuple[tuple[int, int], ...], corners: tuple[int, int]) -> np.ndarray:
        heights_T = np.mean([between(*pair) for pair in pairs], axis=0)
        return np.asarray(heights_T / np.maximum(between(*corners), 1e-6))

    corners = at(61, 291)
    return np.column_stack([
        between(13, 14), between(61, 291), between(0, 17), corners[:, 0], corners[:, 1],
        at(291)[:, 1] - at(61)[:, 1], at(13, 14)[:, 2],
        eye_open(((159, 145), (160, 144), (158, 153)), (33, 133)),
        eye_open(((386, 374), (385, 380), (387, 373)), (362, 263)),
        at(33, 133)[:, 1] - at(70, 105, 107)[:, 1], at(362, 263)[:, 1] - at(300, 334, 336)[:, 1],
        at(152)[:, 0], at(152)[:, 1], between(172, 397), at(5)[:, 2],
    ])  # fmt: skip


def jitter(head_TP3: np.ndarray, times_T: np.ndarray, numbers: tuple[int, ...]) -> np.ndarray:
    """How far a part is from where the frames before and after would have it; USUAL_JITTER at both ends."""
    part = head_TP3[:, [PLACE[number] for number in numbers]]
    jitter_T = np.full(len(part), USUAL_JITTER)
    if len(part) > 2:
        share = ((times_T[1:-1] - times_T[:-2]) / np.maximum(times_T[2:] - times_T[:-2], 1e-9))[:, None, None]
        jitter_T[1:-1] = _spread(part[1:-1] - (1 - share) * part[:-2] - share * part[2:])
    return jitter_T


def _log(lengths: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.maximum(lengths, MIN_JITTER) / USUAL_JITTER))


def _spread(apart_TP3: np.ndarray) -> np.ndarray:
    """Root mean square of the points' distances (T,)."""
    return np.asarray(np.sqrt((apart_TP3**2).sum(axis=2).mean(axis=1)))
