"""Transformers for an archive: embeddings of faces, hashes of pictures, and the copies among many videos.

What is done with a video stands in `archive`; the conventions are those of `stages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pyspark import keyword_only
from pyspark.ml.param import TypeConverters
from pyspark.sql.functions import col

from deepfake import tables
from deepfake.engines.transformers.columns import EMBEDDING, PICTURES, REASON, TRACK, VIDEO_ID
from deepfake.engines.transformers.stages import VideoStage, arrow_of, of_table, param_of, setting_of
from deepfake.engines.transformers.tasks import AlignCopies, BandsOf, DescribeTask, EmbedTracks
from deepfake.errors import UserError
from deepfake.settings import People

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PEOPLE = {"cropsPerTrack": "crops_per_track", "minFacePx": "min_face_px"}


class FaceEmbedder(VideoStage):
    """Says whose face a track shows, as numbers: adds `embedding` and `n_crops` to each row of a TrackLinker.

    Nobody is named by it; src/README.md says what embeddings may and may not be used for.
    """

    columns = (VIDEO_ID, TRACK, *EMBEDDING, REASON)
    settings = ("crop_px", "margin_ratio")
    defaults: ClassVar[dict[str, Any]] = {name: People.model_fields[own].default for name, own in _PEOPLE.items()}
    cropPx, marginRatio = setting_of("crop_px"), setting_of("margin_ratio")
    cropsPerTrack = setting_of("crops_per_track", People, "people")
    minFacePx = setting_of("min_face_px", People, "people")

    @keyword_only
    def __init__(
        self,
        *,
        pathCol: str = "path",
        cropsPerTrack: int = 5,
        minFacePx: int = 32,
        cropPx: int = 224,
        marginRatio: float = 0.3,
        deadlineS: float = 0.0,
        memoryMb: int = 0,
    ) -> None:
        super().__init__(**self._input_kwargs)
        self._people()

    def _people(self) -> People:
        return self._checked(People, {own: self.getOrDefault(name) for name, own in _PEOPLE.items()})

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._require(dataset, ("video_id", "track", "reason"), "TrackLinker")
        schema = self._schema(dataset, (*EMBEDDING, REASON))
        task = EmbedTracks(arrow_of(schema), self._extract(), self._people(), self._path())
        return dataset.groupBy("video_id").applyInArrow(of_table(task), schema)


class CopyDescriber(VideoStage):
    """Hashes the pictures of each video, four a second: adds `pictures`, by which a CopyFinder finds copies."""

    columns = (VIDEO_ID, PICTURES, REASON)

    @keyword_only
    def __init__(self, *, pathCol: str = "path", deadlineS: float = 0.0, memoryMb: int = 0) -> None:
        super().__init__(**self._input_kwargs)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return self._mapped(self._with_ids(dataset), DescribeTask, (PICTURES, REASON))


class CopyFinder(VideoStage):
    """Finds what is a copy of what among described videos: a row for each pair of ranges, both ways.

    Compared are videos that have 32 bits of a hash in common at the same place of it, a band, as it is, zoomed or
    mirrored; which seconds are alike is then found as `deepfake find` does. The rows are those of the table copies.
    """

    columns = tables.COPIES.columns
    defaults: ClassVar[dict[str, Any]] = {"maxShared": 1000}
    maxShared = param_of(
        "maxShared",
        "Bands that more videos than this have are left out: they say little and make many pairs.",
        TypeConverters.toInt,
    )

    @keyword_only
    def __init__(self, *, pathCol: str = "path", maxShared: int = 1000) -> None:
        super().__init__(**self._input_kwargs)
        if self.getOrDefault("maxShared") < 2:
            raise UserError(f"CopyFinder: maxShared = {self.getOrDefault('maxShared')}: a pair needs at least 2")

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._require(dataset, ("video_id", "pictures"), "CopyDescriber")
        described = dataset.where(col("pictures").isNotNull()).select("video_id", "pictures")
        # It is used four times, and to describe the videos is what costs.
        described = described.localCheckpoint(eager=False)
        held, asked = (
            described.mapInArrow(BandsOf(what), "video_id string, band long").distinct() for what in ("hashes", "asked")
        )
        usual = held.groupBy("band").count().where(col("count") <= self.getOrDefault("maxShared")).select("band")
        held = held.join(usual, "band").withColumnRenamed("video_id", "other_id")
        pairs = asked.join(held, "band").where(col("video_id") != col("other_id"))
        pairs = pairs.select("video_id", "other_id").distinct()
        others = described.select(col("video_id").alias("other_id"), col("pictures").alias("other"))
        candidates = pairs.join(others, "other_id").groupBy("video_id")
        schema = self._schema(dataset, self.columns, without=dataset.columns)
        align = AlignCopies(arrow_of(schema))
        return candidates.cogroup(described.groupBy("video_id")).applyInArrow(
            lambda candidates, videos: align(candidates, videos), schema
        )
