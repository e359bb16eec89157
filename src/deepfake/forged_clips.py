"""A real clip's fake: one draw of a family of forgeries replayed over all frames, then made unsteady in time.

Pure: a clip and a NumPy Generator in, frames out; equal seeds give equal bytes. What only a sequence shows
- a border that wanders, colours that flicker, a face that shakes, a forgery that begins and ends - is
learnt from this. A new kind of unsteadiness is a function like `_flicker` and a line in JITTERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from deepfake.blend import FaceClip, eye_distance_px, smooth_in_time
from deepfake.degrade import to_levels
from deepfake.forgeries import FAMILIES, Face, Forged, Material, draw_family

SMOOTH_S = 0.05  # of the landmarks, as far as frames stand that close
MIN_EYE_PX = 4.0  # below it landmarks tell nothing
JITTER_SHARE = 0.6  # of the clips; the rest is steady, as careful swaps are
DRIFT_FRAMES = 1.5
MIN_SPAN_CLIP = 4  # frames; in a shorter clip all of it is forged


@dataclass(frozen=True)
class ClipMaterial:
    """What some families need besides the clip: another person's face for each frame."""

    find_donor: Callable[[int], Face] | None = None

    def of(self, index: int) -> Material:
        """The material of one frame."""
        donor = self.find_donor
        return Material(None if donor is None else lambda: donor(index))


@dataclass(frozen=True)
class ForgedClip:
    """The clip's frames (HWC uint8 RGB), which of them are forged (T, bool), and how they were made."""

    frames: list[np.ndarray]
    forged_T: np.ndarray
    name: str


def family_of(name: str) -> str:
    """The family of a forged clip's name, such as self_blend of self_blend/face/alpha+mask_jitter+span."""
    return name.partition("/")[0].partition("+")[0]


# --- Unsteadiness --------------------------------------------------------------------------------


def wander(rng: np.random.Generator, n_frames: int, *shape: int) -> np.ndarray:
    """Noise (n_frames, *shape) of spread 1: anew in every frame, or drifting."""
    noise = rng.standard_normal((n_frames, *shape))
    if rng.random() < 0.5:
        return np.asarray(noise)
    # Smoothing takes from the spread; what is left of white noise is known.
    spread = 1 / np.sqrt(2 * DRIFT_FRAMES * np.sqrt(np.pi))
    return np.asarray(gaussian_filter1d(noise, DRIFT_FRAMES, axis=0, mode="wrap") / spread)


Unsteady = Callable[[Forged, float], np.ndarray]  # a forged frame and the face's eye distance: the frame anew


def _flicker(rng: np.random.Generator, n_frames: int) -> list[Unsteady]:
    """The forged part's colours gain and lose a few percent, not everywhere alike."""
    strength = rng.uniform(0.015, 0.05)
    fields = strength * (wander(rng, n_frames, 1, 1, 3) + 0.5 * wander(rng, n_frames, 3, 3, 3))

    def frame(field: np.ndarray) -> Unsteady:
        def apply(forged: Forged, unit_px: float) -> np.ndarray:
            del unit_px
            height, width = forged.mask.shape
            gain = cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            return to_levels(forged.picture * (1 + forged.mask[..., None] * gain))

        return apply

    return [frame(field) for field in fields]


def _shake(rng: np.random.Generator, n_frames: int) -> list[Unsteady]:
    """The forged part moves by about a pixel against what surrounds it."""
    moves = rng.uniform(0.005, 0.02) * wander(rng, n_frames, 2)

    def frame(move: np.ndarray) -> Unsteady:
        def apply(forged: Forged, unit_px: float) -> np.ndarray:
            height, width = forged.mask.shape
            matrix = np.hstack([np.eye(2), (move * unit_px)[:, None]])
            moved = cv2.warpAffine(
                forged.picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
            # All of a patch that is blended in by half moves, not half of it.
            inside = np.minimum(forged.mask / max(float(forged.mask.max()), 1e-3), 1)[..., None]
            return to_levels(forged.picture + inside * (moved.astype(np.float32) - forged.picture))

        return apply

    return [frame(move) for move in moves]


def _mask_moves(rng: np.random.Generator, n_frames: int) -> np.ndarray:
    """How far each landmark is misplaced (T, 5, 2), in eye distances: the mask moves, stretches and slants."""
    strength = rng.uniform(0.02, 0.07)
    return np.asarray(strength * (wander(rng, n_frames, 1, 2) + 0.5 * wander(rng, n_frames, 5, 2)))


JITTERS: dict[str, Callable[[np.random.Generator, int], list[Unsteady]]] = {"colour": _flicker, "position": _shake}


@dataclass(frozen=True)
class Jitter:
    """One draw of unsteadiness for a clip: landmarks misplaced by `moves` (T, 5, 2), forged frames changed."""

    name: str
    moves: np.ndarray
    changes: list[Unsteady] | None = None

    @classmethod
    def draw(cls, kind: str, n_frames: int, rng: np.random.Generator) -> Jitter:
        """Unsteadiness of a kind: none, mask, colour or position."""
        steady = np.zeros((n_frames, 5, 2))
        if kind == "none":
            return cls("", steady)
        if kind == "mask":
            return cls("+mask_jitter", _mask_moves(rng, n_frames))
        if kind not in JITTERS:
            raise ValueError(f"jitter {kind!r}: wanted one of none, mask, {', '.join(JITTERS)}")
        return cls(f"+{kind}_jitter", steady, JITTERS[kind](rng, n_frames))


# --- Clips ---------------------------------------------------------------------------------------


def known_landmarks(clip: FaceClip, step_s: float = 0.04) -> np.ndarray:
    """The clip's landmarks (T, 5, 2), smoothed; NaN where there are none, or so small that they tell nothing.

    `step_s` is the time between two frames: sampled frames far apart are not mixed.
    """
    seen = np.isfinite(clip.landmarks).all((1, 2))
    found = np.full(clip.landmarks.shape, np.nan)
    for index in np.flatnonzero(seen):
        if eye_distance_px(clip.landmarks[index]) >= MIN_EYE_PX:
            found[index] = clip.landmarks[index]
    return smooth_in_time(found, max(SMOOTH_S / max(step_s, 1e-3), 0.05))


def draw_span(known_T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which frames (T, bool) of those known to be forged: a run of a quarter to three quarters of them."""
    places = np.flatnonzero(known_T)
    if len(places) < MIN_SPAN_CLIP:
        return known_T.copy()
    length = int(np.clip(round(len(places) * rng.uniform(0.25, 0.75)), 2, len(places) - 1))
    start = int(rng.integers(len(places) - length + 1))
    span_T = np.zeros_like(known_T)
    span_T[places[start : start + length]] = True
    return span_T


def forge_clip(
    clip: FaceClip,
    shares: Mapping[str, float],
    material: ClipMaterial,
    rng: np.random.Generator,
    span: bool = False,
    step_s: float = 0.04,
    jitter: str | None = None,
) -> ForgedClip:
    """The clip's fake by a family drawn with the given shares; frames without landmarks stay as they are.

    A clip without any landmarks is resynthesised whole. `span`: only a part of its time is forged.
    `jitter`: none, mask, colour or position; None: drawn.
    """
    n_frames = len(clip.frames)
    family, landmarks = draw_family(shares, rng), known_landmarks(clip, step_s)
    known_T = np.isfinite(landmarks).all((1, 2))
    if not known_T.any():
        family, known_T = "resynthesis", np.ones(n_frames, bool)
        landmarks = np.stack([_middle_face(frame) for frame in clip.frames])
    kinds = ["colour", "position"] if family == "resynthesis" else ["mask", "colour", "position"]
    drawn = str(rng.choice(kinds)) if rng.random() < JITTER_SHARE else "none"
    unsteady = Jitter.draw(jitter or drawn, n_frames, rng)
    replay = int(rng.integers(2**31))
    forged_T = draw_span(known_T, rng) if span else known_T
    frames, name = list(clip.frames), family
    for index in np.flatnonzero(forged_T):
        unit_px = eye_distance_px(landmarks[index])
        face = Face(clip.frames[index], landmarks[index] + unit_px * unsteady.moves[index])
        # Equal draws in every frame: the same hull, bend, colours and ratio.
        forged = FAMILIES[family](face, material.of(int(index)), np.random.default_rng(replay))
        frames[index] = unsteady.changes[index](forged, unit_px) if unsteady.changes else forged.picture
        name = forged.family
    return ForgedClip(frames, forged_T, name + unsteady.name + ("+span" if not forged_T[known_T].all() else ""))


def _middle_face(frame_HWC: np.ndarray) -> np.ndarray:
    """Where a face's points most often lie in a crop, for families that ask how large it is."""
    height, width = frame_HWC.shape[:2]
    shares = np.array([(0.4, 0.42), (0.6, 0.42), (0.5, 0.53), (0.42, 0.65), (0.58, 0.65)])
    return shares * [width, height]


def shown_part(forged_T: np.ndarray, window: int) -> slice:
    """The longest part of a clip of which every `window` successive frames show some of its longest forged run."""
    edges = np.flatnonzero(np.diff(np.r_[0, forged_T.astype(int), 0]))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        raise ValueError(f"clip of {len(forged_T)} frames: none is forged, wanted at least one")
    longest = int((ends - starts).argmax())
    start, end = int(starts[longest]), int(ends[longest])
    spare = window - min(end - start, max(window // 4, 1))
    return slice(max(start - spare, 0), min(end + spare, len(forged_T)))
