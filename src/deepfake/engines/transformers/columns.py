"""The columns that the Transformers add, with their meaning, as Arrow types; Spark's schema carries the meanings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deepfake.tables import Column

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_TEXT, _I32, _I64, _F32, _F64, _BOOL = pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()


def struct(*columns: Column) -> pa.DataType:
    """A struct of columns."""
    return pa.struct([_field(column) for column in columns])


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, column.type, column.nullable, {"comment": column.meaning})


VIDEO_ID = Column("video_id", _TEXT, "path below the root, with forward slashes; without a root the path itself")
REASON = Column("reason", _TEXT, "why the video has no result; empty as long as it may have one", True)
VIDEO = Column(
    "video",
    struct(
        Column("size_bytes", _I64, "of the file"),
        Column("container", _TEXT, "FFmpeg's name of it"),
        Column("codec", _TEXT, "h264, hevc, ..."),
        Column("width_px", _I32, "upright picture"),
        Column("height_px", _I32, "upright picture"),
        Column("fps", _F64, "mean frames per second"),
        Column("duration_s", _F64, "seconds"),
        Column("n_frames", _I32, "decodable frames by the packets"),
        Column("is_vfr", _BOOL, "variable frame rate"),
    ),
    "what the file holds, from its packets alone; empty where it is no readable video",
    True,
)
CHUNK = Column(
    "chunk",
    struct(
        Column("number", _I32, "in the video, from 0"),
        Column("n_chunks", _I32, "of the video; 1: it is not cut"),
        Column("from_s", _F64, "it is shown from here, as players count"),
        Column("to_s", _F64, "up to, not with, this time: where the next one begins"),
        Column("frames", pa.list_(_I32), "the sampled frames of it, in display order from 0"),
        Column("is_long", _BOOL, "too long for frames spread evenly: frames follow each other by a second or so"),
        Column("uncut", _TEXT, "why a long video is not cut: its parts would not give what one pass gives", True),
        Column("plan", _TEXT, "the settings that the frames were chosen by, as JSON: later stages choose the same"),
    ),
    "a part of the video that begins with a keyframe; empty where it cannot be read",
    True,
)
CUTS = Column(
    "cuts",
    pa.list_(
        struct(
            Column("frame_index", _I32, "first frame of a new shot, in display order from 0"),
            Column("time_s", _F64, "when players show it"),
        )
    ),
    "where the second and later shots of the whole video begin",
    True,
)
FRAME = Column(
    "frame",
    struct(
        Column("frame_index", _I32, "in display order, from 0"),
        Column("time_s", _F64, "when players show it"),
        Column("shot", _I32, "from 0"),
        Column("is_searched", _BOOL, "the detector ran on it; false: its boxes were carried between two detections"),
        Column("is_long", _BOOL, "its video was too long for frames spread evenly"),
    ),
    "a sampled frame; empty where the video has no result",
    True,
)
_BOXES = tuple(
    Column(name, _F32, "box in full-frame pixels of the upright picture")
    for name in ("x0_px", "y0_px", "x1_px", "y1_px")
)
_SEEN = (
    *_BOXES,
    Column("score", _F32, "MTCNN's, 0..1; for a carried box the lower of its neighbours"),
    Column("is_detected", _BOOL, "false: the box was carried between two detections"),
    Column("landmarks", pa.list_(_F32), "x and y of left eye, right eye, nose and the mouth's corners, in pixels"),
)
FACES = Column("faces", pa.list_(struct(*_SEEN)), "its faces, the surest first", True)
TRACK = Column(
    "track",
    struct(
        Column("number", _I32, "a person in a shot; unique in the video, from 0"),
        Column("shot", _I32, "from 0"),
        Column("from_s", _F64, "its first face"),
        Column("to_s", _F64, "its last one"),
        Column(
            "faces",
            pa.list_(
                struct(
                    Column("frame_index", _I32, "in display order, from 0"),
                    Column("time_s", _F64, "when players show the frame"),
                    *_SEEN,
                )
            ),
            "in the order of time",
        ),
    ),
    "a track; empty where the video has none, and then the reason says why",
    True,
)
EMBEDDING = (
    Column("n_crops", _I32, "crops behind the embedding, 0: the face is too small", True),
    Column("embedding", pa.list_(_F32), "128 numbers of length 1; the product of two is their cosine", True),
)
PICTURES = Column(
    "pictures",
    struct(
        Column("made_by", _TEXT, "descriptor, version and rate; hashes made by others cannot be compared"),
        Column("duration_s", _F64, "of the video, seconds"),
        Column("times_s", pa.list_(_F32), "when the pictures are shown"),
        Column("hashes", pa.binary(), "32 bytes for each of them, one after the other"),
        Column("asked_times_s", pa.list_(_F64), "when the pictures are shown that others are asked for by"),
        Column("asked", pa.binary(), "of each of them 32 bytes as it is, zoomed in and out; then the same mirrored"),
    ),
    "what copies of the video are found by; empty where it cannot be read",
    True,
)
SCORES = (
    Column("p_fake", _F64, "probability that the video is forged; the prior where there is a fallback"),
    Column("n_faces", _I32, "faces that it was scored by"),
    Column("n_tracks", _I32, "tracks"),
    Column("fallback", _TEXT, "why p_fake is the prior: no_face, or unreadable and the reason", True),
)


def spark_schema(columns: Iterable[Column]) -> StructType:
    """Spark's schema of columns; each meaning is its field's `comment`, also inside structs."""
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import ArrayType, DataType, StructField, StructType

    def with_comments(arrow: pa.DataType, spark: DataType) -> DataType:
        if pa.types.is_list(arrow) and isinstance(spark, ArrayType):
            return ArrayType(with_comments(arrow.value_type, spark.elementType))
        if pa.types.is_struct(arrow):
            return StructType([of_field(arrow.field(i)) for i in range(arrow.num_fields)])
        return spark

    def of_field(field: pa.Field) -> StructField:
        comment = (field.metadata or {}).get(b"comment", b"").decode()
        kind = with_comments(field.type, from_arrow_type(field.type))
        return StructField(field.name, kind, True, {"comment": comment} if comment else None)

    return StructType([of_field(_field(column)) for column in columns])


def batch_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as one record batch."""
    return pa.RecordBatch.from_pylist([dict(row) for row in rows], schema)
