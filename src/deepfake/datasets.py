"""What the networks are shown: pairs of a real crop and its fake; in which order, whatever they are shown.

Everything drawn depends on (seed, epoch, index) alone, so a continued training sees what an
uninterrupted one would have seen. Letters: B batch, C channels, H rows, W columns, T frames, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from deepfake import tables
from deepfake.augment import TrainTransform, see
from deepfake.config import Frames, UserError
from deepfake.shards import read_crop

MIN_IOU = 0.3  # below it two boxes of a real video and its fake are two people
NEAR_FRAMES = 15  # half a second: further apart, boxes of the same person need not overlap

Index = tuple[int, int]  # (epoch, index of the item)


class Batch(NamedTuple):
    """One step's input: the model's arguments, the labels (1 fake), and what errors call the rows."""

    inputs: tuple[Tensor, ...]
    labels_B: Tensor
    names: list[str]
    masks_BHW: Tensor | None = None  # what was forged, 0..1 on a grid; NaN: not known
    forged_BT: Tensor | None = None  # which frames are forged, 0 or 1; NaN: not known


@dataclass(frozen=True)
class Tables:
    """The tables learning starts from; `folds` may be empty for videos to predict."""

    videos: pd.DataFrame
    faces: pd.DataFrame
    folds: pd.DataFrame

    def labelled(self) -> pd.DataFrame:
        """Videos to learn from, with label and fold."""
        videos = self.videos[(self.videos["split"] == "train") & self.videos["label"].notna()]
        return videos.merge(self.folds[["video_id", "fold"]], on="video_id").reset_index(drop=True)

    def faces_of(self, video_ids: Sequence[str]) -> pd.DataFrame:
        """The face rows of some videos, in the order of the table's key."""
        rows = self.faces[self.faces["video_id"].isin(set(video_ids))]
        return rows.sort_values(["video_id", "track", "frame_index"], kind="stable").reset_index(drop=True)


def read_tables(work_dir: Path, limit: int | None = None) -> Tables:
    """The tables of a data set; `limit`: only so many labelled videos, spread over all, keep a fold."""
    folds = tables.spread(tables.read(tables.FOLDS, work_dir / "folds.parquet"), limit)
    videos = tables.read(tables.VIDEOS, work_dir / "videos.parquet")
    return Tables(videos, tables.read(tables.FACES, work_dir / "faces.parquet"), folds)


def read_all(work_dir: Path, limit: int | None = None) -> Tables:
    """The tables of a data set of which no one is held out: all labelled videos lie in fold 0."""
    videos = tables.read(tables.VIDEOS, work_dir / "videos.parquet")
    known = videos.loc[(videos["split"] == "train") & videos["label"].notna(), ["video_id"]]
    folds = tables.spread(known.assign(group=known["video_id"], fold=0), limit)
    return Tables(videos, tables.read(tables.FACES, work_dir / "faces.parquet"), folds)


@dataclass(frozen=True)
class Track:
    """One person in one shot of a video: boxes and where the crops lie, in frame order."""

    video_id: str
    track: int
    label: int
    frame_index_T: np.ndarray
    boxes_T4: np.ndarray
    shards: tuple[str, ...]
    offsets_T: np.ndarray
    sizes_T: np.ndarray

    def __len__(self) -> int:
        return len(self.frame_index_T)

    def crop(self, work_dir: Path, place: int) -> np.ndarray:
        """The `place`-th stored crop as HWC uint8 RGB."""
        return read_crop(work_dir, self.shards[place], int(self.offsets_T[place]), int(self.sizes_T[place]))


def tracks_of(faces: pd.DataFrame, labels: Mapping[str, int]) -> list[Track]:
    """Split face rows, sorted by the table's key, into tracks."""
    if faces.empty:
        return []
    ids, numbers = faces["video_id"].to_numpy(object), faces["track"].to_numpy()
    boxes = faces[["x0_px", "y0_px", "x1_px", "y1_px"]].to_numpy(np.float32)
    frames, offsets, sizes = (faces[name].to_numpy() for name in ("frame_index", "offset", "size"))
    shards = faces["shard"].to_numpy(object)
    starts = np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (numbers[1:] != numbers[:-1])])
    return [
        Track(
            video_id=str(ids[a]),
            track=int(numbers[a]),
            label=int(labels[ids[a]]),
            frame_index_T=frames[a:b],
            boxes_T4=boxes[a:b],
            shards=tuple(shards[a:b]),
            offsets_T=offsets[a:b],
            sizes_T=sizes[a:b],
        )
        for a, b in zip(starts, np.r_[starts[1:], len(ids)], strict=True)
    ]


def nearest(frame_index_T: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of the nearest frame index for each wanted one; the earlier of two equally near."""
    return np.asarray(np.abs(frame_index_T[None, :] - np.atleast_1d(wanted)[:, None]).argmin(axis=1))


def overlap(one: Track, other: Track) -> float:
    """Mean IoU of the boxes of two tracks at (nearly) the same frames; 0 for frames without a near one."""
    places = nearest(other.frame_index_T, one.frame_index_T)
    a, b = one.boxes_T4, other.boxes_T4[places]
    inner = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None).prod(axis=1)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1)
    near = np.abs(other.frame_index_T[places] - one.frame_index_T) <= NEAR_FRAMES
    return float(np.mean(near * inner / np.maximum(areas - inner, 1e-9)))


def counterpart(real: Track, fakes: Sequence[Track]) -> Track | None:
    """The track of a fake video that shows the same person: most overlap, else the same number, else none."""
    best = max(fakes, key=lambda fake: (overlap(real, fake), -fake.track), default=None)
    if best is not None and overlap(real, best) >= MIN_IOU:
        return best
    return next((fake for fake in fakes if fake.track == real.track), None)


@dataclass(frozen=True)
class Unit:
    """A track and its possible partners of the other class; none: any track of the other class will do."""

    anchor: Track
    partners: tuple[Track, ...]


@dataclass(frozen=True)
class PairPlan:
    """What an epoch is made of, and how many tracks had to be paired with a stranger."""

    units: tuple[Unit, ...]
    reals: tuple[Track, ...]
    fakes: tuple[Track, ...]
    n_paired: int
    n_lone_reals: int
    n_lone_fakes: int

    def describe(self) -> str:
        """One sentence of counts."""
        return (
            f"{len(self.reals)} real and {len(self.fakes)} fake tracks: {self.n_paired} real tracks with fakes "
            f"of their own, {self.n_lone_reals} real and {self.n_lone_fakes} fake tracks paired with random ones"
        )


def plan_pairs(videos: pd.DataFrame, faces: pd.DataFrame) -> PairPlan:
    """Pair tracks of labelled videos (video_id, label, original) with those of the other class."""
    labels = dict(zip(videos["video_id"], videos["label"].astype(int), strict=True))
    originals = {v: o for v, o in zip(videos["video_id"], videos["original"], strict=True) if isinstance(o, str)}
    tracks = tracks_of(faces, labels)
    reals, fakes = (tuple(t for t in tracks if t.label == label) for label in (0, 1))
    if not reals or not fakes:
        raise UserError(
            f"training: {len(reals)} real and {len(fakes)} fake tracks in {len(videos)} videos; both kinds are "
            "wanted. Check the labels (stage 01) and the faces (stage 02), or use fewer folds"
        )
    of_original: dict[str, dict[str, list[Track]]] = {}
    for fake in fakes:
        of_original.setdefault(originals.get(fake.video_id, ""), {}).setdefault(fake.video_id, []).append(fake)
    units, used = [], set()
    for real in reals:
        found = [counterpart(real, group) for group in of_original.get(real.video_id, {}).values()]
        partners = tuple(fake for fake in found if fake is not None)
        used |= {(fake.video_id, fake.track) for fake in partners}
        units.append(Unit(real, partners))
    lone = [Unit(fake, ()) for fake in fakes if (fake.video_id, fake.track) not in used]
    n_paired = sum(bool(unit.partners) for unit in units)
    return PairPlan(
        units=(*units, *lone),
        reals=reals,
        fakes=fakes,
        n_paired=n_paired,
        n_lone_reals=len(reals) - n_paired,
        n_lone_fakes=len(lone),
    )


class PairDataset(Dataset[tuple[Tensor, Tensor, str]]):
    """Item (epoch, index): a real crop, a fake crop (CHW uint8 RGB) and the names of both.

    `frames_per_track` frames of every track of the plan make an epoch, spread over its length; the
    partner's frame is the nearest one. `learns` False: the middle frames, unchanged but for the size.
    """

    def __init__(self, plan: PairPlan, work_dir: Path, frames: Frames, seed: int, learns: bool = True) -> None:
        self.plan, self.work_dir, self.seed = plan, work_dir, seed
        self.input_px, self.view_ratio = frames.input_px, frames.view_ratio
        self.transform = TrainTransform(frames.input_px) if learns else None
        frames_per_track = frames.frames_per_track
        self.items = [
            (unit, k, n) for unit in plan.units for n in (min(frames_per_track, len(unit.anchor)),) for k in range(n)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Index) -> tuple[Tensor, Tensor, str]:
        unit, k, n = self.items[index[1]]
        rng = np.random.default_rng((self.seed, *index))
        anchor = unit.anchor
        share = rng.random() if self.transform else 0.5
        place = min(int((k + share) * len(anchor) / n), len(anchor) - 1)
        partners = unit.partners or (self.plan.reals if anchor.label else self.plan.fakes)
        partner = partners[int(rng.integers(len(partners)))]
        if unit.partners:
            partner_place = int(nearest(partner.frame_index_T, anchor.frame_index_T[place])[0])
        else:
            partner_place = int(rng.integers(len(partner)))
        sides = [(anchor, place), (partner, partner_place)]
        (real, fake), names = self._crops(sides[::-1] if anchor.label else sides, (self.seed, *index))
        return real, fake, names

    def _crops(self, sides: list[tuple[Track, int]], seed: tuple[int, int, int]) -> tuple[list[Tensor], str]:
        crops = [see(track.crop(self.work_dir, place), self.view_ratio, self.input_px) for track, place in sides]
        # The 1 sets the stream of the changes apart from the one that chose the frames.
        crops = self.transform(crops, (*seed, 1)) if self.transform else crops
        names = " and ".join(f"{t.video_id!r} track {t.track} frame {t.frame_index_T[place]}" for t, place in sides)
        return [torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))) for crop in crops], names


def collate_pairs(items: Sequence[tuple[Tensor, Tensor, str]]) -> Batch:
    """All real crops, then all fake ones."""
    reals, fakes, names = zip(*items, strict=True)
    labels_B = torch.cat([torch.zeros(len(reals)), torch.ones(len(fakes))])
    return Batch((torch.stack((*reals, *fakes)),), labels_B, [*names, *names])


class StepBatches(Sampler[list[Index]]):
    """Batches of (epoch, index) for every step from `start_step` on; the order depends on (seed, epoch) alone.

    Items that do not fill an epoch's last batch wait for another epoch. Each of `world` processes takes
    its share of every batch.
    """

    def __init__(
        self, n_items: int, batch_items: int, epochs: int, seed: int, start_step: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if min(n_items, batch_items) < world:
            raise UserError(f"training: {n_items} items in batches of {batch_items} do not reach for {world} processes")
        self.n_items, self.batch_items, self.seed, self.start_step = n_items, batch_items, seed, start_step
        self.rank, self.world = rank, world
        self.steps_per_epoch = max(1, n_items // batch_items)
        self.n_steps = epochs * self.steps_per_epoch

    def __len__(self) -> int:
        return self.n_steps - self.start_step

    def __iter__(self) -> Iterator[list[Index]]:
        order, order_epoch = np.empty(0, int), -1
        for step in range(self.start_step, self.n_steps):
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = np.random.default_rng((self.seed, epoch)).permutation(self.n_items), epoch
            batch = order[place * self.batch_items : (place + 1) * self.batch_items]
            yield [(epoch, int(i)) for i in batch[self.rank :: self.world]]


Collate = Callable[..., Batch]


def content_digest(*frames: pd.DataFrame) -> str:
    """SHA-256 of tables' contents: other videos, labels or crops make another training."""
    total = hashlib.sha256()
    for frame in frames:
        total.update(repr(list(frame.columns)).encode())
        total.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return total.hexdigest()
