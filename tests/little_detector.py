"""A detector's file of little networks with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from deepfake.detector.file import Part, save_detector
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.models.checkpoints import load_model, save_model
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.sequences import SequenceClassifier
from deepfake.settings import Config
from learning_data import config


def saved(folder: Path, kind: str, model: nn.Module) -> Path:
    save_model(folder, kind, model, fold=None, settings_digest="d", metrics={}, about={})
    return folder


def frames(folder: Path, seed: int, **settings: object) -> Path:
    """A network whose logits are as large as those of a learnt one."""
    torch.manual_seed(seed)
    model = FrameClassifier("test_efficientnet", 32, **settings)
    nn.init.normal_(model.head.weight, std=0.5)
    return saved(folder, "frames", model)


def sequences(folder: Path, frames_dir: Path) -> Path:
    model = load_model(frames_dir, "frames")
    assert isinstance(model, FrameClassifier)
    return saved(folder, "sequences", SequenceClassifier(model.n_features, 4))


def stack(*members: str) -> Stack:
    return Stack(
        members, tuple(1 / len(members) for _ in members), Calibration("platt", 0.7, -0.1, 40), 0.5, (0.4, 0.6)
    )


def settings(folder: Path) -> Config:
    return config(folder)


def two_members(folder: Path) -> tuple[Path, list[Part]]:
    """A detector of two frame networks under names of their own, one folded and with maps; no sequences."""
    parts = [
        Part("wide", frames(folder / "one", 1, view_ratio=0.7)),
        Part("near-250", frames(folder / "two", 2, maps=True, folded=True)),
    ]
    path = folder / "two.safetensors"
    save_detector(path, "two", parts, stack("wide", "near-250"), settings(folder))
    return path, parts
