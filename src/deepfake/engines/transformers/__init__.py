"""The stages as `pyspark.ml` Transformers, from a DataFrame of paths to one of scores.

    from pyspark.ml import Pipeline
    from deepfake.engines.transformers import ChunkPlanner, FaceDetector, ForgeryScorer, ShotDetector, TrackLinker
    from deepfake.engines.transformers import VideoIndexer

    stages = [VideoIndexer(), ChunkPlanner(), ShotDetector(), FaceDetector(), TrackLinker(), ForgeryScorer()]
    scores = Pipeline(stages=stages).fit(paths).transform(paths)

Each stage adds to the rows of the one before or replaces them, and documents its columns in `columns`. A video that
cannot be read stays a row, with the `reason`. Paths travel, pictures do not: every stage opens the files it needs, so
each executor has to see them. `FaceEmbedder`, `CopyDescriber` and `CopyFinder` are for archives: whose faces are alike,
and which videos are copies.
"""

from deepfake.engines.transformers.archive_stages import CopyDescriber, CopyFinder, FaceEmbedder
from deepfake.engines.transformers.stages import (
    ChunkPlanner,
    FaceDetector,
    ForgeryScorer,
    ShotDetector,
    TrackLinker,
    VideoIndexer,
    VideoStage,
)

__all__ = [
    "ChunkPlanner",
    "CopyDescriber",
    "CopyFinder",
    "FaceDetector",
    "FaceEmbedder",
    "ForgeryScorer",
    "ShotDetector",
    "TrackLinker",
    "VideoIndexer",
    "VideoStage",
]
