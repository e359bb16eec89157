"""Forgeries made from real pictures: outlines from five points, warps, colours, blends, whole clips.

Pure: arrays and a NumPy Generator in, arrays out; equal seeds give equal bytes. A clip gets one draw
that is replayed over all its frames. A new forgery is a function like `self_blend` and a line in MANIPULATIONS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

# Where MTCNN's points lie in a frontal face: origin between the eyes, unit their distance, y down.
CANONICAL_POINTS = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.41, 1.15], [0.41, 1.15]])
CANONICAL_SPAN = 3.6  # side of the square around the face that masks and patches cover, in eye distances
CANONICAL_CORNER = np.array([-1.8, -1.2])  # its upper left
MASK_PX = 144
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
MAX_HUE_MISFIT = 20.0  # in Lab
MAX_OFFSET_LEVELS = 20.0
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
        found = np.flatnonzero(np.isfinite(self.landmarks).all((1, 2)))
        if not len(found):
            raise ValueError(f"clip of {len(self.frames)} frames: no face in any, wanted at least one to forge")
        return found


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


# --- Where a face is -----------------------------------------------------------------------------


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


# --- Masks ---------------------------------------------------------------------------------------


def _canvas_to_units(side_px: int) -> np.ndarray:
    scale = CANONICAL_SPAN / side_px
    return np.array([[scale, 0, CANONICAL_CORNER[0]], [0, scale, CANONICAL_CORNER[1]]])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that does `first`, then `second`."""
    return np.hstack([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]])


def canonical_mask(outline: str, rng: np.random.Generator, wobble: float = 0.05, feather: float = 0.12) -> np.ndarray:
    """A soft mask (MASK_PX square, 0..1) of an outline, its border drawn a little differently each time.

    `wobble` and `feather` are in eye distances.
    """
    unit_px = MASK_PX / CANONICAL_SPAN
    polygon = (outline_points(outline) - CANONICAL_CORNER) * unit_px
    mask: np.ndarray = np.zeros((MASK_PX, MASK_PX), np.uint8)
    cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    bend = cv2.resize(rng.normal(0, wobble * unit_px, (5, 5, 2)), (MASK_PX, MASK_PX), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:MASK_PX, :MASK_PX]
    maps = (np.stack([x, y], -1) + bend).astype(np.float32)
    mask = cv2.remap(mask, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR)
    # Eroded first, so that the soft border ends where the outline does.
    reach = max(round(feather * unit_px), 1)
    mask = cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), reach / 2)
    soft[[0, -1], :] = soft[:, [0, -1]] = 0
    return np.where(soft < 0.004, 0, soft).astype(np.float32)


def place_mask(mask: np.ndarray, landmarks: np.ndarray, region: Region) -> np.ndarray:
    """A canonical mask as it lies on a face, in the region's pixels."""
    matrix = compose(face_frame(landmarks), _canvas_to_units(mask.shape[0]))
    matrix[:, 2] -= region.corner
    return np.asarray(cv2.warpAffine(mask, matrix, region.size, flags=cv2.INTER_LINEAR))


# --- Warps ---------------------------------------------------------------------------------------


def _spline_kernel(squared: np.ndarray) -> np.ndarray:
    return np.asarray(squared * np.log(squared + 1e-9))


@dataclass(frozen=True)
class Warp:
    """A thin-plate spline that takes points of one face to those of another; affine away from the face."""

    centres: np.ndarray
    weights: np.ndarray
    affine: np.ndarray
    to_units: np.ndarray

    @classmethod
    def between(cls, landmarks: np.ndarray, onto: np.ndarray, strength: float = 1.0) -> Self:
        """Takes the five `landmarks` to `onto` and their surroundings softly along.

        `strength` 1 meets the five points exactly, 0 is affine.
        """
        affine = compose(face_frame(onto), _inverse(face_frame(landmarks)))
        to_units = _inverse(face_frame(landmarks))
        anchors = outline_points("face")[::2] * 1.5 + [0.0, -0.25]
        centres = np.vstack([apply_affine(to_units, landmarks), anchors])
        misses = np.vstack([strength * (onto - apply_affine(affine, landmarks)), np.zeros((len(anchors), 2))])
        squared = ((centres[:, None] - centres[None]) ** 2).sum(-1)
        kernel = _spline_kernel(squared) + 1e-6 * np.eye(len(centres))
        ones = np.hstack([centres, np.ones((len(centres), 1))])
        system = np.block([[kernel, ones], [ones.T, np.zeros((3, 3))]])
        weights = np.linalg.solve(system, np.vstack([misses, np.zeros((3, 2))]))
        return cls(centres, weights, affine, to_units)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) in pixels, moved."""
        units = apply_affine(self.to_units, points)
        squared = ((units[:, None] - self.centres[None]) ** 2).sum(-1)
        basis = np.hstack([_spline_kernel(squared), units, np.ones((len(units), 1))])
        away = np.clip(np.abs(units - [0, 0.5]).max(1) - 1.6, 0, 1)[:, None]
        return np.asarray(apply_affine(self.affine, points) + (1 - away) * (basis @ self.weights))


def _inverse(matrix_23: np.ndarray) -> np.ndarray:
    inner = np.linalg.pinv(matrix_23[:, :2])
    return np.hstack([inner, -(inner @ matrix_23[:, 2])[:, None]])


def sample_through(picture_HWC: np.ndarray, warp: Callable[[np.ndarray], np.ndarray], region: Region) -> np.ndarray:
    """The picture as seen from `region`, each pixel fetched from where `warp` sends it.

    The warp is worked out on every eighth pixel; between them it is all but linear.
    """
    width_px, height_px = region.size
    columns, rows = max(width_px // 8, 2) + 1, max(height_px // 8, 2) + 1
    grid_x, grid_y = np.meshgrid(np.linspace(0, width_px - 1, columns), np.linspace(0, height_px - 1, rows))
    points = np.stack([grid_x.ravel(), grid_y.ravel()], 1) + region.corner
    sent = warp(points).reshape(rows, columns, 2)
    # Not cv2.remap: it rounds to a 32nd of a cell, a quarter of a pixel here.
    down, across = _between(rows, height_px), _between(columns, width_px).T
    x, y = ((down @ sent[..., axis] @ across).astype(np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(picture_HWC, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _between(n_knots: int, n_points: int) -> np.ndarray:
    """The matrix (n_points, n_knots) that interpolates linearly between evenly spread knots."""
    position = np.linspace(0, n_knots - 1, n_points)
    return np.asarray(np.clip(1 - np.abs(position[:, None] - np.arange(n_knots)[None]), 0, 1))


# --- Colours and blends --------------------------------------------------------------------------


def _skin_mean_std(lab_HWC: np.ndarray, mask_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = lab_HWC[mask_HW > 0.5]
    if not len(inside):
        inside = lab_HWC.reshape(-1, 3)
    # A wall behind a turned face has another hue than most of what is under the mask.
    hue_misfit = np.linalg.norm(inside[:, 1:] - np.median(inside[:, 1:], axis=0), axis=1)
    skin = inside[hue_misfit <= MAX_HUE_MISFIT]
    return skin.mean(0), skin.std(0)


def match_colour(
    picture_HWC: np.ndarray, like_HWC: np.ndarray, mask_HW: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    """The picture with Lab mean and spread of `like` under the mask; `strength` 0 leaves it as it is."""
    lab = cv2.cvtColor(picture_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    # Every third row and column is enough for two moments.
    wanted = cv2.cvtColor(like_HWC[::3, ::3].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mean, std = _skin_mean_std(lab[::3, ::3], mask_HW[::3, ::3])
    wanted_mean, wanted_std = _skin_mean_std(wanted, mask_HW[::3, ::3])
    gain = np.clip(wanted_std / np.maximum(std, 1e-3), 0.6, 1.6)
    moved = (lab - mean) * gain + wanted_mean
    rgb = cv2.cvtColor((lab + strength * (moved - lab)).astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8))


def seamless(picture_HWC: np.ndarray, target_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """The picture, its colours bent so that they meet the target's along the mask's border.

    The difference on the border is spread inwards at an eighth of the size: what Poisson blending
    does, without its solver, and steady in time.
    """
    small = (max(mask_HW.shape[1] // 8, 4), max(mask_HW.shape[0] // 8, 4))
    ring = cv2.resize(((mask_HW > 0.02) & (mask_HW < 0.6)).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    gap = cv2.resize(target_HWC.astype(np.float32) - picture_HWC, small, interpolation=cv2.INTER_AREA)
    # Where hair or a wall meets skin there is nothing to match.
    ring *= np.exp(-((np.abs(gap).max(2) / (2 * MAX_OFFSET_LEVELS)) ** 2))
    spread = np.zeros_like(gap)
    weight = np.full(ring.shape, 1e-6, np.float32)
    for sigma, share in ((1.0, 1.0), (3.0, 0.1), (9.0, 0.01)):  # near the border the near border counts
        spread += share * cv2.GaussianBlur(gap * ring[..., None], (0, 0), sigma)
        weight += share * cv2.GaussianBlur(ring, (0, 0), sigma)
    offset = np.clip(spread / weight[..., None], -MAX_OFFSET_LEVELS, MAX_OFFSET_LEVELS)
    offset = cv2.resize(offset, mask_HW.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.round(picture_HWC + offset), 0, 255).astype(np.uint8))


def paste(frame_HWC: np.ndarray, region: Region, patch_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """A copy of the frame with the patch laid over the region; where the mask is 0 nothing changes."""
    result = frame_HWC.copy()
    below = region.of(frame_HWC).astype(np.float32)
    mixed = below + mask_HW[..., None] * (patch_HWC.astype(np.float32) - below)
    region.of(result)[:] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return result


@dataclass(frozen=True)
class ColourChange:
    """A small change of look: RGB shift (levels), contrast and brightness (ratios), sharpness (below 0: softer)."""

    shift: tuple[float, float, float]
    contrast: float
    brightness: float
    sharpness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Drawn around no change at all."""
        red, green, blue = rng.uniform(-8, 8, 3).tolist()
        contrast, brightness = rng.uniform(-0.08, 0.08, 2).tolist()
        softer = rng.random() < 0.7
        return cls((red, green, blue), contrast, brightness, -rng.uniform(0.5, 1.0) if softer else rng.uniform(0.4, 1))

    def __call__(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The picture with the change applied."""
        values = picture_HWC.astype(np.float32)
        blurred = cv2.GaussianBlur(values, (0, 0), 1.2)
        values = values + self.sharpness * (values - blurred)
        mean = values.mean()
        values = (values - mean) * (1 + self.contrast) + mean * (1 + self.brightness) + np.array(self.shift)
        return np.asarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


# --- Forged clips --------------------------------------------------------------------------------

# Given a frame's index, pixels, landmarks and region: the forged region and its mask.
Forge = Callable[[int, np.ndarray, np.ndarray, Region], tuple[np.ndarray, np.ndarray]]


def _forge_each(clip: FaceClip, forge: Forge) -> list[np.ndarray]:
    forged = []
    for index, frame in enumerate(clip.frames):
        region = face_region(clip.landmarks[index], *frame.shape[:2]) if clip.has_face(index) else None
        if region is None:
            forged.append(frame)
        else:
            forged.append(paste(frame, region, *forge(index, frame, clip.landmarks[index], region)))
    return forged


def _nearest_face(clip: FaceClip, index: int) -> int:
    faces = clip.face_indices
    return int(faces[np.abs(faces - index).argmin()])


def _to_and_fro(index: int, count: int) -> int:
    position = index % max(2 * count - 2, 1)
    return min(position, 2 * count - 2 - position) if count > 1 else 0


def _shape(landmarks: np.ndarray) -> np.ndarray:
    return apply_affine(_inverse(fit_similarity(CANONICAL_POINTS, landmarks)), landmarks).ravel()


def _best_starts(target: FaceClip, source: FaceClip) -> np.ndarray:
    """Positions in the source's faces, those first from where it is turned like the target, frame by frame."""
    wanted = {int(index): _shape(target.landmarks[index]) for index in target.face_indices[::4]}
    have = np.stack([_shape(source.landmarks[index]) for index in source.face_indices])
    misfit = [
        sum(float(((have[_to_and_fro(start + i, len(have))] - shape) ** 2).sum()) for i, shape in wanted.items())
        for start in range(len(have))
    ]
    return np.argsort(misfit, kind="stable")


def cross_identity_swap(target: FaceClip, source: FaceClip, rng: np.random.Generator) -> list[np.ndarray]:
    """The target's clip with the source's face: warped onto its landmarks, recoloured, blended in.

    The source plays forwards and backwards from one of the starts where its pose fits best.
    """
    mask = canonical_mask(str(rng.choice(["face", "inner"])), rng, feather=float(rng.uniform(0.15, 0.3)))
    faces = source.face_indices
    starts = _best_starts(target, source)
    start = int(starts[rng.integers(min(len(starts), 3))])

    def forge(index: int, frame: np.ndarray, landmarks: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
        other = int(faces[_to_and_fro(start + index, len(faces))])
        placed = place_mask(mask, landmarks, region)
        warp = Warp.between(landmarks, source.landmarks[other], strength=0.6)  # at 1 noses stretch
        patch = sample_through(source.frames[other], warp, region)
        patch = match_colour(patch, region.of(frame), placed)
        return seamless(patch, region.of(frame), placed), placed

    return _forge_each(target, forge)


def self_blend(clip: FaceClip, rng: np.random.Generator) -> list[np.ndarray]:
    """Each frame blended with itself, slightly recoloured and shifted, inside a face outline."""
    mask = canonical_mask(str(rng.choice(["face", "inner"])), rng, wobble=0.09, feather=float(rng.uniform(0.06, 0.2)))
    mask = mask * float(rng.choice([0.75, 1.0, 1.0]))
    change = ColourChange.draw(rng)
    scale, shift = rng.uniform(0.96, 1.04), rng.uniform(-0.05, 0.05, 2)

    def forge(index: int, frame: np.ndarray, landmarks: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
        centre = landmarks[2]
        matrix = np.hstack([np.eye(2) * scale, (centre * (1 - scale) + shift * eye_distance_px(landmarks))[:, None]])
        patch = sample_through(frame, lambda points: apply_affine(matrix, points), region)
        return change(patch), place_mask(mask, landmarks, region)

    return _forge_each(clip, forge)


def mouth_from_another_time(clip: FaceClip, rng: np.random.Generator) -> list[np.ndarray]:
    """Each frame with the mouth of a frame a drawn time away: the look of lip-sync."""
    mask = canonical_mask("mouth", rng, wobble=0.03, feather=float(rng.uniform(0.1, 0.18)))
    count = len(clip.frames)
    away = int(rng.integers(max(count // 4, 1), max(count // 2, 1) + 1))

    def forge(index: int, frame: np.ndarray, landmarks: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
        other = _nearest_face(clip, _to_and_fro(index + away, count))
        placed = place_mask(mask, landmarks, region)
        matrix = compose(face_frame(clip.landmarks[other]), _inverse(face_frame(landmarks)))
        patch = sample_through(clip.frames[other], lambda points: apply_affine(matrix, points), region)
        patch = match_colour(patch, region.of(frame), placed, strength=0.5)
        return seamless(patch, region.of(frame), placed), placed

    return _forge_each(clip, forge)


def aligned_faces(clip: FaceClip, indices: np.ndarray, side_px: int) -> np.ndarray:
    """The faces of some frames, upright in the canonical square: (n, side, side, 3) float32."""
    patches = []
    for index in indices:
        matrix = compose(face_frame(clip.landmarks[index]), _canvas_to_units(side_px))
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        patch = cv2.warpAffine(
            clip.frames[index], matrix, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        patches.append(patch.astype(np.float32))
    return np.stack(patches)


def low_rank(patches: np.ndarray, rank: int) -> np.ndarray:
    """Patches (n, ...) rebuilt from their mean and `rank` principal components."""
    flat = patches.reshape(len(patches), -1)
    mean = flat.mean(0)
    centred = flat - mean
    # n is small: the left vectors come from the n x n products, 20 times sooner than a full decomposition.
    left = np.linalg.eigh(centred @ centred.T)[1][:, ::-1][:, : min(rank, len(flat))]
    return np.asarray((left @ (left.T @ centred) + mean).reshape(patches.shape))


def autoencoder_look(clip: FaceClip, rng: np.random.Generator) -> list[np.ndarray]:
    """The face rebuilt from too few numbers: few components over time, few pixels in space."""
    mask = canonical_mask(str(rng.choice(["face", "inner"])), rng, feather=float(rng.uniform(0.12, 0.25)))
    faces = clip.face_indices
    unit_px = float(np.median([eye_distance_px(clip.landmarks[i]) for i in faces]))
    side_px = int(np.clip(unit_px * CANONICAL_SPAN, 48, 224))
    small_px = max(round(side_px * float(rng.uniform(0.35, 0.5))), 24)
    patches = low_rank(aligned_faces(clip, faces, side_px), rank=int(rng.integers(4, 9)))
    sharpen = float(rng.uniform(0.2, 0.8))
    row_of = {int(index): row for row, index in enumerate(faces)}

    def forge(index: int, frame: np.ndarray, landmarks: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
        small = cv2.resize(patches[row_of[index]], (small_px, small_px), interpolation=cv2.INTER_AREA)
        face = cv2.resize(small, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
        face = np.clip(face + sharpen * (face - cv2.GaussianBlur(face, (0, 0), 1.5)), 0, 255)
        matrix = compose(face_frame(landmarks), _canvas_to_units(side_px))
        matrix[:, 2] -= region.corner
        patch = cv2.warpAffine(face, matrix, region.size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        patch = np.clip(np.round(patch), 0, 255).astype(np.uint8)
        placed = place_mask(mask, landmarks, region)
        return match_colour(patch, region.of(frame), placed), placed

    return _forge_each(clip, forge)


# Forgeries that need one clip; `cross_identity_swap` needs a second.
MANIPULATIONS: dict[str, Callable[[FaceClip, np.random.Generator], list[np.ndarray]]] = {
    "self_blend": self_blend,
    "mouth_from_another_time": mouth_from_another_time,
    "autoencoder_look": autoencoder_look,
}
