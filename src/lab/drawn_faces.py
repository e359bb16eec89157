"""Drawn faces that MTCNN finds, so that what is measured on faces needs pictures of nobody."""

from __future__ import annotations

import math

import cv2
import numpy as np

SKINS = ((205, 160, 130), (120, 85, 65), (230, 190, 165), (175, 130, 100), (150, 110, 85), (215, 175, 150))
DARK, WHITE, LIP = (35, 25, 20), (235, 230, 225), (150, 70, 70)


def drawn_face(side_px: int, skin: tuple[int, int, int], mouth: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A face (side, side, 3) float 0..255 and its mask (side, side) 0..1; `mouth` 0..1 opens it."""
    big = side_px * 2
    tone = np.array(skin, np.float32)
    rows, columns = np.mgrid[0:big, 0:big] / big
    face = tone * (1.0 - 0.5 * ((columns - 0.45) ** 2 + (rows - 0.45) ** 2))[..., None].astype(np.float32)

    def oval(x: float, y: float, width: float, height: float, colour: object, share: float, soft: float = 0) -> None:
        mask: np.ndarray = np.zeros((big, big), np.float32)
        centre, axes = (int(big * x), int(big * y)), (max(int(big * width), 1), max(int(big * height), 1))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1, cv2.LINE_AA)
        mask = cv2.GaussianBlur(mask, (0, 0), big * soft) if soft else mask
        # Elsewhere the mask is 0 and nothing changes; a blur reaches four sigmas.
        reach = [axis + math.ceil(4 * big * soft) + 3 for axis in axes]
        part = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(centre[::-1], reach[::-1], strict=True))
        mask_HW1 = mask[part][..., None]
        face[part] = face[part] * (1 - share * mask_HW1) + np.asarray(colour, np.float32) * share * mask_HW1

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
