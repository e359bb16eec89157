"""Invented videos for the tests of learning: crops whose fakes carry a checkerboard."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake import tables
from deepfake.config import Config, Sequences, parse_config
from deepfake.datasets import Tables
from deepfake.models import new_head
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads import TrackHead
from deepfake.shards import encode_crop, write_shard
from deepfake.track_inputs import TrackFeatures


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread that waits for a busy core makes a step ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def face_row(video_id: str, track: int, frame_index: int, box: tuple[float, ...], **place: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(tables.LANDMARKS, 0.0)
    row |= dict(zip(("x0_px", "y0_px", "x1_px", "y1_px"), box, strict=True))
    row |= {"video_id": video_id, "shot": 0, "track": track, "frame_index": frame_index, "time_s": frame_index / 30}
    row |= {"score": 0.99, "is_detected": True, "crop_x0_px": 0.0, "crop_y0_px": 0.0, "crop_side_px": 100.0}
    return row | {"sharpness": 50.0, "shard": "none.tar", "offset": 0, "size": 0} | place


def video_row(video_id: str, label: int | None, original: str | None = None, split: str = "train") -> dict[str, object]:
    row: dict[str, object] = {c.name: None for c in tables.VIDEOS.columns}
    row |= {"video_id": video_id, "label": label, "original": original, "split": split, "part": ".", "status": "ok"}
    return row | {"size_bytes": 1, "n_frames": 90}


def picture(seed: int, is_fake: bool, side: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    soft = rng.integers(60, 190, (4, 4, 3)).repeat(side // 4, 0).repeat(side // 4, 1).astype(np.int16)
    board = (np.indices((side, side)).sum(axis=0) // 2 % 2 * 2 - 1)[..., None] * 30 if is_fake else 0
    return np.clip(soft + board, 0, 255).astype(np.uint8)


def invented(work_dir: Path, n_originals: int = 4, n_frames: int = 4, n_tests: int = 2, side: int = 32) -> Tables:
    """Originals, one fake of each, and test videos; the crops lie below `work_dir`."""
    videos, faces, folds = [], [], []
    for i in range(n_originals + n_tests):
        for is_fake in (False, True):
            name = f"{'fake' if is_fake else 'real'}{i}.mp4"
            is_test = i >= n_originals
            original = f"real{i}.mp4" if is_fake and not is_test else None
            videos.append(video_row(name, None if is_test else int(is_fake), original, "test" if is_test else "train"))
            frames = [f * 9 for f in range(n_frames)]
            crops = [encode_crop(picture(i * 100 + f, is_fake, side), "png", 95) for f in frames]
            shard = f"crops/{name}.tar"
            places = write_shard(
                work_dir / shard,
                [(f"{f}.png", c) for f, c in zip(frames, crops, strict=True)],
                {"faces": [{}] * n_frames},
            )
            for f, (offset, size) in zip(frames, places, strict=True):
                faces.append(face_row(name, 0, f, (10, 10, 60, 60), shard=shard, offset=offset, size=size))
            if not is_test:
                folds.append({"video_id": name, "group": f"real{i}.mp4", "fold": i % 2})
    made = (
        tables.check(t, pd.DataFrame(rows)).to_pandas()
        for t, rows in ((tables.VIDEOS, videos), (tables.FACES, faces), (tables.FOLDS, folds))
    )
    return Tables(*made)


def track_of(
    video_id: str, label: int | None, features_TD: np.ndarray, logits_T: np.ndarray, **changes: object
) -> TrackFeatures:
    """A track at 25 frames a second; of a real one no frame is forged, of others no one knows."""
    n = len(logits_T)
    values: dict[str, object] = {
        "times_T": np.arange(n) / 25,
        "landmarks_T52": np.full((n, 5, 2), np.nan),
        "boxes_T4": np.zeros((n, 4)),
        "forged_T": np.full(n, 0.0 if label == 0 else np.nan, np.float32),
    }
    return TrackFeatures(
        video_id=video_id,
        track=0,
        label=label,
        frame_index_T=np.arange(n),
        features_TD=features_TD,
        logits_T=logits_T,
        **(values | changes),
    )  # type: ignore[arg-type]


def config(data_dir: Path, **sections: dict[str, object]) -> Config:
    """Settings small enough for a test."""
    frames = {
        "backbone": "test_efficientnet",
        "start_from": "random",
        "input_px": 32,
        "frozen_stages": 0,
        "freeze_batchnorm": False,
        "epochs": 3,
        "frames_per_track": 4,
        "pairs_per_batch": 4,
        "learning_rate": 0.003,
        "backbone_rate_ratio": 1.0,
        "checkpoint_steps": 2,
        "ema_decay": 0.5,
        "validation_pairs": 2,
    }
    sequences = {"hidden": 8, "clip_frames": 3, "epochs": 3, "tracks_per_batch": 4, "checkpoint_steps": 1}
    return parse_config(
        {
            "data_dir": str(data_dir),
            "folds": {"n_folds": 2},
            "predict": {"device": "cpu", "batch_size": 8},
            "frames": frames | sections.get("frames", {}),
            "sequences": sequences | sections.get("sequences", {}),
        }
    )


def awake_head(name: str, n_features: int, hidden: int, seed: int) -> TrackHead:
    """A head that says something: what is zero before learning is not."""
    torch.manual_seed(seed)
    head = new_head(name, n_features, Sequences(hidden=hidden), lambda: FrameClassifier("test_efficientnet", 32))
    for module in head.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not module.weight.any():
            nn.init.normal_(module.weight, std=1.0 if isinstance(module, nn.Linear) else 0.1)
    return head.eval()
