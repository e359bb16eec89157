"""Perceptual hashes of frames: near-duplicates must not stand on both sides of a fold."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 16  # 16 x 16 low frequencies: 256 bits


def perceptual_hash(grey_HW: np.ndarray) -> str:
    """64 hex digits: which low DCT frequencies of a grey picture (any size, uint8) lie above their median."""
    small = cv2.resize(grey_HW, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:SIDE, :SIDE].ravel()
    low[0] = 0  # brightness alone is no likeness
    return np.packbits(low > np.median(low)).tobytes().hex()
