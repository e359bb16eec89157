"""A real picture's fake: named families of forgeries for learning, each one draw from a seed.

Pure: a face picture and a NumPy Generator in, the forged picture and its soft mask out. Wider than
self-blending (SBI, CVPR 2022): a head that is synthesised whole shows no blend. A new family is a
function with `@register_forgery`, here or in a module of your own (settings: plugins).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from deepfake.faces.geometry import (
    CANONICAL_CORNER,
    CANONICAL_SPAN,
    Region,
    apply_affine,
    eye_distance_px,
    face_frame,
    face_region,
    outline_points,
)
from deepfake.forging.blending import MASK_PX, Warp, match_colour, place_mask, sample_through, seamless
from deepfake.forging.damage import jpeg_round_trip, to_levels
from deepfake.registry import Registry

BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
UNIT_PX = MASK_PX / CANONICAL_SPAN
INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True)
class Face:
    """A picture (HWC uint8 RGB) of one face and its five points (5, 2) in pixels of it.

    `outlines` are the face's own, closed polygons (n, 2) in canonical units by the names of HALF_OUTLINES; None: those
    of the canonical face.
    """

    picture: np.ndarray
    landmarks: np.ndarray
    outlines: Mapping[str, np.ndarray] | None = None

    def outline(self, name: str) -> np.ndarray:
        """An outline of the face, in canonical units."""
        return outline_points(name) if self.outlines is None else self.outlines[name]


@dataclass(frozen=True)
class Material:
    """What some families need besides the face: another person.

    Called only by families that need one: finding and reading a picture costs as much as forging.
    """

    find_donor: Callable[[], Face] | None = None


@dataclass(frozen=True)
class Forged:
    """The forged picture (HWC uint8), the share of foreign pixels (HW float32, 0..1) and how it was made."""

    picture: np.ndarray
    mask: np.ndarray
    family: str


Forge = Callable[[Face, Material, np.random.Generator], Forged]
FAMILIES: Registry[Forge] = Registry("forgery")


def register_forgery(name: str) -> Callable[[Forge], Forge]:
    """Make a function a family of fakes of this name, which frames.selfblend.families gives its share."""
    return FAMILIES.register(name)


# --- Masks ---------------------------------------------------------------------------------------

HULLS = ("face", "inner", "mouth", "eyes", "half", "blob")


def _fill(polygon_units: np.ndarray) -> np.ndarray:
    mask = np.zeros((MASK_PX, MASK_PX), np.uint8)
    points = (polygon_units - CANONICAL_CORNER) * UNIT_PX
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return mask


def _blob(rng: np.random.Generator) -> np.ndarray:
    centre = rng.uniform([-0.7, -0.4], [0.7, 1.4])
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(0.3, 0.9) * rng.uniform(0.6, 1.3, 9)
    return _fill(centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None])


def _half(rng: np.random.Generator, face_outline: np.ndarray) -> np.ndarray:
    """The face on one side of a line through its middle: left, right, lower or slanted."""
    mask = _fill(face_outline)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:MASK_PX, :MASK_PX] / UNIT_PX
    side = (x + CANONICAL_CORNER[0]) * np.cos(angle) + (y + CANONICAL_CORNER[1] - 0.6) * np.sin(angle)
    return np.where(side > rng.uniform(-0.3, 0.3), mask, 0).astype(np.uint8)


def hull_mask(
    hull: str,
    rng: np.random.Generator,
    wobble: float = 0.08,
    outline: Callable[[str], np.ndarray] = outline_points,
) -> np.ndarray:
    """A soft mask (MASK_PX square, 0..1) over the canonical face, bent, eroded and softened by chance.

    `wobble` is the spread of the elastic bend in eye distances, `outline` gives the polygon of a name.
    """
    if hull == "blob":
        mask = _blob(rng)
    elif hull == "half":
        mask = _half(rng, outline("face"))
    elif hull in HULLS:
        mask = _fill(outline(hull))
    else:
        raise ValueError(f"hull {hull!r}: wanted one of {', '.join(HULLS)}")
    grid = int(rng.choice([4, 6, 9]))
    bend = cv2.resize(rng.normal(0, wobble * UNIT_PX, (grid, grid, 2)), (MASK_PX, MASK_PX))
    y, x = np.mgrid[:MASK_PX, :MASK_PX]
    maps = (np.stack([x, y], -1) + bend).astype(np.float32)
    bent = cv2.remap(mask, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR).astype(np.float32) / 255
    # Blurred, cut to its core, blurred again: soft borders of every width, none wider than the outline.
    inner, outer = rng.uniform(1, 6), rng.uniform(0.7, 8)
    core = (cv2.GaussianBlur(bent, (0, 0), inner) > rng.uniform(0.6, 0.97)).astype(np.float32)
    soft = cv2.GaussianBlur(core, (0, 0), outer)
    soft[[0, -1], :] = soft[:, [0, -1]] = 0
    top = soft.max()
    return np.asarray(soft / top if top > 0.05 else soft, np.float32)


def box_mask(rng: np.random.Generator) -> np.ndarray:
    """The lower half of a face box with a soft border: where lip-sync networks put what they make."""
    top, bottom = rng.uniform(0.35, 0.75), rng.uniform(1.7, 2.1)
    side = rng.uniform(0.6, 1.0)
    corners = np.array([[-side, top], [side, top], [side, bottom], [-side, bottom]])
    mask = _fill(corners).astype(np.float32) / 255
    soft = cv2.GaussianBlur(mask, (0, 0), float(rng.choice([0.7, 1.5, 3.0, 6.0])))
    soft[[0, -1], :] = soft[:, [0, -1]] = 0
    return np.asarray(soft, np.float32)


# --- Looks ---------------------------------------------------------------------------------------


def change_colour(picture_HWC: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """RGB shift, brightness, contrast and saturation, drawn up to 20 levels and 10 % at strength 1."""
    values = picture_HWC.astype(np.float32)
    if rng.random() < 0.5:
        values += (rng.uniform(-20, 20, 3) * strength).astype(np.float32)
    saturation = 1 + strength * rng.uniform(-0.25, 0.25)
    grey = values.mean(2, keepdims=True)
    values = grey + saturation * (values - grey)
    mean = float(values.mean())
    contrast, brightness = 1 + strength * rng.uniform(-0.1, 0.1, 2)
    return to_levels((values - mean) * contrast + mean * brightness)


def change_sharpness(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Softer by a smaller size and back, or by a blur; or sharper."""
    kind = rng.choice(["down_up", "blur", "sharpen"], p=[0.5, 0.2, 0.3])
    if kind == "down_up":
        return down_up(picture_HWC, rng.uniform(0.3, 0.8), rng)
    blurred = cv2.GaussianBlur(picture_HWC, (0, 0), rng.uniform(0.5, 1.5))
    if kind == "blur":
        return np.asarray(blurred)
    amount = rng.uniform(0.3, 1.2)
    return np.asarray(cv2.addWeighted(picture_HWC, 1 + amount, blurred, -amount, 0))


def down_up(picture_HWC: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """The picture through a smaller size, both ways by a drawn interpolation."""
    height, width = picture_HWC.shape[:2]
    small = (max(round(width * scale), 8), max(round(height * scale), 8))
    down, up = (
        INTERPOLATIONS[int(rng.integers(len(INTERPOLATIONS)))],
        INTERPOLATIONS[int(rng.integers(1, len(INTERPOLATIONS)))],
    )
    return np.asarray(cv2.resize(cv2.resize(picture_HWC, small, interpolation=down), (width, height), interpolation=up))


def smooth_skin(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Texture taken away and edges kept, as networks that paint faces do."""
    kind = rng.choice(["bilateral", "median", "guided"])
    if kind == "median":
        smooth = cv2.medianBlur(picture_HWC, int(rng.choice([3, 5])))
    elif kind == "bilateral":
        smooth = cv2.bilateralFilter(picture_HWC, 5, rng.uniform(15, 45), rng.uniform(1.5, 4))
    else:
        smooth = _guided(picture_HWC, int(rng.integers(2, 6)), rng.uniform(0.001, 0.01))
    if rng.random() < 0.6:  # their edges are often too crisp
        blurred = cv2.GaussianBlur(smooth, (0, 0), rng.uniform(0.8, 2))
        amount = rng.uniform(0.3, 1.0)
        smooth = cv2.addWeighted(smooth, 1 + amount, blurred, -amount, 0)
    return np.asarray(smooth)


def _guided(picture_HWC: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """He's guided filter with the picture as its own guide: a line fitted in every window."""
    values = picture_HWC.astype(np.float32) / 255
    size = (2 * radius + 1, 2 * radius + 1)
    mean = cv2.blur(values, size)
    variance = cv2.blur(values * values, size) - mean * mean
    slope = variance / (variance + epsilon)
    return to_levels(255 * (cv2.blur(slope, size) * values + cv2.blur(mean * (1 - slope), size)))


def coarse_grid(picture_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A faint regular pattern added to the picture: what transposed convolutions leave."""
    period = int(rng.choice([2, 4, 8]))
    tile = rng.normal(0, 1, (period, period, 3)).astype(np.float32)
    tile -= tile.mean((0, 1))
    height, width = picture_HWC.shape[:2]
    pattern = np.tile(tile, (height // period + 1, width // period + 1, 1))[:height, :width]
    return to_levels(picture_HWC + rng.uniform(0.8, 3.5) * pattern)


def resynthesised_texture(face: Face, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """The whole picture as a synthesis network might give it back, and the name of the texture."""
    name = str(rng.choice(["smooth", "down_up", "jpeg_sharpen"], p=[0.5, 0.25, 0.25]))
    if name == "smooth":
        texture = smooth_skin(face.picture, rng)
    elif name == "down_up":
        texture = down_up(face.picture, rng.uniform(0.25, 0.6), rng)
    else:
        texture = jpeg_round_trip(face.picture, int(rng.integers(15, 50)))
        texture = cv2.addWeighted(texture, 1.8, cv2.GaussianBlur(texture, (0, 0), 1.2), -0.8, 0)
    if rng.random() < 0.3:
        texture, name = coarse_grid(texture, rng), name + "+grid"
    return np.asarray(texture), name


# --- Putting together ----------------------------------------------------------------------------


def _whole(face: Face) -> Region:
    height, width = face.picture.shape[:2]
    return face_region(face.landmarks, height, width) or Region(0, 0, width, height)


def _mix(face: Face, patch: np.ndarray, mask: np.ndarray, region: Region, family: str) -> Forged:
    """`patch` over `region` of the picture by `mask`, both of the region's size."""
    result = face.picture.copy()
    below = region.of(face.picture).astype(np.float32)
    region.of(result)[:] = to_levels(below + mask[..., None] * (patch.astype(np.float32) - below))
    whole = np.zeros(face.picture.shape[:2], np.float32)
    region.of(whole)[:] = np.minimum(mask, 1)  # OpenCV interpolates to a little more
    return Forged(result, whole, family)


def _nudge(face: Face, rng: np.random.Generator, shift: float = 0.03, scale: float = 0.05) -> np.ndarray:
    """A small scale and shift about the nose, as a 2x3 matrix; `shift` is a share of the face's width."""
    width = 2.0 * eye_distance_px(face.landmarks)
    factor = rng.uniform(1 - scale, 1 / (1 - scale))
    moved = rng.uniform(-1, 1, 2) * [shift, shift / 2] * width
    centre = face.landmarks[2]
    return np.array(
        [[factor, 0, centre[0] * (1 - factor) + moved[0]], [0, factor, centre[1] * (1 - factor) + moved[1]]]
    )


@register_forgery("self_blend")
def self_blend(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """The picture blended with itself, one of the two recoloured and softened or sharpened."""
    del material
    hull = str(rng.choice(HULLS, p=[0.35, 0.25, 0.1, 0.07, 0.13, 0.1]))
    region = _whole(face)
    matrix = _nudge(face, rng)
    inside = region.of(face.picture)
    nudge = matrix.copy()  # of the region's pixels
    nudge[:, 2] += matrix[:, :2] @ region.corner - region.corner
    changed = change_sharpness(change_colour(inside, rng), rng) if rng.random() < 0.85 else change_colour(inside, rng)
    source, target = (changed, inside) if rng.random() < 0.5 else (inside, changed)
    patch = cv2.warpAffine(source, nudge, region.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mask = place_mask(hull_mask(hull, rng, outline=face.outline), apply_affine(matrix, face.landmarks), region)
    way = rng.choice(["alpha", "seamless"], p=[0.8, 0.2])
    if way == "seamless":
        patch = seamless(patch, target, mask)
    mask = mask * float(rng.choice(BLEND_RATIOS))
    if target is not inside:
        # The surroundings are the changed ones: all of the picture, not only the region.
        face = Face(_like_changed(face.picture, inside, changed, region), face.landmarks)
    return _mix(face, patch, mask, region, f"self_blend/{hull}/{way}")


def _like_changed(picture: np.ndarray, inside: np.ndarray, changed: np.ndarray, region: Region) -> np.ndarray:
    """The picture with the region changed, the change fading out towards the region's border."""
    height, width = inside.shape[:2]
    reach = max(min(height, width) // 10, 2)
    fade = np.clip(cv2.GaussianBlur(_distance(height, width), (0, 0), reach / 3) / reach, 0, 1)[..., None]
    result = picture.copy()
    region.of(result)[:] = to_levels(inside + fade * (changed.astype(np.float32) - inside))
    return result


def _distance(height: int, width: int) -> np.ndarray:
    y, x = np.arange(height), np.arange(width)
    rows, columns = np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)
    return np.minimum(rows[:, None], columns[None, :]).astype(np.float32)


@register_forgery("cross_identity")
def cross_identity(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """Another person's face on this one: warped onto its points, recoloured, blended in."""
    if material.find_donor is None:
        return self_blend(face, material, rng)
    donor = material.find_donor()
    hull = str(rng.choice(["face", "inner"]))
    region = _whole(face)
    warp = Warp.between(face.landmarks, donor.landmarks, strength=rng.uniform(0.3, 0.8))
    patch = sample_through(donor.picture, warp, region)
    mask = place_mask(hull_mask(hull, rng, outline=face.outline), face.landmarks, region)
    target = region.of(face.picture)
    patch = match_colour(patch, target, mask, strength=rng.uniform(0.7, 1.0))
    if rng.random() < 0.5:
        patch = change_sharpness(patch, rng)
    if rng.random() < 0.5:
        patch = seamless(patch, target, mask)
    return _mix(face, patch, mask, region, f"cross_identity/{hull}")


@register_forgery("twin")
def twin(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """A region of the picture resynthesised, without a change of colour or place: no border to be seen."""
    del material
    texture, name = resynthesised_texture(face, rng)
    hull = str(rng.choice(HULLS, p=[0.4, 0.2, 0.1, 0.05, 0.1, 0.15]))
    region = _whole(face)
    mask = place_mask(hull_mask(hull, rng, outline=face.outline), face.landmarks, region) * rng.uniform(0.6, 1.0)
    return _mix(face, region.of(texture), mask, region, f"twin/{name}/{hull}")


@register_forgery("resynthesis")
def resynthesis(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """The whole crop resynthesised, background and all."""
    del material
    texture, name = resynthesised_texture(face, rng)
    if rng.random() < 0.4:
        texture = _bend(texture, face, rng)
        name += "+warp"
    ratio = rng.uniform(0.7, 1.0)
    mixed = texture if ratio > 0.9 or "warp" in name else cv2.addWeighted(texture, ratio, face.picture, 1 - ratio, 0)
    return Forged(np.asarray(mixed), np.ones(face.picture.shape[:2], np.float32), f"resynthesis/{name}")


@register_forgery("surroundings")
def resynthesised_surroundings(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """An untouched face in resynthesised surroundings: pasted back by face enhancers and portrait animators."""
    del material
    texture, name = resynthesised_texture(face, rng)
    region = _whole(face)
    mask = place_mask(hull_mask(str(rng.choice(["face", "inner"])), rng, outline=face.outline), face.landmarks, region)
    whole = np.zeros(face.picture.shape[:2], np.float32)
    region.of(whole)[:] = np.minimum(mask, 1)
    picture = face.picture.astype(np.float32)
    mixed = texture + whole[..., None] * (picture - texture)
    return Forged(to_levels(mixed), 1 - whole, f"surroundings/{name}")


@register_forgery("lip_sync")
def lip_sync(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """The mouth made anew at a small size in the lower half of the face box: Wav2Lip works at 96 px."""
    region = _whole(face)
    moved = face.landmarks.copy()
    unit = eye_distance_px(face.landmarks)
    moved[3:] += rng.normal(0, 0.08 * unit, 2) * [0.3, 1.0] + rng.normal(0, 0.04 * unit, (2, 2))
    patch = sample_through(face.picture, Warp.between(face.landmarks, moved), region)
    face_px = float(rng.choice([64, 96, 96, 128, 192]))  # the network's input; a face box is 2.5 units wide
    scale = min(face_px / (2.5 * unit), 1.0)
    patch = down_up(patch, scale, rng) if scale < 0.9 else cv2.GaussianBlur(patch, (0, 0), rng.uniform(0.6, 1.2))
    if rng.random() < 0.5:
        patch = change_colour(patch, rng, 0.4)
    if rng.random() < 0.3:
        patch = smooth_skin(patch, rng)
    shape = str(rng.choice(["box", "mouth"], p=[0.65, 0.35]))
    canonical = box_mask(rng) if shape == "box" else hull_mask("mouth", rng, 0.04, face.outline)
    return _mix(face, patch, place_mask(canonical, face.landmarks, region), region, f"lip_sync/{shape}")


def _bend(picture: np.ndarray, face: Face, rng: np.random.Generator) -> np.ndarray:
    """The picture with its face's points moved and all else softly bent."""
    height, width = picture.shape[:2]
    unit = eye_distance_px(face.landmarks)
    moved = face.landmarks + rng.normal(0, 0.07 * unit, (5, 2))
    field = rng.normal(0, 0.05 * unit, (5, 5, 2))
    field[[0, -1], :] = field[:, [0, -1]] = 0
    bend = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    warped = sample_through(picture, Warp.between(face.landmarks, moved), Region(0, 0, width, height))
    y, x = np.mgrid[:height, :width]
    maps = (np.stack([x, y], -1) + bend).astype(np.float32)
    return np.asarray(
        cv2.remap(warped, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    )


@register_forgery("local_warp")
def local_warp(face: Face, material: Material, rng: np.random.Generator) -> Forged:
    """The face's points pulled elsewhere inside a soft mask, or over all of the picture: reenactment by warping."""
    del material
    bent = _bend(face.picture, face, rng)
    if rng.random() < 0.4:
        return Forged(bent, np.ones(face.picture.shape[:2], np.float32), "local_warp/whole")
    hull = str(rng.choice(["face", "inner", "mouth", "eyes"]))
    region = _whole(face)
    mask = place_mask(hull_mask(hull, rng, outline=face.outline), face.landmarks, region)
    return _mix(face, region.of(bent), mask, region, f"local_warp/{hull}")


def draw_family(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """A family drawn with the given shares (any positive numbers)."""
    for name in sorted(shares):
        FAMILIES.check(name)
    if not sum(shares.values()) > 0:
        raise ValueError(f"families {dict(shares)}: wanted shares of {', '.join(FAMILIES)}, one above 0")
    names = sorted(shares)
    weights = np.array([shares[name] for name in names], float)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def forge(face: Face, shares: Mapping[str, float], material: Material, rng: np.random.Generator) -> Forged:
    """The face's fake by a family drawn with the given shares."""
    return FAMILIES[draw_family(shares, rng)](face, material, rng)


def aligned_misfit(face: Face, other: Face) -> float:
    """How differently two faces are turned: squared distance of their points after alignment, in eye distances."""
    to = face_frame(face.landmarks)
    spread = face.landmarks - apply_affine(to, np.zeros((1, 2)))
    theirs = other.landmarks - apply_affine(face_frame(other.landmarks), np.zeros((1, 2)))
    return float(((spread / eye_distance_px(face.landmarks) - theirs / eye_distance_px(other.landmarks)) ** 2).sum())
