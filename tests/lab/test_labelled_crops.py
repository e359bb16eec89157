"""Networks measured on crops of labelled clips."""

from pathlib import Path

import numpy as np
import pytest

from deepfake.models.checkpoints import save_model
from deepfake.models.frames import FrameClassifier
from deepfake.settings_file import default_config
from lab.labelled_crops import FRESH, Asked, fresh_clips
from learning_data import one_thread  # noqa: F401 - a fixture
from listed_faces import write_list

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_network_is_measured_on_crops(tmp_path: Path) -> None:
    config = default_config(["extract.margin_ratio=0.5", "extract.crop_px=64", "extract.image_format=png"])
    crops_csv = write_list(tmp_path, ("train", "train", FRESH))
    network = FrameClassifier("test_efficientnet", 32, view_ratio=0.7)
    card = save_model(
        tmp_path / "net",
        "frames",
        network,
        fold=None,
        settings_digest="x",
        metrics={},
        about={"margin_ratio": 0.5, "crop_px": 64},
    )
    asked = Asked({"net": card.parent}, 8, tmp_path / "cache", [], [])
    table, tracks = fresh_clips(crops_csv, asked, config)
    assert table["clip"].tolist() == ["n1"] == list(tracks.video_ids)
    assert tracks.logits_KM.shape == (1, 1) and np.isfinite(tracks.logits_KM).all()
