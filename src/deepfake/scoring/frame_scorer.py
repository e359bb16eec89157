"""Logits and features of frames by finished models, out of fold and for videos to predict.

What a frame model makes of a video's crops is kept beside the model, so stages 04, 05 and 06 compute
it once. Letters: N crops, D features, T frames of a track.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from deepfake.datasets.views import see
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.models.graphs import side_of
from deepfake.models.networks import Runner
from deepfake.settings import CropView, Predict

if TYPE_CHECKING:  # torch costs seconds, and where ONNX Runtime scores it is not needed; nor are tables
    import pandas as pd
    import torch

    from deepfake.models.frames import FrameClassifier

PLACES = ["video_id", "track", "frame_index", "shard", "offset", "size"]


class FrameScorer:
    """A frame network, by whatever runs it, that is shown crops in its own view; PyTorch runs one that nothing runs.

    `probe` crops (HWC uint8 RGB) decide whether PyTorch may use bf16, where the settings leave that to it.
    """

    def __init__(self, model: FrameClassifier | Runner, predict: Predict, probe: Sequence[np.ndarray] = ()) -> None:
        self.batch_size = predict.batch_size
        self.see, self.mirror = partial(see, view_ratio=model.view_ratio, input_px=model.input_px), False
        self.model: Runner
        if isinstance(model, Runner):
            self.model = model
        else:
            from deepfake.models.torch_network import TorchNetwork

            self.model = TorchNetwork(model, predict, self._seen(probe) if len(probe) else None)

    def _seen(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self.see(crop) for crop in crops]).transpose(0, 3, 1, 2)

    def seeing(self, view: CropView) -> Self:
        """The same network that sees every crop in another view than it learnt by."""
        other = copy.copy(self)
        other.see = partial(
            see,
            view_ratio=min(self.model.view_ratio * view.view_ratio, 1.0),
            input_px=side_of(self.model.input_px, view),
            surroundings_blur=view.surroundings_blur,
            crop_px=view.crop_px,
        )
        other.mirror = view.mirror
        return other

    def batch(self, crops_NCHW: np.ndarray | torch.Tensor, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and float16 features_ND of crops at the model's size; `names` is for errors."""
        if self.mirror:
            crops_NCHW = crops_NCHW[..., ::-1] if isinstance(crops_NCHW, np.ndarray) else crops_NCHW.flip(-1)
        return self._run(crops_NCHW, names)

    def _run(self, crops_NCHW: np.ndarray | torch.Tensor, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        logits_N, features_ND = self.model.run(crops_NCHW)
        bad = [name for name, good in zip(names, np.isfinite(logits_N).tolist(), strict=True) if not good]
        if bad:
            raise UserError(
                f"scoring: {len(bad)} logits are no numbers, the first for {bad[0]}; the weights are "
                "spoilt, or set predict.precision=fp32"
            )
        return logits_N, features_ND.clip(-65504, 65504).astype(np.float16)

    def crops(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and float16 features_ND of crops (HWC uint8 RGB, square, any size)."""
        parts = [
            self.batch(self._seen(part), [f"crop {start + i}" for i in range(len(part))])
            for start in range(0, len(crops), self.batch_size)
            for part in (crops[start : start + self.batch_size],)
        ]
        if not parts:
            return np.empty(0, np.float32), np.empty((0, self.model.n_features), np.float16)
        return np.concatenate([logits for logits, _ in parts]), np.concatenate([features for _, features in parts])

    def in_views(
        self, views: Sequence[CropView], crops: Sequence[np.ndarray], with_features: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """`mean_of_views` of crops; all views of one size go through the network together."""
        wanted = list(dict.fromkeys([*views, CropView()] if with_features else views))
        by_side: dict[int, list[CropView]] = {}
        for view in wanted:
            by_side.setdefault(side_of(self.model.input_px, view), []).append(view)
        parts: dict[CropView, list[tuple[np.ndarray, np.ndarray]]] = {view: [] for view in wanted}
        n_crops = max(self.batch_size // max(len(alike) for alike in by_side.values()), 1)
        for start in range(0, len(crops), n_crops):
            for alike in by_side.values():
                made = self._together(alike, crops[start : start + n_crops], start)
                for view, part in zip(alike, made, strict=True):
                    parts[view].append(part)
        empty = (np.empty(0, np.float32), np.empty((0, self.model.n_features), np.float16))

        def outputs(view: CropView) -> tuple[np.ndarray, np.ndarray]:
            logits, features = zip(empty, *parts[view], strict=True)
            return np.concatenate(logits), np.concatenate(features)

        return mean_of_views(views, outputs, with_features)

    def _together(
        self, views: Sequence[CropView], crops: Sequence[np.ndarray], first: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Logits and features of crops in views of one size, from one call; `first` numbers them in errors."""
        shown = []
        for view in views:
            seen_NCHW = self.seeing(view)._seen(crops)
            shown.append(seen_NCHW[..., ::-1] if view.mirror else seen_NCHW)
        names = [f"crop {first + i}" for _ in views for i in range(len(crops))]
        logits, features = self._run(np.concatenate(shown), names)
        return list(zip(np.split(logits, len(views)), np.split(features, len(views)), strict=True))


def mean_of_views(
    views: Sequence[CropView], score: Callable[[CropView], tuple[np.ndarray, np.ndarray]], with_features: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The mean logits_N over the views, and the features_ND of the view the network learnt by, for heads know no other.

    `score` gives logits_N and features_ND of one view. Not `with_features`: those of the first view, whichever it is.
    """
    outputs = {view: score(view) for view in dict.fromkeys([*views, CropView()] if with_features else views)}
    logits_N = np.asarray(np.mean([outputs[view][0] for view in views], axis=0, dtype=np.float64), np.float32)
    return logits_N, outputs[CropView() if with_features else views[0]][1]


def probed(faces: pd.DataFrame, n_crops: int = 8) -> pd.DataFrame:
    """The faces whose crops decide about precision, spread over all."""
    return faces.iloc[np.unique(np.linspace(0, len(faces) - 1, n_crops).round().astype(int))] if len(faces) else faces


def _probe(faces: pd.DataFrame, work_dir: Path) -> list[np.ndarray]:
    places = probed(faces)[["shard", "offset", "size"]]
    return [read_crop(work_dir, *place) for place in places.itertuples(index=False)]


def open_scorer(checkpoint: Path, predict: Predict, faces: pd.DataFrame, work_dir: Path) -> FrameScorer:
    """A finished frame model, ready to score; some of the faces' crops decide about its precision."""
    from deepfake.models.checkpoints import load_frames

    return FrameScorer(load_frames(checkpoint), predict, _probe(faces, work_dir))
