"""Pairs to learn from: a real picture of a pack and the fake just made of it, damaged alike.

Every pair is drawn from (seed, number) alone; how strong the damage is may follow the training's progress.
Letters: B pictures, P pairs, C channels, H rows, W columns, N faces, D numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfake.datasets.view import View
from deepfake.datasets.views import GRID, see
from deepfake.errors import UserError
from deepfake.faces.geometry import CANONICAL_POINTS, apply_affine, face_frame
from deepfake.forging.damage import Degradation
from deepfake.forging.families import Face, Forged, Material, forge
from deepfake.packs.file import LEARN, Pack
from deepfake.packs.folds import ForgedClips, left_out
from deepfake.packs.outlines import own_outlines
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import PackTraining

DONORS_TRIED = 12  # of which the one turned most alike is taken
Number = tuple[int, float]  # of the pair, and the training's progress, 0..1
Pair = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class PairBatch:
    """P reals, then their P fakes (uint8), and the masks of all, 0..1 on a grid."""

    crops_BCHW: Tensor
    labels_B: Tensor
    masks_BHW: Tensor


class PackPairs(Dataset[Pair]):
    """Pair (number, progress): a real crop, its fake (CHW uint8 RGB) and the fake's mask on a grid."""

    def __init__(self, pack: Pack, pictures: Pictures, settings: PackTraining) -> None:
        self.pack, self.pictures, self.settings = pack, pictures, settings
        photos, clips = (pack.rows(LEARN, kind) for kind in ("photo", "clip"))
        clips = clips[~left_out(pack, settings.fold, settings.folds)[clips]]
        self.forged_clips = ForgedClips(pack, settings.fold, settings.folds) if settings.forged_share else None
        photos = photos[pack.faces["face_px"].to_numpy()[photos] >= settings.min_face_px]
        self.rows = {"photo": photos, "clip": clips}
        owners = pack.faces["owner"].to_numpy()[clips]
        self.people = [clips[owners == owner] for owner in sorted(set(owners))]
        share = settings.photo_share if len(clips) else 1.0
        self.photo_share = share if len(photos) else 0.0
        if not len(photos) and not len(clips):
            raise UserError(
                f"pack: nothing to learn from with min_face_px={settings.min_face_px}; allow smaller faces or bring "
                "another part"
            )
        self.poses_ND = _poses(pack.landmarks_N52)

    def __getitem__(self, index: Number) -> Pair:
        rng = np.random.default_rng((self.settings.seed, index[0]))
        # Asked only where it is wanted: a training without forged clips draws as it always did.
        if self.forged_clips is not None and rng.random() < self.settings.forged_share:
            real, fake = self._clips(self.forged_clips, index[1], rng)
            mask = np.full((GRID, GRID), np.nan, np.float32)  # nobody knows where
        else:
            real, fake, forged, view = self._made(index[1], rng)
            mask = view.mask(forged.mask)
        real, fake = (np.ascontiguousarray(crop.transpose(2, 0, 1)) for crop in (real, fake))
        return torch.from_numpy(real), torch.from_numpy(fake), torch.from_numpy(mask)

    def make(self, index: Number) -> tuple[np.ndarray, np.ndarray, Forged, View]:
        """The crops of a pair (HWC), the fake as it was made, and the part of it that is seen."""
        return self._made(index[1], np.random.default_rng((self.settings.seed, index[0])))

    def _clips(
        self, forged_clips: ForgedClips, progress: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The crops of a real and of a forged clip's picture, damaged alike; each in a view of its own."""
        damage = Degradation.draw(rng, self.settings.h264, self._strength(progress))
        crops = []
        for row in forged_clips.draw(rng):
            picture = self.pictures[row]
            view = View.draw(rng, picture.shape[0], self.settings.view_ratio, self.settings.zoom)
            crops.append(see(damage([view(picture)])[0], 1.0, self.settings.input_px))
        return crops[0], crops[1]

    def _made(self, progress: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Forged, View]:
        kind = "photo" if rng.random() < self.photo_share else "clip"
        row = self._draw(kind, rng)
        face = self._face(row, rng)
        tried = rng.choice(self.rows[kind], DONORS_TRIED)
        forged = forge(face, self.settings.families, Material(lambda: self._donor(row, tried)), rng)
        view = View.draw(rng, face.picture.shape[0], self.settings.view_ratio, self.settings.zoom)
        damage = Degradation.draw(rng, self.settings.h264, self._strength(progress))
        real, fake = (
            see(damage([view(picture)])[0], 1.0, self.settings.input_px) for picture in (face.picture, forged.picture)
        )
        return real, fake, forged, view

    def _draw(self, kind: str, rng: np.random.Generator) -> int:
        rows = self.rows["photo"] if kind == "photo" else self.people[int(rng.integers(len(self.people)))]
        return int(rows[int(rng.integers(len(rows)))])

    def _face(self, row: int, rng: np.random.Generator) -> Face:
        landmarks = self.pack.landmarks_N52[row].astype(np.float64)
        outlines = None
        if self.settings.hulls == "mesh":
            outlines = own_outlines(self.pack.mesh_NP2[row], landmarks, rng, self.settings.hull_jitter)
        return Face(self.pictures[row], landmarks, outlines)

    def _donor(self, row: int, tried: np.ndarray) -> Face:
        misfits = ((self.poses_ND[tried] - self.poses_ND[row]) ** 2).sum(1)
        donor = int(tried[int(np.argmin(misfits))])
        return Face(self.pictures[donor], self.pack.landmarks_N52[donor].astype(np.float64))

    def _strength(self, progress: float) -> float:
        first, last = self.settings.damage_start, self.settings.damage
        return last if first < 0 else first + (last - first) * min(max(progress, 0.0), 1.0)


def _poses(landmarks_N52: np.ndarray) -> np.ndarray:
    """Where the five points of each face lie from its own middle, in eye distances: alike for faces turned alike."""
    rows = []
    for landmarks in landmarks_N52.astype(np.float64):
        frame = face_frame(landmarks)
        unit = max(float(np.sqrt(abs(np.linalg.det(frame[:, :2])))), 1e-6)
        rows.append(((landmarks - apply_affine(frame, np.zeros((1, 2)))) / unit).ravel())
    return np.array(rows).reshape(len(landmarks_N52), CANONICAL_POINTS.size)


def collate(pairs: Sequence[Pair]) -> PairBatch:
    """All real crops, then all fake ones; the reals' masks are 0."""
    reals, fakes, grids = zip(*pairs, strict=True)
    labels_B = torch.cat([torch.zeros(len(reals)), torch.ones(len(fakes))])
    masks_BHW = torch.cat([torch.zeros(len(reals), GRID, GRID), torch.stack(grids)])
    return PairBatch(torch.stack((*reals, *fakes)), labels_B, masks_BHW)
