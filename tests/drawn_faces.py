"""Drawn faces that MTCNN finds, so that whole pipelines run on pictures of nobody."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepfake.media.clips import write_clip

SKINS = ((205, 160, 130), (120, 85, 65), (230, 190, 165), (175, 130, 100), (150, 110, 85), (215, 175, 150))
DARK, WHITE, LIP = (35, 25, 20), (235, 230, 225), (150, 70, 70)


def drawn_face(side_px: int, skin: tuple[int, int, int], mouth: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A face (side, side, 3) float 0..255 and its mask (side, side) 0..1; `mouth` 0..1 opens it."""
    big = side_px * 2
    tone = np.array(skin, np.float32)
    rows, columns = np.mgrid[0:big, 0:big] / big
    face = tone * (1.0 - 0.5 * ((columns - 0.45) ** 2 + (rows - 0.45) ** 2))[..., None].astype(np.float32)

    def oval(x: float, y: float, width: float, height: float, colour: object, share: float, soft: float = 0) -> None:
        mask = np.zeros((big, big), np.float32)
        axes = (max(int(big * width), 1), max(int(big * height), 1))
        cv2.ellipse(mask, (int(big * x), int(big * y)), axes, 0, 0, 360, 1, -1, cv2.LINE_AA)
        mask = cv2.GaussianBlur(mask, (0, 0), big * soft) if soft else mask
        face[:] = face * (1 - share * mask[..., None]) + np.asarray(colour, np.float32) * share * mask[..., None]

    for x in (0.36, 0.64):
        oval(x, 0.43, 0.085, 0.05, tone * 0.6, 0.7, 0.02)
        oval(x, 0.44, 0.06, 0.028, WHITE, 1)
        oval(x, 0.44, 0.026, 0.028, DARK, 1)
        oval(x, 0.36, 0.09, 0.016, tone * 0.25, 0.9, 0.005)
        oval(x, 0.415, 0.065, 0.010, tone * 0.25, 0.8, 0.004)
    oval(0.5, 0.55, 0.035, 0.12, tone * 1.08, 0.5, 0.02)
    for x in (0.46, 0.54):
        oval(x, 0.64, 0.02, 0.012, tone * 0.4, 0.8, 0.006)
    oval(0.5, 0.76, 0.11, 0.03 + 0.02 * mouth, LIP, 0.9, 0.006)
    oval(0.5, 0.76, 0.10, 0.006 + 0.02 * mouth, (60, 20, 20), 0.9, 0.003)
    mask = np.zeros((big, big), np.float32)
    cv2.ellipse(mask, (big // 2, int(big * 0.52)), (int(big * 0.33), int(big * 0.44)), 0, 0, 360, 1, -1, cv2.LINE_AA)
    small = (side_px, side_px)
    return cv2.resize(face, small, interpolation=cv2.INTER_AREA), cv2.resize(mask, small, interpolation=cv2.INTER_AREA)


def paste(scene: np.ndarray, face: np.ndarray, mask: np.ndarray, x: int, y: int) -> None:
    """Lay a face over a float scene, in place."""
    side = len(mask)
    part = scene[y : y + side, x : x + side]
    part[:] = part * (1 - mask[..., None]) + face * mask[..., None]


def forge(face: np.ndarray) -> np.ndarray:
    """A crude forgery: the inner face shrunk and enlarged again, in another colour."""
    side = len(face)
    low, high = int(side * 0.3), int(side * 0.9)
    inner = cv2.resize(face[low:high, low:high], (24, 24), interpolation=cv2.INTER_AREA)
    forged = face.copy()
    forged[low:high, low:high] = cv2.resize(inner, (high - low, high - low), interpolation=cv2.INTER_NEAREST) * 0.85
    return forged


def person_frames(person: int, forged: tuple[bool, ...] = (False,), n_frames: int = 24) -> list[np.ndarray]:
    """One or more drawn persons side by side, each forged or not; `person` decides looks and scene."""
    rng = np.random.default_rng(person)
    side = 100 + 10 * (person % 3)
    wall = cv2.resize(rng.uniform(60, 200, (5, 7, 3)).astype(np.float32), (200 * len(forged), 180))
    frames = []
    for i in range(n_frames):
        scene = wall + rng.normal(0, 3, wall.shape).astype(np.float32)
        for place, is_forged in enumerate(forged):
            mouth = 0.5 + 0.5 * np.sin(i / 3 + person)
            face, mask = drawn_face(side, SKINS[(person + place) % len(SKINS)], float(mouth))
            x = 200 * place + 40 + int(6 * np.sin(i / 5 + place))
            paste(scene, forge(face) if is_forged else face, mask, x, 20)
        frames.append(scene.clip(0, 255).astype(np.uint8))
    return frames


def write_person(path: Path, person: int, forged: tuple[bool, ...] = (False,), n_frames: int = 24) -> None:
    """`person_frames` as a clip."""
    write_clip(path, person_frames(person, forged, n_frames), 24)
