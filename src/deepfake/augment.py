"""How crops are changed before a network sees them; the only door to albumentations.

A real crop and its fake get the same draw, so that nothing but the forgery tells them apart.
To add a change, add a line to `_changes`.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    import albumentations as A

INNER_FACE = (0.16, 0.21)  # half axes of the ellipse around eyes, nose and mouth, as shares of a crop's side
INNER_FACE_FADE = 0.02  # blur of its border, as a share of that side
GRID = 14  # rows and columns on which masks are learnt: a sixteenth of 224 px


def _library() -> Any:
    """albumentations, when it is first needed: scoring does without it, and without the second it takes to import."""
    # It asks the network for newer versions while it is imported.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def strict(transform: str, **arguments: object) -> A.BasicTransform:
    """An albumentations transform by name; unknown arguments, a mere warning over there, are errors."""
    library = _library()
    if not hasattr(library, transform):
        raise ValueError(f"albumentations {library.__version__} has no transform {transform!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not valid for transform.*")
        try:
            return getattr(library, transform)(**arguments)
        except UserWarning as warning:
            raise ValueError(f"albumentations {library.__version__}: {warning}; the defaults would be used") from None


def _changes() -> list[A.BasicTransform]:
    steps = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    return [
        strict("HorizontalFlip", p=0.5),
        strict(
            "Affine",
            scale=(0.92, 1.12),
            translate_percent=(-0.04, 0.04),
            rotate=(-6, 6),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.7,
        ),
        strict(
            "ColorJitter",
            brightness=(0.8, 1.2),
            contrast=(0.8, 1.2),
            saturation=(0.8, 1.2),
            hue=(-0.03, 0.03),
            p=0.5,
        ),
        _library().OneOf(
            [
                strict("Downscale", scale_range=(0.5, 0.9), interpolation_pair=steps),
                strict("GaussianBlur", blur_limit=0, sigma_limit=(0.3, 1.2)),
                strict("GaussNoise", std_range=(0.01, 0.04)),
            ],
            p=0.3,
        ),
        strict("ImageCompression", quality_range=(50, 100), p=0.5),
    ]


def resize(crop_HWC: np.ndarray, input_px: int) -> np.ndarray:
    """A square crop at another side."""
    if crop_HWC.shape[:2] == (input_px, input_px):
        return crop_HWC
    way = cv2.INTER_AREA if crop_HWC.shape[0] > input_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop_HWC, (input_px, input_px), interpolation=way))


@cache
def inner_face(side_px: int) -> np.ndarray:
    """A soft ellipse over eyes, nose and mouth of a crop twice as wide as the face: (side, side) float32, 0..1."""
    y, x = (np.mgrid[:side_px, :side_px] + 0.5) / side_px - 0.5
    inside = (x / INNER_FACE[0]) ** 2 + (y / INNER_FACE[1]) ** 2 < 1
    return np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), INNER_FACE_FADE * side_px))


def blur_outside(picture_HWC: np.ndarray, inside_HW: np.ndarray, blur_px: float) -> np.ndarray:
    """The picture (uint8), blurred by a Gaussian of standard deviation `blur_px` where `inside_HW` (0..1) is 0."""
    blurred = cv2.GaussianBlur(picture_HWC, (0, 0), max(blur_px, 0.1)).astype(np.float32)
    mixed = blurred + inside_HW[..., None] * (picture_HWC.astype(np.float32) - blurred)
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def blur_surroundings(crop_HWC: np.ndarray, blur_ratio: float) -> np.ndarray:
    """A square crop (uint8 RGB) with all but eyes, nose and mouth blurred.

    `blur_ratio` is the blur's standard deviation as a share of the crop's side. Networks that learnt from whole crops
    see synthesised heads better so (submissions/ablations.md); why is not known.
    """
    side = crop_HWC.shape[0]
    return blur_outside(crop_HWC, inner_face(side), blur_ratio * side)


def see(
    crop_HWC: np.ndarray,
    view_ratio: float,
    input_px: int,
    surroundings_blur: float = 0.0,
    crop_px: int | None = None,
) -> np.ndarray:
    """The middle `view_ratio` of a square crop at the side the network sees; the only change for evaluation.

    A crop of more than `crop_px` a side is reduced to that first. `surroundings_blur` above 0: see
    `blur_surroundings`.
    """
    if crop_px is not None and crop_HWC.shape[0] > crop_px:
        crop_HWC = resize(crop_HWC, crop_px)
    if surroundings_blur:
        crop_HWC = blur_surroundings(crop_HWC, surroundings_blur)
    side = crop_HWC.shape[0]
    seen = max(round(side * view_ratio), 1)
    edge = (side - seen) // 2
    return resize(crop_HWC[edge : edge + seen, edge : edge + seen], input_px)


def before_workers() -> None:
    """Keep OpenCV to one thread, here and in the loader processes started from now on.

    Said in a forked process instead, OpenCV waits for ever for the threads of its parent.
    """
    cv2.setNumThreads(1)


class TrainTransform:
    """Random flips, small shifts, colours and compression, drawn from the seed of each call alone."""

    def __init__(self, input_px: int) -> None:
        self.input_px = input_px
        self.changes: A.Compose = _library().Compose(_changes())

    def __call__(self, crops: Sequence[np.ndarray], seed: Sequence[int]) -> list[np.ndarray]:
        """Change all crops (HWC uint8 RGB) by one draw; equal seeds give equal pictures."""
        return [self._change(resize(crop, self.input_px), seed) for crop in crops]

    def _change(self, crop_HWC: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        state = np.random.SeedSequence(seed)
        # set_random_seed would give every transform the same stream, and so the same yes or no.
        self.changes.set_random_state(np.random.default_rng(state), random.Random(int(state.generate_state(1)[0])))
        return np.ascontiguousarray(self.changes(image=crop_HWC)["image"])
