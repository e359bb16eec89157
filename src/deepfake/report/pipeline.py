"""What `spark_pipeline.ipynb` shows of a pipeline's rows: frames with boxes, and tracks as crops, as HTML.

Rows are plain values, as `Row.asDict(recursive=True)` gives them; pictures are read from the videos that they name.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from markupsafe import escape

from deepfake.faces.crop_store import encode_crop
from deepfake.faces.crops import cut_square, square_around
from deepfake.media.video import Frame, sample
from deepfake.report.strips import JPEG_QUALITY, Strip, spread_places, strips_html

Row = Mapping[str, Any]
SHOWN_PX, CROP_PX, MARGIN_RATIO = 300, 160, 0.3
PAPER = "background: white; color: black; padding: 0.5em"  # readable on a notebook's dark pages, too
LINE_RGB, LINE_PX = (40, 200, 80), 3
_BOX = ("x0_px", "y0_px", "x1_px", "y1_px")


def frames_with_boxes(rows: Sequence[Row], most: int = 6) -> str:
    """Some of a video's sampled frames, with the boxes of their faces; rows are those of a `FaceDetector`."""
    ordered = sorted(rows, key=lambda row: row["frame"]["frame_index"])
    shown = [ordered[place] for place in spread_places(len(ordered), most)]
    frames = _read(shown[0]["path"], [row["frame"]["frame_index"] for row in shown])
    figures = [
        f'<figure style="margin: 0 0.5em 0.5em 0; display: inline-block"><img alt="" src="{url}"><figcaption>'
        f"{row['frame']['time_s']:.1f} s, shot {row['frame']['shot']}: {len(row['faces'])} faces</figcaption></figure>"
        for row in shown
        for url in [_url(_drawn(frames[row["frame"]["frame_index"]], row["faces"]))]
    ]
    title = escape(f"{shown[0]['video_id']}, {len(rows)} frames sampled")
    return f'<div style="{PAPER}"><p><b>{title}</b></p>{"".join(figures)}</div>'


def tracks(rows: Sequence[Row], p_fake: Mapping[str, float] | None = None) -> str:
    """Crops of the tracks of some videos; rows are those of a `TrackLinker`, `p_fake` is that of each video."""
    ordered = sorted(rows, key=lambda row: (row["video_id"], row["track"]["number"]))
    return strips_html([_strip(row, (p_fake or {}).get(row["video_id"])) for row in ordered])


def _strip(row: Row, p_fake: float | None) -> Strip:
    track = row["track"]
    faces = [track["faces"][place] for place in spread_places(len(track["faces"]))]
    frames = _read(row["path"], [face["frame_index"] for face in faces])
    squares = [square_around(_box(face), MARGIN_RATIO) for face in faces]
    length = f"{track['from_s']:.1f} to {track['to_s']:.1f} s, {len(track['faces'])} faces"
    score = "" if p_fake is None else f", p_fake of the video {p_fake:.2f}"
    return Strip(
        title=f"{row['video_id']}, track {track['number']}",
        note=f"shot {track['shot']}, {length}{score}",
        crops=[
            cut_square(frames[face["frame_index"]], square, CROP_PX)
            for face, square in zip(faces, squares, strict=True)
        ],
        captions=[f"{face['time_s']:.1f} s" for face in faces],
    )


def _box(face: Row) -> np.ndarray:
    return np.array([face[name] for name in _BOX], np.float32)


def _read(path: str, indices: Sequence[int]) -> dict[int, Frame]:
    parts = urlsplit(path)
    local = Path(unquote(parts.path)) if parts.scheme == "file" else Path(path)
    return {frame.index: frame for frame in sample(local, "uniform", places=np.unique(indices).astype(np.int64))}


def _drawn(frame: Frame, faces: Sequence[Row]) -> np.ndarray:
    """A small picture of a frame, with its boxes."""
    picture = np.ascontiguousarray(frame.small_rgb(SHOWN_PX))
    ratio = picture.shape[1] / frame.width_px
    for face in faces:
        x0, y0, x1, y1 = (round(float(value) * ratio) for value in _box(face))
        cv2.rectangle(picture, (x0, y0), (x1, y1), LINE_RGB, LINE_PX)
    return picture


def _url(picture_HWC: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_crop(picture_HWC, "jpeg", JPEG_QUALITY)).decode()
