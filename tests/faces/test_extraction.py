"""Extraction, with a detector that sees white squares: the right crops, carried boxes, tracks, and resuming."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clip_factory import join
from deepfake import tables
from deepfake.errors import UserError
from deepfake.faces import extraction, extractor
from deepfake.faces.chunk_tasks import Work
from deepfake.faces.crop_store import decode_crop, read_crop, write_shard
from deepfake.faces.extracted import Extraction, Face, failure_note, read_extraction
from deepfake.faces.extraction import Video, extract_table, extract_videos
from deepfake.faces.extractor import Extractor, Job, VideoFaces, credible_tracks, extract, shard_name
from deepfake.faces.sight import LiveSight
from deepfake.files import sha256_of, write_whole
from deepfake.media.demux import Demuxed, VideoError
from deepfake.media.video import Frame, sample
from deepfake.settings import Extract
from deepfake.workers import Failed
from moving_squares import SquareDetector, moving

SETTINGS = Extract(frames_per_video=32, sampling="uniform", detection_stride=4, crop_px=32, margin_ratio=0.25)


def run(path: Path, settings: Extract = SETTINGS, detector: SquareDetector | None = None) -> VideoFaces:
    frames = sample(path, settings.sampling, n_frames=settings.frames_per_video)
    return Extractor(settings, LiveSight(settings, detector or SquareDetector())).run(iter(frames))  # type: ignore[arg-type]


def boxes_of(kept: VideoFaces) -> np.ndarray:
    return np.array([face.box for face in kept.faces])


def test_every_sampled_frame_has_the_face_where_it_is(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(moving))
    assert kept.n_sampled == 32 and kept.n_shots == 1
    assert [face.frame_index for face in kept.faces] == list(range(32))
    assert [face.time_s for face in kept.faces] == pytest.approx([i / 8 for i in range(32)])
    assert {face.track for face in kept.faces} == {0}
    assert boxes_of(kept) == pytest.approx(np.array([moving(i)[0] for i in range(32)]), abs=1.5)


def test_the_crop_shows_the_face_with_its_margin(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(moving))
    for face, data in zip(kept.faces, kept.pictures, strict=True):
        crop = decode_crop(data, "crop")
        # 24 px with a quarter on each side is 36 px, shown in 32: the square stands from 5.3 to 26.7.
        assert face.crop_side_px == pytest.approx(36, abs=3)
        assert crop.shape == (32, 32, 3)
        assert crop[9:23, 9:23].mean() > 240 and crop[:3].mean() < 110 and crop[:, :3].mean() < 110


def test_boxes_between_two_detections_are_carried_by_interpolation(square_clip: Callable[..., Path]) -> None:
    detector = SquareDetector()
    kept = run(square_clip(moving), detector=detector)
    detected = [face.frame_index for face in kept.faces if face.is_detected]
    assert detected == [0, 4, 8, 12, 16, 20, 24, 28, 31] and len(detector.sizes_px) == 9
    boxes = boxes_of(kept)
    for first in range(0, 28, 4):
        for step in (1, 2, 3):
            between = boxes[first] * (1 - step / 4) + boxes[first + 4] * step / 4
            assert boxes[first + step] == pytest.approx(between, abs=0.01)


def test_crops_are_handed_on_as_they_are_kept_each_once(square_clip: Callable[..., Path]) -> None:
    handed_on: list[list[bytes]] = []
    frames = sample(square_clip(moving), SETTINGS.sampling, n_frames=32)
    sight = LiveSight(SETTINGS, SquareDetector())  # type: ignore[arg-type]
    kept = Extractor(SETTINGS, sight, on_kept=handed_on.append).run(iter(frames))
    assert [picture for pictures in handed_on for picture in pictures] == kept.pictures
    assert len(handed_on) == 9, "after every detection, not at the end"


def test_carrying_agrees_with_looking_at_every_frame(square_clip: Callable[..., Path]) -> None:
    path = square_clip(moving)
    each = run(path, SETTINGS.model_copy(update={"detection_stride": 1}))
    assert all(face.is_detected for face in each.faces)
    assert boxes_of(run(path)) == pytest.approx(boxes_of(each), abs=1.5)


def test_a_face_that_comes_between_two_detections_is_detected(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(lambda i: [(60, 30, 84, 54)] if i >= 10 else []))
    assert [face.frame_index for face in kept.faces] == list(range(10, 32))


def test_two_faces_are_two_tracks_also_when_they_pass_each_other(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(lambda i: [(10 + 3 * i, 8, 34 + 3 * i, 32), (110 - 3 * i, 60, 134 - 3 * i, 84)]))
    for track, row in ((0, 8), (1, 60)):
        rows = [face for face in kept.faces if face.track == track]
        assert len(rows) == 32 and all(abs(face.y0_px - row) < 3 for face in rows)


def test_a_face_of_a_long_video_is_one_track_and_detected_in_every_sampled_frame(
    square_clip: Callable[..., Path],
) -> None:
    places = [20, 26, 24, 36, 30, 22, 28, 20]
    kept = run(square_clip(lambda i: [(places[i], 30, places[i] + 24, 54)], n_frames=8, fps=0.05))
    assert [round(face.time_s) for face in kept.faces] == [20 * i for i in range(8)]
    assert {face.track for face in kept.faces} == {0} and all(face.is_detected for face in kept.faces)
    assert boxes_of(kept)[:, 0] == pytest.approx(places, abs=1.5)


def test_a_new_shot_starts_new_tracks(square_clip: Callable[..., Path]) -> None:
    upright, lying = (np.indices((96, 160))[axis][..., None] // 16 % 2 * 150 for axis in (1, 0))
    kept = run(square_clip(lambda i: [(60, 30, 84, 54)], grey_of=lambda i: upright if i < 16 else lying))
    assert kept.n_shots == 2
    assert [(f.shot, f.track) for f in kept.faces] == [(0, 0)] * 16 + [(1, 1)] * 16
    assert kept.faces[15].is_detected and kept.faces[16].is_detected


def test_a_face_only_seen_at_full_size_is_found_by_a_second_look(square_clip: Callable[..., Path]) -> None:
    path = square_clip(lambda i: [(100, 60, 140, 100)], width_px=320, height_px=192)
    settings = SETTINGS.model_copy(update={"detection_side_px": 160})
    detector = SquareDetector(min_side_px=300)
    kept = run(path, settings, detector)
    assert len(kept.faces) == 32 and boxes_of(kept)[0] == pytest.approx([100, 60, 140, 100], abs=2)
    assert detector.sizes_px[:3] == [(160, 96), (320, 192), (320, 192)]
    detector = SquareDetector(min_side_px=300)
    assert run(path, settings.model_copy(update={"second_look": False}), detector).faces == []


def test_second_looks_are_few_where_there_is_no_face(square_clip: Callable[..., Path]) -> None:
    detector = SquareDetector()
    path = square_clip(lambda i: [], width_px=320, height_px=192)
    assert run(path, SETTINGS.model_copy(update={"detection_side_px": 160}), detector).faces == []
    assert sum(size == (320, 192) for size in detector.sizes_px) == extractor.SECOND_LOOKS


def test_a_missed_detection_does_not_part_a_track(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(moving), detector=SquareDetector(blind_calls=[2]))
    assert {face.track for face in kept.faces} == {0} and len(kept.faces) >= 28


def false_alarm_beside(number: int) -> list[tuple[int, int, int, int]]:
    return [(20, 30, 44, 54), *([(100, 10, 130, 40)] if number == 12 else [])]


def test_a_false_alarm_of_one_frame_is_dropped_beside_a_face(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(false_alarm_beside))
    assert {face.track for face in kept.faces} == {0} and len(kept.pictures) == len(kept.faces) == 32


def test_a_false_alarm_of_one_frame_is_dropped_where_there_is_no_face(square_clip: Callable[..., Path]) -> None:
    path = square_clip(lambda i: false_alarm_beside(i)[1:])
    assert run(path).faces == []
    assert len(run(path, detector=SquareDetector(score=0.999)).faces) == 1  # a sure one is kept


def test_the_longest_and_largest_tracks_are_kept_and_numbered_from_the_left(square_clip: Callable[..., Path]) -> None:
    places = [(4, 10, 16, 22), (40, 10, 80, 50), (100, 10, 130, 40)]
    kept = run(square_clip(lambda i: places), SETTINGS.model_copy(update={"max_tracks": 2}))
    first = {face.track: face.x0_px for face in kept.faces if face.frame_index == 0}
    assert first == pytest.approx({0: 40, 1: 100}, abs=1.5)


def test_a_video_of_one_frame_has_one_face(square_clip: Callable[..., Path]) -> None:
    kept = run(square_clip(moving, n_frames=1))
    assert [(f.frame_index, f.track, f.is_detected) for f in kept.faces] == [(0, 0, True)]


def test_up_to_eight_frames_are_hashed(square_clip: Callable[..., Path]) -> None:
    assert len(run(square_clip(moving)).hashes) == 8
    assert len(run(square_clip(moving, n_frames=1)).hashes) == 1


def test_no_faces_are_no_tracks() -> None:
    assert credible_tracks([], {}, 8) == []


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Extract in this process with the detector of squares; the list names the videos that were read."""
    read: list[str] = []

    def run_here(function: Callable[[Work], object], works: Iterable[Work], limits: object) -> Iterator[object]:
        for work in works:
            job = work.what
            assert isinstance(job, Job), "no clip is long"
            read.append(job.video_id)
            yield work, Failed("took longer than 1 s and was stopped") if "hang" in job.video_id else function(work)

    monkeypatch.setattr(extraction, "run_each", run_here)
    monkeypatch.setattr(extractor, "_detector", lambda *_: SquareDetector())
    return read


def videos(root: Path, *names: str) -> list[Video]:
    return [Video(name, root / name, sha256_of(root / name)) for name in names]


def by_id(videos: list[Video], work_dir: Path, force: bool = False) -> dict[str, Extraction]:
    return {one.video_id: one for one in extract_videos(videos, work_dir, SETTINGS, force)}


def test_the_tables_hold_faces_and_whoever_has_none(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="face.mp4")
    square_clip(lambda i: [], name="empty.mp4")
    square_clip(lambda i: [(5, 5, 20, 20)], n_frames=4, name="hang.mp4")
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "face.mp4").read_bytes()[:300])
    names = ["face.mp4", "empty.mp4", "hang.mp4", "broken.mp4", "bad.mp4"]
    hashes = [sha256_of(tmp_path / name) for name in names[:4]]
    frame = pd.DataFrame({"video_id": names, "sha256": [*hashes, None], "status": ["ok"] * 4 + ["bad"]})
    frame["size_bytes"] = 1
    extracted = extract_table(frame.assign(reason="is no video"), tmp_path, tmp_path / "work", SETTINGS)
    summaries = tables.check(tables.EXTRACTIONS, extracted.extractions).to_pandas().set_index("video_id")
    assert summaries["status"].to_dict() == {
        "face.mp4": "ok",
        "empty.mp4": "no_face",
        "hang.mp4": "failed",
        "broken.mp4": "failed",
        "bad.mp4": "failed",
    }
    assert summaries.loc["empty.mp4", "reason"] == "no face in 32 frames"
    faces = tables.check(tables.FACES, extracted.faces).to_pandas()
    assert set(faces["video_id"]) == {"face.mp4"} and len(faces) == 32 == summaries.loc["face.mp4", "n_faces"]
    row = faces.iloc[5]
    assert read_crop(tmp_path / "work", row["shard"], row["offset"], row["size"]).shape == (32, 32, 3)
    assert row["lm0_x_px"] == pytest.approx(row["x0_px"] + 0.3 * (row["x1_px"] - row["x0_px"]), abs=0.01)
    failures = tables.check(tables.FAILURES, extracted.failures).to_pandas().set_index("video_id")
    assert failures["stage"].to_dict() == {
        "bad.mp4": "01_index_videos",
        "broken.mp4": "02_extract_faces",
        "hang.mp4": "02_extract_faces",
    }
    assert (
        failures.loc["hang.mp4", "reason"].startswith("took longer")
        and "broken" in failures.loc["broken.mp4", "reason"]
    )


def test_videos_that_are_done_or_unreadable_are_not_read_again_until_force(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="a.mp4")
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    both = videos(tmp_path, "a.mp4", "broken.mp4")
    first = by_id(both, tmp_path / "work")
    assert here == ["a.mp4", "broken.mp4"]
    assert by_id(both, tmp_path / "work") == first and here == ["a.mp4", "broken.mp4"]
    by_id(both, tmp_path / "work", force=True)
    assert here == ["a.mp4", "broken.mp4"] * 2


def test_a_video_that_was_stopped_is_tried_again_the_next_time(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, n_frames=9, name="hang.mp4")
    for _ in range(2):
        extraction = by_id(videos(tmp_path, "hang.mp4"), tmp_path / "work")["hang.mp4"]
        assert extraction.status == "failed"
    assert here == ["hang.mp4"] * 2


@pytest.mark.parametrize(
    ("mishap", "words"),
    [
        (lambda path: path.unlink(), "could not be read (No such file or directory)"),
        (lambda path: path.write_bytes(path.read_bytes() + b"more"), "holds other bytes than when it was indexed"),
    ],
)
def test_what_the_content_is_not_the_cause_of_is_not_remembered(
    mishap: Callable[[Path], object], words: str, square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    path = square_clip(moving, n_frames=9, name="a.mp4")
    whole, indexed = path.read_bytes(), videos(tmp_path, "a.mp4")
    mishap(path)
    assert words in (by_id(indexed, tmp_path / "work")["a.mp4"].failure or "")
    path.write_bytes(whole)
    assert by_id(indexed, tmp_path / "work")["a.mp4"].status == "ok"


def test_an_error_that_is_not_the_video_s_is_not_remembered(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    square_clip(moving, n_frames=9, name="a.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "run", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
        failure = by_id(videos(tmp_path, "a.mp4"), tmp_path / "work")["a.mp4"].failure
    assert failure == "unexpected MemoryError: no room"
    assert by_id(videos(tmp_path, "a.mp4"), tmp_path / "work")["a.mp4"].status == "ok"


def test_a_file_that_grows_while_its_frames_are_read_leaves_no_shard(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = square_clip(moving, n_frames=9, name="a.mp4")
    n_bytes, run_as_ever = path.stat().st_size, Extractor.run

    def growing(self: Extractor, frames: Iterator[Frame]) -> VideoFaces:
        path.write_bytes(path.read_bytes() + b"more")
        return run_as_ever(self, frames)

    monkeypatch.setattr(Extractor, "run", growing)
    failure = by_id(videos(tmp_path, "a.mp4"), tmp_path / "work")["a.mp4"].failure
    assert failure == (
        f"video 'a.mp4': it changed while it was read, from {n_bytes} to {n_bytes + 4} bytes; "
        "try again once it is written to its end"
    )
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_what_another_version_could_not_read_is_tried_again_and_its_note_goes(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, n_frames=9, name="a.mp4")
    (video,) = videos(tmp_path, "a.mp4")
    for number, text in enumerate(
        ('{"reason": "no such codec", "read_by": "an older one"}', '{"reason": "found nothing"}', "[]", "{")
    ):
        work_dir = tmp_path / f"work{number}"
        note = failure_note(work_dir / shard_name(video.sha256, SETTINGS))
        write_whole(note, text.encode())
        assert by_id([video], work_dir)["a.mp4"].status == "ok", text
        assert not note.exists()
    assert len(here) == 4


def test_stopped_in_the_middle_it_goes_on_with_the_rest(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    for number in range(3):
        square_clip(moving, n_frames=8 + number, name=f"{number}.mp4")
    all_three = videos(tmp_path, "0.mp4", "1.mp4", "2.mp4")
    running = extract_videos(all_three, tmp_path / "work", SETTINGS)
    next(running)
    running.close()
    assert here == ["2.mp4"], "the largest comes first"
    assert {name: one.status for name, one in by_id(all_three, tmp_path / "work").items()} == dict.fromkeys(
        ("0.mp4", "1.mp4", "2.mp4"), "ok"
    )
    assert here == ["2.mp4", "1.mp4", "0.mp4"]


def test_two_files_of_equal_bytes_are_read_once_and_both_have_the_faces(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="a.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    results = by_id(videos(tmp_path, "a.mp4", "b.mp4"), tmp_path / "work")
    assert here == ["a.mp4"] and len(results["a.mp4"].faces) == len(results["b.mp4"].faces) == 32


def test_other_settings_make_another_shard_and_leave_the_first(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    path = square_clip(moving, name="a.mp4")
    by_id(videos(tmp_path, "a.mp4"), tmp_path / "work")
    list(extract_videos(videos(tmp_path, "a.mp4"), tmp_path / "work", SETTINGS.model_copy(update={"crop_px": 64})))
    list(extract_videos(videos(tmp_path, "a.mp4"), tmp_path / "work", SETTINGS.model_copy(update={"workers": 7})))
    assert here == ["a.mp4"] * 2 and len(list((tmp_path / "work").rglob("*.tar"))) == 2 and path.is_file()


def test_the_same_video_twice_gives_the_same_shard_bytes(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    path = square_clip(moving)
    for name in ("one", "two"):
        assert extract(Job("v", path, tmp_path / name, "v.tar", SETTINGS)).status == "ok"
    assert (tmp_path / "one" / "v.tar").read_bytes() == (tmp_path / "two" / "v.tar").read_bytes()


def test_what_is_read_back_of_a_shard_is_what_was_found(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    extraction = extract(Job("v", square_clip(moving), tmp_path, "v.tar", SETTINGS))
    assert extraction == read_extraction(tmp_path, "v.tar", "v") and extraction.n_sampled == len(extraction.faces) == 32
    assert [len(track) for track in extraction.tracks] == [32] and extraction.reason is None


def two_streams(square_clip: Callable[..., Path], path: Path) -> Path:
    """A file with a stream that has a cut, and one that begins half a second later; a square in each."""
    upright, lying = (np.indices((96, 160))[axis][..., None] // 16 % 2 * 150 for axis in (1, 0))
    first = square_clip(moving, name="first.mp4", grey_of=lambda number: upright if number < 16 else lying)
    second = square_clip(lambda number: [(100, 60, 132, 92)], name="second.mp4", n_frames=24)
    return join(path, first, second, late_s=(0.0, 0.5))


def test_shots_and_tracks_of_a_further_stream_go_on_from_those_of_the_first(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    path = two_streams(square_clip, tmp_path / "two.mp4")
    made = extract(Job("v", path, tmp_path, "v.tar", SETTINGS))
    assert made == read_extraction(tmp_path, "v.tar", "v")
    assert [(face[0].shot, face[0].track, len(face)) for face in made.tracks] == [(0, 0, 16), (1, 1, 16), (2, 2, 24)]
    assert [made.stream_of(shot) for shot in range(3)] == [0, 0, 1]
    (other,) = made.further
    assert (other.stream, other.first_shot, other.n_shots, other.n_sampled, other.failure) == (1, 2, 1, 24, None)
    assert made.tracks[2][0].time_s == other.sampled_s[0] == pytest.approx(0.5)
    assert made.tracks[2][0].box == pytest.approx((100, 60, 132, 92), abs=1.5)
    crop = read_crop(tmp_path, "v.tar", made.tracks[2][5].offset, made.tracks[2][5].size)
    assert crop.shape == (32, 32, 3) and crop[9:23, 9:23].mean() > 240


def test_the_tables_count_all_streams(square_clip: Callable[..., Path], tmp_path: Path, here: list[str]) -> None:
    two_streams(square_clip, tmp_path / "two.mp4")
    rows = pd.DataFrame(
        [{"video_id": "two.mp4", "sha256": sha256_of(tmp_path / "two.mp4"), "status": "ok", "reason": None}]
    ).assign(size_bytes=1)
    made = extract_table(rows, tmp_path, tmp_path / "work", SETTINGS)
    columns = ["n_sampled", "n_shots", "n_tracks", "n_faces"]
    assert made.extractions[columns].to_numpy().tolist() == [[56, 3, 3, 56]]
    assert len(made.extractions["frame_hashes"][0]) == 8 + 6
    tables.write(tables.FACES, made.faces, tmp_path / "faces.parquet")
    assert len(tables.read(tables.FACES, tmp_path / "faces.parquet")) == 56, "keys stay unique"


def test_a_stream_that_cannot_be_read_is_named_beside_one_that_can(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = two_streams(square_clip, tmp_path / "two.mp4"), extractor._read_through

    def fails(job: Job, detector: object, demuxed: Demuxed, way: object) -> object:
        if demuxed.probe.stream in broken:
            raise broken[demuxed.probe.stream]
        return whole(job, detector, demuxed, way)  # type: ignore[arg-type]

    monkeypatch.setattr(extractor, "_read_through", fails)
    broken: dict[int, Exception] = {0: VideoError("decoded 0 frames")}
    made = extract(Job("v", path, tmp_path, "v.tar", SETTINGS))
    assert made == read_extraction(tmp_path, "v.tar", "v")
    assert (made.stream, [made.stream_of(face.shot) for face in made.faces]) == (1, [1] * 24)
    assert [(other.stream, other.failure) for other in made.further] == [(0, "decoded 0 frames")]
    broken[1] = ZeroDivisionError("odd")
    assert extract(Job("v", path, tmp_path, "w.tar", SETTINGS)).failure == "decoded 0 frames"


def test_rows_of_another_version_are_refused_with_the_way_to_mend_them(tmp_path: Path) -> None:
    write_shard(tmp_path / "v.tar", [], {"faces": []})
    with pytest.raises(UserError, match=r"another version.*--force"):
        read_extraction(tmp_path, "v.tar", "v")


def test_a_damaged_shard_is_refused_where_it_is_read_and_made_again_where_it_can_be(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="a.mp4")
    by_id(videos(tmp_path, "a.mp4"), tmp_path / "work")
    shard = next((tmp_path / "work").rglob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(UserError, match="--force"):
        read_extraction(tmp_path / "work", str(shard.relative_to(tmp_path / "work")), "a.mp4")
    assert by_id(videos(tmp_path, "a.mp4"), tmp_path / "work")["a.mp4"].status == "ok"
    assert here == ["a.mp4"] * 2


def test_a_shard_is_named_by_content_and_settings() -> None:
    others = SETTINGS.model_copy(update={"crop_px": SETTINGS.crop_px + 1})
    names = {shard_name(content, settings) for content in ("a", "b") for settings in (SETTINGS, others)}
    assert len(names) == 4 and all(name.startswith("crops/") and name.endswith(".tar") for name in names)


def test_real_processes_extract_a_plain_clip_without_a_face(square_clip: Callable[..., Path], tmp_path: Path) -> None:
    square_clip(lambda i: [], n_frames=4, name="plain.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    settings = SETTINGS.model_copy(update={"workers": 1, "deadline_s": 120.0})
    extractions = extract_videos(videos(tmp_path, "plain.mp4", "broken.mp4"), tmp_path / "work", settings)
    states = {one.video_id: one.status for one in extractions}
    assert states == {"plain.mp4": "no_face", "broken.mp4": "failed"}


def face_at(track: int, frame_index: int, score: float) -> Face:
    box, square = (10.0, 10.0, 60.0, 70.0), (0.0, 0.0, 80.0)
    return Face(0, track, frame_index, frame_index / 25, *box, score, True, (0.0,) * 10, *square, sharpness=50.0)


def test_a_rarely_seen_and_unsure_track_is_dropped_and_a_sure_one_kept() -> None:
    person = [face_at(0, i, 0.999) for i in range(12)]
    hands = [face_at(1, i, 0.96) for i in range(3)]
    newcomer = [face_at(2, i, 0.999) for i in range(9, 12)]
    assert credible_tracks([*person, *hands, *newcomer], {0: 12}, max_tracks=8) == [0, 2]


def test_few_detections_say_nothing_about_how_rare_a_face_is() -> None:
    assert credible_tracks([face_at(0, 0, 0.92)], {0: 3}, max_tracks=8) == [0]
