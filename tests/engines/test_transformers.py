"""The stages as Transformers: what they do with a video, without Spark; and, slow, on two executors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake.detector.header import read_detector
from deepfake.detector.score_videos import score_videos
from deepfake.errors import UserError
from deepfake.faces import extractor
from deepfake.faces.extracted import Extraction, Job
from deepfake.faces.extractor import extract
from deepfake.models.detector_file import shipped_weights
from deepfake.settings import Extract, People, Predict
from drawn_faces import write_person
from moving_squares import SquareDetector, moving
from spark_sessions import cluster as cluster

pytest.importorskip("pyspark")
pa = pytest.importorskip("pyarrow")

from deepfake.engines.transformers import (
    ChunkPlanner,
    CopyDescriber,
    CopyFinder,
    FaceDetector,
    FaceEmbedder,
    ForgeryScorer,
    ShotDetector,
    TrackLinker,
    VideoIndexer,
    VideoStage,
    columns,
    videos,
)
from deepfake.engines.transformers.tasks import JoinShots, LinkFaces, Work, do

Clip = Callable[..., Path]
STAGES = (VideoIndexer, ChunkPlanner, ShotDetector, FaceDetector, TrackLinker, ForgeryScorer)
OF_ARCHIVES = (FaceEmbedder, CopyDescriber, CopyFinder)
SETTINGS = Extract(crop_px=32)
PLAN = '{"chunk_from_s": 1000}'
FPS = 8


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> SquareDetector:
    made = SquareDetector(score=0.998)
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: made)
    return made


def tracks_of(path: Path, settings: Extract, chunk_s: float) -> tuple[list[dict[str, Any]], int]:
    """What the stages make of a video that is cut into chunks of so many seconds, and how many there are."""
    settings = settings.model_copy(update={"chunk_from_s": 10.0, "chunk_s": chunk_s})
    values = settings.model_dump_json(include={"chunk_from_s", "chunk_s", "long_from_s"})
    chunks = videos.plan(str(path), settings, values)
    found = videos.shots([videos.changes(str(path), chunk, settings) for chunk in chunks])
    assert found.uncut is None
    rows = [row for chunk in chunks for row in videos.faces(str(path), chunk, found.cuts, settings)]
    return videos.link(rows[::-1], settings), len(chunks)  # in whatever order rows come


def boxes(extraction: Extraction) -> list[tuple[Any, ...]]:
    return [(f.track, f.shot, f.frame_index, f.time_s, f.box, f.score, f.landmarks) for f in extraction.faces]


def boxes_of(tracks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            *(track["number"], track["shot"], face["frame_index"], face["time_s"]),
            tuple(face[name] for name in ("x0_px", "y0_px", "x1_px", "y1_px")),
            *(face["score"], tuple(face["landmarks"])),
        )
        for track in tracks
        for face in track["faces"]
    ]


def test_the_tracks_of_a_short_video_are_those_of_stage_02(
    square_clip: Clip, tmp_path: Path, detector: SquareDetector
) -> None:
    path = square_clip(lambda i: moving(i) if i < 20 else [*moving(i), (120, 60, 150, 90)], n_frames=32)
    made = extract(Job("v", path, tmp_path, "v.tar", SETTINGS))
    tracks, n_chunks = tracks_of(path, SETTINGS, 1000)
    assert n_chunks == 1 and len(tracks) == 2
    assert boxes_of(tracks) == boxes(made)


def test_the_tracks_of_a_long_video_do_not_depend_on_how_it_is_cut(square_clip: Clip, detector: SquareDetector) -> None:
    y, x = np.indices((96, 160))
    walls = [(90 + 85 * np.sin(pattern)).astype(np.uint8)[..., None] for pattern in (x / 9, y / 7)]
    path = square_clip(
        lambda i: [(20 + i // 16, 30, 50 + i // 16, 60)],
        n_frames=60 * FPS,
        fps=FPS,
        grey_of=lambda i: walls[int(i >= 25 * FPS)],
    )
    whole, n_whole = tracks_of(path, SETTINGS, 1000)
    assert n_whole == 1 and [track["shot"] for track in whole] == [0, 1]
    assert 25 <= whole[1]["from_s"] < 26, "the shot that begins at 25 s is a track of its own"
    tracks, n_chunks = tracks_of(path, SETTINGS, 7)
    assert tracks == whole and n_chunks > 1


def test_chunks_are_half_open_and_every_frame_lies_in_one(square_clip: Clip) -> None:
    path = square_clip(moving, n_frames=70 * FPS, fps=FPS)
    settings = SETTINGS.model_copy(update={"chunk_from_s": 10.0, "chunk_s": 20.0})
    chunks = videos.plan(str(path), settings, PLAN)
    assert [chunk["number"] for chunk in chunks] == [0, 1, 2] and chunks[0]["from_s"] == 0.0
    assert [chunk["to_s"] for chunk in chunks[:-1]] == [chunk["from_s"] for chunk in chunks[1:]]
    assert chunks[-1]["to_s"] == pytest.approx(70.0)
    frames = [frame for chunk in chunks for frame in chunk["frames"]]
    assert frames == sorted(set(frames)) and len(frames) >= 70, "one a second, none twice"
    for chunk in chunks:
        assert all(chunk["from_s"] <= frame / FPS < chunk["to_s"] for frame in chunk["frames"])


def test_a_chunk_that_lacks_frames_makes_its_video_one_chunk_that_says_why(
    square_clip: Clip, detector: SquareDetector, tmp_path: Path
) -> None:
    path = square_clip(lambda i: [(20, 30, 50, 60)], n_frames=70 * FPS, fps=FPS)
    settings = SETTINGS.model_copy(update={"chunk_from_s": 10.0, "chunk_s": 20.0})
    chunks = videos.plan(str(path), settings, settings.model_dump_json(include={"chunk_from_s", "chunk_s"}))
    noted = [videos.changes(str(path), chunk, settings) for chunk in chunks]
    lost = pickle.loads(noted[1])
    object.__setattr__(lost, "problem", "24 of 25 frames of a part came")
    rows = [
        {"path": str(path), "video_id": "v", "chunk": chunk, "noted": one, "reason": None}
        for chunk, one in zip(chunks, [noted[0], pickle.dumps(lost), noted[2]], strict=True)
    ]
    kept = (columns.VIDEO_ID, columns.CHUNK, columns.CUTS, columns.REASON)
    schema = pa.schema([pa.field("path", pa.string()), *(pa.field(one.name, one.type) for one in kept)])
    join = JoinShots(schema, settings, (), "path")
    (row,) = join(pa.Table.from_pylist(rows)).to_pylist()
    assert (row["chunk"]["n_chunks"], row["chunk"]["uncut"]) == (1, "24 of 25 frames of a part came")
    assert row["chunk"]["frames"] == [frame for chunk in chunks for frame in chunk["frames"]]
    assert row["cuts"] == [] and row["reason"] is None
    assert len(videos.faces(str(path), row["chunk"], row["cuts"], settings)) == len(row["chunk"]["frames"])


def test_a_cut_video_without_its_shots_is_refused_with_what_to_do(square_clip: Clip, detector: SquareDetector) -> None:
    path = square_clip(moving, n_frames=70 * FPS, fps=FPS)
    settings = SETTINGS.model_copy(update={"chunk_from_s": 10.0, "chunk_s": 20.0})
    chunk = videos.plan(str(path), settings, settings.model_dump_json(include={"chunk_from_s", "chunk_s"}))[0]
    with pytest.raises(UserError, match="put a ShotDetector before the FaceDetector"):
        videos.faces(str(path), chunk, None, settings)


def test_paths_are_read_as_spark_and_as_people_write_them(tmp_path: Path) -> None:
    assert videos.local_path("file:/a/b%20c.mp4") == Path("/a/b c.mp4")
    assert videos.local_path("file:///a/b.mp4") == videos.local_path("/a/b.mp4") == Path("/a/b.mp4")
    with pytest.raises(UserError, match=r"s3a://bucket/x.mp4.*a path that this executor sees"):
        videos.local_path("s3a://bucket/x.mp4")


def test_what_is_wrong_with_a_file_is_the_reason_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    result, reason = do(Work(0, "index", (str(tmp_path / "a.mp4"),)))
    assert result is None and reason is not None and "found text" in reason
    assert "nothing" in str(do(Work(0, "index", (str(tmp_path / "b.mp4"),)))[1])


def test_a_video_without_a_track_stays_a_row_that_says_so() -> None:
    frame = {"frame_index": 0, "time_s": 0.0, "shot": 0, "is_searched": True, "is_long": False}
    rows = [
        {"path": "a", "video_id": "a", "frame": frame, "faces": [], "reason": None},
        {"path": "b", "video_id": "b", "frame": None, "faces": None, "reason": "found text"},
    ]
    schema = pa.schema(
        [("path", pa.string()), ("video_id", pa.string()), ("track", columns.TRACK.type), ("reason", pa.string())]
    )
    link = LinkFaces(schema, SETTINGS)
    for row, reason in zip(rows, ("no_face", "found text"), strict=True):
        (made,) = link(pa.Table.from_pylist([row])).to_pylist()
        assert made == {"path": row["path"], "video_id": row["video_id"], "track": None, "reason": reason}


@pytest.mark.parametrize("stage", [*STAGES, *OF_ARCHIVES])
def test_every_param_is_documented_and_has_the_default_of_the_settings(stage: type[VideoStage]) -> None:
    made = stage()
    known = {**Extract.model_fields, **People.model_fields}
    fields = {name.replace("_", "").lower(): field for name, field in known.items()}
    assert made.params
    for param in made.params:
        assert len(param.doc) > 10 and made.hasDefault(param), param.name
        if param.name.lower() in fields and param.name not in ("deadlineS", "memoryMb"):
            assert made.getOrDefault(param) == fields[param.name.lower()].default, param.name


@pytest.mark.parametrize("stage", [*STAGES, *OF_ARCHIVES])
def test_every_column_and_every_field_of_its_structs_says_what_it_means(stage: type[VideoStage]) -> None:
    def check(field: Any) -> None:
        kind = getattr(field.dataType, "elementType", field.dataType)
        assert field.metadata.get("comment"), field.name
        for inner in getattr(kind, "fields", ()):
            check(inner)

    for field in columns.spark_schema(stage.columns).fields:
        check(field)


def test_a_value_out_of_range_is_an_error_where_it_is_set() -> None:
    with pytest.raises(UserError, match=r"FaceDetector: minScore = 7.0: .*less than or equal to 1"):
        FaceDetector(minScore=7.0)
    with pytest.raises(TypeError):
        FaceDetector(nimScore=0.5)
    with pytest.raises(UserError, match=r"FaceEmbedder: cropsPerTrack = 0: .*greater than or equal to 1"):
        FaceEmbedder(cropsPerTrack=0)
    with pytest.raises(UserError, match=r"CopyFinder: maxShared = 1: a pair needs at least 2"):
        CopyFinder(maxShared=1)


def test_under_spark_connect_overwriting_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyspark.sql.utils.is_remote", lambda: True)
    with pytest.raises(UserError, match=r"FaceDetector: to overwrite a saved stage Spark needs .*write\(\).save"):
        FaceDetector().write().overwrite()


# --- On Spark ----------------------------------------------------------------------------------------


@pytest.fixture
def session(cluster: object) -> Any:
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def pipeline(**plan: Any) -> Any:
    from pyspark.ml import Pipeline

    stages = [VideoIndexer(), ChunkPlanner(**plan), ShotDetector(), FaceDetector(), TrackLinker(), ForgeryScorer()]
    return Pipeline(stages=stages)


@pytest.mark.slow
def test_a_saved_pipeline_scores_a_folder_as_predict_does(session: Any, tmp_path: Path) -> None:
    from pyspark.ml import PipelineModel

    folder = tmp_path / "clips"
    folder.mkdir()
    for person in (1, 2):
        write_person(folder / f"{person}.mp4", person, (False, True))
    (folder / "text.mp4").write_text("no video")
    files = session.read.format("binaryFile").load(f"{folder}/*.mp4")
    pipeline().fit(files).write().save(str(tmp_path / "model"))
    scored = PipelineModel.load(str(tmp_path / "model")).transform(files)
    assert "content" not in scored.columns and "modificationTime" in scored.columns
    made = {Path(row["path"]).name: row for row in scored.collect()}
    paths = {path.name: path for path in folder.iterdir()}
    wanted = score_videos(paths, read_detector(shipped_weights()), "sha", tmp_path / "cache", Predict(), 1)
    for one in wanted:
        row = made[one.video_id]
        assert row["p_fake"] == pytest.approx(one.p_fake, abs=1e-6), one.video_id
        assert (row["n_faces"], row["n_tracks"], row["fallback"]) == (one.n_faces, one.n_tracks, one.fallback)
    assert made["1.mp4"]["n_tracks"] == 2 and made["text.mp4"]["fallback"].startswith("unreadable: video 'text.mp4'")


@pytest.mark.slow
def test_a_long_video_has_the_same_row_however_it_is_cut(session: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    write_person(path, 1, n_frames=24 * 45)
    paths = session.createDataFrame([(str(path),)], ["path"])
    stages = pipeline(chunkFromS=20.0, chunkS=10.0).getStages()[:-1]
    by_chunks, rows = {}, paths
    for chunk_s in (10.0, 1000.0):
        rows = paths
        for stage in stages:
            rows = stage.transform(rows, {stage.chunkS: chunk_s} if isinstance(stage, ChunkPlanner) else None)
            if isinstance(stage, ChunkPlanner):
                by_chunks[chunk_s] = [rows.count()]
        by_chunks[chunk_s] += [row.asDict(recursive=True) for row in rows.orderBy("track.number").collect()]
    assert by_chunks[10.0][0] > 1 and by_chunks[1000.0][0] == 1
    assert by_chunks[10.0][1:] == by_chunks[1000.0][1:] and by_chunks[10.0][1]["track"]["faces"]


@pytest.mark.slow
def test_a_stage_in_the_wrong_place_names_the_one_that_is_missing(session: Any) -> None:
    paths = session.createDataFrame([("a.mp4",)], ["path"])
    with pytest.raises(UserError, match="ForgeryScorer: no column 'video_id' among path; put a TrackLinker before it"):
        ForgeryScorer().transform(paths)
    with pytest.raises(UserError, match="VideoIndexer: no column 'file' among path"):
        VideoIndexer(pathCol="file").transform(paths)
