"""Textured moving pictures for tests of copies: each seed is another scene."""

from __future__ import annotations

import cv2
import numpy as np

FPS = 12
SIZE = (160, 96)
Frames = list[np.ndarray]


def moving(seed: int, seconds: float = 4.0) -> Frames:
    """A window that wanders over a large picture of blobs of all sizes, while three of them cross it."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    layers = [
        cv2.resize(rng.normal(0, 50 / 1.5**i, (3 * 2**i, 4 * 2**i, 3)), (2 * width, 2 * height)) for i in range(5)
    ]
    picture = np.clip(128 + np.sum(layers, 0), 0, 255).astype(np.uint8)
    at, speed = rng.uniform([20, 20], [60, 40]), rng.uniform(-10, 10, 2)
    spots = [(rng.uniform(0, 1, 2), rng.uniform(-0.2, 0.2, 2), rng.integers(0, 256, 3)) for _ in range(3)]
    frames = []
    for i in range(round(seconds * FPS)):
        left, top = np.clip(at + speed * i / FPS, 0, [width, height]).astype(int)
        frame = picture[top : top + height, left : left + width].copy()
        for place, towards, colour in spots:
            x, y = ((place + towards * i / FPS) % 1 * SIZE).astype(int).tolist()
            cv2.circle(frame, (x, y), 16, colour.tolist(), -1)
        frames.append(frame)
    return frames
