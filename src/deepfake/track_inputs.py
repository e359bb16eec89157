"""What networks over tracks are shown: clips of tracks, in the forms the networks ask for.

A new form is a line in INPUTS. Letters: B clips, T frames, D features, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepfake.config import UserError
from deepfake.datasets import Batch, Index
from deepfake.motion import motion_features
from deepfake.shards import read_crop
from deepfake.tables import LANDMARKS
from deepfake.tubes import LARGE_TUBE_PX, TUBE_PX, face_tube, steady, tube_flow

Tube = Callable[[np.ndarray], np.ndarray]  # places of frames -> uint8 (T, H, W, 3), the face held still


@dataclass(frozen=True)
class TrackFeatures:
    """What is known of a track's frames; label None: unknown.

    `features_TD` and `logits_T` are the frame model's; `landmarks_T52` and `boxes_T4` in full-frame pixels, NaN where
    no one looked; `forged_T`: which frames are forged, NaN where no one knows. `tubes` by their side in pixels, those
    that can be had.
    """

    video_id: str
    track: int
    label: int | None
    frame_index_T: np.ndarray
    features_TD: np.ndarray
    logits_T: np.ndarray
    times_T: np.ndarray
    landmarks_T52: np.ndarray
    boxes_T4: np.ndarray
    forged_T: np.ndarray
    tubes: Mapping[int, Tube] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.logits_T)

    def take(self, places: np.ndarray) -> TrackFeatures:
        """The track's frames at some places, in that order; falling places play it backwards."""
        arrays = (
            "frame_index_T",
            "features_TD",
            "logits_T",
            "times_T",
            "landmarks_T52",
            "boxes_T4",
            "forged_T",
        )
        taken = {name: getattr(self, name)[places] for name in arrays}
        if len(places) > 1 and places[0] > places[-1]:
            taken["times_T"] = taken["times_T"][0] - taken["times_T"]
        tubes = {side_px: _taken(tube, places) for side_px, tube in self.tubes.items()}
        return replace(self, **taken, tubes=tubes)

    def pictures(self, side_px: int) -> np.ndarray:
        """The tube of all frames: uint8 (T, side_px, side_px, 3)."""
        if side_px not in self.tubes:
            raise ValueError(f"{self.video_id!r} track {self.track}: there are no pictures of it of {side_px} px")
        return self.tubes[side_px](np.arange(len(self)))


def _taken(tube: Tube, places: np.ndarray) -> Tube:
    return lambda inner: tube(places[inner])


@dataclass(frozen=True)
class StoredTube:
    """A tube made of stored crops when it is asked for; `landmarks_T52` are shares of the crops' sides."""

    work_dir: Path
    shards: Sequence[str]
    offsets_T: np.ndarray
    sizes_T: np.ndarray
    landmarks_T52: np.ndarray
    side_px: int

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """The frames at some places."""
        rows = [(self.shards[i], int(self.offsets_T[i]), int(self.sizes_T[i])) for i in places]
        crops = [read_crop(self.work_dir, *row) for row in rows]
        return face_tube(crops, steady(self.landmarks_T52)[places], self.side_px)


def split_tracks(
    faces: pd.DataFrame, features_ND: np.ndarray, logits_N: np.ndarray, labels: Mapping[str, int], work_dir: Path
) -> list[TrackFeatures]:
    """The tracks in rows of the faces table, sorted by its key, with what the frame model makes of them.

    `labels` by video_id; a video without one gets None. No frame of a real video is forged.
    """
    ids, tracks = faces["video_id"].to_numpy(object), faces["track"].to_numpy()
    if not len(ids):
        return []
    landmarks = faces[list(LANDMARKS)].to_numpy(np.float64).reshape(-1, 5, 2)
    corners = faces[["crop_x0_px", "crop_y0_px"]].to_numpy(np.float64)[:, None]
    shares = (landmarks - corners) / faces["crop_side_px"].to_numpy(np.float64)[:, None, None]
    # Landmarks carried between two looks say nothing new of how the face moves.
    seen = np.where(faces["is_detected"].to_numpy(bool)[:, None, None], landmarks, np.nan)
    boxes = faces[["x0_px", "y0_px", "x1_px", "y1_px"]].to_numpy(np.float64)
    frames, times = faces["frame_index"].to_numpy(), faces["time_s"].to_numpy(np.float64)
    shards, offsets, sizes = (faces[name].to_numpy() for name in ("shard", "offset", "size"))
    starts = np.flatnonzero(np.r_[True, (ids[1:] != ids[:-1]) | (tracks[1:] != tracks[:-1])])
    found = []
    for a, b in zip(starts, [*starts[1:], len(ids)], strict=True):
        label = labels.get(ids[a])
        forged_T = np.full(b - a, 0.0 if label == 0 else np.nan, np.float32)
        tube = StoredTube(
            work_dir=work_dir,
            shards=shards[a:b],
            offsets_T=offsets[a:b],
            sizes_T=sizes[a:b],
            landmarks_T52=shares[a:b],
            side_px=TUBE_PX,
        )
        found.append(
            TrackFeatures(
                video_id=str(ids[a]),
                track=int(tracks[a]),
                label=label,
                frame_index_T=frames[a:b],
                features_TD=features_ND[a:b],
                logits_T=logits_N[a:b],
                times_T=times[a:b],
                landmarks_T52=seen[a:b],
                boxes_T4=boxes[a:b],
                forged_T=forged_T,
                tubes={px: replace(tube, side_px=px) for px in tube_sides(INPUTS)},
            )
        )
    return found


TUBE_OF = {"flow": TUBE_PX, "tube": TUBE_PX, "large_tube": LARGE_TUBE_PX}  # the side of the pictures an input needs
INPUTS: dict[str, Callable[[TrackFeatures], np.ndarray]] = {
    "features": lambda track: track.features_TD,
    "motion": lambda track: motion_features(track.landmarks_T52, track.boxes_T4, track.times_T),
    "flow": lambda track: tube_flow(track.pictures(TUBE_OF["flow"])),
    "tube": lambda track: np.ascontiguousarray(track.pictures(TUBE_OF["tube"]).transpose(0, 3, 1, 2)),
    "large_tube": lambda track: np.ascontiguousarray(track.pictures(TUBE_OF["large_tube"]).transpose(0, 3, 1, 2)),
}


def tube_sides(inputs: Iterable[str]) -> set[int]:
    """Sides in pixels of the tubes that must be there for networks with these inputs."""
    return {TUBE_OF[name] for name in inputs if name in TUBE_OF}


def has_inputs(track: TrackFeatures, inputs: Sequence[str]) -> bool:
    """Whether there is anything of a track to learn from for a network with these inputs."""
    if "motion" in inputs:
        return int(np.isfinite(track.landmarks_T52).all((1, 2)).sum()) > 1
    return tube_sides(inputs) <= track.tubes.keys()


def draw_places(n_frames: int, clip_frames: int, changes: float, rng: np.random.Generator) -> np.ndarray:
    """Which frames make a clip, in order: successive ones, or, each with the share `changes`, thinned and reversed.

    Thinning takes every second or third frame, as a slower camera does, or leaves some out, as a bad line does.
    """
    step, kept = 1, 1.0
    if rng.random() < changes:
        step = int(rng.integers(1, 4))
        kept = rng.uniform(0.7, 1.0)
    n_shown = min(clip_frames * step, n_frames)
    start = int(rng.integers(n_frames - n_shown + 1))
    places = np.arange(start, start + n_shown, step)
    if kept < 1:
        held = rng.random(len(places)) < kept
        places = places[held] if held.any() else places[:1]
    return np.asarray(places[::-1] if rng.random() < changes else places)


Clip = tuple[tuple[np.ndarray, ...], TrackFeatures]  # a head's inputs and what they were made of


class TrackDataset(Dataset[list[Clip]]):
    """Item (epoch, index): clips of a real and of a fake track, each of `clip_frames` frames at most.

    An epoch shows every track of the more frequent class once, each with a random one of the other. `inputs` are
    names out of INPUTS; tracks of which there are none are left out. `changes`: see `draw_places`.
    """

    def __init__(
        self,
        tracks: Sequence[TrackFeatures],
        clip_frames: int,
        seed: int,
        inputs: Sequence[str] = ("features",),
        changes: float = 0.0,
    ) -> None:
        self.clip_frames, self.seed, self.inputs, self.changes = clip_frames, seed, tuple(inputs), changes
        by_label = [[t for t in tracks if t.label == label and has_inputs(t, inputs)] for label in (0, 1)]
        if not all(by_label):
            counts = f"{len(by_label[0])} real and {len(by_label[1])} fake"
            raise UserError(f"training: {counts} tracks with {' and '.join(inputs)}; both kinds are wanted")
        self.many, self.few = sorted(by_label, key=len, reverse=True)

    def __len__(self) -> int:
        return len(self.many)

    def __getitem__(self, index: Index) -> list[Clip]:
        rng = np.random.default_rng((self.seed, *index))
        return [self._clip(t, rng) for t in (self.many[index[1]], self.few[int(rng.integers(len(self.few)))])]

    def _clip(self, track: TrackFeatures, rng: np.random.Generator) -> Clip:
        part = track.take(draw_places(len(track), self.clip_frames, self.changes, rng))
        if track.label and (part.forged_T == 0).all():  # thinned until no forged frame was left
            part = track.take(draw_places(len(track), self.clip_frames, 0.0, rng))
        return tuple(INPUTS[name](part) for name in self.inputs), part


def pad_inputs(clips: Sequence[Sequence[np.ndarray]]) -> list[Tensor]:
    """Tensors (B, T, ...) of clips' arrays (T, ...) of different lengths, padded with zeros at the end."""
    padded = []
    for arrays in zip(*clips, strict=True):
        longest = max(len(array) for array in arrays)
        is_byte = arrays[0].dtype == np.uint8
        whole = torch.zeros(len(arrays), longest, *arrays[0].shape[1:], dtype=torch.uint8 if is_byte else torch.float32)
        for row, array in zip(whole, arrays, strict=True):
            row[: len(array)] = torch.from_numpy(array if is_byte else np.asarray(array, np.float32))
        padded.append(whole)
    return padded


def pad_tracks(clips: Sequence[Clip]) -> tuple[Tensor, ...]:
    """A head's inputs for clips of different lengths, then mask_BT and logits_BT."""
    *inputs, logits_BT = pad_inputs([(*arrays, part.logits_T) for arrays, part in clips])
    lengths_B1 = torch.tensor([[len(part)] for _, part in clips])
    return (*inputs, torch.arange(logits_BT.shape[1])[None] < lengths_B1, logits_BT)


def collate_tracks(items: Sequence[list[Clip]]) -> Batch:
    """Both clips of all items, padded to the longest."""
    clips = [clip for item in items for clip in item]
    labels_B = torch.tensor([float(part.label or 0) for _, part in clips])
    names = [f"{part.video_id!r} track {part.track}" for _, part in clips]
    (forged_BT,) = pad_inputs([(part.forged_T,) for _, part in clips])
    inputs = pad_tracks(clips)
    return Batch(inputs, labels_B, names, forged_BT=forged_BT.masked_fill(~inputs[-2], torch.nan))
