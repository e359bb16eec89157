"""Tracks to learn from that no one filmed: forged versions of real tracks, and the real ones damaged alike.

Stored crops in, features of a frame model out, kept beside the model as `scoring` keeps its own.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.blend import FaceClip, eye_distance_px
from deepfake.checkpoints import fold_folder, read_card
from deepfake.config import Config, Selfblend, UserError, digest
from deepfake.datasets import Tables, content_digest, read_all
from deepfake.degrade import Degradation
from deepfake.files import write_whole
from deepfake.forged_clips import MIN_EYE_PX, ClipMaterial, ForgedClip, family_of, forge_clip, shown_part
from deepfake.forgeries import FAMILIES, Face, aligned_misfit
from deepfake.mixture import DONORS_TRIED, LANDMARKS, Frames
from deepfake.models import HEADS
from deepfake.scoring import FrameScorer, open_scorer, read_outputs, write_outputs
from deepfake.track_inputs import TrackFeatures, tube_sides
from deepfake.tubes import TUBE_PX, face_tube, steady

TRACKS_PER_PART = 32  # a killed stage makes so many again at most
MADE_FROM = ["video_id", "track", "frame_index", "time_s", "shard", "offset", "size", *LANDMARKS]
DAMAGED = "damaged"
Note = tuple[str, list[int]]  # how a fake was made, and which of its frames are forged
Outputs = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # logits_N, features_ND and, if asked for, tube_NHWC
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


def forged_features(config: Config, data: Tables, fold: int | None) -> list[TrackFeatures]:
    """Tracks, by the fold's frame model, of fakes made of the reals it learns from, and of those reals damaged alike.

    `sequences.forged_clips` fakes and one damaged real of each real track; parts made before are read back. They have
    no landmarks of their own: a forgery drawn over a real face moves as that face did.
    """
    videos = data.labelled()
    learnt = videos.loc[(videos["fold"] != fold) & (videos["label"] == 0), "video_id"]
    faces = data.faces_of(list(learnt))
    n_versions = config.sequences.forged_clips
    if not n_versions or faces.empty:
        return []
    tracks = real_tracks(faces, config.work_dir)
    work = _Work(config, fold_folder(config.run_dir, "frames", fold), faces, ClipForger(config, tracks))
    parts = [tracks[first : first + TRACKS_PER_PART] for first in range(0, len(tracks), TRACKS_PER_PART)]
    bar = tqdm(total=len(faces) * n_versions, desc=f"forge clips {work.checkpoint.name}", unit="frame", disable=None)
    found = []
    for version in range(n_versions):
        for part in parts:
            found += work.rows(part, version, bar)
    bar.close()
    names = Counter(family_of(row.video_id.rpartition("#")[2]) for row in found)
    log.info("%s: clips made: %s", work.checkpoint.name, ", ".join(f"{n} {name}" for name, n in names.most_common()))
    return found


class _Work:
    """Makes and scores parts of the tracks, or reads them back."""

    def __init__(self, config: Config, checkpoint: Path, faces: pd.DataFrame, forger: ClipForger) -> None:
        self.config, self.checkpoint, self.faces, self.forger = config, checkpoint, faces, forger
        self.scorer: FrameScorer | None = None
        inputs = {name for head in config.sequences.heads for name in HEADS[head].inputs}
        self.with_tubes = TUBE_PX in tube_sides(inputs)
        predict = config.predict
        # All faces, for any of them may lend another its face.
        self.key = [
            read_card(checkpoint).weights_sha256,
            forger.recipe(),
            predict.precision,
            predict.device,
            content_digest(faces[MADE_FROM]),
        ]

    def rows(self, tracks: Sequence[RealTrack], version: int, bar: tqdm[Any]) -> list[TrackFeatures]:
        """The fakes number `version` of some tracks; with the first ones the damaged reals."""
        n_frames = sum(len(track.rows) for track in tracks)
        key = digest([*self.key, version, [[track.video_id, track.track] for track in tracks]])
        stem = self.checkpoint / "scored" / f"forged_{key[:24]}"
        notes = _read_notes(stem, len(tracks))
        outputs = self._read(stem, n_frames * (1 if version else 2)) if notes else None
        if notes is None or outputs is None:
            notes, outputs = self._make(tracks, version, bar)
            if outputs[2] is not None:
                write_array(_tube_path(stem), outputs[2])
            write_outputs(stem, *outputs[:2])
            write_whole(stem.with_suffix(".json"), json.dumps(notes).encode())
        else:
            bar.update(n_frames)
        return list(self._split(tracks, version, notes, outputs))

    def _read(self, stem: Path, n_crops: int) -> Outputs | None:
        found = read_outputs(stem, n_crops)
        tube = map_array(_tube_path(stem), n_crops) if self.with_tubes else None
        return (*found, tube) if found and (tube is not None or not self.with_tubes) else None

    def _make(self, tracks: Sequence[RealTrack], version: int, bar: tqdm[Any]) -> tuple[list[Note], Outputs]:
        self.scorer = self.scorer or open_scorer(self.checkpoint, self.config.predict, self.faces, self.config.work_dir)
        notes: list[Note] = []
        logits, features, tubes = [], [], []
        for track in tracks:
            pair = self.forger.make(track, version)
            for seen in [pair.fake_seen] if version else [pair.fake_seen, pair.real_seen]:
                logits_T, features_TD = self.scorer.crops(seen)
                logits.append(logits_T)
                features.append(features_TD)
                if self.with_tubes:
                    tubes.append(face_tube(seen, steady(track.landmarks()), TUBE_PX))
            notes.append((pair.fake.name, pair.fake.forged_T.astype(int).tolist()))
            bar.update(len(track.rows))
        return notes, (np.concatenate(logits), np.concatenate(features), np.concatenate(tubes) if tubes else None)

    def _split(
        self, tracks: Sequence[RealTrack], version: int, notes: Sequence[Note], outputs: Outputs
    ) -> Iterator[TrackFeatures]:
        logits_N, features_ND, tube_NHWC = outputs
        start = 0
        for track, (name, forged) in zip(tracks, notes, strict=True):
            n_frames = len(track.rows)
            kinds = [(1, name, np.array(forged, np.float32))]
            kinds += [] if version else [(0, DAMAGED, np.zeros(n_frames, np.float32))]
            for label, kind, forged_T in kinds:
                rows = slice(start, start + n_frames)
                whole = TrackFeatures(
                    video_id=f"{track.video_id}#{kind}",
                    track=track.track,
                    label=label,
                    frame_index_T=track.frame_index_T,
                    features_TD=features_ND[rows],
                    logits_T=logits_N[rows],
                    times_T=track.times_T,
                    landmarks_T52=np.full((n_frames, 5, 2), np.nan),
                    boxes_T4=np.full((n_frames, 4), np.nan),
                    forged_T=forged_T,
                    tubes={} if tube_NHWC is None else {TUBE_PX: tube_NHWC[rows].__getitem__},
                )
                clip_frames = self.config.sequences.clip_frames
                shown = shown_part(forged_T > 0, clip_frames) if label else slice(None)
                yield whole.take(np.arange(n_frames)[shown])
                start += n_frames


def _tube_path(stem: Path) -> Path:
    return stem.with_suffix(".tube.npy")


def _read_notes(stem: Path, n_tracks: int) -> list[Note] | None:
    try:
        notes = json.loads(stem.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    return [(str(name), forged) for name, forged in notes] if len(notes) == n_tracks else None
