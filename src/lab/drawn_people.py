"""Little clips of drawn people whose faces MTCNN finds, so that commands are tried on pictures of nobody."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

SKINS = ((205, 160, 130), (120, 85, 65), (230, 190, 165), (175, 130, 100))
# Ovals on the skin: centre x y, half axes, as shares of the face's side; colour, or a share of the skin's.
FEATURES = (
    *((x, 0.36, 0.09, 0.016, 0.3) for x in (0.36, 0.64)),  # brows
    *((x, 0.43, 0.085, 0.05, 0.7) for x in (0.36, 0.64)),
    *((x, 0.44, 0.06, 0.028, (235, 230, 225)) for x in (0.36, 0.64)),
    *((x, 0.44, 0.026, 0.028, (35, 25, 20)) for x in (0.36, 0.64)),
    (0.5, 0.55, 0.03, 0.11, 1.06),  # nose
    *((x, 0.64, 0.02, 0.012, 0.5) for x in (0.46, 0.54)),
)
LIPS, GAP = (150, 70, 70), (60, 20, 20)
DRAWN = 4  # so many times as large, then reduced, for soft edges


def person(number: int, mouth: float, side_px: int) -> np.ndarray:
    """A square picture, RGB, of one of the people before a wall; `mouth` 0..1 opens it."""
    big = side_px * DRAWN
    picture = np.full((big, big, 3), np.array((90, 120, 150)) + 12 * (number % 5), np.uint8)
    skin = np.array(SKINS[number % len(SKINS)])

    def oval(x: float, y: float, width: float, height: float, colour: object) -> None:
        rgb = skin * colour if isinstance(colour, float) else np.array(colour)
        axes = (max(int(big * width), 1), max(int(big * height), 1))
        centre = (int(big * x), int(big * y))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, tuple(int(c) for c in rgb.clip(0, 255)), -1, cv2.LINE_AA)

    oval(0.5, 0.52, 0.33, 0.44, 1.0)
    for feature in FEATURES:
        oval(*feature)
    oval(0.5, 0.76, 0.11, 0.03 + 0.02 * mouth, LIPS)
    oval(0.5, 0.76, 0.10, 0.006 + 0.02 * mouth, GAP)
    soft = cv2.GaussianBlur(picture, (0, 0), big / 90)
    return np.asarray(cv2.resize(soft, (side_px, side_px), interpolation=cv2.INTER_AREA))


def moving_person(number: int, n_frames: int, side_px: int) -> Iterator[np.ndarray]:
    """Frames, a third wider than high, of a person who speaks and sways."""
    width_px = side_px * 4 // 3 // 2 * 2
    rng = np.random.default_rng(number)
    wall = cv2.resize(np.asarray(rng.uniform(60, 200, (5, 7, 3)), np.float32), (width_px, side_px))
    for i in range(n_frames):
        face = person(number, 0.5 + 0.5 * float(np.sin(i / 2 + number)), side_px)
        x = (width_px - side_px) // 2 + int(side_px / 16 * np.sin(i / 5))
        frame = wall + np.asarray(rng.normal(0, 3, wall.shape), np.float32)
        frame[:, x : x + side_px] = face
        yield frame.clip(0, 255).astype(np.uint8)
