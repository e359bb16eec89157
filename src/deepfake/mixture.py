"""What the image classifier sees when it learns by forging: real pictures, fakes made of them, forged clips.

Every item is drawn from (seed, epoch, index) alone. Real and fake of an item get damage from the same
distribution, a picture and its own fake the very same draw. Letters: H rows, W columns, C channels, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfake import labels, tables
from deepfake.augment import GRID, see
from deepfake.config import Config, Selfblend, UserError
from deepfake.datasets import Batch, Index
from deepfake.degrade import Degradation, Levels
from deepfake.forgeries import Face, Material, aligned_misfit, forge
from deepfake.shards import read_crop

PHOTO_COLUMNS = ("file", "identity", *(f"lm{i}_{axis}" for i in range(5) for axis in "xy"))
LANDMARKS = [f"lm{i}_{axis}_px" for i in range(5) for axis in "xy"]
BLACK_LEVELS = 14
DONORS_TRIED = 12  # of which the one turned most alike is taken
Item = tuple[Tensor, Tensor, Tensor, str]


class Pictures(Protocol):
    """Face pictures with landmarks: of photos, or of the frames of clips."""

    def __len__(self) -> int: ...
    def face(self, i: int) -> Face:
        """The i-th picture and its points."""
        ...

    def landmarks(self, i: int) -> np.ndarray:
        """The i-th picture's points (5, 2), without reading it."""
        ...

    def name(self, i: int) -> str:
        """What errors call it."""
        ...

    def owner(self, i: int) -> str:
        """Whose pictures must not be learnt from and measured on: its person or its video."""
        ...


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


class Photos:
    """Face photos listed in a CSV: file (below the CSV's folder), identity, landmarks in pixels of the file.

    Those of more than `most_px` a side are reduced to that, as crops of clips are: a size would tell the source.
    """

    def __init__(self, csv: Path, most_px: int | None = None) -> None:
        table = labels.read_table(csv, *([name] for name in PHOTO_COLUMNS))
        if not table.rows:
            raise UserError(f"photos {str(csv)!r}: no photo in it; wanted at least one; see data/README.md")
        self.folder, self.most_px = csv.parent, most_px
        files = [labels.name_of(row.cells["file"], table.where(row)) for row in table.rows]
        self.files = np.array(files, object)
        self.people = [row.cells["identity"] for row in table.rows]
        bad = [name for name in self.files if Path(name).is_absolute() or ".." in Path(name).parts]
        if bad:
            raise UserError(f"photos {str(csv)!r}: the path {bad[0]!r} leaves the CSV's folder")
        points = np.array([[_number(row.cells[name]) for name in PHOTO_COLUMNS[2:]] for row in table.rows])
        unknown = np.flatnonzero(~np.isfinite(points).all(1))
        if len(unknown):
            raise UserError(f"photos {str(csv)!r}: {self.files[unknown[0]]!r} lacks a landmark; wanted numbers in all")
        self.points = points.reshape(-1, 5, 2)

    def __len__(self) -> int:
        return len(self.files)

    def landmarks(self, i: int) -> np.ndarray:
        """The i-th photo's points (5, 2)."""
        return np.asarray(self.points[i])

    def face(self, i: int) -> Face:
        """The i-th photo and its points."""
        whole = fill_padding(_read(self.folder / self.files[i]))
        picture = self._reduced(whole)
        return Face(picture, self.points[i] * (picture.shape[0] / whole.shape[0]))

    def _reduced(self, picture_HWC: np.ndarray) -> np.ndarray:
        longer = max(picture_HWC.shape[:2])
        if self.most_px is None or longer <= self.most_px:
            return picture_HWC
        width, height = (round(side * self.most_px / longer) for side in picture_HWC.shape[1::-1])
        return np.asarray(cv2.resize(picture_HWC, (width, height), interpolation=cv2.INTER_AREA))

    def name(self, i: int) -> str:
        """The photo's file."""
        return f"photo {self.files[i]!r}"

    def owner(self, i: int) -> str:
        """The photo's person."""
        return self.people[i]


class Frames:
    """Stored crops of the frames of clips: rows of the faces table."""

    def __init__(self, faces: pd.DataFrame, work_dir: Path) -> None:
        self.faces, self.work_dir = faces.reset_index(drop=True), work_dir
        self.places = list(self.faces[["shard", "offset", "size"]].itertuples(index=False, name=None))
        corner = self.faces[["crop_x0_px", "crop_y0_px"]].to_numpy(np.float64)[:, None, :]
        side = self.faces["crop_side_px"].to_numpy(np.float64)[:, None, None]
        self.shares = (self.faces[LANDMARKS].to_numpy(np.float64).reshape(-1, 5, 2) - corner) / side

    def __len__(self) -> int:
        return len(self.places)

    def landmarks(self, i: int) -> np.ndarray:
        """The i-th frame's points (5, 2) as shares of the crop's side."""
        return np.asarray(self.shares[i])

    def face(self, i: int) -> Face:
        """The i-th frame's crop and its points."""
        crop = read_crop(self.work_dir, *self.places[i])
        return Face(crop, self.shares[i] * crop.shape[0])

    def name(self, i: int) -> str:
        """The frame's video, track and number."""
        row = self.faces.iloc[i]
        return f"{row['video_id']!r} track {row['track']} frame {row['frame_index']}"

    def owner(self, i: int) -> str:
        """The frame's video."""
        return str(self.faces["video_id"].iloc[i])


def _read(path: Path) -> np.ndarray:
    data = path.read_bytes() if path.is_file() else b""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise UserError(f"photo {str(path)!r}: {'not a picture' if data else 'does not exist'}; mend the photos' CSV")
    return np.ascontiguousarray(picture[..., ::-1])


def fill_padding(picture_HWC: np.ndarray) -> np.ndarray:
    """The picture with black areas along its border filled with the nearest pixels, as crops of clips are.

    83 % of the photos learnt from have such padding, clips have none: it would tell the source.
    """
    dark = cv2.inRange(picture_HWC, (0, 0, 0), (BLACK_LEVELS, BLACK_LEVELS, BLACK_LEVELS))
    n, areas = cv2.connectedComponents(dark)
    at_border = np.unique(np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]]))
    keep = np.zeros(n, np.uint8)
    keep[at_border] = 1
    keep[0] = 0
    padding = keep[areas]
    if not 0.002 < padding.mean() < 0.9:
        return picture_HWC
    padding = cv2.dilate(padding, np.ones((5, 5), np.uint8))  # JPEG bleeds over the edge
    _, nearest = cv2.distanceTransformWithLabels(padding, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known = padding == 0
    if not known.any():
        return picture_HWC
    colour = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
    colour[nearest[known]] = picture_HWC[known]
    return np.asarray(np.where(known[..., None], picture_HWC, colour[nearest]))


@dataclass(frozen=True)
class Sources:
    """Everything to learn from; `real_groups` and `fake_groups` are rows of a person or of a generator each.

    `fake_shares` is how often each generator is drawn. `kin[i]` names, for the fake row i, the real groups
    of the same source; empty where there are none.
    """

    photos: Photos | None
    reals: Frames
    fakes: Frames
    real_groups: list[np.ndarray]
    fake_groups: list[np.ndarray]
    kin: list[np.ndarray]
    fake_shares: np.ndarray

    def describe(self) -> str:
        """One sentence of counts."""
        n_photos = len(self.photos) if self.photos else 0
        return (
            f"{n_photos} photos, {len(self.reals)} real frames of {len(self.real_groups)} people, "
            f"{len(self.fakes)} forged frames of {len(self.fake_groups)} generators"
        )


def balanced_groups(rows: pd.DataFrame, groups: Mapping[str, str]) -> list[np.ndarray]:
    """Row numbers of each group's videos; videos without a group are one of their own."""
    # Each video is named once, not each of its frames, and the rows are gone through once, not once a group.
    names = {video_id: groups.get(Path(video_id).name, video_id) for video_id in rows["video_id"].unique()}
    rows_of = rows.groupby(rows["video_id"].map(names)).indices
    return [rows_of[name] for name in sorted(rows_of)]


def gather(videos: pd.DataFrame, faces: pd.DataFrame, config: Config) -> Sources:
    """What the labelled `videos` (video_id, label), their `faces` and the settings' photos give to learn from."""
    selfblend = config.frames.selfblend
    assert selfblend is not None
    groups = clip_groups(config, selfblend)
    generators, people, origins = groups["generator"], groups["identity"], groups["source"]
    unknown = sorted(set(selfblend.leave_out) - set(generators.values()))
    if unknown:
        have = ", ".join(sorted(set(generators.values()))) or "none: frames.selfblend.groups_csv names them"
        raise UserError(f"frames.selfblend.leave_out: no clip of generator {unknown[0]!r}; there are {have}")
    fake_ids = videos.loc[videos["label"] == 1, "video_id"]
    fake_ids = fake_ids[~fake_ids.map(lambda name: generators.get(Path(name).name)).isin(selfblend.leave_out)]
    real_ids = videos.loc[videos["label"] == 0, "video_id"]
    real_rows, fake_rows = (
        faces[faces["video_id"].isin(set(ids))].reset_index(drop=True) for ids in (real_ids, fake_ids)
    )
    photos_csv, crop_px = selfblend.photos_csv, config.extract.crop_px
    photos = Photos(config.path(photos_csv), crop_px) if photos_csv else None
    real_groups, fake_groups = balanced_groups(real_rows, people), balanced_groups(fake_rows, generators)
    video_of_row = pd.factorize(fake_rows["video_id"])[0]
    n_videos = np.array([len(np.unique(video_of_row[rows])) for rows in fake_groups], float)
    shares = n_videos ** (1 - selfblend.generator_balance)
    return Sources(
        photos=photos,
        reals=Frames(real_rows, config.work_dir),
        fakes=Frames(fake_rows, config.work_dir),
        real_groups=real_groups,
        fake_groups=fake_groups,
        kin=_kin(real_rows, real_groups, fake_rows, origins),
        fake_shares=shares / shares.sum() if len(shares) else shares,
    )


def _kin(
    reals: pd.DataFrame, real_groups: list[np.ndarray], fakes: pd.DataFrame, origins: Mapping[str, str]
) -> list[np.ndarray]:
    def origin(video_id: str) -> str:
        return origins.get(Path(video_id).name, "")

    video_ids = reals["video_id"].to_numpy(object)
    groups_of: dict[str, list[int]] = {}
    for number, rows in enumerate(real_groups):
        groups_of.setdefault(origin(video_ids[rows[0]]), []).append(number)
    known = set(origins.values())  # a group without a source is nobody's kin
    of_source = {source: np.array(numbers) for source, numbers in groups_of.items() if source in known}
    none = np.empty(0, int)
    of_video = {video_id: of_source.get(origin(video_id), none) for video_id in fakes["video_id"].unique()}
    return [of_video[video_id] for video_id in fakes["video_id"]]


GROUP_COLUMNS = ["generator", "identity", "source"]


def clip_groups(config: Config, selfblend: Selfblend) -> dict[str, dict[str, str]]:
    """Generator, identity and source of each video_id, as far as the groups' CSV knows them."""
    if selfblend.groups_csv is None:
        return {name: {} for name in GROUP_COLUMNS}
    path = config.path(selfblend.groups_csv)
    table = labels.read_table(path, ["file"], *([name] for name in GROUP_COLUMNS))
    # The files are named from the CSV's folder, video_ids from the index's root: only the last part is alike.
    named = [(Path(labels.name_of(row.cells["file"], table.where(row))).name, row.cells) for row in table.rows]
    groups = {column: {name: cells[column] for name, cells in named if cells[column]} for column in GROUP_COLUMNS}
    # "DeepFaceLab (model of A)" and "DeepFaceLab (model of B)" are one generator.
    groups["generator"] = {name: value.partition(" (")[0] for name, value in groups["generator"].items()}
    return groups


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


@dataclass(frozen=True)
class View:
    """Which part of a stored square picture is looked at: a turned, shifted, mirrored square of `side_px` pixels.

    `border` (left, top, right, bottom, shares of the view) is hidden behind repeated edges, as where a
    face fills its video.
    """

    matrix: np.ndarray
    side_px: int
    border: tuple[float, float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, picture_px: int, view_ratio: float, zoom: float) -> View:
        """About the middle of a picture of `picture_px`: 8 degrees and 5 % aside at most, larger or smaller.

        The natural logarithm of its side over `view_ratio` of the picture lies between -zoom and zoom.
        """
        side = picture_px * view_ratio * np.exp(rng.uniform(-zoom, zoom))
        angle = np.deg2rad(rng.uniform(-8, 8)) if rng.random() < 0.7 else 0.0
        centre = picture_px / 2 + rng.uniform(-0.05, 0.05, 2) * side
        out_px = max(round(side), 32)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror, 1.0])
        matrix = np.hstack([turn, (centre - turn @ [out_px / 2, out_px / 2])[:, None]])
        border = rng.uniform(0, 0.16, 4) * (rng.random(4) < 0.5) if rng.random() < 0.3 else np.zeros(4)
        left, top, right, bottom = border.tolist()
        return cls(matrix, out_px, (left, top, right, bottom))

    def __call__(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The part of the picture, (side_px, side_px, C)."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        side = self.side_px
        part = cv2.warpAffine(picture_HWC, self.matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if any(self.border):
            left, top, right, bottom = (round(share * side) for share in self.border)
            inner = np.ascontiguousarray(part[top : side - bottom, left : side - right])
            part = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REPLICATE)
        return np.asarray(part)

    def mask(self, mask_HW: np.ndarray) -> np.ndarray:
        """The part of a mask, (GRID, GRID) float32."""
        small = cv2.resize(self(mask_HW), (GRID, GRID), interpolation=cv2.INTER_AREA)
        return np.asarray(np.clip(small, 0, 1), np.float32)


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
