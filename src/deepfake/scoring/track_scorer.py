"""Logits of tracks by finished networks over tracks, out of fold and for videos to predict.

Tracks of any length go through in parts of a bounded size. Letters: B parts, T frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deepfake.datasets.track_clips import INPUTS, TrackFeatures, has_inputs, pad_tracks
from deepfake.errors import UserError
from deepfake.models.devices import choose_device
from deepfake.models.heads.base import TrackHead
from deepfake.settings import Predict

PARTS_PER_BATCH = 4  # of the longest a network takes; more of shorter ones


@dataclass(frozen=True)
class TrackLogit:
    """A network's logit of a track and of each of its frames; `n_frames` is 0, and so are they, where it abstains."""

    logit: float
    frame_logits_T: np.ndarray
    n_frames: int


@torch.inference_mode()
def head_logits(head: TrackHead, tracks: Sequence[TrackFeatures], predict: Predict) -> list[TrackLogit]:
    """A network's logits of tracks; of a track longer than its window, the mean over even parts."""
    device = choose_device(predict.device)
    head = head.to(device).eval()
    known = [i for i, track in enumerate(tracks) if len(track) >= head.min_frames and has_inputs(track, head.inputs)]
    parts = [(i, places) for i in known for places in _windows(len(tracks[i]), head.window)]
    frames: dict[int, list[tuple[int, np.ndarray]]] = {i: [] for i in known}
    wholes: dict[int, float] = dict.fromkeys(known, 0.0)
    for batch in _batches(sorted(parts, key=lambda part: len(part[1])), head.window, predict.batch_size):
        shown = [tracks[i].take(places) for i, places in batch]
        inputs = pad_tracks([(tuple(INPUTS[name](part) for name in head.inputs), part) for part in shown])
        logits_B, logits_BT = (t.float().cpu().numpy() for t in head.frame_logits(*(t.to(device) for t in inputs)))
        for (i, places), logit, logits_T in zip(batch, logits_B, logits_BT, strict=True):
            wholes[i] += float(logit) * len(places) / len(tracks[i])
            frames[i].append((int(places[0]), logits_T[: len(places)]))
    logits = []
    for i, track in enumerate(tracks):
        if i not in frames:
            logits.append(TrackLogit(0.0, np.zeros(len(track), np.float32), 0))
            continue
        if not np.isfinite(wholes[i]):
            raise UserError(f"scoring: the logit of {track.video_id!r} track {track.track} is no number")
        ordered = [logits_T for _, logits_T in sorted(frames[i], key=lambda part: part[0])]
        logits.append(TrackLogit(wholes[i], np.concatenate(ordered), len(track)))
    return logits


def _windows(n_frames: int, window: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n_frames), -(-n_frames // window))


def _batches(parts: Sequence[tuple[int, np.ndarray]], window: int, most: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Parts, sorted by length, in batches whose padded frames are bounded."""
    batch: list[tuple[int, np.ndarray]] = []
    for part in parts:
        if batch and (len(batch) == most or (len(batch) + 1) * len(part[1]) > PARTS_PER_BATCH * window):
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch
