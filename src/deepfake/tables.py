"""The tables between stages: columns, Arrow types, units and keys, checked on write and on read.

A table is written whole or not at all, sorted by its key, so equal contents give equal files.
To add a column, add it to its `Table` below; anything that changes a meaning changes a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake.errors import UserError
from deepfake.files import write_whole


@dataclass(frozen=True)
class Column:
    """One column: Arrow type, meaning with unit, whether it may be empty."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table: its name, key (unique, sort order) and columns."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with the table's name in its metadata."""
        fields = [pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns]
        return pa.schema(fields, metadata={"table": self.name})


_TEXT, _F32, _F64, _I8, _I32, _I64, _BOOL = (
    pa.string(),
    pa.float32(),
    pa.float64(),
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.bool_(),
)
LANDMARKS = tuple(f"lm{i}_{axis}_px" for i in range(5) for axis in "xy")
_VIDEO = Column("video_id", _TEXT, "path below the data set's root, with forward slashes")
_TRACK = Column("track", _I32, "a person in a shot; unique in the video, from 0")
_MODEL = Column("model", _TEXT, "name of the member, such as frames or sequences")

VIDEOS = Table(
    "videos",
    ("video_id",),
    (
        _VIDEO,
        Column("sha256", _TEXT, "of the file's bytes", True),
        Column("size_bytes", _I64, "of the file"),
        Column("part", _TEXT, "folder below the root, such as dfdc_train_part_0; '.' for the root itself"),
        Column("split", _TEXT, "train (to learn from) or test (to predict)"),
        Column("label", _I8, "1 fake, 0 real, empty unknown", True),
        Column("original", _TEXT, "video_id of the real video a fake was made from", True),
        Column("identity", _TEXT, "person, where the labels say", True),
        Column("manipulation", _TEXT, "how the fake was made, where the labels say", True),
        Column("n_frames", _I32, "decodable frames by the packets, 0 if unreadable"),
        Column("fps", _F64, "mean frames per second", True),
        Column("duration_s", _F64, "seconds", True),
        Column("width_px", _I32, "upright picture", True),
        Column("height_px", _I32, "upright picture", True),
        Column("rotation", _I32, "degrees the stored picture is turned by, 0 90 180 270", True),
        Column("codec", _TEXT, "h264, hevc, ...", True),
        Column("is_vfr", _BOOL, "variable frame rate", True),
        Column("status", _TEXT, "ok or bad"),
        Column("reason", _TEXT, "why it is bad", True),
    ),
)
EXTRACTIONS = Table(
    "extractions",
    ("video_id",),
    (
        _VIDEO,
        Column("status", _TEXT, "ok, no_face or failed"),
        Column("reason", _TEXT, "why not ok", True),
        Column("decoder", _TEXT, "pyav or decord", True),
        Column("decoder_reason", _TEXT, "why this decoder", True),
        Column("n_sampled", _I32, "frames sampled, of all video streams"),
        Column("n_shots", _I32, "shots met"),
        Column("n_tracks", _I32, "tracks kept"),
        Column("n_faces", _I32, "crops stored"),
        Column("frame_hashes", pa.list_(_TEXT), "256-bit perceptual hashes (64 hex digits) of up to 8 frames a stream"),
    ),
)
FACES = Table(
    "faces",
    ("video_id", "track", "frame_index"),
    (
        _VIDEO,
        Column("shot", _I32, "from 0"),
        _TRACK,
        Column("frame_index", _I32, "in display order, from 0"),
        Column("time_s", _F64, "when players show the frame"),
        *(
            Column(n, _F32, "box in full-frame pixels of the upright picture")
            for n in ("x0_px", "y0_px", "x1_px", "y1_px")
        ),
        Column("score", _F32, "MTCNN's, 0..1; for a box carried between frames the lower of its neighbours"),
        Column("is_detected", _BOOL, "false: the box was carried between two detections"),
        *(
            Column(n, _F32, "landmark in full-frame pixels: left eye, right eye, nose, mouth corners")
            for n in LANDMARKS
        ),
        Column("crop_x0_px", _F32, "left edge of the square crop in full-frame pixels; may be outside"),
        Column("crop_y0_px", _F32, "its upper edge"),
        Column("crop_side_px", _F32, "its side before resizing"),
        Column("sharpness", _F32, "variance of the Laplacian of the grey crop"),
        Column("shard", _TEXT, "tar file below the data set's work folder"),
        Column("offset", _I64, "of the picture's bytes in the shard"),
        Column("size", _I32, "of the picture in bytes"),
    ),
)
FOLDS = Table(
    "folds",
    ("video_id",),
    (
        _VIDEO,
        Column("group", _TEXT, "smallest video_id of those that must stay together"),
        Column("fold", _I8, "from 0"),
    ),
)
PEOPLE = Table(
    "people",
    ("video_id", "track"),
    (
        _VIDEO,
        _TRACK,
        Column("person", _I32, "who it is, by face alone: 0 has most tracks; empty where the face is too small", True),
        Column("likeness", _F32, "mean cosine to the person's other tracks; empty where there is none", True),
        Column("n_crops", _I32, "crops behind the embedding, 0: the face is too small"),
        Column("embedding", pa.list_(_F32), "128 numbers of length 1; the product of two is their cosine", True),
    ),
)
COPIES = Table(
    "copies",
    ("video_id", "other_id", "from_s", "other_from_s"),
    (
        _VIDEO,
        Column("other_id", _TEXT, "video_id of another one that shows the same"),
        Column("from_s", _F64, "from this second of the video"),
        Column("to_s", _F64, "to this one"),
        Column("other_from_s", _F64, "it is the other's from this second"),
        Column("other_to_s", _F64, "to this one"),
        Column("speed", _F64, "how fast the video runs beside the other; 1.1: faster"),
        Column("is_mirrored", _BOOL, "left and right exchanged"),
        Column("n_frames", _I32, "pictures of the other that were compared"),
        Column("bits", _F64, "of 256 that differ on average"),
    ),
)
FRAME_SCORES = Table(
    "frame_scores",
    ("model", "video_id", "track", "frame_index"),
    (_MODEL, _VIDEO, _TRACK, Column("frame_index", _I32, "in display order"), Column("logit", _F32, "above 0: fake")),
)
TRACK_SCORES = Table(
    "track_scores",
    ("model", "video_id", "track"),
    (
        _MODEL,
        _VIDEO,
        _TRACK,
        Column("n_frames", _I32, "frames behind the logit; 0: the member abstains on this track, its logit is 0"),
        Column("logit", _F32, "above 0: fake"),
    ),
)
VIDEO_SCORES = Table(
    "video_scores",
    ("model", "video_id"),
    (
        _MODEL,
        _VIDEO,
        Column("p_fake", _F64, "0..1"),
        Column("n_faces", _I32, "crops behind it"),
        Column("n_tracks", _I32, "tracks behind it"),
        Column("fallback", _TEXT, "why p_fake is the prior: no_face, unreadable, ...; empty if it is a score", True),
    ),
)
FAILURES = Table(
    "failures",
    ("stage", "video_id"),
    (Column("stage", _TEXT, "such as 02_extract_faces"), _VIDEO, Column("reason", _TEXT, "in words")),
)
ALL_TABLES = (VIDEOS, EXTRACTIONS, FACES, FOLDS, PEOPLE, COPIES, FRAME_SCORES, TRACK_SCORES, VIDEO_SCORES, FAILURES)


def check(table: Table, frame: pd.DataFrame) -> pa.Table:
    """Return the rows as an Arrow table sorted by key; raise ValueError where they break the contract."""
    wanted = [c.name for c in table.columns]
    missing = [n for n in wanted if n not in frame.columns]
    unknown = [str(n) for n in frame.columns if n not in wanted]
    if missing or unknown:
        raise ValueError(f"table {table.name}: missing columns {missing}, unknown columns {unknown}")
    loose = pa.schema([pa.field(c.name, c.type) for c in table.columns])
    try:
        arrow = pa.Table.from_pandas(frame[wanted], schema=loose, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"table {table.name}: {error}") from None
    for column in table.columns:
        empty = arrow.column(column.name).null_count
        if empty and not column.nullable:
            raise ValueError(f"table {table.name}: column {column.name} is empty in {empty} rows; it must be filled")
    repeated = frame.duplicated(list(table.key))
    if repeated.any():
        first = frame.loc[repeated, list(table.key)].iloc[0].to_dict()
        raise ValueError(f"table {table.name}: {int(repeated.sum())} rows repeat a key, the first {first}")
    arrow = arrow.sort_by([(name, "ascending") for name in table.key])
    return pa.table(arrow.columns, schema=table.schema)


def empty(table: Table) -> pd.DataFrame:
    """The table without rows."""
    return table.schema.empty_table().to_pandas()


def write(table: Table, frame: pd.DataFrame, path: Path) -> None:
    """Check the rows and write them to a Parquet file, whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(check(table, frame), sink, compression="zstd")
    write_whole(path, sink.getvalue().to_pybytes())


def read(table: Table, path: Path) -> pd.DataFrame:
    """Read and check a table a stage has written."""
    try:
        arrow = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"table {table.name}: {path} does not exist; run the stage that makes it first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"table {table.name}: {path} is not a readable Parquet file ({error}); make it again") from None
    if arrow.schema.names != table.schema.names or arrow.schema.types != table.schema.types:
        columns = ", ".join(f"{f.name}:{f.type}" for f in arrow.schema)
        raise UserError(f"table {table.name}: {path} has other columns ({columns}); make it again with --force")
    return arrow.to_pandas()


def read_if_made(table: Table, path: Path) -> pd.DataFrame | None:
    """The same of a table that is optional; None where nobody has made it."""
    return read(table, path) if path.is_file() else None


def spread(frame: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """At most `limit` rows, evenly from the whole table; None: all."""
    if limit is None or limit >= len(frame):
        return frame
    return frame.iloc[[i * len(frame) // limit for i in range(limit)]].reset_index(drop=True)
