"""A face's own outlines, from points of the 468-point mesh. Letters: P points."""

from __future__ import annotations

import cv2
import numpy as np

from deepfake.faces.geometry import apply_affine, face_frame

OVAL = (
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
EYES = (33, 7, 163, 145, 153, 133, 173, 158, 159, 246, 263, 390, 373, 374, 380, 362, 398, 385, 386, 466)
BROWS = (276, 283, 282, 295, 300, 293, 334, 296, 336, 46, 53, 52, 65, 70, 63, 105, 66, 107)
NOSE = (168, 6, 195, 1, 2, 98, 327, 48, 278)
CHIN = (200, 199, 152, 148, 377)
# The points a pack keeps of each mesh, and where in that list the parts lie.
KEPT = tuple(dict.fromkeys((*OVAL, *LIPS, *EYES, *BROWS, *NOSE, *CHIN)))
_PLACE = {point: place for place, point in enumerate(KEPT)}
# Each outline is the hull of one of some sets of parts; the first is the usual one.
PARTS: dict[str, tuple[tuple[tuple[int, ...], ...], ...]] = {
    "face": ((OVAL,), (BROWS, EYES, LIPS, NOSE, CHIN, OVAL[7:30]), (BROWS, EYES, LIPS, NOSE, CHIN)),
    "inner": ((BROWS, EYES, LIPS, NOSE), (EYES, LIPS, NOSE), (BROWS, EYES, NOSE)),
    "eyes": ((BROWS, EYES), (EYES,), (BROWS, EYES, NOSE[:3])),
    "mouth": ((LIPS, CHIN[:1], NOSE[4:7]), (LIPS,), (LIPS, CHIN)),
}


def own_outlines(
    mesh_P2: np.ndarray, landmarks_52: np.ndarray, rng: np.random.Generator, jitter: float = 0.0
) -> dict[str, np.ndarray] | None:
    """Polygons (n, 2) in canonical units (see `faces.geometry.face_frame`) by name; None where the mesh is not known.

    `mesh_P2` are the KEPT points. With `jitter` above 0 each outline is larger or smaller by up to that share, and
    made of other parts as often as not.
    """
    if not np.isfinite(mesh_P2).all():
        return None
    matrix = face_frame(landmarks_52)
    inner = np.linalg.pinv(matrix[:, :2])
    units = apply_affine(np.hstack([inner, -(inner @ matrix[:, 2])[:, None]]), mesh_P2)
    return {name: _outline(units, choices, rng, jitter) for name, choices in PARTS.items()}


def _outline(
    units: np.ndarray, choices: tuple[tuple[tuple[int, ...], ...], ...], rng: np.random.Generator, jitter: float
) -> np.ndarray:
    other = jitter > 0 and rng.random() < 0.5
    parts = choices[int(rng.integers(len(choices))) if other else 0]
    places = [_PLACE[point] for part in parts for point in part]
    hull = cv2.convexHull(units[places].astype(np.float32))[:, 0].astype(np.float64)
    centre = hull.mean(0)
    return np.asarray(centre + (hull - centre) * np.exp(rng.uniform(-jitter, jitter)))
