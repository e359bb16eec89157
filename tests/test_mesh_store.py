"""Meshes of stored crops: in pixels of the frame, found once and kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake import mesh_store, tables
from deepfake.crops import Square, cut_square
from deepfake.mesh import face_mesh
from deepfake.mesh_motion import POINTS
from deepfake.mesh_store import AT_ONCE, StoredMesh
from deepfake.shards import encode_crop, write_shard
from face_pictures import face
from learning_data import face_row

SIDE_PX = 400
FRAME = face(0, SIDE_PX, grain=3.0)
BOX = (0.26 * SIDE_PX, 0.28 * SIDE_PX, 0.74 * SIDE_PX, 0.78 * SIDE_PX)


@dataclass(frozen=True)
class Whole:
    """A frame that crops are cut from."""

    width_px: int = SIDE_PX
    height_px: int = SIDE_PX

    def rgb_region(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        return FRAME.picture[y0:y1, x0:x1]


def stored(work_dir: Path, squares: list[Square], crop_px: int = 224) -> StoredMesh:
    crops = [(f"{i}.png", encode_crop(cut_square(Whole(), one, crop_px), "png", 95)) for i, one in enumerate(squares)]
    places = write_shard(work_dir / "crops/v.tar", crops, {"faces": [{}] * len(crops)})
    marks = dict(zip(tables.LANDMARKS, FRAME.landmarks.ravel().tolist(), strict=True))
    rows = [
        face_row(
            "v", 0, i, BOX, shard="crops/v.tar", offset=offset, size=size, crop_x0_px=square.x0_px,
            crop_y0_px=square.y0_px, crop_side_px=square.side_px, **marks,
        )
        for i, (square, (offset, size)) in enumerate(zip(squares, places, strict=True))
    ]  # fmt: skip
    return StoredMesh(work_dir, pd.DataFrame(rows))


def test_points_are_in_pixels_of_the_frame_wherever_the_crop_was_cut(tmp_path: Path) -> None:
    squares = [Square(0, 0, 400), Square(40.4, 35.7, 310.6), Square(-30.2, 12.9, 420.3)]
    found = stored(tmp_path, squares)(np.arange(3))
    assert found.dtype == np.float32
    whole, _ = face_mesh().find([FRAME.picture], np.array([BOX]), FRAME.landmarks[None])
    apart = np.abs(found - whole[0, list(POINTS)])
    assert apart[..., :2].mean((1, 2)).max() < 1.5
    assert apart[..., 2].mean() < 3


def test_points_are_found_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meshes = stored(tmp_path, [Square(0, 0, 400)] * (AT_ONCE + 2))
    some = meshes(np.array([AT_ONCE + 1, 0]))
    monkeypatch.setattr(mesh_store, "face_mesh", lambda: pytest.fail("it looks again"))
    again = StoredMesh(tmp_path, meshes.faces)
    assert np.array_equal(again(np.array([AT_ONCE + 1, 0])), some)
    (kept,) = (tmp_path / "mesh").rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(pytest.fail.Exception, match="it looks again"):
        again(np.array([0]))


def test_a_crop_without_a_face_and_a_row_without_landmarks(tmp_path: Path) -> None:
    meshes = stored(tmp_path, [Square(0, 0, 400), Square(0, 0, 60), Square(0, 0, 400)])
    faces = meshes.faces.copy()
    faces.loc[1, ["x0_px", "y0_px", "x1_px", "y1_px"]] = [0.0, 0, 30, 30]  # a corner of the wall
    faces.loc[2, list(tables.LANDMARKS)] = np.nan
    found = StoredMesh(tmp_path, faces)(np.arange(3))
    assert np.isfinite(found).all((1, 2)).tolist() == [True, False, True]
    assert np.abs(found[2] - found[0]).mean() < 1
