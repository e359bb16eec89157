"""Where a face lies: canonical points, outlines, similarity and affine maps, smoothing in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Where MTCNN's points lie in a frontal face: origin between the eyes, unit their distance, y down.
CANONICAL_POINTS = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.41, 1.15], [0.41, 1.15]])


CANONICAL_SPAN = 3.6  # side of the square around the face that masks and patches cover, in eye distances


CANONICAL_CORNER = np.array([-1.8, -1.2])  # its upper left


# Right halves, from the top of the middle line to its bottom.
HALF_OUTLINES = {
    # Over the brow to the temple, down the cheek to the chin.
    "face": [(0.0, -0.75), (0.6, -0.68), (0.95, -0.3), (0.98, 0.3), (0.9, 0.9), (0.68, 1.45), (0.32, 1.8), (0.0, 1.87)],
    # Brows to below the mouth.
    "inner": [(0.0, -0.38), (0.45, -0.45), (0.82, -0.2), (0.8, 0.35), (0.68, 1.0), (0.4, 1.48), (0.0, 1.58)],
    # Both eyes with the brows and the bridge of the nose.
    "eyes": [(0.0, -0.3), (0.45, -0.45), (0.9, -0.25), (0.88, 0.2), (0.45, 0.32), (0.0, 0.2)],
    # Below the nose to the chin.
    "mouth": [(0.0, 0.78), (0.42, 0.82), (0.62, 1.1), (0.55, 1.45), (0.3, 1.74), (0.0, 1.8)],
}


MAX_GAP_FRAMES = 8  # a face unseen for longer is left alone


@dataclass(frozen=True)
class FaceClip:
    """One person's frames (HWC uint8 RGB, one size) and five points of each (T, 5, 2) in pixels; NaN: no face."""

    frames: list[np.ndarray]
    landmarks: np.ndarray

    def has_face(self, index: int) -> bool:
        """Whether frame `index` has landmarks."""
        return bool(np.isfinite(self.landmarks[index]).all())

    @property
    def face_indices(self) -> np.ndarray:
        """Frames with a face; ValueError where there is none."""
        indices = np.flatnonzero(np.isfinite(self.landmarks).all((1, 2)))
        if not len(indices):
            raise ValueError(f"clip of {len(self.frames)} frames: no face in any, wanted at least one to forge")
        return indices


@dataclass(frozen=True)
class Region:
    """Integer pixel borders inside a frame."""

    x0: int
    y0: int
    x1: int
    y1: int

    def of(self, frame_HWC: np.ndarray) -> np.ndarray:
        """The region's pixels, not copied."""
        return frame_HWC[self.y0 : self.y1, self.x0 : self.x1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as OpenCV wants them."""
        return self.x1 - self.x0, self.y1 - self.y0

    @property
    def corner(self) -> np.ndarray:
        """Upper left x, y."""
        return np.array([self.x0, self.y0], float)


def outline_points(outline: str) -> np.ndarray:
    """An outline as a closed polygon (n, 2) in canonical face units."""
    if outline not in HALF_OUTLINES:
        raise ValueError(f"outline {outline!r}: wanted one of {', '.join(HALF_OUTLINES)}")
    right = np.array(HALF_OUTLINES[outline])
    return np.vstack([right, right[-2:0:-1] * [-1, 1]])


def fit_affine(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that takes `points` (n, 2) to `onto` (n, 2) with the least squared error."""
    ones = np.hstack([points, np.ones((len(points), 1))])
    return np.asarray(np.linalg.lstsq(ones, onto, rcond=None)[0].T)


def fit_similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Like `fit_affine`, with rotation, one scale and shift only."""
    from_mean, onto_mean = points.mean(0), onto.mean(0)
    z = (points - from_mean) @ np.array([1, 1j])
    turn = np.vdot(z, (onto - onto_mean) @ np.array([1, 1j])) / max(float(np.vdot(z, z).real), 1e-9)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([matrix, (onto_mean - matrix @ from_mean)[:, None]])


def apply_affine(matrix_23: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) moved by a 2x3 matrix."""
    return np.asarray(points @ matrix_23[:, :2].T + matrix_23[:, 2])


def face_frame(landmarks: np.ndarray) -> np.ndarray:
    """The 2x3 matrix from canonical face units to pixels.

    Half affine, half similarity: a turned head brings its eyes together sooner than its outline.
    """
    return np.asarray((fit_affine(CANONICAL_POINTS, landmarks) + fit_similarity(CANONICAL_POINTS, landmarks)) / 2)


def eye_distance_px(landmarks: np.ndarray) -> float:
    """One canonical unit in pixels."""
    return float(np.sqrt(abs(np.linalg.det(face_frame(landmarks)[:, :2]))))


def face_region(landmarks: np.ndarray, height_px: int, width_px: int) -> Region | None:
    """The part of the frame that the canonical square covers; None where too little is inside."""
    square = CANONICAL_CORNER + CANONICAL_SPAN * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    corners = apply_affine(face_frame(landmarks), square)
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, [width_px, height_px]).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)), 0, [width_px, height_px]).astype(int)
    return Region(int(x0), int(y0), int(x1), int(y1)) if min(x1 - x0, y1 - y0) >= 16 else None


def smooth_in_time(landmarks: np.ndarray, sigma_frames: float = 1.2) -> np.ndarray:
    """Landmarks (T, 5, 2) with short gaps (NaN) filled and jitter removed; long gaps stay NaN."""
    from scipy.ndimage import gaussian_filter1d

    seen = np.flatnonzero(np.isfinite(landmarks).all((1, 2)))
    smooth = np.full(landmarks.shape, np.nan)
    for run in np.split(seen, np.flatnonzero(np.diff(seen) > MAX_GAP_FRAMES) + 1):
        if not len(run):
            continue
        times = np.arange(run[0], run[-1] + 1)
        flat = landmarks[run].reshape(len(run), -1)
        filled = np.stack([np.interp(times, run, column) for column in flat.T], axis=1)
        filled = gaussian_filter1d(filled, sigma_frames, axis=0, mode="nearest")
        smooth[times] = filled.reshape(len(times), *landmarks.shape[1:])
    return smooth


def _canvas_to_units(side_px: int) -> np.ndarray:
    scale = CANONICAL_SPAN / side_px
    return np.array([[scale, 0, CANONICAL_CORNER[0]], [0, scale, CANONICAL_CORNER[1]]])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that does `first`, then `second`."""
    return np.hstack([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]])


def _inverse(matrix_23: np.ndarray) -> np.ndarray:
    inner = np.linalg.pinv(matrix_23[:, :2])
    return np.hstack([inner, -(inner @ matrix_23[:, 2])[:, None]])
