"""Track logits of a run's networks over tracks, over the tables of a data set."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake.datasets.pairs import Tables
from deepfake.datasets.track_clips import TrackFeatures
from deepfake.ensemble.costs import Cost, cost_path, total, write_cost
from deepfake.models.checkpoints import fold_folder, load_model
from deepfake.models.devices import choose_device, machine_of
from deepfake.models.heads.base import TrackHead
from deepfake.scoring.run_scores import fold_features, fold_numbers, frame_outputs, mean_logits
from deepfake.scoring.track_scorer import head_logits
from deepfake.settings import Config, Predict

TRACK_KEY = ["model", "video_id", "track", "n_frames"]


def score_tracks(head: TrackHead, tracks: Sequence[TrackFeatures], predict: Predict, name: str) -> pd.DataFrame:
    """The rows of TRACK_SCORES of a network under a member's name."""
    logits = head_logits(head, tracks, predict)
    return pd.DataFrame(
        {
            "model": [name] * len(tracks),
            "video_id": [t.video_id for t in tracks],
            "track": [t.track for t in tracks],
            "n_frames": [one.n_frames for one in logits],
            "logit": np.array([one.logit for one in logits], np.float32),
        }
    )


def load_head(config: Config, name: str, fold: int | None) -> TrackHead:
    """A finished network over tracks of a run."""
    head = load_model(fold_folder(config.run_dir, name, fold), name)
    assert isinstance(head, TrackHead)
    return head


@dataclass(frozen=True)
class HeadScores:
    """Rows of TRACK_SCORES of some tracks by member, and what they cost, their inputs made on the way included."""

    rows: Mapping[str, pd.DataFrame]
    costs: Mapping[str, Cost]


def score_heads(config: Config, heads: Mapping[str, TrackHead], tracks: Sequence[TrackFeatures]) -> HeadScores:
    """Score tracks by every network."""
    n_videos = len({track.video_id for track in tracks})
    machine = machine_of(choose_device(config.predict.device))
    rows: dict[str, pd.DataFrame] = {}
    costs: dict[str, Cost] = {}
    for name, head in heads.items():
        began = time.perf_counter()
        rows[name] = score_tracks(head, tracks, config.predict, name)
        needs = ("frames",) if "features" in head.inputs else ()
        costs[name] = Cost(time.perf_counter() - began, n_videos, needs, machine)
    return HeadScores(rows, costs)


class _Scores:
    """Rows of TRACK_SCORES by member as they come, and what they cost."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.parts: dict[str, list[pd.DataFrame]] = {name: [] for name in config.sequences.heads}
        self.costs: dict[str, list[Cost]] = {name: [] for name in self.parts}

    def add(self, scores: HeadScores) -> None:
        """Take in the scores of some tracks."""
        for name in self.parts:
            self.parts[name].append(scores.rows[name])
            self.costs[name].append(scores.costs[name])

    def done(self, scored: str, what: str) -> dict[str, pd.DataFrame]:
        """The mean logits by member; their costs are noted as those of `scored`."""
        for name, costs in self.costs.items():
            write_cost(cost_path(self.config.run_dir, name, scored), total(costs))
        return {name: mean_logits(parts, TRACK_KEY, f"{name}, {what}") for name, parts in self.parts.items()}


def load_heads(config: Config, fold: int) -> dict[str, TrackHead]:
    """A fold's finished networks over tracks, by member."""
    return {name: load_head(config, name, fold) for name in config.sequences.heads}


def oof_heads(config: Config, tables: Tables) -> dict[str, pd.DataFrame]:
    """TRACK_SCORES by member of all labelled videos, each by the networks that have not seen it; notes the costs."""
    scores = _Scores(config)
    for fold in fold_numbers(tables):
        scores.add(score_heads(config, load_heads(config, fold), fold_features(config, tables, fold, held_out=True)))
    return scores.done("oof", "out of fold")


def predict_heads(config: Config, faces: pd.DataFrame, folds: Sequence[int]) -> dict[str, pd.DataFrame]:
    """TRACK_SCORES by member of videos no network has seen: the mean logit of the folds' networks; notes the costs."""
    scores = _Scores(config)
    for fold in folds:
        heads = load_heads(config, fold)
        for outputs in frame_outputs(config, fold_folder(config.run_dir, "frames", fold), faces):
            scores.add(score_heads(config, heads, outputs.tracks()))
    return scores.done("test", "videos to predict")


def joined_heads(config: Config, parts: Sequence[HeadScores]) -> dict[str, pd.DataFrame]:
    """What `predict_heads` returns, of scores that were made part by part, fold by fold."""
    scores = _Scores(config)
    for part in parts:
        scores.add(part)
    return scores.done("test", "videos to predict")
