"""Fit the weights, the calibration and the band of a detector file anew, on labelled clips; its networks stay.

Networks' logits of a clip's crops are kept beside the crops, so a stopped run goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.detector import fitting
from deepfake.detector.file import TrainedDetector, open_detector
from deepfake.detector.fitting import Trial
from deepfake.detector.labelled_clips import Clips, read_clips
from deepfake.detector.left_out_scores import laid_over
from deepfake.detector.video_scorer import Outputs, VideoScorer
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.files import digest
from deepfake.settings import Predict


@dataclass(frozen=True)
class Refit:
    """A detector's stack before and after, on the tracks both were asked about."""

    tracks: Tracks
    trial: Trial
    before: Stack
    after: Stack

    def changed(self, by: float) -> tuple[int, int]:
        """How many videos of two or more tracks there are, and how many of them change p_fake by more than `by`."""
        several = np.bincount(self.tracks.video_K) > 1
        moved = np.abs(self.after.p_fake(self.tracks) - self.before.p_fake(self.tracks)) > by
        return int(several.sum()), int((several & moved).sum())


@dataclass(frozen=True)
class Asked:
    """A detector and the labelled clips it is asked about; `networks` names its networks in what is kept of them."""

    detector: TrainedDetector
    networks: str
    clips: Clips


def ask(weights: Path, folder: Path, labels_csv: Path, cache_dir: Path, limit: int | None = None) -> Asked:
    """Open a detector's file and extract the faces of labelled clips by its settings; `limit`: see `read_clips`."""
    detector = open_detector(weights, Predict())
    clips = extracted(detector, folder, labels_csv, cache_dir, limit)
    return Asked(detector, networks_sha256(weights), clips)


def extracted(
    detector: TrainedDetector, folder: Path, labels_csv: Path, cache_dir: Path, limit: int | None = None
) -> Clips:
    """Labelled clips with the faces that a detector's settings find in them; `limit`: see `read_clips`."""
    extract = detector.extract.model_copy(update={"workers": os.cpu_count() or 1})
    return read_clips(folder, labels_csv, extract, cache_dir, limit)


def networks_sha256(weights: Path) -> str:
    """A hash of a safetensors file's tensors alone: it stays where only the header is written anew."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + length)
        return hashlib.file_digest(file, "sha256").hexdigest()


def refit(detector: TrainedDetector, networks: str, clips: Clips, predict: Predict) -> Refit:
    """Weights and calibration of all clips under the detector's own settings; the band of the cross-fitted p.

    `networks` names its networks in what is kept of them.
    """
    tracks = member_tracks(detector, networks, clips, predict)
    trial = fitting.measure(tracks, clips, detector.ensemble)
    after = fitting.final_stack(tracks, clips, trial, detector.ensemble)
    return Refit(tracks, trial, detector.stack, after)


def member_tracks(
    detector: TrainedDetector, networks: str, clips: Clips, predict: Predict, left_out: pd.DataFrame | None = None
) -> Tracks:
    """What the detector's members make of the clips' tracks; `left_out` instead, of the clips and members it has."""
    if any(member.heads for member in detector.members):
        raise UserError(
            f"detector {detector.name!r} has networks over tracks; only one of frame networks can be calibrated anew. "
            "Run 07_ensemble again"
        )
    logits_NM = face_logits(detector, networks, clips, predict)
    rows = clips.faces[["video_id", "track", "frame_index"]]
    if left_out is not None:
        columns = zip(detector.stack.members, logits_NM.T, strict=True)
        logits_NM = np.stack([laid_over(rows, logits_N, left_out, name) for name, logits_N in columns], axis=1)
    scores = {name: rows.assign(logit=logits_NM[:, place]) for place, name in enumerate(detector.stack.members)}
    return fitting.member_tracks(scores, clips, detector.ensemble)


def face_logits(detector: TrainedDetector, networks: str, clips: Clips, predict: Predict) -> np.ndarray:
    """Logits (faces, members) of the clips' crops, kept beside them; `networks` as in `refit`."""
    scorer = every_member(detector, predict)
    logits_NM = np.empty((len(clips.faces), len(detector.stack.members)))
    shown = {"views", "member_views", *(["member_strides"] if detector.ensemble.member_strides else [])}
    views = detector.ensemble.model_dump(mode="json", include=shown)
    key = digest([networks, scorer.networks_key, predict.precision, views])
    groups = clips.faces.groupby("video_id", sort=True).indices
    for places in tqdm(groups.values(), desc="networks", unit="video", disable=None):
        faces = clips.faces.iloc[places]
        path = clips.cache_dir / "members" / f"{digest([key, faces['shard'].iloc[0]])[:32]}.npy"
        known = map_array(path, len(faces))
        if known is None:
            known = _logits(scorer, faces, clips.cache_dir)
            write_array(path, known)
        logits_NM[places] = known
    return logits_NM


def every_member(detector: TrainedDetector, predict: Predict) -> VideoScorer:
    """A scorer that asks all members, for one that has no weight may get one."""
    names = detector.stack.members
    return VideoScorer(
        replace(detector, stack=replace(detector.stack, weights=(1 / len(names),) * len(names))), predict
    )


def _logits(scorer: VideoScorer, faces: pd.DataFrame, cache_dir: Path) -> np.ndarray:
    """Logits (n, members) of a video's crops."""
    logits_NM = np.empty((len(faces), len(scorer.detector.stack.members)))
    for rows in faces.groupby("track", sort=True).indices.values():
        places = faces.iloc[rows][["shard", "offset", "size"]].itertuples(index=False)
        logits_NM[rows] = track_logits(scorer, [read_crop(cache_dir, *place) for place in places])
    return logits_NM


def track_logits(scorer: VideoScorer, crops: list[np.ndarray]) -> np.ndarray:
    """Logits (n, members) of a track's crops in their order, each member's at its stride."""
    return _by_member(scorer, scorer.track_outputs(crops))


def crop_logits(scorer: VideoScorer, crops: list[np.ndarray]) -> np.ndarray:
    """Logits (n, members) of crops, each of which every member is shown."""
    return _by_member(scorer, scorer.frame_outputs(crops))


def _by_member(scorer: VideoScorer, outputs: Outputs) -> np.ndarray:
    """Logits (n, members): the mean over the networks of a member's name."""
    named = [name for name, _, _ in scorer.members]
    logits = [
        np.mean([logits_N for one, (logits_N, _) in zip(named, outputs, strict=True) if one == name], axis=0)
        for name in scorer.detector.stack.members
    ]
    return np.stack(logits, axis=1).astype(np.float64)
