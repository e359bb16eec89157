"""Drawn faces that MTCNN finds, so that whole pipelines run on pictures of nobody."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepfake.media.clips import write_clip
from lab.drawn_faces import SKINS as SKINS
from lab.drawn_faces import drawn_face as drawn_face
from lab.drawn_faces import paste as paste


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
