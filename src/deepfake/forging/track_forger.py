"""Tracks to learn from that no one filmed: forged versions of real tracks, and the real ones damaged alike.

Stored crops in, features of a frame model out, kept beside the model as `scoring` keeps its own.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake.datasets.pairs import read_all
from deepfake.errors import UserError
from deepfake.faces.geometry import FaceClip, eye_distance_px
from deepfake.forging.damage import Degradation
from deepfake.forging.families import FAMILIES, Face, aligned_misfit
from deepfake.forging.forged_clips import MIN_EYE_PX, ClipMaterial, ForgedClip, forge_clip
from deepfake.forging.mixture import DONORS_TRIED
from deepfake.forging.pictures import Frames
from deepfake.settings import Config, Selfblend

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealTrack:
    """One person in one shot of a real video: rows `rows` of the pictures, in frame order."""

    video_id: str
    track: int
    frame_index_T: np.ndarray
    times_T: np.ndarray
    pictures: Frames
    rows: range

    @property
    def step_s(self) -> float:
        """The usual time between two frames."""
        return float(np.median(np.diff(self.times_T))) if len(self.times_T) > 1 else 1.0

    def landmarks(self) -> np.ndarray:
        """Of all frames (T, 5, 2), as shares of the crop's side."""
        return np.stack([self.pictures.landmarks(row) for row in self.rows])

    def clip(self) -> FaceClip:
        """The crops with their landmarks in pixels."""
        faces = [self.pictures.face(row) for row in self.rows]
        return FaceClip([face.picture for face in faces], np.stack([face.landmarks for face in faces]))

    @property
    def middle(self) -> int:
        """The row in the middle of the track."""
        return self.rows[len(self.rows) // 2]

    def has_face(self) -> bool:
        """Whether the landmarks of all frames are known."""
        # Their unit is the crop's side, some hundred pixels.
        return all(np.isfinite(p).all() and eye_distance_px(p) > MIN_EYE_PX / 300 for p in self.landmarks())


def real_tracks(faces: pd.DataFrame, work_dir: Path) -> list[RealTrack]:
    """The tracks in rows of the faces table that are sorted by its key."""
    pictures = Frames(faces, work_dir)
    tracks, start = [], 0
    for (video_id, track), rows in faces.groupby(["video_id", "track"], sort=False):
        indices, times = rows["frame_index"].to_numpy(), rows["time_s"].to_numpy()
        tracks.append(
            RealTrack(
                video_id=str(video_id),
                track=int(track),
                frame_index_T=indices,
                times_T=times,
                pictures=pictures,
                rows=range(start, start + len(rows)),
            )
        )
        start += len(rows)
    return tracks


@dataclass(frozen=True)
class Pair:
    """A real clip and a fake made of it, before damage and after the very same one."""

    real: list[np.ndarray]
    fake: ForgedClip
    real_seen: list[np.ndarray]
    fake_seen: list[np.ndarray]


class ClipForger:
    """Makes the fakes of real tracks; each is drawn from the seed, the version and the track's name alone.

    `families`: shares instead of the settings'.
    """

    def __init__(
        self, config: Config, tracks: Sequence[RealTrack], families: Mapping[str, float] | None = None
    ) -> None:
        self.selfblend = config.frames.selfblend or Selfblend()
        self.families = dict(families or self.selfblend.families)
        self.span_share, self.seed = config.sequences.forged_span, config.sequences.seed
        self.tracks = tracks

    def recipe(self) -> dict[str, Any]:
        """What the fakes depend on besides the tracks, as plain values."""
        values = {name: getattr(self.selfblend, name) for name in ("h264", "degradation")}
        return values | {"families": self.families, "span": self.span_share, "seed": self.seed}

    def make(self, track: RealTrack, version: int, span_T: np.ndarray | None = None) -> Pair:
        """The track's fake number `version`; `span_T`: forged in these frames (T, bool), not by the draw."""
        rng = np.random.default_rng((self.seed, version, zlib.crc32(f"{track.video_id} {track.track}".encode())))
        span = bool(rng.random() < self.span_share)
        damage = Degradation.draw(rng, self.selfblend.h264, self.selfblend.degradation)
        clip = track.clip()
        material = ClipMaterial(self._donor(track, rng))
        fake = forge_clip(clip, self.families, material, rng, span and span_T is None, track.step_s)
        if span_T is not None:
            frames = [
                made if inside else real for made, real, inside in zip(fake.frames, clip.frames, span_T, strict=True)
            ]
            fake = ForgedClip(frames, fake.forged_T & span_T, fake.name + "+span")
        return Pair(clip.frames, fake, damage(clip.frames), damage(fake.frames))

    def _donor(self, track: RealTrack, rng: np.random.Generator) -> Callable[[int], Face] | None:
        """Another video's face for each frame, of the track that is turned most alike; played to and fro."""
        tried = [self.tracks[int(i)] for i in rng.integers(len(self.tracks), size=DONORS_TRIED)]
        others = [other for other in tried if other.video_id != track.video_id and other.has_face()]
        if not others or not track.has_face():
            return None
        face = _points(track)
        best = min(others, key=lambda other: aligned_misfit(face, _points(other)))
        last = len(best.rows) - 1

        def find(index: int) -> Face:
            place = last - abs(last - index % (2 * last)) if last else 0
            return best.pictures.face(best.rows[place])

        return find


def show_pairs(config: Config, n_pairs: int, seed: int) -> list[tuple[str, Pair]]:
    """`n_pairs` clips of each family with what errors call them, from the tables of stages 01 and 02."""
    data = read_all(config.work_dir)
    videos = data.labelled()
    faces = data.faces_of(list(videos.loc[videos["label"] == 0, "video_id"]))
    tracks = real_tracks(faces, config.work_dir)
    if not tracks:
        raise UserError(f"{config.work_dir}: no faces of real videos to forge; check the labels (stage 01)")
    rng = np.random.default_rng(seed)
    pairs = []
    for family in FAMILIES:
        forger = ClipForger(config, tracks, {family: 1.0})
        for number in range(n_pairs):
            track = tracks[int(rng.integers(len(tracks)))]
            pairs.append((f"{track.video_id!r} track {track.track}", forger.make(track, seed * n_pairs + number)))
    return pairs


def _points(track: RealTrack) -> Face:
    return Face(np.empty((0, 0, 3), np.uint8), track.pictures.landmarks(track.middle))
