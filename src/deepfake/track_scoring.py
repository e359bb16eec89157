"""Logits of tracks by finished networks over tracks, out of fold and for videos to predict.

Tracks of any length go through in parts of a bounded size. Letters: B parts, T frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from deepfake.checkpoints import fold_folder, load_model
from deepfake.config import Config, Predict, UserError
from deepfake.costs import Cost, cost_path, total, write_cost
from deepfake.datasets import Tables
from deepfake.devices import choose_device, machine_of
from deepfake.models.heads import TrackHead
from deepfake.scoring import fold_features, fold_numbers, frame_outputs, mean_logits
from deepfake.track_inputs import INPUTS, TrackFeatures, has_inputs, pad_tracks

PARTS_PER_BATCH = 4  # of the longest a network takes; more of shorter ones
TRACK_KEY = ["model", "video_id", "track", "n_frames"]


@dataclass(frozen=True)
class TrackLogit:
    """A network's logit of a track and of each of its frames; `n_frames` is 0, and so are they, where it abstains."""

    logit: float
    frame_logits_T: np.ndarray
    n_frames: int


@torch.inference_mode()
def head_logits(head: TrackHead, tracks: Sequence[TrackFeatures], predict: Predict) -> list[TrackLogit]:
    """What a network says of tracks; of a track longer than its window, the mean of what it says of even parts."""
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
    found = []
    for i, track in enumerate(tracks):
        if i not in frames:
            found.append(TrackLogit(0.0, np.zeros(len(track), np.float32), 0))
            continue
        if not np.isfinite(wholes[i]):
            raise UserError(f"scoring: the logit of {track.video_id!r} track {track.track} is no number")
        ordered = [logits_T for _, logits_T in sorted(frames[i], key=lambda part: part[0])]
        found.append(TrackLogit(wholes[i], np.concatenate(ordered), len(track)))
    return found


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


def score_tracks(head: TrackHead, tracks: Sequence[TrackFeatures], predict: Predict, name: str) -> pd.DataFrame:
    """The rows of TRACK_SCORES of a network under a member's name."""
    found = head_logits(head, tracks, predict)
    return pd.DataFrame(
        {
            "model": [name] * len(tracks),
            "video_id": [t.video_id for t in tracks],
            "track": [t.track for t in tracks],
            "n_frames": [one.n_frames for one in found],
            "logit": np.array([one.logit for one in found], np.float32),
        }
    )


def load_head(config: Config, name: str, fold: int | None) -> TrackHead:
    """A finished network over tracks of a run."""
    head = load_model(fold_folder(config.run_dir, name, fold), name)
    assert isinstance(head, TrackHead)
    return head


class _Scores:
    """Rows of TRACK_SCORES by member as they come, and what they cost, their inputs made on the way included."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.parts: dict[str, list[pd.DataFrame]] = {name: [] for name in config.sequences.heads}
        self.costs: dict[str, list[Cost]] = {name: [] for name in self.parts}

    def add(self, heads: Mapping[str, TrackHead], tracks: Sequence[TrackFeatures]) -> None:
        """Score tracks by every network."""
        n_videos = len({track.video_id for track in tracks})
        machine = machine_of(choose_device(self.config.predict.device))
        for name, head in heads.items():
            began = time.perf_counter()
            self.parts[name].append(score_tracks(head, tracks, self.config.predict, name))
            needs = ("frames",) if "features" in head.inputs else ()
            self.costs[name].append(Cost(time.perf_counter() - began, n_videos, needs, machine))

    def done(self, scored: str, what: str) -> dict[str, pd.DataFrame]:
        """The mean logits by member; their costs are noted as those of `scored`."""
        for name, costs in self.costs.items():
            write_cost(cost_path(self.config.run_dir, name, scored), total(costs))
        return {name: mean_logits(found, TRACK_KEY, f"{name}, {what}") for name, found in self.parts.items()}


def load_heads(config: Config, fold: int) -> dict[str, TrackHead]:
    """A fold's finished networks over tracks, by member."""
    return {name: load_head(config, name, fold) for name in config.sequences.heads}


def oof_heads(config: Config, tables: Tables) -> dict[str, pd.DataFrame]:
    """TRACK_SCORES by member of all labelled videos, each by the networks that have not seen it; notes the costs."""
    scores = _Scores(config)
    for fold in fold_numbers(tables):
        scores.add(load_heads(config, fold), fold_features(config, tables, fold, held_out=True))
    return scores.done("oof", "out of fold")


def predict_heads(config: Config, faces: pd.DataFrame, folds: Sequence[int]) -> dict[str, pd.DataFrame]:
    """TRACK_SCORES by member of videos no network has seen: the mean logit of the folds' networks; notes the costs."""
    scores = _Scores(config)
    for fold in folds:
        heads = load_heads(config, fold)
        for outputs in frame_outputs(config, fold_folder(config.run_dir, "frames", fold), faces):
            scores.add(heads, outputs.tracks())
    return scores.done("test", "videos to predict")
