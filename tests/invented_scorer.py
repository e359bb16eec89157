"""A scorer whose networks answer by numbers written into the crops."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from deepfake.detector.file import TrainedDetector
from deepfake.detector.video_scorer import VideoScorer
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.faces.crop_store import encode_crop, write_shard
from deepfake.faces.extracted import StoredFace
from deepfake.faces.extraction import faces_of_rows
from deepfake.models.frames import FrameClassifier
from deepfake.models.members import Member
from deepfake.settings import Ensemble, Extract, Predict
from learning_data import face_row, one_thread, picture  # noqa: F401 - a fixture


def always(logit: float) -> FrameClassifier:
    """A network that gives one logit to everything."""
    model = FrameClassifier("test_efficientnet", 32).eval()
    nn.init.zeros_(model.head.weight)
    nn.init.constant_(model.head.bias, logit)
    return model


def scorer_with(pooling: Ensemble, members: list[Member], **weights: float) -> VideoScorer:
    stack = Stack(tuple(weights), tuple(weights.values()), Calibration("none"), 0.5, (0.3, 0.7))
    return VideoScorer(
        TrainedDetector("d", members, stack, Extract(), pooling, {}), Predict(device="cpu", precision="fp32")
    )


def faces_of(folder: Path, *lengths: int, side_px: float = 40) -> list[StoredFace]:
    """Faces of one video with a track of each length."""
    names = [(track, frame) for track, length in enumerate(lengths) for frame in range(length)]
    crops = [(f"{t}_{f}.png", encode_crop(picture(10 * t + f, False), "png", 95)) for t, f in names]
    places = write_shard(folder / "v.tar", crops, {"faces": [{}] * len(crops)})
    return faces_of_rows(
        face_row("v.mp4", t, f, (0, 0, side_px, 30), shard="v.tar", offset=offset, size=size, sharpness=1000.0)
        for (t, f), (offset, size) in zip(names, places, strict=True)
    )
