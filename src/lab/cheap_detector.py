"""A detector with a tiny network that has learnt nothing: whole commands run with it in seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from deepfake.detector.file import Part, save_detector
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.models.checkpoints import save_model
from deepfake.models.frames import FrameClassifier
from deepfake.settings_file import parse_config

NETWORK, INPUT_PX = "test_efficientnet", 32


def write_cheap_detector(path: Path, extract: Mapping[str, object]) -> None:
    """Write such a detector with these settings of extraction; always the same bytes for the same settings."""
    config = parse_config({"extract": {"detection_side_px": 96, "crop_px": 32, **extract}})
    torch.manual_seed(0)
    model = FrameClassifier(NETWORK, INPUT_PX).eval()
    stack = Stack(("frames",), (1.0,), Calibration("none"), 0.5, (0.3, 0.7))
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), "frames", model, fold=None, settings_digest="", metrics={}, about={})
        save_detector(path, "cheap", [Part("frames", Path(folder), {})], stack, config)
