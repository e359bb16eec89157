"""Crops of labelled clips, as if stage 02 had found them; networks measured on them and on videos alike."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.models.checkpoints import save_model
from deepfake.models.frames import FrameClassifier
from deepfake.settings import Config
from deepfake.settings_file import default_config
from face_pictures import face
from lab.cross_validation import CLIPS
from lab.labelled_crops import FRESH, LABELS, Asked, clips_table, fresh_clips, read_crops
from learning_data import one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 120


@pytest.fixture
def config() -> Config:
    return default_config(["extract.margin_ratio=0.5", "extract.crop_px=64", "extract.image_format=png"])


@pytest.fixture
def crops_csv(tmp_path: Path) -> Path:
    rows = []
    for clip, split, label in (("c1", "train", "REAL"), ("c2", "train", "FAKE"), ("n1", FRESH, "FAKE")):
        for k in range(2):
            one = face(k, SIDE)
            (tmp_path / f"{clip}-{k}.png").write_bytes(cv2.imencode(".png", one.picture[..., ::-1])[1].tobytes())
            about = [f"{clip}-{k}.png", clip, split, label, "swap", "g", "ann", "web", 30, 40, 70, 80]
            rows.append([*about, *one.landmarks.ravel()])
    names = ["file", "clip_id", "split", "label", "family", "generator", "identity", "source", "x0", "y0", "x1", "y1"]
    pd.DataFrame(rows, columns=[*names, *(f"lm{i}_{a}" for i in range(5) for a in "xy")]).to_csv(
        tmp_path / "more.csv", index=False
    )
    return tmp_path / "more.csv"


def test_crops_become_faces_cut_about_the_middle_of_their_box(crops_csv: Path, config: Config, tmp_path: Path) -> None:
    clips = read_crops(crops_csv, ["train"], config, tmp_path / "cache")
    assert clips.video_ids == ["c1", "c2"] and clips.labels.tolist() == [0, 1]
    tables.check(tables.FACES, clips.faces)
    row = clips.faces.iloc[0]
    # The box of 40 px lies 20 px inside a square of 80, kept at 64: 16 to 48.
    assert row[["x0_px", "y0_px", "x1_px", "y1_px"]].tolist() == pytest.approx([16, 16, 48, 48])
    crop = read_crop(tmp_path / "cache", row["shard"], int(row["offset"]), int(row["size"]))
    assert crop.shape == (64, 64, 3)
    wanted = cv2.resize(face(0, SIDE).picture[20:100, 10:90], (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop, wanted)


def test_a_table_of_clips_says_what_folds_need(crops_csv: Path, config: Config, tmp_path: Path) -> None:
    table = clips_table(read_crops(crops_csv, ["train"], config, tmp_path / "cache"), "more-")
    assert list(table.columns) == list(CLIPS)
    assert table.iloc[1].tolist() == ["c2", 1, "swap", "g", "ann", "web", "more-train"]


def test_a_network_is_measured_on_crops(crops_csv: Path, config: Config, tmp_path: Path) -> None:
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


def test_lists_that_cannot_be_used_are_told_apart(crops_csv: Path, config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of split dev"):
        read_crops(crops_csv, ["dev"], config, tmp_path)
    table = pd.read_csv(crops_csv)
    table.assign(label="MAYBE").to_csv(crops_csv, index=False)
    with pytest.raises(UserError, match=r"'c1-0\.png' has label 'MAYBE'"):
        read_crops(crops_csv, ["train"], config, tmp_path)
    table.drop(columns="source").to_csv(crops_csv, index=False)
    with pytest.raises(UserError, match="no column source"):
        read_crops(crops_csv, ["train"], config, tmp_path)
    table.to_csv(crops_csv, index=False)
    (tmp_path / "c1-0.png").unlink()
    with pytest.raises(UserError, match="does not exist"):
        read_crops(crops_csv, ["train"], config, tmp_path)
    assert LABELS == {"REAL": 0, "FAKE": 1}
