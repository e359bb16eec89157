"""Logits and features of frames by finished models, out of fold and for videos to predict.

What a frame model makes of a video's crops is kept beside the model, so stages 04, 05 and 06 compute
it once. Letters: N crops, D features, T frames of a track.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.augment import before_workers, see
from deepfake.checkpoints import fold_folder, load_frames, read_card
from deepfake.config import Config, CropView, Predict, UserError, digest
from deepfake.costs import Cost, cost_path, read_cost, total, write_cost
from deepfake.datasets import Tables, content_digest
from deepfake.devices import choose_device, is_fast_at_bf16, machine_of
from deepfake.models.frames import FrameClassifier
from deepfake.shards import read_crop
from deepfake.track_inputs import TrackFeatures, split_tracks

MAX_BF16_DIFFERENCE = 0.1  # logits; calibration and thresholds do not see less
VIDEOS_PER_PART = 500  # a killed stage scores at most so many videos again
MIN_VIDEOS_TO_DIFFER = 11  # ten videos of one kind may well get the same score
COST = ".cost.json"  # beside the outputs of a part
PLACES = ["video_id", "track", "frame_index", "shard", "offset", "size"]
log = logging.getLogger(__name__)


class FrameScorer:
    """A frame model on its device, in the precision the settings and the equality gate allow.

    The gate compares logits of the first crops it sees, or of `probe` crops (HWC uint8 RGB), in both precisions.
    """

    def __init__(self, model: FrameClassifier, predict: Predict, probe: Sequence[np.ndarray] = ()) -> None:
        self.device = choose_device(predict.device)
        self.model = model.for_scoring().to(self.device).to(memory_format=torch.channels_last)
        self.batch_size = predict.batch_size
        self.bf16 = predict.precision == "bf16"
        self.bf16_difference: float | None = None
        self.see, self.mirror = partial(see, view_ratio=model.view_ratio, input_px=model.input_px), False
        if predict.precision == "auto" and is_fast_at_bf16(self.device) and len(probe):
            self._pass_gate(probe)

    def _pass_gate(self, probe: Sequence[np.ndarray]) -> None:
        batch = self._batch(probe)
        differences = (self._forward(batch, True)[0] - self._forward(batch, False)[0]).abs()
        self.bf16_difference = float(differences.max())
        self.bf16 = self.bf16_difference <= MAX_BF16_DIFFERENCE
        told = log.debug if self.bf16 else log.info  # only what is unusual
        told("bf16 moves logits by up to %.3f: %s", self.bf16_difference, "used" if self.bf16 else "fp32 is used")

    def _batch(self, crops: Sequence[np.ndarray]) -> torch.Tensor:
        seen = [self.see(crop) for crop in crops]
        return torch.from_numpy(np.stack(seen).transpose(0, 3, 1, 2))

    def seeing(self, view: CropView) -> Self:
        """The same network seeing every crop another way than it learnt to."""
        other = copy.copy(self)
        other.see = partial(
            see,
            view_ratio=min(self.model.view_ratio * view.view_ratio, 1.0),
            input_px=round(self.model.input_px * view.size_ratio),
            surroundings_blur=view.surroundings_blur,
            crop_px=view.crop_px,
        )
        other.mirror = view.mirror
        return other

    @torch.inference_mode()
    def _forward(self, crops_NCHW: torch.Tensor, bf16: bool) -> tuple[torch.Tensor, torch.Tensor]:
        crops_NCHW = crops_NCHW.to(self.device, non_blocking=True)
        if self.mirror:
            crops_NCHW = crops_NCHW.flip(-1)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            features_ND = self.model.features_BD(crops_NCHW)
        features_ND = features_ND.float()
        return self.model.logits_of(features_ND).cpu(), features_ND.cpu()

    def batch(self, crops_NCHW: torch.Tensor, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and float16 features_ND of crops at the model's size; `names` is for errors."""
        logits_N, features_ND = self._forward(crops_NCHW, self.bf16)
        bad = [name for name, good in zip(names, logits_N.isfinite().tolist(), strict=True) if not good]
        if bad:
            raise UserError(
                f"scoring: {len(bad)} logits are no numbers, the first for {bad[0]}; the weights are "
                "spoilt, or set predict.precision=fp32"
            )
        return logits_N.numpy(), features_ND.numpy().clip(-65504, 65504).astype(np.float16)

    def crops(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and float16 features_ND of crops (HWC uint8 RGB, square, any size)."""
        parts = [
            self.batch(self._batch(part), [f"crop {start + i}" for i in range(len(part))])
            for start in range(0, len(crops), self.batch_size)
            for part in (crops[start : start + self.batch_size],)
        ]
        if not parts:
            return np.empty(0, np.float32), np.empty((0, self.model.n_features), np.float16)
        return np.concatenate([logits for logits, _ in parts]), np.concatenate([features for _, features in parts])


class _Crops(Dataset[torch.Tensor]):
    def __init__(self, faces: pd.DataFrame, work_dir: Path, see: Callable[[np.ndarray], np.ndarray]) -> None:
        self.work_dir, self.see = work_dir, see
        self.shards, self.offsets, self.sizes = (faces[n].to_numpy() for n in ("shard", "offset", "size"))

    def __len__(self) -> int:
        return len(self.offsets)

    def crop(self, i: int) -> np.ndarray:
        return read_crop(self.work_dir, str(self.shards[i]), int(self.offsets[i]), int(self.sizes[i]))

    def __getitem__(self, i: int) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.see(self.crop(i)).transpose(2, 0, 1)))


@dataclass(frozen=True)
class FrameOutputs:
    """Rows of faces with the frame model's logit and features, in the same order; what that cost, where it is known."""

    faces: pd.DataFrame
    logits_N: np.ndarray
    features_ND: np.ndarray
    work_dir: Path
    cost: Cost | None = None

    def tracks(self, labels: Mapping[str, int] | None = None) -> list[TrackFeatures]:
        """The tracks in them, with labels by video_id; a video without one gets None."""
        return split_tracks(self.faces, self.features_ND, self.logits_N, labels or {}, self.work_dir)

    def scores(self, model_name: str) -> pd.DataFrame:
        """The rows of FRAME_SCORES."""
        rows = self.faces[["video_id", "track", "frame_index"]].assign(model=model_name, logit=self.logits_N)
        return rows[["model", "video_id", "track", "frame_index", "logit"]].reset_index(drop=True)


def score_faces(scorer: FrameScorer, faces: pd.DataFrame, work_dir: Path, loader_workers: int = 0) -> FrameOutputs:
    """Score stored crops; `faces` are rows of the faces table."""
    began = time.perf_counter()
    crops = _Crops(faces, work_dir, scorer.see)
    if loader_workers:
        before_workers()
    loader = DataLoader(
        crops,
        batch_size=scorer.batch_size,
        num_workers=loader_workers,
        pin_memory=scorer.device.type == "cuda",
    )
    names = [f"{v!r} track {t} frame {f}" for v, t, f in faces[PLACES[:3]].itertuples(index=False)]
    logits_N = np.empty(len(faces), np.float32)
    features_ND = np.empty((len(faces), scorer.model.n_features), np.float16)
    start = 0
    for batch_NCHW in loader:
        rows = slice(start, start + len(batch_NCHW))
        logits_N[rows], features_ND[rows] = scorer.batch(batch_NCHW, names[rows])
        start += len(batch_NCHW)
    seconds, n_videos = time.perf_counter() - began, faces["video_id"].nunique()
    cost = Cost(seconds, n_videos, machine=machine_of(scorer.device))
    return FrameOutputs(faces, logits_N, features_ND, work_dir, cost)


def mean_of_views(
    views: Sequence[CropView], score: Callable[[CropView], tuple[np.ndarray, np.ndarray]], with_features: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The mean logits_N over the views, and the features_ND of the view the network learnt by, for heads know no other.

    `score` gives logits_N and features_ND of one view. Not `with_features`: those of the first view, whichever it is.
    """
    found = {view: score(view) for view in dict.fromkeys([*views, CropView()] if with_features else views)}
    logits_N = np.asarray(np.mean([found[view][0] for view in views], axis=0, dtype=np.float64), np.float32)
    return logits_N, found[CropView() if with_features else views[0]][1]


def _probe(faces: pd.DataFrame, work_dir: Path, n_crops: int = 8) -> list[np.ndarray]:
    spread = faces.iloc[np.unique(np.linspace(0, len(faces) - 1, n_crops).round().astype(int))] if len(faces) else faces
    return [read_crop(work_dir, *place) for place in spread[["shard", "offset", "size"]].itertuples(index=False)]


def open_scorer(checkpoint: Path, predict: Predict, faces: pd.DataFrame, work_dir: Path) -> FrameScorer:
    """A finished frame model, ready to score; some of the faces' crops decide about its precision."""
    model = load_frames(checkpoint)
    return FrameScorer(model, predict, _probe(faces, work_dir))


def frame_outputs(config: Config, checkpoint: Path, faces: pd.DataFrame) -> Iterator[FrameOutputs]:
    """Score faces, sorted by the table's key, by a finished frame model; parts scored before are read back.

    `checkpoint` is the model's folder; the parts, each of some hundred videos, lie in its `scored/`.
    """
    weights_sha256 = read_card(checkpoint).weights_sha256
    scorer: FrameScorer | None = None
    ids = faces["video_id"].to_numpy(object)
    first_rows = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]]) if len(ids) else np.empty(0, int)
    starts = first_rows[::VIDEOS_PER_PART]
    bar = tqdm(total=len(faces), desc=f"score {checkpoint.parent.name} {checkpoint.name}", unit="crop", disable=None)
    for start, end in zip(starts, [*starts, len(faces)][1:], strict=True):
        part = faces.iloc[start:end].reset_index(drop=True)
        key = digest([weights_sha256, content_digest(part[PLACES]), config.predict.precision, config.predict.device])
        stem = checkpoint / "scored" / key[:24]
        found = read_outputs(stem, len(part))
        if found is None:
            scorer = scorer or open_scorer(checkpoint, config.predict, faces, config.work_dir)
            outputs = score_faces(scorer, part, config.work_dir, config.frames.loader_workers)
            if outputs.cost is not None:
                write_cost(stem.with_suffix(COST), outputs.cost)  # before what it is the cost of
            write_outputs(stem, outputs.logits_N, outputs.features_ND)
        else:
            outputs = FrameOutputs(part, *found, config.work_dir, read_cost(stem.with_suffix(COST)))
        bar.update(len(part))
        yield outputs
    bar.close()


def write_outputs(stem: Path, logits_N: np.ndarray, features_ND: np.ndarray) -> None:
    """Keep logits and features in two files that begin like `stem`."""
    write_array(stem.with_suffix(".features.npy"), features_ND)
    write_array(stem.with_suffix(".logits.npy"), logits_N)


def read_outputs(stem: Path, n_crops: int) -> tuple[np.ndarray, np.ndarray] | None:
    """logits_N and features_ND of so many crops; None: not there, or not whole."""
    # Mapped: the features of the whole of DFDC are 8 GB a model.
    logits_N, features_ND = (map_array(stem.with_suffix(f".{name}.npy"), n_crops) for name in ("logits", "features"))
    return None if logits_N is None or features_ND is None else (np.array(logits_N), features_ND)


def refuse_constant(scores: pd.DataFrame, what: str) -> None:
    """Raise UserError where more than ten videos all have the very same scores (columns video_id and logit).

    Rows with n_frames 0 do not count: whoever says nothing says the same of all.
    """
    if "n_frames" in scores:
        scores = scores[scores["n_frames"] > 0]
    if scores["video_id"].nunique() >= MIN_VIDEOS_TO_DIFFER and np.ptp(scores["logit"].to_numpy()) == 0:
        raise UserError(
            f"{what}: {scores['video_id'].nunique()} videos all got the logit {scores['logit'].iloc[0]:.6g}; the model "
            "has learnt nothing, or its weights were not loaded. Look at its log.jsonl and train again with --force"
        )


def fold_numbers(tables: Tables) -> list[int]:
    """The folds there are, in order."""
    return sorted(int(fold) for fold in tables.labelled()["fold"].unique())


FRAME_KEY = ["model", "video_id", "track", "frame_index"]


def mean_logits(parts: Sequence[pd.DataFrame], key: list[str], what: str) -> pd.DataFrame:
    """The mean logit of rows of equal key, sorted by it; `what` is how errors call the scores."""
    if not parts:
        return pd.DataFrame({name: [] for name in (*key, "logit")})
    scores = pd.concat(parts).groupby(key, as_index=False, sort=True)["logit"].mean()
    refuse_constant(scores, what)
    return scores


def oof_frames(config: Config, tables: Tables) -> pd.DataFrame:
    """FRAME_SCORES of all labelled videos, each by the model that has not seen it; notes what that cost."""
    videos = tables.labelled()
    jobs = [
        (fold, tables.faces_of(list(videos.loc[videos["fold"] == fold, "video_id"]))) for fold in fold_numbers(tables)
    ]
    return mean_logits(_all_outputs(config, jobs, "oof"), FRAME_KEY, "frames, out of fold")


def _all_outputs(config: Config, jobs: Sequence[tuple[int, pd.DataFrame]], scored: str) -> list[pd.DataFrame]:
    """Rows of FRAME_SCORES of each fold's model for its faces; their cost is noted as that of `scored`."""
    parts, costs = [], []
    for fold, faces in jobs:
        for outputs in frame_outputs(config, fold_folder(config.run_dir, "frames", fold), faces):
            parts.append(outputs.scores("frames"))
            costs.append(outputs.cost)
    write_cost(cost_path(config.run_dir, "frames", scored), total(costs))
    return parts


def fold_features(config: Config, tables: Tables, fold: int | None, held_out: bool) -> list[TrackFeatures]:
    """Tracks, by the fold's frame model, of the videos the fold holds out, or of those it learns from (None: all)."""
    videos = tables.labelled()
    chosen = videos[(videos["fold"] == fold) == held_out]
    labels = dict(zip(chosen["video_id"], chosen["label"].astype(int), strict=True))
    parts = frame_outputs(
        config, fold_folder(config.run_dir, "frames", fold), tables.faces_of(list(chosen["video_id"]))
    )
    return [track for outputs in parts for track in outputs.tracks(labels)]


def predict_frames(config: Config, faces: pd.DataFrame, folds: Sequence[int]) -> pd.DataFrame:
    """FRAME_SCORES of videos no model has seen, sorted by the table's key: the mean logit of the folds' models.

    Notes what that cost.
    """
    parts = _all_outputs(config, [(fold, faces) for fold in folds], "test")
    return mean_logits(parts, FRAME_KEY, "frames, videos to predict")
