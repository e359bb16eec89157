"""Labelled clips of which only some crops are there, as if stage 02 had found them.

The list of crops is a CSV: file (below its folder), clip_id, split, label (REAL/FAKE), family, generator, identity,
source, box x0 y0 x1 y1 and landmarks lm0_x ... lm4_y in pixels of the crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from deepfake import tables
from deepfake.detector.labelled_clips import Clips
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled
from deepfake.faces.crop_store import encode_crop, write_shard
from deepfake.faces.crops import cut_face, sharpness
from deepfake.faces.geometry import apply_affine
from deepfake.files import digest, sha256_of
from deepfake.settings import Extract
from deepfake.training.source_groups import CLIPS

BOX, POINTS = ["x0", "y0", "x1", "y1"], [f"lm{i}_{axis}" for i in range(5) for axis in "xy"]
NEEDED = ("file", "clip_id", "split", "label", "family", "generator", "identity", "source", *BOX, *POINTS)
LABELS = {"REAL": 0, "FAKE": 1}


def read_crops(crops_csv: Path, splits: Sequence[str], extract: Extract, cache_dir: Path) -> Clips:
    """The listed clips of some splits; their crops are cut anew about the face and kept in `cache_dir`."""
    try:
        table = pd.read_csv(crops_csv, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"crops {str(crops_csv)!r}: not a readable CSV ({error})") from None
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise UserError(f"crops {str(crops_csv)!r}: no column {', '.join(missing)}; wanted {', '.join(NEEDED)}")
    table = table[table["split"].isin(set(splits))].sort_values(["clip_id", "file"], kind="stable")
    if not len(table):
        raise UserError(f"crops {str(crops_csv)!r}: none of split {', '.join(splits)}")
    faces: list[dict[str, Any]] = []
    for clip_id, rows in table.groupby("clip_id", sort=True):
        faces += _stored(str(clip_id), rows, crops_csv, extract, cache_dir)
    found = pd.DataFrame(faces, columns=tables.FACES.schema.names)
    first = table.drop_duplicates("clip_id")
    labelled = [
        Labelled(str(row["clip_id"]), _label(row, crops_csv), {str(k): str(v) for k, v in row.items()})
        for row in first.to_dict("records")
    ]
    return Clips(found, labelled, [video.name for video in labelled], cache_dir)


def _label(row: Mapping[Any, Any], crops_csv: Path) -> int:
    if row["label"] not in LABELS:
        raise UserError(f"crops {str(crops_csv)!r}: {row['file']!r} has label {row['label']!r}; wanted REAL or FAKE")
    return LABELS[row["label"]]


def _stored(
    clip_id: str, rows: pd.DataFrame, crops_csv: Path, extract: Extract, cache_dir: Path
) -> list[dict[str, Any]]:
    faces, pictures = [], []
    for number, row in enumerate(rows.to_dict("records")):
        path = crops_csv.parent / row["file"]
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR) if path.is_file() else None
        if picture is None:
            raise UserError(
                f"crop {str(path)!r}: {'not a picture' if path.is_file() else 'does not exist'}; mend the list"
            )
        box = np.array([float(row[name]) for name in BOX])
        points = np.array([float(row[name]) for name in POINTS]).reshape(5, 2)
        crop, to_crop = cut_face(np.ascontiguousarray(picture[..., ::-1]), box, extract.margin_ratio, extract.crop_px)
        pictures.append(
            (f"{number}.{extract.image_format}", encode_crop(crop, extract.image_format, extract.jpeg_quality))
        )
        moved = apply_affine(to_crop, np.vstack([box.reshape(2, 2), points])).ravel().tolist()
        faces.append(
            {
                "video_id": clip_id,
                "shot": 0,
                "track": 0,
                "frame_index": number,
                "time_s": float(row.get("time_s") or 0),
                **dict(zip(["x0_px", "y0_px", "x1_px", "y1_px", *tables.LANDMARKS], moved, strict=True)),
                "score": 1.0,
                "is_detected": True,
                "crop_x0_px": 0.0,
                "crop_y0_px": 0.0,
                "crop_side_px": float(len(crop)),
                "sharpness": sharpness(crop),
            }
        )
    shard = f"labelled_crops/{digest([clip_id, sha256_of(crops_csv), extract.margin_ratio, extract.crop_px])[:32]}.tar"
    places = write_shard(cache_dir / shard, pictures, {"faces": [{}] * len(pictures)})
    return [
        {**face, "shard": shard, "offset": offset, "size": size}
        for face, (offset, size) in zip(faces, places, strict=True)
    ]


def clips_table(clips: Clips, split_prefix: str = "") -> pd.DataFrame:
    """The clips with columns CLIPS, in their order; `split_prefix` tells collections apart whose splits share names."""
    rows = [
        [
            video_id,
            video.label,
            *(video.columns.get(name, "") for name in ("family", "generator", "identity", "source")),
            split_prefix + video.columns.get("split", ""),
        ]
        for video_id, video in zip(clips.video_ids, clips.labelled, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(CLIPS))
