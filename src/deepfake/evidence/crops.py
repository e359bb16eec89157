"""Pictures that show why: the crops of a video with the highest scores, and where the network sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deepfake.datasets.views import see
from deepfake.detector.check import Check, CheckedTrack, FrameScore
from deepfake.detector.file import TrainedDetector
from deepfake.faces.extracted import Extraction, stored_crop
from deepfake.models.maps import MAPS
from deepfake.models.networks import Runner
from deepfake.settings import Predict

if TYPE_CHECKING:  # torch costs seconds, and where ONNX Runtime scores it is not needed
    from deepfake.models.frames import FrameClassifier

MAX_TRACKS = 4
MAX_CROPS = 8
MIN_CROPS_OF_TRACK = 2
SPREAD_RATIO = 0.1  # two crops of a track are at least such a share of its length apart
PICTURE_PX = 192


@dataclass(frozen=True)
class SalientCrop:
    """A crop as its frame network sees it, and the share of forgery at each place.

    `picture_HWC` is uint8 RGB; `heat_HW` in 0..1 covers the same square, None where no network draws maps.
    """

    track: int
    frame: FrameScore
    picture_HWC: np.ndarray
    heat_HW: np.ndarray | None


def salient_crops(
    check: Check, extraction: Extraction, detector: TrainedDetector, cache_dir: Path
) -> list[SalientCrop]:
    """Up to MAX_CROPS crops of the worst tracks of a checked video, by track and time; `extraction` has them."""
    chosen = choose([track for _, track in check.tracks])
    if not chosen:
        return []
    faces = {(face.track, face.frame_index): face for face in extraction.faces}
    stored = [faces[track, frame.frame] for track, frame in chosen]
    crops = [stored_crop(cache_dir, face) for face in stored]
    first = detector.members[0].frames
    pictures = [see(crop, first.view_ratio, PICTURE_PX) for crop in crops]
    heats = heat_maps([member.frames for member in detector.members], crops)
    return [
        SalientCrop(track, frame, picture, heat)
        for (track, frame), picture, heat in zip(chosen, pictures, heats, strict=True)
    ]


def choose(tracks: Sequence[CheckedTrack]) -> list[tuple[int, FrameScore]]:
    """(track, frame) of the frames to show: the highest scores of the worst tracks, spread in time."""
    worst = sorted(tracks, key=lambda track: (not track.counts, -track.p_fake, track.track))[:MAX_TRACKS]
    share = max(MAX_CROPS // max(len(worst), 1), MIN_CROPS_OF_TRACK)
    return [
        (track.track, frame)
        for track in sorted(worst, key=lambda track: track.track)
        for frame in _spread(track, share)
    ]


def _spread(track: CheckedTrack, most: int) -> list[FrameScore]:
    apart_s = SPREAD_RATIO * (track.to_s - track.from_s)
    kept: list[FrameScore] = []
    for frame in sorted(track.frames, key=lambda frame: (-frame.score, frame.frame)):
        if len(kept) < most and all(abs(frame.time_s - other.time_s) >= apart_s for other in kept):
            kept.append(frame)
    return sorted(kept, key=lambda frame: frame.frame)


def heat_maps(models: Sequence[FrameClassifier | Runner], crops: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Mean map of forged places, in 0..1, of crops (HWC uint8 RGB) as the first model that draws maps sees them.

    None for each crop where no model was built with maps.
    """
    able = [model for model in models if model.has_maps]
    if not able or not crops:
        return [None] * len(crops)
    alike = [model for model in able if model.view_ratio == able[0].view_ratio]
    maps = np.mean([_forged(model, crops) for model in alike], axis=0)
    return [cv2.resize(heat_HW, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_LINEAR) for heat_HW in maps]


def _forged(model: FrameClassifier | Runner, crops: Sequence[np.ndarray]) -> np.ndarray:
    """Shares of forgery (B, H, W), at one size for all models."""
    seen = np.stack([see(crop, model.view_ratio, model.input_px) for crop in crops]).transpose(0, 3, 1, 2)
    if isinstance(model, Runner):
        maps_BKHW = model.maps(seen)
    else:
        from deepfake.models.torch_network import TorchNetwork

        maps_BKHW = TorchNetwork(model, Predict()).maps(seen)
    forged_BHW = 0.5 * (1 + np.tanh(0.5 * maps_BKHW[:, MAPS.index("forged")]))
    return np.stack([cv2.resize(heat_HW, (PICTURE_PX, PICTURE_PX)) for heat_HW in forged_BHW])
