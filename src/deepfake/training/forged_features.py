"""Features of forged tracks, made once and kept in parts, for networks over tracks to learn from."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.datasets.pairs import Tables, content_digest
from deepfake.datasets.track_clips import TrackFeatures, tube_sides
from deepfake.datasets.tubes import TUBE_PX, face_tube, steady
from deepfake.files import digest, write_whole
from deepfake.forging.forged_clips import family_of, shown_part
from deepfake.forging.pictures import LANDMARKS
from deepfake.forging.track_forger import ClipForger, RealTrack, real_tracks
from deepfake.models.checkpoints import fold_folder, read_card
from deepfake.models.heads.base import HEADS
from deepfake.scoring.frame_scorer import FrameScorer, open_scorer
from deepfake.scoring.run_scores import read_outputs, write_outputs
from deepfake.settings import Config

log = logging.getLogger(__name__)


TRACKS_PER_PART = 32  # a killed stage makes so many again at most


MADE_FROM = ["video_id", "track", "frame_index", "time_s", "shard", "offset", "size", *LANDMARKS]


DAMAGED = "damaged"


Note = tuple[str, list[int]]  # how a fake was made, and which of its frames are forged


Outputs = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # logits_N, features_ND and, if asked for, tube_NHWC


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
    rows = []
    for version in range(n_versions):
        for part in parts:
            rows += work.rows(part, version, bar)
    bar.close()
    names = Counter(family_of(row.video_id.rpartition("#")[2]) for row in rows)
    log.info("%s: clips made: %s", work.checkpoint.name, ", ".join(f"{n} {name}" for name, n in names.most_common()))
    return rows


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
        outputs = read_outputs(stem, n_crops)
        tube = map_array(_tube_path(stem), n_crops) if self.with_tubes else None
        return (*outputs, tube) if outputs and (tube is not None or not self.with_tubes) else None

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
