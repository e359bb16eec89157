"""What the image classifier sees when it learns by forging: real pictures, fakes made of them, forged clips.

Every item is drawn from (seed, epoch, index) alone. Real and fake of an item get damage from the same
distribution, a picture and its own fake the very same draw. Letters: H rows, W columns, C channels, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfake import tables
from deepfake.datasets.pairs import Batch, Index
from deepfake.datasets.view import View
from deepfake.datasets.views import GRID, see
from deepfake.errors import UserError
from deepfake.forging.damage import Degradation, Levels
from deepfake.forging.families import Face, Material, aligned_misfit, forge
from deepfake.forging.pictures import Pictures
from deepfake.forging.sources import Sources, gather
from deepfake.settings import Config, Selfblend

DONORS_TRIED = 12  # of which the one turned most alike is taken
Item = tuple[Tensor, Tensor, Tensor, str]


@dataclass(frozen=True)
class Made:
    """An item and what it was made of; of each pair the first is real, the second fake.

    `kind` is photo, clip or forged, `stored` are the whole pictures (HWC uint8), `seen` what the network sees
    of them. `mask` is the fake's (HW, 0..1), None where nobody knows; `grid` the part of it that is seen.
    """

    kind: str
    names: tuple[str, str]
    owners: tuple[str, str]
    stored: tuple[np.ndarray, np.ndarray]
    seen: tuple[np.ndarray, np.ndarray]
    mask: np.ndarray | None
    grid: np.ndarray


class Mixture(Dataset[Item]):
    """Item (epoch, index): a real crop, a fake crop (CHW uint8 RGB), the fake's mask on a grid, the names of both.

    The mask (GRID, GRID) is 0..1, or NaN where nobody knows what was forged.
    """

    def __init__(
        self, sources: Sources, settings: Selfblend, input_px: int, view_ratio: float, n_items: int, seed: int
    ) -> None:
        self.sources, self.settings, self.input_px, self.view_ratio = sources, settings, input_px, view_ratio
        self.n_items, self.seed = n_items, seed
        shares = {"photo": settings.photo_share, "clip": settings.clip_share, "forged": settings.forged_share}
        if sources.photos is None:
            shares["photo"] = 0.0
        if not len(sources.fakes):
            shares["forged"] = 0.0
        if not len(sources.reals):
            shares["clip"] = 0.0
            if sources.photos is None:
                shares["forged"] = 0.0  # nothing real beside it
        self.kinds = [name for name, share in sorted(shares.items()) if share > 0]
        if not self.kinds:
            raise UserError(f"frames.selfblend: nothing to learn from with shares {shares} and these tables")
        weights = np.array([shares[name] for name in self.kinds])
        self.weights = weights / weights.sum()

    def __len__(self) -> int:
        return self.n_items

    def __getitem__(self, index: Index) -> Item:
        made = self.make(index)
        real, fake = (torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))) for crop in made.seen)
        return real, fake, torch.from_numpy(made.grid), " and ".join(made.names)

    def make(self, index: Index) -> Made:
        """Item (epoch, index) with the pictures it was made of."""
        rng = np.random.default_rng((self.seed, *index))
        kind = self._kind(rng)
        if kind == "forged":
            return self._two_clips(rng)
        pictures: Pictures
        if kind == "photo":
            assert self.sources.photos is not None
            pictures, i = self.sources.photos, int(rng.integers(len(self.sources.photos)))
        else:
            pictures, i = self.sources.reals, _from_groups(self.sources.real_groups, rng)
        return self._forged_self(kind, pictures, i, rng)

    def kind_of(self, index: Index) -> str:
        """photo, clip or forged, without making the item."""
        return self._kind(np.random.default_rng((self.seed, *index)))

    def _kind(self, rng: np.random.Generator) -> str:
        return self.kinds[int(rng.choice(len(self.kinds), p=self.weights))]

    def _forged_self(self, kind: str, pictures: Pictures, i: int, rng: np.random.Generator) -> Made:
        face = pictures.face(i)
        material = Material(self._donor(pictures, face, rng))
        forged = forge(face, self.settings.families, material, rng)
        view = self._view(rng, face.picture)
        damage = self._damage(rng)
        real, fake = (self._finish(view, picture, damage) for picture in (face.picture, forged.picture))
        names, owner = (pictures.name(i), f"its {forged.family}"), pictures.owner(i)
        stored = (face.picture, forged.picture)
        return Made(
            kind=kind,
            names=names,
            owners=(owner, owner),
            stored=stored,
            seen=(real, fake),
            mask=forged.mask,
            grid=view.mask(forged.mask),
        )

    def _two_clips(self, rng: np.random.Generator) -> Made:
        sources = self.sources
        group = sources.fake_groups[int(rng.choice(len(sources.fake_groups), p=sources.fake_shares))]
        i = int(group[int(rng.integers(len(group)))])
        reals: Pictures = sources.reals
        kin = sources.kin[i]
        if len(kin) and rng.random() < self.settings.forged_beside_kin:
            j = _from_groups([sources.real_groups[k] for k in kin], rng)
        elif sources.photos is not None and (
            not len(sources.reals) or rng.random() < self.settings.forged_beside_photo
        ):
            reals, j = sources.photos, int(rng.integers(len(sources.photos)))
        else:
            j = _from_groups(sources.real_groups, rng)
        stored = (reals.face(j).picture, sources.fakes.face(i).picture)
        crops = []
        for picture in stored:
            view = self._view(rng, picture)
            damage = Degradation.draw(rng, self.settings.h264, self.settings.forged_degradation)
            levels = Levels.draw(rng) if rng.random() < self.settings.equal_levels else None
            crops.append(self._finish(view, levels(picture) if levels else picture, damage))
        names, owners = (reals.name(j), sources.fakes.name(i)), (reals.owner(j), sources.fakes.owner(i))
        return Made(
            kind="forged",
            names=names,
            owners=owners,
            stored=stored,
            seen=(crops[0], crops[1]),
            mask=None,
            grid=np.full((GRID, GRID), np.nan, np.float32),
        )

    def _donor(self, pictures: Pictures, face: Face, rng: np.random.Generator) -> Callable[[], Face] | None:
        if not self.settings.families.get("cross_identity"):
            return None
        tried = rng.integers(len(pictures), size=DONORS_TRIED)

        def find() -> Face:
            points = [Face(face.picture, pictures.landmarks(int(j))) for j in tried]
            best = min(range(DONORS_TRIED), key=lambda k: (aligned_misfit(face, points[k]), k))
            return pictures.face(int(tried[best]))

        return find

    def _view(self, rng: np.random.Generator, picture_HWC: np.ndarray) -> View:
        settings = self.settings
        return View.draw(rng, picture_HWC.shape[0], self.view_ratio, settings.zoom)

    def _damage(self, rng: np.random.Generator) -> Degradation:
        return Degradation.draw(rng, self.settings.h264, self.settings.degradation)

    def _finish(self, view: View, picture: np.ndarray, damage: Degradation) -> np.ndarray:
        return see(damage([view(picture)])[0], 1.0, self.input_px)


def _from_groups(groups: Sequence[np.ndarray], rng: np.random.Generator) -> int:
    group = groups[int(rng.integers(len(groups)))]
    return int(group[int(rng.integers(len(group)))])


def collate(items: Sequence[Item]) -> Batch:
    """All real crops, then all fake ones; the reals' masks are 0."""
    reals, fakes, grids, names = zip(*items, strict=True)
    labels_B = torch.cat([torch.zeros(len(reals)), torch.ones(len(fakes))])
    masks_BHW = torch.cat([torch.zeros(len(reals), GRID, GRID), torch.stack(grids)])
    return Batch((torch.stack((*reals, *fakes)),), labels_B, [*names, *names], masks_BHW)


def read_mixture(config: Config, seed: int, families: Mapping[str, float] | None = None) -> Mixture:
    """What the settings' training shows, from the tables of stages 01 and 02; `families` instead of its own."""
    frames = config.frames
    if frames.selfblend is None:
        raise UserError("frames.selfblend is not set: these settings learn from real clips and their fakes alone")
    videos = tables.read(tables.VIDEOS, config.work_dir / "videos.parquet")
    videos = videos[(videos["split"] == "train") & videos["label"].notna()]
    sources = gather(videos, tables.read(tables.FACES, config.work_dir / "faces.parquet"), config)
    changes = {} if families is None else {"families": dict(families), "forged_share": 0.0}
    settings = frames.selfblend.model_copy(update=changes)
    return Mixture(sources, settings, frames.input_px, frames.view_ratio, settings.items_per_epoch, seed)
