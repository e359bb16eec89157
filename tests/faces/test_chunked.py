"""A long video read by its chunks gives what one pass over it gives, byte for byte, however it is cut."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import Box, scene
from deepfake.catalog.hashing import Job as HashJob
from deepfake.catalog.hashing import hash_video
from deepfake.faces import extractor
from deepfake.faces.chunk_queue import run_longest_first
from deepfake.faces.chunk_tasks import ChunkTask, Outcome, Step, Whole, Work
from deepfake.faces.copy_hashes import Settings, kept_hashes
from deepfake.faces.extracted import Extraction, Job
from deepfake.faces.extractor import extract
from deepfake.faces.mtcnn import Faces
from deepfake.settings import Extract
from deepfake.workers import Failed
from moving_squares import SquareDetector

FPS = 8
SETTINGS = Extract(crop_px=32, long_from_s=20, chunk_from_s=10)
GROUPS = "cpu-independent=1:keyint=20:min-keyint=1"


@dataclass(frozen=True)
class Kind:
    """How a clip is coded, and in which container; `step` gives a frame's display time in eighths of a second."""

    suffix: str
    codec: str
    options: Mapping[str, str]
    step: Callable[[int], int] = lambda number: number


KINDS = {
    "closed groups": Kind("mp4", "libx264", {"x264-params": GROUPS}),
    "open groups": Kind("mp4", "libx264", {"x264-params": f"{GROUPS}:open-gop=1:bframes=3"}),
    "keyframes closer than the search": Kind("mp4", "libx264", {"x264-params": "cpu-independent=1:keyint=4"}),
    "HEVC": Kind(
        "mp4", "libx265", {"x265-params": "log-level=none:pools=1:frame-threads=1:keyint=20:min-keyint=5:open-gop=1"}
    ),
    "VP9": Kind("webm", "libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "a transport stream": Kind("ts", "libx264", {"x264-params": GROUPS}),
    "uneven frame rates": Kind("mkv", "libx264", {"x264-params": GROUPS}, lambda number: number + 3 * (number // 40)),
    "one keyframe a minute": Kind("mp4", "libx264", {"x264-params": "cpu-independent=1:keyint=infinite:scenecut=0"}),
    "intra refresh": Kind("mp4", "libx264", {"x264-params": f"{GROUPS}:intra-refresh=1"}),
}
USUAL = "closed groups"
SELDOM = {"keyframes closer than the search", "a transport stream", "one keyframe a minute"}
WHOLE = {"one keyframe a minute", "intra refresh"}
_made: dict[str, bytes] = {}


def people(number: int) -> list[Box]:
    """A speaker who walks about all the time, a guest of two seconds, another of six across a cut."""
    at_s = number / FPS
    x = 20 + int(20 * np.sin(at_s / 3) + 20)
    boxes = [(x, 30, x + 30, 60)]
    boxes += [(120, 60, 140, 80)] * (20 < at_s < 22) + [(110, 10, 140, 40)] * (35 < at_s < 41)
    return boxes


def walls(number: int) -> np.ndarray:
    """Another one from 13 s on, and at 38 s."""
    at_s = number / FPS
    x, y = np.meshgrid(np.arange(160), np.arange(96))
    patterns = (np.sin(x / 9), np.sin(y / 7), np.sin((x + y) / 15))
    return (90 + 85 * patterns[int(at_s >= 13) + int(at_s >= 38)]).astype(np.uint8)[..., None]


def frames(n_frames: int, boxes_of: Callable[[int], Sequence[Box]] = people) -> Iterator[np.ndarray]:
    return (scene(boxes_of(number), grey=walls(number)) for number in range(n_frames))


def write(path: Path, kind: Kind, pictures: Iterator[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.codec, rate=FPS, options=dict(kind.options))
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, picture_HWC in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture_HWC.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture_HWC, "rgb24")
            frame.pts, frame.time_base = kind.step(number), Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def clip(folder: Path, name: str) -> Path:
    """A minute of people; an equal one is not encoded twice."""
    path = folder / f"clip.{KINDS[name].suffix}"
    if name not in _made:
        _made[name] = write(path, KINDS[name], frames(60 * FPS)).read_bytes()
    path.write_bytes(_made[name])
    return path


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> SquareDetector:
    made = SquareDetector(score=0.998)
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: made)
    return made


class Here:
    """Does the work in this process, and remembers what it was."""

    def __init__(self) -> None:
        self.done: list[Work] = []

    def __call__(self, do: Callable[[Work], Outcome], items: Iterator[Work]) -> Iterator[tuple[Work, Outcome | Failed]]:
        for work in items:
            self.done.append(work)
            yield work, do(work)

    @property
    def chunks(self) -> list[ChunkTask]:
        return [work.what for work in self.done if isinstance(work.what, ChunkTask) and not work.what.questions]

    @property
    def asked(self) -> list[ChunkTask]:
        return [work.what for work in self.done if isinstance(work.what, ChunkTask) and work.what.questions]

    @property
    def whole(self) -> list[Whole]:
        return [work.what for work in self.done if isinstance(work.what, Whole)]


def by_chunks(path: Path, folder: Path, settings: Extract, here: Here | None = None) -> Extraction:
    ((_, made),) = run_longest_first([Job("v", path, folder, "v.tar", settings)], here or Here())
    assert isinstance(made, Extraction)
    return made


def assert_equal_however_cut(path: Path, folder: Path, settings: Extract, *chunks_s: float) -> list[Here]:
    """Compare with one pass; how each cut was done."""
    whole = extract(Job("v", path, folder / "whole", "v.tar", settings))
    ways = []
    for chunk_s in chunks_s:
        here, cut = Here(), folder / f"cut {chunk_s}"
        assert by_chunks(path, cut, settings.model_copy(update={"chunk_s": chunk_s}), here) == whole
        if whole.failure is None:
            assert (cut / "v.tar").read_bytes() == (folder / "whole" / "v.tar").read_bytes()
        ways.append(here)
    return ways


def n_chunks(here: Here, kind: str) -> int:
    return sum(task.one.kind == kind for task in here.chunks)


def test_1_2_5_and_17_chunks_give_the_same_tables_and_crops(tmp_path: Path, detector: SquareDetector) -> None:
    path = clip(tmp_path, USUAL)
    ways = assert_equal_however_cut(path, tmp_path, SETTINGS, 60, 30, 12, 3.6)
    assert [n_chunks(here, "search") for here in ways] == [1, 2, 5, 17]
    made = by_chunks(path, tmp_path / "again", SETTINGS)
    assert made.cuts_s == (13.0, 38.0) and len(made.tracks) == 6, "the cuts and who is seen between them were found"
    assert made.searched is not None and made.searched.n_appearances == 6
    kept, wanted = kept_hashes(tmp_path / "again", "v.tar", Settings()), hash_video(HashJob(path, Settings()))
    assert kept is not None and len(kept.times_N) == 60 * 4
    assert np.array_equal(kept.words_N4, wanted.words_N4), "copies are found by the hashes that one pass gives"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SELDOM else ()) for name in KINDS if name != USUAL]
)
def test_every_way_of_coding_gives_the_same(name: str, tmp_path: Path, detector: SquareDetector) -> None:
    (here,) = assert_equal_however_cut(clip(tmp_path, name), tmp_path, SETTINGS, 7)
    assert bool(here.whole) is (name in WHOLE)
    assert bool(here.chunks) is (name not in WHOLE)


class Shortsighted(SquareDetector):
    """Sees nothing on the pictures that are searched."""

    def __init__(self) -> None:
        super().__init__(min_side_px=150, score=0.998)


def test_small_faces_found_by_a_closer_look_are_looked_at_as_closely_in_every_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def growing(number: int) -> np.ndarray:
        side = 56 + number // 12
        return scene([(100, 40, 100 + side, 40 + side)], width_px=320, height_px=192)

    monkeypatch.setattr(extractor, "_detector", lambda *arguments: Shortsighted())
    path = write(tmp_path / "clip.mp4", KINDS[USUAL], (growing(number) for number in range(40 * FPS)))
    settings = SETTINGS.model_copy(update={"search_side_px": 120})
    (here,) = assert_equal_however_cut(path, tmp_path, settings, 7)
    assert here.asked and not here.whole, "a chunk cannot know how closely the shot before it was looked at"


def test_faces_that_lie_on_their_side_turn_the_whole_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Upright(SquareDetector):
        def detect(self, pictures: Sequence[np.ndarray], min_face_px: int | None = None) -> list[Faces]:
            is_upright = pictures[0].shape[0] > pictures[0].shape[1]
            self.score = 0.999 if is_upright else 0.95
            return super().detect(pictures, min_face_px)

    monkeypatch.setattr(extractor, "_detector", lambda *arguments: Upright())
    (here,) = assert_equal_however_cut(clip(tmp_path, "open groups"), tmp_path, SETTINGS, 13)
    assert not here.whole and by_chunks(tmp_path / "clip.mp4", tmp_path / "again", SETTINGS).turned == 90


def test_boxes_are_carried_over_the_joint_of_two_chunks(tmp_path: Path, detector: SquareDetector) -> None:
    settings = SETTINGS.model_copy(update={"sampling": "fps", "sample_fps": 4, "detection_stride": 4})
    (here,) = assert_equal_however_cut(clip(tmp_path, USUAL), tmp_path, settings, 7)
    assert not here.whole and n_chunks(here, "search") == 0
    assert any(not face.is_detected for face in by_chunks(tmp_path / "clip.mp4", tmp_path / "again", settings).faces)


def test_a_long_video_without_a_face_is_sampled_evenly(tmp_path: Path, detector: SquareDetector) -> None:
    path = write(tmp_path / "clip.mp4", KINDS[USUAL], frames(40 * FPS, lambda number: []))
    (here,) = assert_equal_however_cut(path, tmp_path, SETTINGS, 7)
    assert not here.whole and by_chunks(path, tmp_path / "again", SETTINGS).status == "no_face"


def test_a_damaged_video_is_read_as_a_whole_and_the_log_says_why(
    tmp_path: Path, detector: SquareDetector, caplog: pytest.LogCaptureFixture
) -> None:
    path = clip(tmp_path, USUAL)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    with caplog.at_level(logging.INFO):
        (here,) = assert_equal_however_cut(path, tmp_path, SETTINGS, 7)
    assert len(here.whole) == 1 and "damaged" in here.whole[0].reason
    assert "video 'v': not cut, one process reads it all" in caplog.text


def test_a_short_video_is_not_cut(tmp_path: Path, detector: SquareDetector) -> None:
    path = write(tmp_path / "clip.mp4", KINDS[USUAL], frames(9 * FPS))
    (here,) = assert_equal_however_cut(path, tmp_path, SETTINGS, 2)
    assert [type(work.what) for work in here.done] == [Job]


def test_a_file_that_changes_between_two_chunks_is_lost_not_mixed(tmp_path: Path, detector: SquareDetector) -> None:
    path = clip(tmp_path, USUAL)

    class Meddling(Here):
        def __call__(
            self, do: Callable[[Work], Outcome], items: Iterator[Work]
        ) -> Iterator[tuple[Work, Outcome | Failed]]:
            for outcome in super().__call__(do, items):
                path.touch()
                yield outcome

    made = by_chunks(path, tmp_path / "out", SETTINGS, Meddling())
    assert made.failure is not None and "changed" in made.failure and not (tmp_path / "out" / "v.tar").exists()


def test_the_longest_chunks_come_first_and_before_videos_that_are_not_begun(
    tmp_path: Path, detector: SquareDetector
) -> None:
    path, other = clip(tmp_path, USUAL), tmp_path / "short.mp4"
    write(other, KINDS[USUAL], frames(5 * FPS))
    settings = SETTINGS.model_copy(update={"chunk_s": 7})
    jobs = [Job(p.stem, p, tmp_path / "out", f"{p.stem}.tar", settings) for p in (other, path)]
    here = Here()
    assert {job.video_id for job, _ in run_longest_first(jobs, here)} == {"clip", "short"}
    assert isinstance(here.done[0].what, Job) and here.done[0].what.path == path, "the larger file is begun first"
    lengths_s = [task.chunk.length_s for task in here.chunks if task.one.kind == "search"]
    assert lengths_s == sorted(lengths_s, reverse=True) and len(lengths_s) > 1
    assert here.done[-1].number == 0, "the short one comes last"


def test_so_many_long_videos_are_in_progress_at_once(tmp_path: Path, detector: SquareDetector) -> None:
    path = clip(tmp_path, USUAL)
    jobs = [Job(f"v{i}", path, tmp_path / "out", f"v{i}.tar", SETTINGS) for i in range(3)]
    here = Here()
    assert len(list(run_longest_first(jobs, here, most_open=1))) == 3
    order = [work.number for work in here.done if isinstance(work.what, ChunkTask | Step)]
    assert order == sorted(order), "the chunks of one are done before those of the next are begun"
