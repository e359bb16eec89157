"""Frame networks run by PyTorch: on GPUs, in bf16 where it is asked for, and wherever ONNX Runtime cannot."""

from __future__ import annotations

import logging

import numpy as np
import torch

from deepfake.models.devices import choose_device, is_fast_at_bf16, machine_of
from deepfake.models.engine import Engine
from deepfake.models.frames import FrameClassifier
from deepfake.models.networks import Runner
from deepfake.settings import Predict

MAX_BF16_DIFFERENCE = 0.1  # logits; calibration and thresholds do not see less
log = logging.getLogger(__name__)


class TorchNetwork(Runner):
    """A frame network on its device, in the precision the settings and the equality gate allow.

    The gate compares logits of `probe` crops (NCHW uint8 RGB) in both precisions; without any, auto is fp32.
    """

    def __init__(self, model: FrameClassifier, predict: Predict, probe_NCHW: np.ndarray | None = None) -> None:
        self.device = choose_device(predict.device)
        self.model = model.for_scoring().to(self.device).to(memory_format=torch.channels_last)
        if predict.threads and self.device.type == "cpu":
            torch.set_num_threads(predict.threads)
        self.input_px, self.view_ratio, self.n_features = model.input_px, model.view_ratio, model.n_features
        self.has_maps = model.map_head is not None
        self.bf16 = predict.precision == "bf16"
        self.bf16_difference: float | None = None
        if predict.precision == "auto" and is_fast_at_bf16(self.device) and probe_NCHW is not None:
            self._pass_gate(_tensor(probe_NCHW))

    def _pass_gate(self, probe_NCHW: torch.Tensor) -> None:
        differences = (self._forward(probe_NCHW, True)[0] - self._forward(probe_NCHW, False)[0]).abs()
        self.bf16_difference = float(differences.max())
        self.bf16 = self.bf16_difference <= MAX_BF16_DIFFERENCE
        write = log.debug if self.bf16 else log.info  # only what is unusual
        write("bf16 moves logits by up to %.3f: %s", self.bf16_difference, "used" if self.bf16 else "fp32 is used")

    @property
    def engine(self) -> Engine:
        """What runs it."""
        device = "CPU" if self.device.type == "cpu" else machine_of(self.device)
        precision = "bf16" if self.bf16 else "fp32"
        return Engine(name="PyTorch", version=torch.__version__, device=device, precision=precision)

    @property
    def device_type(self) -> str:
        """cpu, cuda or mps."""
        return self.device.type

    @torch.inference_mode()
    def _forward(self, crops_NCHW: torch.Tensor, bf16: bool) -> tuple[torch.Tensor, torch.Tensor]:
        crops_NCHW = crops_NCHW.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            features_ND = self.model.features_BD(crops_NCHW)
        features_ND = features_ND.float()
        return self.model.logits_of(features_ND).cpu(), features_ND.cpu()

    def run(self, crops_NCHW: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and features_ND of uint8 RGB crops."""
        logits_N, features_ND = self._forward(_tensor(crops_NCHW), self.bf16)
        return logits_N.numpy(), features_ND.numpy()

    @torch.inference_mode()
    def maps(self, crops_NCHW: np.ndarray) -> np.ndarray:
        """Logits (N, K, H, W) of the maps of such crops; only of a network that has maps."""
        maps_NKHW = self.model.features_and_maps(_tensor(crops_NCHW).to(self.device))[1]
        return np.asarray(maps_NKHW.float().cpu().numpy())


def _tensor(crops_NCHW: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Crops as torch has them; a mirrored array runs backwards, which torch cannot."""
    return torch.from_numpy(np.ascontiguousarray(crops_NCHW)) if isinstance(crops_NCHW, np.ndarray) else crops_NCHW
