"""The Transformers themselves: params, and how Spark's rows flow. What is done with a video stands in `videos`.

A param is documented and has a default (`explainParams()`), and a stage is saved and loaded like any other. To add a
stage, write a `VideoStage` with a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pyarrow as pa
from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable, DefaultParamsWriter, MLWriter
from pyspark.sql.functions import col, lit, regexp_replace

from deepfake import registry
from deepfake.engines.transformers.columns import (
    CHUNK,
    CUTS,
    EMBEDDING,
    FACES,
    FRAME,
    REASON,
    SCORES,
    TRACK,
    VIDEO,
    VIDEO_ID,
    spark_schema,
)
from deepfake.engines.transformers.tasks import (
    ChangesTask,
    FacesTask,
    IndexTask,
    JoinShots,
    LinkFaces,
    PlanTask,
    ScoreTracks,
    Task,
)
from deepfake.errors import UserError
from deepfake.settings import Extract, Settings
from deepfake.tables import Column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


def param_of(name: str, doc: str, convert: Any) -> Any:
    """A param of its own."""
    return Param(Params._dummy(), name, doc, convert)


_Section = TypeVar("_Section", bound=Settings)
_KINDS: dict[type, Any] = {int: TypeConverters.toInt, float: TypeConverters.toFloat, str: TypeConverters.toString}


def setting_of(name: str, section: type[Settings] = Extract, title: str = "extract") -> Any:
    """A param by a setting, of stage 02 if no other, with its description and default."""
    field = section.model_fields[name]
    kind = bool if isinstance(field.default, bool) else type(field.default)
    convert = TypeConverters.toBoolean if kind is bool else _KINDS[kind]
    return param_of(_camel(name), f"{field.description} ({title}.{name})", convert)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class VideoStage(Transformer, DefaultParamsReadable[Any], DefaultParamsWritable):
    """What the stages have in common: the column of paths, limits, and settings of stage 02 as params.

    `settings` are those that a stage has as params; `columns` are what it adds to the rows; `defaults` are those of
    params of its own.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[Column, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}

    _input_kwargs: dict[str, Any]  # `keyword_only` keeps there what was given

    pathCol = param_of(
        "pathCol", "Column of paths that every executor sees: /a/b.mp4 or file:/a/b.mp4.", TypeConverters.toString
    )
    deadlineS = param_of(
        "deadlineS", "Seconds that one video may take; 0: by its size and length.", TypeConverters.toFloat
    )
    memoryMb = param_of("memoryMb", "Memory that one video may take; 0: by its picture.", TypeConverters.toInt)

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self._setDefault(pathCol="path", deadlineS=0.0, memoryMb=0, **self.defaults)
        self._setDefault(**{_camel(name): Extract.model_fields[name].default for name in self.settings})
        self._set(**given)
        self._extract()  # a value out of range is an error here, not in a task

    def _extract(self) -> Extract:
        """Stage 02's settings with what the params say; UserError for a value out of range."""
        values = {name: self.getOrDefault(_camel(name)) for name in self.settings}
        limits = {
            "deadline_s": self.getOrDefault("deadlineS") or None,
            "memory_mb": self.getOrDefault("memoryMb") or None,
        }
        return self._checked(Extract, {**values, **limits})

    def _checked(self, section: type[_Section], values: dict[str, Any]) -> _Section:
        """Settings of these values; UserError for one out of range."""
        from pydantic import ValidationError

        try:
            return section.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = _camel(str(first["loc"][0])) if first["loc"] else "params"
            raise UserError(f"{type(self).__name__}: {name} = {first['input']!r}: {first['msg']}") from None

    def _path(self) -> str:
        return str(self.getOrDefault("pathCol"))

    def _with_ids(self, dataset: DataFrame) -> DataFrame:
        """The rows with the columns that all stages go on: `video_id` and `reason`."""
        if self._path() not in dataset.columns:
            raise UserError(
                f"{type(self).__name__}: no column {self._path()!r} among {', '.join(dataset.columns)}: pathCol names "
                "that of the paths"
            )
        dataset = dataset.drop("content")  # of `binaryFile`: paths travel, bytes do not
        if "video_id" not in dataset.columns:
            dataset = dataset.withColumn("video_id", col(self._path()))
        if "reason" not in dataset.columns:
            dataset = dataset.withColumn("reason", lit(None).cast("string"))
        return dataset

    def _schema(self, dataset: DataFrame, added: Sequence[Column], without: Sequence[str] = ()) -> StructType:
        from pyspark.sql.types import StructType

        names = {column.name for column in added} | set(without)
        kept = [field for field in dataset.schema.fields if field.name not in names]
        return StructType([*kept, *spark_schema(added).fields])

    def _require(self, dataset: DataFrame, names: Sequence[str], stage: str) -> None:
        missing = [name for name in names if name not in dataset.columns]
        if missing:
            raise UserError(
                f"{type(self).__name__}: no column {missing[0]!r} among {', '.join(dataset.columns)}; put a {stage} "
                "before it"
            )

    def _mapped(self, dataset: DataFrame, task: type[Task], added: Sequence[Column]) -> DataFrame:
        schema = self._schema(dataset, added)
        made = task(arrow_of(schema), self._extract(), registry.plugins(), self._path())
        return dataset.mapInArrow(made, schema)

    def write(self) -> MLWriter:
        """The writer that saves the stage."""
        return _Writer(self)


class _Writer(DefaultParamsWriter):
    """Saves a stage, under Spark Connect too, where only what is there already cannot be replaced."""

    def overwrite(self) -> MLWriter:
        """Replace what lies there."""
        from pyspark.sql.utils import is_remote

        if is_remote():
            raise UserError(
                f"{type(self.instance).__name__}: to overwrite a saved stage Spark needs the driver's Java, which "
                "Spark Connect does not reach; save to another path (write().save(...)), or remove the old one first"
            )
        return super().overwrite()


def arrow_of(schema: StructType) -> pa.Schema:
    """The schema of batches; times of columns that were there before are handed over in UTC."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(schema, timezone="UTC")


def of_table(task: Callable[[pa.Table], pa.Table]) -> Callable[[pa.Table], pa.Table]:
    """A function of one argument, which Spark tells from one of key and table; `self` would count."""
    return lambda table: task(table)


class VideoIndexer(VideoStage):
    """Probes each file: adds `video_id`, `video` and `reason`. Nothing is decoded."""

    columns = (VIDEO_ID, VIDEO, REASON)
    defaults: ClassVar[dict[str, Any]] = {"root": ""}
    root = param_of(
        "root", "Folder that video_id is counted from; empty: video_id is the path.", TypeConverters.toString
    )

    @keyword_only
    def __init__(self, *, pathCol: str = "path", root: str = "", deadlineS: float = 0.0, memoryMb: int = 0) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        import re

        root = str(self.getOrDefault("root")).rstrip("/")
        rows = self._with_ids(dataset)
        if root:
            start = f"^(file:/{{0,2}})?{re.escape(root)}/"
            rows = rows.withColumn("video_id", regexp_replace(col(self._path()), start, ""))
        return self._mapped(rows, IndexTask, (VIDEO, REASON))


class ChunkPlanner(VideoStage):
    """Chooses the frames of each video, once for all of it, and cuts long ones: a row for each `chunk`."""

    columns = (CHUNK, REASON)
    settings = (
        "sampling",
        "frames_per_video",
        "sample_fps",
        "long_from_s",
        "search_every_s",
        "search_frames",
        "chunk_from_s",
        "chunk_s",
    )
    sampling, framesPerVideo, sampleFps = (
        setting_of("sampling"),
        setting_of("frames_per_video"),
        setting_of("sample_fps"),
    )
    longFromS, searchEveryS = setting_of("long_from_s"), setting_of("search_every_s")
    searchFrames, chunkFromS, chunkS = setting_of("search_frames"), setting_of("chunk_from_s"), setting_of("chunk_s")

    @keyword_only
    def __init__(
        self,
        *,
        pathCol: str = "path",
        sampling: str = "reference",
        framesPerVideo: int = 32,
        sampleFps: float = 2.0,
        longFromS: float = 30.0,
        searchEveryS: float = 1.0,
        searchFrames: int = 600,
        chunkFromS: float = 120.0,
        chunkS: float = 120.0,
        deadlineS: float = 0.0,
        memoryMb: int = 0,
    ) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return self._mapped(self._with_ids(dataset), PlanTask, (CHUNK, REASON))


class ShotDetector(VideoStage):
    """Finds shots once for each video, from what all its chunks show: adds `cuts` to every row.

    A video whose chunks do not give every frame that its packets promise becomes one chunk.
    """

    columns = (CUTS, REASON)

    @keyword_only
    def __init__(self, *, pathCol: str = "path", deadlineS: float = 0.0, memoryMb: int = 0) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        rows = self._with_ids(dataset).drop("cuts")
        noted = self._mapped(rows, ChangesTask, (Column("noted", pa.binary(), "", True), REASON))
        schema = self._schema(rows, (CUTS, REASON))
        join = JoinShots(arrow_of(schema), self._extract(), registry.plugins(), self._path())
        return noted.groupBy("video_id").applyInArrow(of_table(join), schema)


class FaceDetector(VideoStage):
    """Detects faces in the sampled frames: a row for each `frame`, with its `faces`. Paths in, boxes out."""

    columns = (FRAME, FACES, REASON)
    settings = (
        "detection_side_px",
        "detection_stride",
        "min_face_ratio",
        "min_score",
        "second_look",
        "max_tracks",
    )
    detectionSidePx, detectionStride = setting_of("detection_side_px"), setting_of("detection_stride")
    minFaceRatio, minScore = setting_of("min_face_ratio"), setting_of("min_score")
    secondLook, maxTracks = setting_of("second_look"), setting_of("max_tracks")

    @keyword_only
    def __init__(
        self,
        *,
        pathCol: str = "path",
        detectionSidePx: int = 640,
        detectionStride: int = 4,
        minFaceRatio: float = 0.0625,
        minScore: float = 0.9,
        secondLook: bool = True,
        maxTracks: int = 8,
        deadlineS: float = 0.0,
        memoryMb: int = 0,
    ) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        rows = self._with_ids(dataset)
        schema = self._schema(rows, (FRAME, FACES, REASON), without=("chunk", "cuts"))
        task = FacesTask(arrow_of(schema), self._extract(), registry.plugins(), self._path())
        return rows.mapInArrow(task, schema)


class TrackLinker(VideoStage):
    """Links the faces of each video into tracks, once for all of it: a row for each `track`."""

    columns = (VIDEO_ID, TRACK, REASON)
    settings = ("max_gap_s", "max_tracks", "max_appearances")
    maxGapS, maxTracks, maxAppearances = (
        setting_of("max_gap_s"),
        setting_of("max_tracks"),
        setting_of("max_appearances"),
    )

    @keyword_only
    def __init__(
        self, *, pathCol: str = "path", maxGapS: float = 1.0, maxTracks: int = 8, maxAppearances: int = 64
    ) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._require(dataset, ("video_id", "frame", "faces", "reason"), "FaceDetector")
        schema = self._schema(dataset, (TRACK, REASON), without=("frame", "faces"))
        return dataset.groupBy("video_id").applyInArrow(of_table(LinkFaces(arrow_of(schema), self._extract())), schema)


class ForgeryScorer(VideoStage):
    """Scores each video by its tracks: one row for it, with `p_fake`."""

    columns = (VIDEO_ID, *SCORES)
    defaults: ClassVar[dict[str, Any]] = {"weights": ""}
    weights = param_of(
        "weights", "A detector's file that every executor sees; empty: the shipped one.", TypeConverters.toString
    )

    @keyword_only
    def __init__(self, *, pathCol: str = "path", weights: str = "", deadlineS: float = 0.0, memoryMb: int = 0) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._require(dataset, ("video_id", "track", "reason"), "TrackLinker")
        of_tracks = ("track", "reason", *(column.name for column in EMBEDDING))
        schema = self._schema(dataset, SCORES, without=of_tracks)
        task = ScoreTracks(arrow_of(schema), self._extract(), str(self.getOrDefault("weights")), self._path())
        return dataset.groupBy("video_id").applyInArrow(of_table(task), schema)
