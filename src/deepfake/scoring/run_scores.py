"""Frame logits of a run's networks over the tables of a data set, kept in parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.datasets.pairs import Tables, content_digest
from deepfake.datasets.track_clips import TrackFeatures, split_tracks
from deepfake.datasets.views import before_workers
from deepfake.ensemble.costs import Cost, cost_path, read_cost, total, write_cost
from deepfake.ensemble.submission import MIN_VIDEOS_TO_DIFFER
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.files import digest
from deepfake.models.checkpoints import fold_folder, read_card
from deepfake.models.devices import choose_device, machine_of
from deepfake.scoring.frame_scorer import PLACES, FrameScorer, open_scorer
from deepfake.settings import Config

VIDEOS_PER_PART = 500  # a killed stage scores at most so many videos again


COST = ".cost.json"  # beside the outputs of a part


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
        pin_memory=scorer.model.device_type == "cuda",
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
    cost = Cost(seconds, n_videos, machine=machine_of(choose_device(scorer.model.device_type)))
    return FrameOutputs(faces, logits_N, features_ND, work_dir, cost)


@dataclass(frozen=True)
class FramePart:
    """Faces of some hundred videos, and where what a frame model makes of them is kept."""

    checkpoint: Path
    stem: Path
    faces: pd.DataFrame

    def kept(self) -> tuple[np.ndarray, np.ndarray] | None:
        """logits_N and features_ND that were made before."""
        return read_outputs(self.stem, len(self.faces))


def frame_parts(config: Config, checkpoint: Path, faces: pd.DataFrame) -> Iterator[FramePart]:
    """Faces, sorted by the table's key, in parts for a finished frame model in the folder `checkpoint`."""
    weights_sha256 = read_card(checkpoint).weights_sha256
    ids = faces["video_id"].to_numpy(object)
    first_rows = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]]) if len(ids) else np.empty(0, int)
    starts = first_rows[::VIDEOS_PER_PART]
    for start, end in zip(starts, [*starts, len(faces)][1:], strict=True):
        part = faces.iloc[start:end].reset_index(drop=True)
        key = digest([weights_sha256, content_digest(part[PLACES]), config.predict.precision, config.predict.device])
        yield FramePart(checkpoint, checkpoint / "scored" / key[:24], part)


def keep_outputs(part: FramePart, scorer: FrameScorer, config: Config) -> FrameOutputs:
    """Score a part and keep what is made of it."""
    outputs = score_faces(scorer, part.faces, config.work_dir, config.frames.loader_workers)
    if outputs.cost is not None:
        write_cost(part.stem.with_suffix(COST), outputs.cost)  # before what it is the cost of
    write_outputs(part.stem, outputs.logits_N, outputs.features_ND)
    return outputs


def frame_outputs(config: Config, checkpoint: Path, faces: pd.DataFrame) -> Iterator[FrameOutputs]:
    """Score faces, sorted by the table's key, by a finished frame model; parts scored before are read back.

    `checkpoint` is the model's folder; the parts, each of some hundred videos, lie in its `scored/`.
    """
    scorer: FrameScorer | None = None
    bar = tqdm(total=len(faces), desc=f"score {checkpoint.parent.name} {checkpoint.name}", unit="crop", disable=None)
    for part in frame_parts(config, checkpoint, faces):
        kept = part.kept()
        if kept is None:
            scorer = scorer or open_scorer(checkpoint, config.predict, faces, config.work_dir)
            outputs = keep_outputs(part, scorer, config)
        else:
            outputs = FrameOutputs(part.faces, *kept, config.work_dir, read_cost(part.stem.with_suffix(COST)))
        bar.update(len(part.faces))
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

    Rows with n_frames 0 do not count: a member that abstains gives all the same logit.
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
