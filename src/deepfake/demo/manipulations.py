"""The demo's forgeries: whole clips of aligned faces in, forged frames out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from deepfake.faces.geometry import (
    CANONICAL_CORNER,
    CANONICAL_POINTS,
    CANONICAL_SPAN,
    FaceClip,
    Region,
    _canvas_to_units,
    _inverse,
    apply_affine,
    compose,
    eye_distance_px,
    face_frame,
    face_region,
    fit_similarity,
    outline_points,
)
from deepfake.forging.blending import MASK_PX, Warp, match_colour, place_mask, sample_through, seamless


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


def paste(frame_HWC: np.ndarray, region: Region, patch_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """A copy of the frame with the patch laid over the region; where the mask is 0 nothing changes."""
    result = frame_HWC.copy()
    below = region.of(frame_HWC).astype(np.float32)
    mixed = below + mask_HW[..., None] * (patch_HWC.astype(np.float32) - below)
    region.of(result)[:] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return result


@dataclass(frozen=True)
class ColourChange:
    """A small change of colours: RGB shift (levels), contrast and brightness (ratios), sharpness (below 0: softer)."""

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
    """Each frame with the mouth of a frame a drawn time away: as lip-sync shows it."""
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


def autoencoder_texture(clip: FaceClip, rng: np.random.Generator) -> list[np.ndarray]:
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
    "autoencoder_texture": autoencoder_texture,
}
