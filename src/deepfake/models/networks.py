"""What a detector is made of, whichever library runs it: members, and frame networks that answer arrays with arrays.

Letters: N crops, C channels, H rows, W columns, D features, K maps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # torch costs seconds, and where ONNX Runtime scores it is not needed
    import torch

    from deepfake.models.engine import Engine
    from deepfake.models.frames import FrameClassifier
    from deepfake.models.heads.base import TrackHead


class Runner(ABC):
    """A frame network beside what runs it; `input_px` and `view_ratio` are how it learnt to see crops."""

    input_px: int
    view_ratio: float
    n_features: int
    has_maps: bool

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What runs it."""

    @property
    @abstractmethod
    def device_type(self) -> str:
        """cpu, cuda or mps."""

    @abstractmethod
    def run(self, crops_NCHW: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and features_ND of square RGB crops, uint8."""

    @abstractmethod
    def maps(self, crops_NCHW: np.ndarray) -> np.ndarray:
        """Logits (N, K, H, W) of `maps.MAPS`; only of a network that has maps."""


@dataclass(frozen=True)
class Member:
    """A frame network and the networks over tracks, by family, that were trained beside it.

    Members of one `name`, and heads of one family, count as one for the stack: the mean of their logits.
    """

    name: str
    frames: FrameClassifier | Runner
    heads: Mapping[str, TrackHead] = field(default_factory=dict)
