"""Real pictures with five landmarks, out of photos and clips, read when they are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pandas as pd

from deepfake import labels
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.forging.families import Face
from deepfake.forging.padding import fill_padding

PHOTO_COLUMNS = ("file", "identity", *(f"lm{i}_{axis}" for i in range(5) for axis in "xy"))


LANDMARKS = [f"lm{i}_{axis}_px" for i in range(5) for axis in "xy"]


class Pictures(Protocol):
    """Face pictures with landmarks: of photos, or of the frames of clips."""

    def __len__(self) -> int: ...
    def face(self, i: int) -> Face:
        """The i-th picture and its points."""
        ...

    def landmarks(self, i: int) -> np.ndarray:
        """The i-th picture's points (5, 2), without reading it."""
        ...

    def name(self, i: int) -> str:
        """What errors call it."""
        ...

    def owner(self, i: int) -> str:
        """Whose pictures must not be learnt from and measured on: its person or its video."""
        ...


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


class Photos:
    """Face photos listed in a CSV: file (below the CSV's folder), identity, landmarks in pixels of the file.

    Those of more than `most_px` a side are reduced to that, as crops of clips are: a size would give the source away.
    """

    def __init__(self, csv: Path, most_px: int | None = None) -> None:
        table = labels.read_table(csv, *([name] for name in PHOTO_COLUMNS))
        if not table.rows:
            raise UserError(f"photos {str(csv)!r}: no photo in it; wanted at least one; see data/README.md")
        self.folder, self.most_px = csv.parent, most_px
        files = [labels.name_of(row.cells["file"], table.where(row)) for row in table.rows]
        self.files = np.array(files, object)
        self.people = [row.cells["identity"] for row in table.rows]
        self.cells = [row.cells for row in table.rows]
        bad = [name for name in self.files if Path(name).is_absolute() or ".." in Path(name).parts]
        if bad:
            raise UserError(f"photos {str(csv)!r}: the path {bad[0]!r} leaves the CSV's folder")
        points = np.array([[_number(row.cells[name]) for name in PHOTO_COLUMNS[2:]] for row in table.rows])
        unknown = np.flatnonzero(~np.isfinite(points).all(1))
        if len(unknown):
            raise UserError(f"photos {str(csv)!r}: {self.files[unknown[0]]!r} lacks a landmark; wanted numbers in all")
        self.points = points.reshape(-1, 5, 2)

    def __len__(self) -> int:
        return len(self.files)

    def landmarks(self, i: int) -> np.ndarray:
        """The i-th photo's points (5, 2)."""
        return np.asarray(self.points[i])

    def face(self, i: int) -> Face:
        """The i-th photo and its points."""
        whole = fill_padding(_read(self.folder / self.files[i]))
        picture = self._reduced(whole)
        return Face(picture, self.points[i] * (picture.shape[0] / whole.shape[0]))

    def _reduced(self, picture_HWC: np.ndarray) -> np.ndarray:
        longer = max(picture_HWC.shape[:2])
        if self.most_px is None or longer <= self.most_px:
            return picture_HWC
        width, height = (round(side * self.most_px / longer) for side in picture_HWC.shape[1::-1])
        return np.asarray(cv2.resize(picture_HWC, (width, height), interpolation=cv2.INTER_AREA))

    def name(self, i: int) -> str:
        """The photo's file."""
        return f"photo {self.files[i]!r}"

    def owner(self, i: int) -> str:
        """The photo's person."""
        return self.people[i]


class Frames:
    """Stored crops of the frames of clips: rows of the faces table."""

    def __init__(self, faces: pd.DataFrame, work_dir: Path) -> None:
        self.faces, self.work_dir = faces.reset_index(drop=True), work_dir
        self.places = list(self.faces[["shard", "offset", "size"]].itertuples(index=False, name=None))
        corner = self.faces[["crop_x0_px", "crop_y0_px"]].to_numpy(np.float64)[:, None, :]
        side = self.faces["crop_side_px"].to_numpy(np.float64)[:, None, None]
        self.shares = (self.faces[LANDMARKS].to_numpy(np.float64).reshape(-1, 5, 2) - corner) / side

    def __len__(self) -> int:
        return len(self.places)

    def landmarks(self, i: int) -> np.ndarray:
        """The i-th frame's points (5, 2) as shares of the crop's side."""
        return np.asarray(self.shares[i])

    def face(self, i: int) -> Face:
        """The i-th frame's crop and its points."""
        crop = read_crop(self.work_dir, *self.places[i])
        return Face(crop, self.shares[i] * crop.shape[0])

    def name(self, i: int) -> str:
        """The frame's video, track and number."""
        row = self.faces.iloc[i]
        return f"{row['video_id']!r} track {row['track']} frame {row['frame_index']}"

    def owner(self, i: int) -> str:
        """The frame's video."""
        return str(self.faces["video_id"].iloc[i])


def _read(path: Path) -> np.ndarray:
    data = path.read_bytes() if path.is_file() else b""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise UserError(f"photo {str(path)!r}: {'not a picture' if data else 'does not exist'}; mend the photos' CSV")
    return np.ascontiguousarray(picture[..., ::-1])
