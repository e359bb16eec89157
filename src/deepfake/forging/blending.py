"""Forgeries made from real pictures: outlines from five points, warps, colours, blends, whole clips.

Pure: arrays and a NumPy Generator in, arrays out; equal seeds give equal bytes. A clip gets one draw
that is replayed over all its frames. A new forgery is a function like `self_blend` and a line in MANIPULATIONS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from deepfake.faces.geometry import (
    Region,
    _canvas_to_units,
    _inverse,
    apply_affine,
    compose,
    face_frame,
    outline_points,
)

MASK_PX = 144
MAX_HUE_MISFIT = 20.0  # in Lab
MAX_OFFSET_LEVELS = 20.0


# --- Where a face is -----------------------------------------------------------------------------


# --- Masks ---------------------------------------------------------------------------------------


def place_mask(mask: np.ndarray, landmarks: np.ndarray, region: Region) -> np.ndarray:
    """A canonical mask as it lies on a face, in the region's pixels."""
    matrix = compose(face_frame(landmarks), _canvas_to_units(mask.shape[0]))
    matrix[:, 2] -= region.corner
    return np.asarray(cv2.warpAffine(mask, matrix, region.size, flags=cv2.INTER_LINEAR))


# --- Warps ---------------------------------------------------------------------------------------


def _spline_kernel(squared: np.ndarray) -> np.ndarray:
    return np.asarray(squared * np.log(squared + 1e-9))


@dataclass(frozen=True)
class Warp:
    """A thin-plate spline that takes points of one face to those of another; affine away from the face."""

    centres: np.ndarray
    weights: np.ndarray
    affine: np.ndarray
    to_units: np.ndarray

    @classmethod
    def between(cls, landmarks: np.ndarray, onto: np.ndarray, strength: float = 1.0) -> Self:
        """Takes the five `landmarks` to `onto` and their surroundings softly along.

        `strength` 1 meets the five points exactly, 0 is affine.
        """
        affine = compose(face_frame(onto), _inverse(face_frame(landmarks)))
        to_units = _inverse(face_frame(landmarks))
        anchors = outline_points("face")[::2] * 1.5 + [0.0, -0.25]
        centres = np.vstack([apply_affine(to_units, landmarks), anchors])
        misses = np.vstack([strength * (onto - apply_affine(affine, landmarks)), np.zeros((len(anchors), 2))])
        squared = ((centres[:, None] - centres[None]) ** 2).sum(-1)
        kernel = _spline_kernel(squared) + 1e-6 * np.eye(len(centres))
        ones = np.hstack([centres, np.ones((len(centres), 1))])
        system = np.block([[kernel, ones], [ones.T, np.zeros((3, 3))]])
        weights = np.linalg.solve(system, np.vstack([misses, np.zeros((3, 2))]))
        return cls(centres, weights, affine, to_units)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) in pixels, moved."""
        units = apply_affine(self.to_units, points)
        squared = ((units[:, None] - self.centres[None]) ** 2).sum(-1)
        basis = np.hstack([_spline_kernel(squared), units, np.ones((len(units), 1))])
        away = np.clip(np.abs(units - [0, 0.5]).max(1) - 1.6, 0, 1)[:, None]
        return np.asarray(apply_affine(self.affine, points) + (1 - away) * (basis @ self.weights))


def sample_through(picture_HWC: np.ndarray, warp: Callable[[np.ndarray], np.ndarray], region: Region) -> np.ndarray:
    """The picture as seen from `region`, each pixel fetched from where `warp` sends it.

    The warp is worked out on every eighth pixel; between them it is all but linear.
    """
    width_px, height_px = region.size
    columns, rows = max(width_px // 8, 2) + 1, max(height_px // 8, 2) + 1
    grid_x, grid_y = np.meshgrid(np.linspace(0, width_px - 1, columns), np.linspace(0, height_px - 1, rows))
    points = np.stack([grid_x.ravel(), grid_y.ravel()], 1) + region.corner
    sent = warp(points).reshape(rows, columns, 2)
    # Not cv2.remap: it rounds to a 32nd of a cell, a quarter of a pixel here.
    down, across = _between(rows, height_px), _between(columns, width_px).T
    x, y = ((down @ sent[..., axis] @ across).astype(np.float32) for axis in (0, 1))
    return np.asarray(cv2.remap(picture_HWC, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _between(n_knots: int, n_points: int) -> np.ndarray:
    """The matrix (n_points, n_knots) that interpolates linearly between evenly spread knots."""
    position = np.linspace(0, n_knots - 1, n_points)
    return np.asarray(np.clip(1 - np.abs(position[:, None] - np.arange(n_knots)[None]), 0, 1))


# --- Colours and blends --------------------------------------------------------------------------


def _skin_mean_std(lab_HWC: np.ndarray, mask_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = lab_HWC[mask_HW > 0.5]
    if not len(inside):
        inside = lab_HWC.reshape(-1, 3)
    # A wall behind a turned face has another hue than most of what is under the mask.
    hue_misfit = np.linalg.norm(inside[:, 1:] - np.median(inside[:, 1:], axis=0), axis=1)
    skin = inside[hue_misfit <= MAX_HUE_MISFIT]
    return skin.mean(0), skin.std(0)


def match_colour(
    picture_HWC: np.ndarray, like_HWC: np.ndarray, mask_HW: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    """The picture with Lab mean and spread of `like` under the mask; `strength` 0 leaves it as it is."""
    lab = cv2.cvtColor(picture_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    # Every third row and column is enough for two moments.
    wanted = cv2.cvtColor(like_HWC[::3, ::3].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mean, std = _skin_mean_std(lab[::3, ::3], mask_HW[::3, ::3])
    wanted_mean, wanted_std = _skin_mean_std(wanted, mask_HW[::3, ::3])
    gain = np.clip(wanted_std / np.maximum(std, 1e-3), 0.6, 1.6)
    moved = (lab - mean) * gain + wanted_mean
    rgb = cv2.cvtColor((lab + strength * (moved - lab)).astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8))


def seamless(picture_HWC: np.ndarray, target_HWC: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """The picture, its colours bent so that they meet the target's along the mask's border.

    The difference on the border is spread inwards at an eighth of the size: what Poisson blending
    does, without its solver, and steady in time.
    """
    small = (max(mask_HW.shape[1] // 8, 4), max(mask_HW.shape[0] // 8, 4))
    ring = cv2.resize(((mask_HW > 0.02) & (mask_HW < 0.6)).astype(np.float32), small, interpolation=cv2.INTER_AREA)
    gap = cv2.resize(target_HWC.astype(np.float32) - picture_HWC, small, interpolation=cv2.INTER_AREA)
    # Where hair or a wall meets skin there is nothing to match.
    ring *= np.exp(-((np.abs(gap).max(2) / (2 * MAX_OFFSET_LEVELS)) ** 2))
    spread = np.zeros_like(gap)
    weight = np.full(ring.shape, 1e-6, np.float32)
    for sigma, share in ((1.0, 1.0), (3.0, 0.1), (9.0, 0.01)):  # near the border the near border counts
        spread += share * cv2.GaussianBlur(gap * ring[..., None], (0, 0), sigma)
        weight += share * cv2.GaussianBlur(ring, (0, 0), sigma)
    offset = np.clip(spread / weight[..., None], -MAX_OFFSET_LEVELS, MAX_OFFSET_LEVELS)
    offset = cv2.resize(offset, mask_HW.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(np.round(picture_HWC + offset), 0, 255).astype(np.uint8))


# --- Forged clips --------------------------------------------------------------------------------
