"""Crops of labelled clips, as if stage 02 had found them."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake import tables
from deepfake.detector.listed_crops import LABELS, clips_table, read_crops
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.settings import Extract
from deepfake.training.source_groups import CLIPS
from face_pictures import face
from listed_faces import SIDE, write_list

EXTRACT = Extract(margin_ratio=0.5, crop_px=64, image_format="png")


@pytest.fixture
def crops_csv(tmp_path: Path) -> Path:
    return write_list(tmp_path)


def test_crops_become_faces_cut_about_the_middle_of_their_box(crops_csv: Path, tmp_path: Path) -> None:
    clips = read_crops(crops_csv, ["train"], EXTRACT, tmp_path / "cache")
    assert clips.video_ids == ["c1", "c2"] and clips.labels.tolist() == [0, 1]
    tables.check(tables.FACES, clips.faces)
    row = clips.faces.iloc[0]
    # The box of 40 px lies 20 px inside a square of 80, kept at 64: 16 to 48.
    assert row[["x0_px", "y0_px", "x1_px", "y1_px"]].tolist() == pytest.approx([16, 16, 48, 48])
    crop = read_crop(tmp_path / "cache", row["shard"], int(row["offset"]), int(row["size"]))
    assert crop.shape == (64, 64, 3)
    wanted = cv2.resize(face(0, SIDE).picture[20:100, 10:90], (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop, wanted)


def test_a_table_of_clips_says_what_folds_need(crops_csv: Path, tmp_path: Path) -> None:
    table = clips_table(read_crops(crops_csv, ["train"], EXTRACT, tmp_path / "cache"), "more-")
    assert list(table.columns) == list(CLIPS)
    assert table.iloc[1].tolist() == ["c2", 1, "swap", "g", "ann", "web", "more-train"]


def test_lists_that_cannot_be_used_are_told_apart(crops_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of split dev"):
        read_crops(crops_csv, ["dev"], EXTRACT, tmp_path)
    table = pd.read_csv(crops_csv)
    table.assign(label="MAYBE").to_csv(crops_csv, index=False)
    with pytest.raises(UserError, match=r"'c1-0\.png' has label 'MAYBE'"):
        read_crops(crops_csv, ["train"], EXTRACT, tmp_path)
    table.drop(columns="source").to_csv(crops_csv, index=False)
    with pytest.raises(UserError, match="no column source"):
        read_crops(crops_csv, ["train"], EXTRACT, tmp_path)
    table.to_csv(crops_csv, index=False)
    (tmp_path / "c1-0.png").unlink()
    with pytest.raises(UserError, match="does not exist"):
        read_crops(crops_csv, ["train"], EXTRACT, tmp_path)
    assert LABELS == {"REAL": 0, "FAKE": 1}
