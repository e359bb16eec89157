"""Extraction, with a detector that sees white squares: the right crops, carried boxes, tracks, and resuming."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake import extraction, tables, video_faces
from deepfake.config import Extract, UserError
from deepfake.extracted import Extraction, Face, read_extraction
from deepfake.extraction import Video, extract_table, extract_videos
from deepfake.faces import Faces
from deepfake.files import sha256_of
from deepfake.shards import decode_crop, read_crop, write_shard
from deepfake.video import sample
from deepfake.video_faces import Extractor, Found, Job, credible_tracks, extract, shard_name
from deepfake.workers import Failed

POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.58), (0.35, 0.78), (0.65, 0.78)], np.float32)
SETTINGS = Extract(frames_per_video=32, sampling="uniform", detection_stride=4, crop_px=32, margin_ratio=0.25)


class SquareDetector:
    """Finds white squares of 8 px and more; counts its looks; may be blind in some of them or at a small size."""

    def __init__(self, blind_looks: Sequence[int] = (), min_side_px: int = 0, score: float = 0.95) -> None:
        self.blind_looks, self.min_side_px, self.score = blind_looks, min_side_px, score
        self.looks: list[tuple[int, int]] = []

    def detect(self, pictures: Sequence[np.ndarray], min_face_px: int | None = None) -> list[Faces]:
        found = []
        for picture_HWC in pictures:
            self.looks.append((picture_HWC.shape[1], picture_HWC.shape[0]))
            white = (picture_HWC.min(2) > 200).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(white, connectivity=4)
            boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:] if w >= 8 and h >= 8], np.float32)
            blind = len(self.looks) - 1 in self.blind_looks or max(picture_HWC.shape) < self.min_side_px
            if blind or not len(boxes):
                found.append(Faces.none())
                continue
            landmarks = boxes[:, None, :2] + POINTS * (boxes[:, 2:] - boxes[:, :2])[:, None]
            found.append(Faces(boxes, np.full(len(boxes), self.score, np.float32), landmarks))
        return found


def run(path: Path, settings: Extract = SETTINGS, detector: SquareDetector | None = None) -> Found:
    frames = sample(path, settings.sampling, n_frames=settings.frames_per_video)
    return Extractor(settings, detector or SquareDetector()).run(iter(frames))  # type: ignore[arg-type]


def moving(number: int) -> list[tuple[int, int, int, int]]:
    return [(20 + 2 * number, 30, 44 + 2 * number, 54)]


def boxes_of(found: Found) -> np.ndarray:
    return np.array([face.box for face in found.faces])


def test_every_sampled_frame_has_the_face_where_it_is(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(moving))
    assert found.n_sampled == 32 and found.n_shots == 1
    assert [face.frame_index for face in found.faces] == list(range(32))
    assert [face.time_s for face in found.faces] == pytest.approx([i / 8 for i in range(32)])
    assert {face.track for face in found.faces} == {0}
    assert boxes_of(found) == pytest.approx(np.array([moving(i)[0] for i in range(32)]), abs=1.5)


def test_the_crop_shows_the_face_with_its_margin(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(moving))
    for face, data in zip(found.faces, found.pictures, strict=True):
        crop = decode_crop(data, "crop")
        # 24 px with a quarter on each side is 36 px, shown in 32: the square stands from 5.3 to 26.7.
        assert face.crop_side_px == pytest.approx(36, abs=3)
        assert crop.shape == (32, 32, 3)
        assert crop[9:23, 9:23].mean() > 240 and crop[:3].mean() < 110 and crop[:, :3].mean() < 110


def test_boxes_between_two_looks_are_carried_by_interpolation(square_clip: Callable[..., Path]) -> None:
    detector = SquareDetector()
    found = run(square_clip(moving), detector=detector)
    detected = [face.frame_index for face in found.faces if face.is_detected]
    assert detected == [0, 4, 8, 12, 16, 20, 24, 28, 31] and len(detector.looks) == 9
    boxes = boxes_of(found)
    for first in range(0, 28, 4):
        for step in (1, 2, 3):
            between = boxes[first] * (1 - step / 4) + boxes[first + 4] * step / 4
            assert boxes[first + step] == pytest.approx(between, abs=0.01)


def test_carrying_agrees_with_looking_at_every_frame(square_clip: Callable[..., Path]) -> None:
    path = square_clip(moving)
    each = run(path, SETTINGS.model_copy(update={"detection_stride": 1}))
    assert all(face.is_detected for face in each.faces)
    assert boxes_of(run(path)) == pytest.approx(boxes_of(each), abs=1.5)


def test_a_face_that_comes_between_two_looks_is_looked_for(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(lambda i: [(60, 30, 84, 54)] if i >= 10 else []))
    assert [face.frame_index for face in found.faces] == list(range(10, 32))


def test_two_faces_are_two_tracks_also_when_they_pass_each_other(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(lambda i: [(10 + 3 * i, 8, 34 + 3 * i, 32), (110 - 3 * i, 60, 134 - 3 * i, 84)]))
    for track, row in ((0, 8), (1, 60)):
        rows = [face for face in found.faces if face.track == track]
        assert len(rows) == 32 and all(abs(face.y0_px - row) < 3 for face in rows)


def test_a_face_of_a_long_video_is_one_track_and_looked_for_in_every_sampled_frame(
    square_clip: Callable[..., Path],
) -> None:
    places = [20, 26, 24, 36, 30, 22, 28, 20]
    found = run(square_clip(lambda i: [(places[i], 30, places[i] + 24, 54)], n_frames=8, fps=0.05))
    assert [round(face.time_s) for face in found.faces] == [20 * i for i in range(8)]
    assert {face.track for face in found.faces} == {0} and all(face.is_detected for face in found.faces)
    assert boxes_of(found)[:, 0] == pytest.approx(places, abs=1.5)


def test_a_new_shot_starts_new_tracks(square_clip: Callable[..., Path]) -> None:
    upright, lying = (np.indices((96, 160))[axis][..., None] // 16 % 2 * 150 for axis in (1, 0))
    found = run(square_clip(lambda i: [(60, 30, 84, 54)], grey_of=lambda i: upright if i < 16 else lying))
    assert found.n_shots == 2
    assert [(f.shot, f.track) for f in found.faces] == [(0, 0)] * 16 + [(1, 1)] * 16
    assert found.faces[15].is_detected and found.faces[16].is_detected


def test_a_face_only_seen_at_full_size_is_found_by_a_second_look(square_clip: Callable[..., Path]) -> None:
    path = square_clip(lambda i: [(100, 60, 140, 100)], width_px=320, height_px=192)
    settings = SETTINGS.model_copy(update={"detection_side_px": 160})
    detector = SquareDetector(min_side_px=300)
    found = run(path, settings, detector)
    assert len(found.faces) == 32 and boxes_of(found)[0] == pytest.approx([100, 60, 140, 100], abs=2)
    assert detector.looks[:3] == [(160, 96), (320, 192), (320, 192)]
    detector = SquareDetector(min_side_px=300)
    assert run(path, settings.model_copy(update={"second_look": False}), detector).faces == []


def test_second_looks_are_few_where_there_is_no_face(square_clip: Callable[..., Path]) -> None:
    detector = SquareDetector()
    path = square_clip(lambda i: [], width_px=320, height_px=192)
    assert run(path, SETTINGS.model_copy(update={"detection_side_px": 160}), detector).faces == []
    assert sum(size == (320, 192) for size in detector.looks) == video_faces.SECOND_LOOKS


def test_a_missed_look_does_not_part_a_track(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(moving), detector=SquareDetector(blind_looks=[2]))
    assert {face.track for face in found.faces} == {0} and len(found.faces) >= 28


def false_alarm_beside(number: int) -> list[tuple[int, int, int, int]]:
    return [(20, 30, 44, 54), *([(100, 10, 130, 40)] if number == 12 else [])]


def test_a_false_alarm_of_one_look_is_dropped_beside_a_face(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(false_alarm_beside))
    assert {face.track for face in found.faces} == {0} and len(found.pictures) == len(found.faces) == 32


def test_a_false_alarm_of_one_look_is_dropped_where_there_is_no_face(square_clip: Callable[..., Path]) -> None:
    path = square_clip(lambda i: false_alarm_beside(i)[1:])
    assert run(path).faces == []
    assert len(run(path, detector=SquareDetector(score=0.999)).faces) == 1  # a sure one is kept


def test_the_longest_and_largest_tracks_are_kept_and_numbered_from_the_left(square_clip: Callable[..., Path]) -> None:
    places = [(4, 10, 16, 22), (40, 10, 80, 50), (100, 10, 130, 40)]
    found = run(square_clip(lambda i: places), SETTINGS.model_copy(update={"max_tracks": 2}))
    first = {face.track: face.x0_px for face in found.faces if face.frame_index == 0}
    assert first == pytest.approx({0: 40, 1: 100}, abs=1.5)


def test_a_video_of_one_frame_has_one_face(square_clip: Callable[..., Path]) -> None:
    found = run(square_clip(moving, n_frames=1))
    assert [(f.frame_index, f.track, f.is_detected) for f in found.faces] == [(0, 0, True)]


def test_up_to_eight_frames_are_hashed(square_clip: Callable[..., Path]) -> None:
    assert len(run(square_clip(moving)).hashes) == 8
    assert len(run(square_clip(moving, n_frames=1)).hashes) == 1


def test_no_faces_are_no_tracks() -> None:
    assert credible_tracks([], {}, 8) == []


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Extract in this process with the detector of squares; the list names the videos that were read."""
    read: list[str] = []

    def run_here(function: Callable[[Job], object], jobs: Iterable[Job], limits: object) -> Iterator[object]:
        for job in jobs:
            read.append(job.video_id)
            yield job, Failed("took longer than 1 s and was stopped") if "hang" in job.video_id else function(job)

    monkeypatch.setattr(extraction, "run_each", run_here)
    monkeypatch.setattr(video_faces, "_detector", lambda *_: SquareDetector())
    return read


def videos(root: Path, *names: str) -> list[Video]:
    return [Video(name, root / name, sha256_of(root / name)) for name in names]


def told(videos: list[Video], work_dir: Path, force: bool = False) -> dict[str, Extraction]:
    return {found.video_id: found for found in extract_videos(videos, work_dir, SETTINGS, force)}


def test_the_tables_hold_faces_and_whoever_has_none(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="face.mp4")
    square_clip(lambda i: [], name="empty.mp4")
    square_clip(lambda i: [(5, 5, 20, 20)], n_frames=4, name="hang.mp4")
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "face.mp4").read_bytes()[:300])
    names = ["face.mp4", "empty.mp4", "hang.mp4", "broken.mp4", "bad.mp4"]
    frame = pd.DataFrame({"video_id": names, "sha256": [*"abcd", None], "status": ["ok"] * 4 + ["bad"]})
    found = extract_table(frame.assign(reason="is no video"), tmp_path, tmp_path / "work", SETTINGS)
    summaries = tables.check(tables.EXTRACTIONS, found.extractions).to_pandas().set_index("video_id")
    assert summaries["status"].to_dict() == {
        "face.mp4": "ok", "empty.mp4": "no_face", "hang.mp4": "failed", "broken.mp4": "failed", "bad.mp4": "failed"
    }  # fmt: skip
    assert summaries.loc["empty.mp4", "reason"] == "no face in 32 frames"
    faces = tables.check(tables.FACES, found.faces).to_pandas()
    assert set(faces["video_id"]) == {"face.mp4"} and len(faces) == 32 == summaries.loc["face.mp4", "n_faces"]
    row = faces.iloc[5]
    assert read_crop(tmp_path / "work", row["shard"], row["offset"], row["size"]).shape == (32, 32, 3)
    assert row["lm0_x_px"] == pytest.approx(row["x0_px"] + 0.3 * (row["x1_px"] - row["x0_px"]), abs=0.01)
    failures = tables.check(tables.FAILURES, found.failures).to_pandas().set_index("video_id")
    assert failures["stage"].to_dict() == {
        "bad.mp4": "01_index_videos", "broken.mp4": "02_extract_faces", "hang.mp4": "02_extract_faces"
    }  # fmt: skip
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
    first = told(both, tmp_path / "work")
    assert here == ["a.mp4", "broken.mp4"]
    assert told(both, tmp_path / "work") == first and here == ["a.mp4", "broken.mp4"]
    told(both, tmp_path / "work", force=True)
    assert here == ["a.mp4", "broken.mp4"] * 2


def test_a_video_that_was_stopped_is_tried_again_the_next_time(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, n_frames=9, name="hang.mp4")
    for _ in range(2):
        found = told(videos(tmp_path, "hang.mp4"), tmp_path / "work")["hang.mp4"]
        assert found.status == "failed"
    assert here == ["hang.mp4"] * 2


def test_stopped_in_the_middle_it_goes_on_with_the_rest(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    for number in range(3):
        square_clip(moving, n_frames=8 + number, name=f"{number}.mp4")
    all_three = videos(tmp_path, "0.mp4", "1.mp4", "2.mp4")
    running = extract_videos(all_three, tmp_path / "work", SETTINGS)
    next(running)
    running.close()
    assert here == ["0.mp4"]
    assert {name: found.status for name, found in told(all_three, tmp_path / "work").items()} == dict.fromkeys(
        ("0.mp4", "1.mp4", "2.mp4"), "ok"
    )
    assert here == ["0.mp4", "1.mp4", "2.mp4"]


def test_two_files_of_equal_bytes_are_read_once_and_both_told(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="a.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    found = told(videos(tmp_path, "a.mp4", "b.mp4"), tmp_path / "work")
    assert here == ["a.mp4"] and len(found["a.mp4"].faces) == len(found["b.mp4"].faces) == 32


def test_other_settings_make_another_shard_and_leave_the_first(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    path = square_clip(moving, name="a.mp4")
    told(videos(tmp_path, "a.mp4"), tmp_path / "work")
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
    found = extract(Job("v", square_clip(moving), tmp_path, "v.tar", SETTINGS))
    assert found == read_extraction(tmp_path, "v.tar", "v") and found.n_sampled == len(found.faces) == 32
    assert [len(track) for track in found.tracks] == [32] and found.reason is None


def test_rows_of_another_version_are_told_with_the_way_to_mend_them(tmp_path: Path) -> None:
    write_shard(tmp_path / "v.tar", [], {"faces": []})
    with pytest.raises(UserError, match=r"another version.*--force"):
        read_extraction(tmp_path, "v.tar", "v")


def test_a_damaged_shard_is_told_with_the_way_to_mend_it(
    square_clip: Callable[..., Path], tmp_path: Path, here: list[str]
) -> None:
    square_clip(moving, name="a.mp4")
    told(videos(tmp_path, "a.mp4"), tmp_path / "work")
    shard = next((tmp_path / "work").rglob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(UserError, match="--force"):
        told(videos(tmp_path, "a.mp4"), tmp_path / "work")
    assert told(videos(tmp_path, "a.mp4"), tmp_path / "work", force=True)["a.mp4"].status == "ok"


def test_a_shard_is_named_by_content_and_settings() -> None:
    others = SETTINGS.model_copy(update={"crop_px": SETTINGS.crop_px + 1})
    names = {shard_name(content, settings) for content in ("a", "b") for settings in (SETTINGS, others)}
    assert len(names) == 4 and all(name.startswith("crops/") and name.endswith(".tar") for name in names)


def test_real_processes_extract_a_plain_clip_without_a_face(square_clip: Callable[..., Path], tmp_path: Path) -> None:
    square_clip(lambda i: [], n_frames=4, name="plain.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    settings = SETTINGS.model_copy(update={"workers": 1, "deadline_s": 120.0})
    found = extract_videos(videos(tmp_path, "plain.mp4", "broken.mp4"), tmp_path / "work", settings)
    states = {one.video_id: one.status for one in found}
    assert states == {"plain.mp4": "no_face", "broken.mp4": "failed"}


def look(track: int, frame_index: int, score: float) -> Face:
    box, square = (10.0, 10.0, 60.0, 70.0), (0.0, 0.0, 80.0)
    return Face(0, track, frame_index, frame_index / 25, *box, score, True, (0.0,) * 10, *square, sharpness=50.0)


def test_a_rarely_seen_and_unsure_track_is_dropped_and_a_sure_one_kept() -> None:
    person = [look(0, i, 0.999) for i in range(12)]
    hands = [look(1, i, 0.96) for i in range(3)]
    newcomer = [look(2, i, 0.999) for i in range(9, 12)]
    assert credible_tracks([*person, *hands, *newcomer], {0: 12}, max_tracks=8) == [0, 2]


def test_few_looks_say_nothing_about_how_rare_a_face_is() -> None:
    assert credible_tracks([look(0, 0, 0.92)], {0: 3}, max_tracks=8) == [0]
