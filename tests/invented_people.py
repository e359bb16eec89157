"""Tracks with embeddings made by hand, and a data set of tables without any video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from deepfake import tables
from deepfake.catalog.people import TrackEmbedding
from deepfake.faces.extracted import StoredFace


def towards(degrees: float) -> np.ndarray:
    """An embedding in this direction of a plane: two of them are as alike as the cosine of what lies between."""
    numbers = np.zeros(128, np.float32)
    numbers[:2] = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return numbers


def embedding(track: int, degrees: float) -> TrackEmbedding:
    return TrackEmbedding(track, 5, towards(degrees))


def face(track: int, frame_index: int = 0, shot: int = 0, **changes: object) -> StoredFace:
    """A face of 100 pixels that looks into the camera."""
    values: dict[str, object] = {
        "shot": shot,
        "track": track,
        "frame_index": frame_index,
        "time_s": frame_index / 10,
        "x0_px": 50.0,
        "y0_px": 50.0,
        "x1_px": 130.0,
        "y1_px": 150.0,
        "score": 1.0,
        "is_detected": True,
        "landmarks": (72.0, 90.0, 108.0, 90.0, 90.0, 111.0, 75.0, 132.0, 105.0, 132.0),
        "crop_x0_px": 0.0,
        "crop_y0_px": 0.0,
        "crop_side_px": 200.0,
        "sharpness": 50.0,
        "shard": "crops/a.tar",
        "offset": 512 * (1 + track + 100 * frame_index),
        "size": 100,
    }
    return StoredFace(**(values | changes))  # type: ignore[arg-type]


def people_rows(*rows: tuple[str, int, float | None]) -> pd.DataFrame:
    """A people table without persons: video, track, direction of its embedding (None: too small)."""
    return pd.DataFrame(
        [
            {
                "video_id": video_id,
                "track": track,
                "person": None,
                "likeness": None,
                "n_crops": 0 if degrees is None else 5,
                "embedding": None if degrees is None else towards(degrees),
            }
            for video_id, track, degrees in rows
        ],
        columns=tables.PEOPLE.schema.names,
    )


def faces_frame(*rows: tuple[str, int, int, int]) -> pd.DataFrame:
    """A faces table of rows (video, shot, track, frame)."""
    from deepfake.faces.extraction import face_rows

    made = [one for video, shot, track, frame in rows for one in face_rows(video, [face(track, frame, shot)])]
    return pd.DataFrame(made, columns=tables.FACES.schema.names)


def videos_frame(*rows: dict[str, object]) -> pd.DataFrame:
    """A videos table; each row needs a video_id only."""
    blank = {column.name: None for column in tables.VIDEOS.columns}
    given = {"size_bytes": 1, "part": ".", "split": "train", "n_frames": 10, "status": "ok"}
    return pd.DataFrame([blank | given | row for row in rows])


def write_table(table: tables.Table, frame: pd.DataFrame, folder: Path, name: str | None = None) -> None:
    tables.write(table, frame, folder / f"{name or table.name}.parquet")
