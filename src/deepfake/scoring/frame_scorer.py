"""Logits and features of frames by finished models, out of fold and for videos to predict.

What a frame model makes of a video's crops is kept beside the model, so stages 04, 05 and 06 compute
it once. Letters: N crops, D features, T frames of a track.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch

from deepfake.datasets.views import see
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.models.checkpoints import load_frames
from deepfake.models.devices import choose_device, is_fast_at_bf16
from deepfake.models.frames import FrameClassifier
from deepfake.settings import CropView, Predict

MAX_BF16_DIFFERENCE = 0.1  # logits; calibration and thresholds do not see less
MIN_VIDEOS_TO_DIFFER = 11  # ten videos of one kind may well get the same score
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
        write = log.debug if self.bf16 else log.info  # only what is unusual
        write("bf16 moves logits by up to %.3f: %s", self.bf16_difference, "used" if self.bf16 else "fp32 is used")

    def _batch(self, crops: Sequence[np.ndarray]) -> torch.Tensor:
        seen = [self.see(crop) for crop in crops]
        return torch.from_numpy(np.stack(seen).transpose(0, 3, 1, 2))

    def seeing(self, view: CropView) -> Self:
        """The same network that sees every crop in another view than it learnt by."""
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


def mean_of_views(
    views: Sequence[CropView], score: Callable[[CropView], tuple[np.ndarray, np.ndarray]], with_features: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The mean logits_N over the views, and the features_ND of the view the network learnt by, for heads know no other.

    `score` gives logits_N and features_ND of one view. Not `with_features`: those of the first view, whichever it is.
    """
    outputs = {view: score(view) for view in dict.fromkeys([*views, CropView()] if with_features else views)}
    logits_N = np.asarray(np.mean([outputs[view][0] for view in views], axis=0, dtype=np.float64), np.float32)
    return logits_N, outputs[CropView() if with_features else views[0]][1]


def _probe(faces: pd.DataFrame, work_dir: Path, n_crops: int = 8) -> list[np.ndarray]:
    spread = faces.iloc[np.unique(np.linspace(0, len(faces) - 1, n_crops).round().astype(int))] if len(faces) else faces
    return [read_crop(work_dir, *place) for place in spread[["shard", "offset", "size"]].itertuples(index=False)]


def open_scorer(checkpoint: Path, predict: Predict, faces: pd.DataFrame, work_dir: Path) -> FrameScorer:
    """A finished frame model, ready to score; some of the faces' crops decide about its precision."""
    model = load_frames(checkpoint)
    return FrameScorer(model, predict, _probe(faces, work_dir))
