"""The meshes of stored crops: found when they are first asked for, then kept beside the crops.

Rows of the faces table in, points in full-frame pixels out. Letters: T frames, P points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake.arrays import map_array, write_array
from deepfake.config import digest
from deepfake.datasets import content_digest
from deepfake.mesh import SHA256, face_mesh
from deepfake.mesh_motion import POINTS
from deepfake.shards import read_crop
from deepfake.tables import LANDMARKS

BOX = ["x0_px", "y0_px", "x1_px", "y1_px"]
SQUARE = ["crop_x0_px", "crop_y0_px", "crop_side_px"]
PLACE = ["shard", "offset", "size"]
AT_ONCE = 16


@dataclass(frozen=True)
class StoredMesh:
    """The mesh of one track, `faces` its rows, in frame order."""

    work_dir: Path
    faces: pd.DataFrame

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """float32 (len(places), P, 3): the POINTS in some frames, depth in the same unit; NaN where unsure."""
        points_TP3 = map_array(self._path, len(self.faces))
        if points_TP3 is None:
            points_TP3 = self._find()
            write_array(self._path, points_TP3)
        return np.array(points_TP3[places])

    @cached_property
    def _path(self) -> Path:
        rows = content_digest(self.faces[[*PLACE, *SQUARE, *BOX, *LANDMARKS]])
        key = digest([SHA256, POINTS, rows])
        return self.work_dir / "mesh" / key[:2] / f"{key[:32]}.npy"

    def _find(self) -> np.ndarray:
        """Some crops at a time: of a long track only points are held."""
        parts = [self._part(self.faces.iloc[i : i + AT_ONCE]) for i in range(0, len(self.faces), AT_ONCE)]
        return np.concatenate(parts)

    def _part(self, rows: pd.DataFrame) -> np.ndarray:
        crops = [read_crop(self.work_dir, str(s), int(o), int(n)) for s, o, n in rows[PLACE].itertuples(index=False)]
        # Whole pixels: the squares that were cut, see `crops.cut_square`.
        squares = rows[SQUARE].to_numpy(np.float64)
        corners, sides = np.floor(squares[:, None, :2]), np.maximum(np.round(squares[:, 2]), 2)
        ratios = (np.array([len(crop) for crop in crops]) / sides)[:, None, None]
        boxes, landmarks = (
            (rows[list(names)].to_numpy(np.float64).reshape(len(rows), -1, 2) - corners) * ratios
            for names in (BOX, LANDMARKS)
        )
        points, _ = face_mesh().find(crops, boxes.reshape(-1, 4), landmarks)
        points = points[:, list(POINTS)] / ratios
        points[..., :2] += corners
        return np.asarray(points, np.float32)
