"""A picture as 256 bits that hardly change with how it was encoded: what copies are found by.

To add a descriptor, write a function from a grey picture to 256 bits and give it a line in `DESCRIPTORS`; then
`python -m lab copies` measures it. Letters: H rows, W columns, F frames, K variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from deepfake.faces.hashes import perceptual_hash

BITS = 256
MOST_TRIMMED = 0.4  # of a side, at either end
DARK, EVEN = 40, 6.0  # grey levels: no sample of a border is lighter, nor does it vary by more
STEADY = 5  # frames whose borders are seen together: a dark moment is none
FLAT = 6.0  # grey levels, deviation: a picture with less to see is like many others
CROPPED = 0.05  # of a side, cut off at either end or added to it again
N_VARIANTS = 3
Descriptor = Callable[[np.ndarray], np.ndarray]


def gradient_bits(grey_HW: np.ndarray) -> np.ndarray:
    """Whether each cell of 17 x 8 is lighter than the one to its left, and each of 16 x 9 than the one above it.

    What is laid over a part of the picture changes the bits of that part alone.
    """
    soft_HW = cv2.GaussianBlur(grey_HW, (0, 0), max(grey_HW.shape) / 64).astype(np.float32)
    across = np.diff(cv2.resize(soft_HW, (17, 8), interpolation=cv2.INTER_AREA), axis=1)
    down = np.diff(cv2.resize(soft_HW, (16, 9), interpolation=cv2.INTER_AREA), axis=0)
    return np.concatenate([across.ravel(), down.ravel()]) > 0


def cosine_bits(grey_HW: np.ndarray) -> np.ndarray:
    """The hash that extraction keeps: which low frequencies lie above their median."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(perceptual_hash(grey_HW)), np.uint8)).astype(bool)


DESCRIPTORS: Mapping[str, Descriptor] = {"gradient": gradient_bits, "cosine": cosine_bits}


def words_of(raw: bytes | memoryview) -> np.ndarray:
    """Hashes of 32 bytes each, one after the other, as (N, 4) uint64; not copied where none of it has to be."""
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64, copy=False).reshape(-1, BITS // 64)


def bytes_of(words_NW: np.ndarray) -> bytes:
    """The other way round."""
    return words_NW.astype("<u8", copy=False).tobytes()


def words(descriptor: Descriptor, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Hashes of grey pictures, (F, 4) uint64."""
    bits = [descriptor(picture_HW) for picture_HW in pictures]
    return words_of(b"".join(np.packbits(one).tobytes() for one in bits))


def variants(picture_HW: np.ndarray) -> Sequence[np.ndarray]:
    """A picture as it is, without its edges, and with what may have been cut off (its edges turned outwards)."""
    height, width = picture_HW.shape
    top, left = round(height * CROPPED), round(width * CROPPED)
    more = [round(side * CROPPED / (1 - 2 * CROPPED)) for side in (height, width)]
    inner_HW = np.ascontiguousarray(picture_HW[top : height - top, left : width - left])
    outer_HW = cv2.copyMakeBorder(picture_HW, more[0], more[0], more[1], more[1], cv2.BORDER_REFLECT)
    return picture_HW, inner_HW, outer_HW


def variant_words(descriptor: Descriptor, pictures: Sequence[np.ndarray], is_mirrored: bool) -> np.ndarray:
    """Hashes of the variants of grey pictures, (F, K, 4) uint64."""
    turned = [np.ascontiguousarray(one[:, ::-1]) if is_mirrored else one for one in pictures]
    found = words(descriptor, [variant for picture in turned for variant in variants(picture)])
    return found.reshape(len(pictures), N_VARIANTS, BITS // 64)


def is_flat(picture_HW: np.ndarray) -> bool:
    """Whether there is so little to see in a picture that its hash says nothing."""
    return float(picture_HW.std()) < FLAT


def without_borders(thumbs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Frames in time without black borders that stay for some frames: letterbox and pillarbox."""
    borders_F2 = np.array([_borders(thumb_HW) for thumb_HW in thumbs]).reshape(-1, 2)
    reach = STEADY // 2
    trimmed = []
    for place, thumb_HW in enumerate(thumbs):
        near = borders_F2[max(place - reach, 0) : place + reach + 1]
        # One more line: the last one of a border is mixed with the picture.
        rows, columns = (int(n) + (n >= 1) for n in np.median(near, axis=0))
        height, width = thumb_HW.shape
        trimmed.append(np.ascontiguousarray(thumb_HW[rows : height - rows, columns : width - columns]))
    return trimmed


def _borders(thumb_HW: np.ndarray) -> tuple[int, int]:
    """How many dark even lines there are both above and below, and both left and right.

    A dark band at one edge alone is a caption, or belongs to the picture.
    """
    rows = _at_both_ends(_is_dark(thumb_HW, 1))
    inner_HW = thumb_HW[rows : thumb_HW.shape[0] - rows]
    return rows, _at_both_ends(_is_dark(inner_HW, 0))


def _is_dark(thumb_HW: np.ndarray, axis: int) -> np.ndarray:
    is_dark = np.asarray(thumb_HW.max(axis=axis) < DARK)
    # Few pictures have a dark line, and deviations cost the most.
    return is_dark & (thumb_HW.std(axis=axis) < EVEN) if is_dark.any() else is_dark


def _at_both_ends(is_border: np.ndarray) -> int:
    """How many lines of a border there are at each end; none where they would leave too little."""
    inner = np.flatnonzero(~is_border)
    if not len(inner):
        return 0
    n_lines = min(int(inner[0]), len(is_border) - 1 - int(inner[-1]))
    return n_lines if n_lines <= MOST_TRIMMED * len(is_border) else 0
