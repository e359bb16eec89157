"""Weights of three bits each as a detector's file holds them, without torch. Letters: O outputs, I inputs, G groups."""

from __future__ import annotations

import numpy as np

LEVELS = 8
MIDDLE = (LEVELS - 1) / 2
BYTES, DIGITS = 3, 8  # so many levels lie in so many bytes
PACKED, SCALES, PLAIN = ".packed", ".scales", ".weight_IO"  # how a layer's tensors are called, behind its own name


def unpacked(packed: np.ndarray) -> np.ndarray:
    """The levels 0..7 (O, I) float32 of (O, 3 I / 8) uint8."""
    high, middle, low = np.moveaxis(packed.reshape(len(packed), -1, BYTES).astype(np.uint32), -1, 0)
    numbers = (high << 16) | (middle << 8) | low
    places = 3 * np.arange(DIGITS - 1, -1, -1, dtype=np.uint32)
    levels = (numbers[..., None] >> places) & (LEVELS - 1)
    return np.asarray(levels.reshape(len(packed), -1), np.float32)


def unpacked_IO(packed: np.ndarray, scales_OG: np.ndarray) -> np.ndarray:
    """Weights (I, O) float32 of packed levels and the scales of groups of a row."""
    levels_OGI = unpacked(packed).reshape(*scales_OG.shape, -1)
    weights = (levels_OGI - np.float32(MIDDLE)) * scales_OG.astype(np.float32)[..., None]
    return np.ascontiguousarray(weights.reshape(len(packed), -1).T)
