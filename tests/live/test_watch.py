"""The loop of a watch: one row an update, within its budget; a file without a budget gets what a check gives it."""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from test_live_persons import rules

from deepfake.detector.header import Networks, read_detector
from deepfake.detector.score_videos import score_videos
from deepfake.faces.extractor import detector_of
from deepfake.live.annotations import Row
from deepfake.live.budget import Budget, Paces
from deepfake.live.hub import Hub
from deepfake.live.looking import Looker
from deepfake.live.offline import OfflineWatch
from deepfake.live.sources import Arrived, Event
from deepfake.live.watch import Settings, Summary, Watch
from deepfake.media.clips import write_clip
from deepfake.media.video import Frame
from deepfake.settings import Ensemble, Extract, Predict
from drawn_faces import person_frames
from lab.cheap_detector import write_cheap_detector
from learning_data import one_thread  # noqa: F401 - a fixture
from moving_squares import SquareDetector

pytestmark = pytest.mark.usefixtures("one_thread")


SEES_LITTLE = Ensemble(small_face_px=8, blurred_sharpness=0.01, verdict_face_px=8, verdict_sharpness=0)


class Clock:
    """A clock that goes on only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Camera:
    """25 frames a second of white squares, for as long as it is said; the newest is handed out."""

    def __init__(
        self, clock: Clock, seconds: float, squares: Callable[[float], list[tuple[int, int]]], happens: list[Event]
    ) -> None:
        self.clock, self.seconds, self.squares, self.happens = clock, seconds, squares, happens
        self.began_s, self.n_handed, self.last = clock.now_s, 0, -1
        self.is_closed = False

    @property
    def n_dropped(self) -> int:
        return self.last + 1 - self.n_handed

    def next(self, timeout_s: float) -> Arrived | None:
        index = int((self.clock.now_s - self.began_s) / 0.04)
        if index == self.last:
            self.clock.sleep(min(timeout_s, self.began_s + 0.04 * (index + 1) - self.clock.now_s + 1e-6))
            index = int((self.clock.now_s - self.began_s) / 0.04)
        if index * 0.04 >= self.seconds:
            return None
        self.last, self.n_handed = index, self.n_handed + 1
        picture = np.full((180, 320, 3), 40, np.uint8)
        for x, y in self.squares(index * 0.04):
            picture[y : y + 40, x : x + 40] = 255
        frame = Frame(av.VideoFrame.from_ndarray(picture, format="rgb24"), 0, index, index * 0.04)
        return Arrived(frame, self.began_s + index * 0.04)

    def events(self) -> list[Event]:
        now_s = self.clock.now_s - self.began_s
        told = [event for event in self.happens if event.time_s <= now_s]
        self.happens = [event for event in self.happens if event.time_s > now_s]
        return [*told, *([Event("end", self.seconds, "its end")] if now_s >= self.seconds else [])]

    def close(self) -> None:
        self.is_closed = True


class Networks2:
    """Two networks that take time by the clock and say what they are told to."""

    def __init__(self, clock: Clock, view_ms: float, says: Callable[[], float] = lambda: 0.5) -> None:
        self.clock, self.view_ms, self.says, self.paces = clock, view_ms, says, Paces()
        self.members = {"a": 2, "b": 1}
        self.strides = {"a": 1, "b": 1}
        self.seen: list[Mapping[str, int]] = []

    def look(self, _crop: np.ndarray, views: Mapping[str, int]) -> dict[str, float]:
        self.seen.append(dict(views))
        for name, n in views.items():
            self.clock.sleep(n * self.view_ms / 1000)
            self.paces.add(name, n * self.view_ms, n)
        return {name: self.says() for name in views}

    def p_fake(self, logits: Mapping[str, float]) -> float | None:
        return 0.5 if len(logits) == 2 else None


def watched(
    squares: Callable[[float], list[tuple[int, int]]],
    seconds: float = 6.0,
    view_ms: float = 20.0,
    budget: Budget | None = None,
    happens: tuple[Event, ...] = (),
    sinks: Sequence[object] = (),
    **more: object,
) -> tuple[list[Row], Summary, Networks2]:
    clock = Clock()
    networks = Networks2(clock, view_ms, **{key: more.pop(key) for key in ("says",) if key in more})  # type: ignore[arg-type]
    hub, settings = Hub(), Settings(budget or Budget(), with_pictures=True, **more)  # type: ignore[arg-type]
    of_two = rules(settings=SEES_LITTLE, a=0.5, b=0.5)
    watch = Watch(of_two, networks, SquareDetector(score=0.995), settings, hub, sinks, now=clock, sleep=clock.sleep)  # type: ignore[arg-type]
    watch.follower.settings = Extract(detection_side_px=320, second_look=False)
    camera = Camera(clock, seconds, squares, list(happens))
    summary = watch.run(camera)
    assert camera.is_closed
    assert hub.is_ended
    assert hub.newest is not None
    assert hub.newest.picture_HWC is not None
    return [row for _, row in hub.rows_after(-1)], summary, networks


def updates(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.kind == "update"]


def one_face(_time_s: float) -> list[tuple[int, int]]:
    return [(100, 60)]


def test_a_face_has_its_first_score_at_once_and_enough_for_a_verdict_within_three_seconds() -> None:
    rows, _, _ = watched(one_face)
    first = next(row for row in updates(rows) if row.persons and row.persons[0].overall is not None)
    assert first.time_s < 0.3
    enough = next(row for row in updates(rows) if row.persons[0].n_scored >= 16)
    assert enough.time_s <= 3.0


def test_updates_come_four_times_a_second_and_frames_are_no_older_than_the_budget() -> None:
    rows, summary, _ = watched(one_face, seconds=10)
    times = [row.time_s for row in updates(rows)]
    assert max(np.diff(times)) <= 0.3
    assert max(summary.ages_ms) <= 300
    assert summary.n_dropped + summary.n_updates == summary.n_frames


def test_with_slow_networks_views_and_networks_fall_before_updates_do() -> None:
    rows, summary, networks = watched(one_face, view_ms=90, seconds=10)
    assert {"a": 2, "b": 1} not in networks.seen[2:]
    assert max(np.diff([row.time_s for row in updates(rows)])) <= 0.4
    assert np.percentile(summary.ages_ms, 95) <= 300
    assert summary.persons[0].n_scored > 20


def test_four_faces_are_all_followed_with_fewer_looks_each() -> None:
    rows, summary, networks = watched(lambda _: [(20 + 70 * i, 60) for i in range(4)], view_ms=40, seconds=10)
    assert [len(row.faces) for row in updates(rows)] == [4] * len(updates(rows))
    assert np.percentile(summary.ages_ms, 95) <= 300
    looks = [person.n_scored for person in summary.persons]
    assert min(looks) > 0.8 * max(looks) > 5
    assert sum(len(views) for views in networks.seen) / len(networks.seen) < 1.5, "in turns"


def test_with_networks_that_take_seconds_no_frame_older_than_one_is_shown_and_rows_go_on() -> None:
    rows, summary, _ = watched(one_face, view_ms=1100, seconds=20)
    assert all(row.latency_ms is not None and row.latency_ms <= 1000 for row in updates(rows))
    assert any("this machine is too slow" in str(row.reason) for row in rows)
    assert summary.persons[0].n_scored >= 4
    assert len(updates(rows)) >= 4


def test_without_a_limit_every_look_is_a_full_one() -> None:
    _, _, networks = watched(one_face, view_ms=200, budget=Budget(update_ms=None))
    assert networks.seen == [{"a": 2, "b": 1}] * len(networks.seen)


def test_boxes_are_carried_between_two_detections_and_the_row_says_so() -> None:
    rows, _, _ = watched(one_face)
    carried = [row.faces[0].is_carried for row in updates(rows)]
    assert any(carried)
    assert not all(carried)
    assert all(row.faces[0].box_px == (100.0, 60.0, 140.0, 100.0) for row in updates(rows)[:2])


def test_what_happens_to_the_source_stands_between_the_updates() -> None:
    happens = (Event("gap", 2.0, "nothing came", 1.7), Event("notice", 3.0, "now coded as hevc"))
    rows, _, _ = watched(one_face, happens=happens)
    gap = next(row for row in rows if row.kind == "gap")
    assert (gap.seconds, gap.reason) == (1.7, "nothing came")
    assert [row.kind for row in rows][-1] == "end"
    assert rows[-1].reason == "its end"
    assert [row.time_s for row in rows] == sorted(row.time_s for row in rows)


def test_an_alarm_begins_and_ends_in_the_rows() -> None:
    strong = iter([0.0] * 40 + [9.0] * 100 + [-9.0] * 2000)
    rows, _, _ = watched(one_face, seconds=40, says=lambda: next(strong))
    alarmed = [row.persons[0].is_alarmed for row in updates(rows)]
    changes = [b for a, b in itertools.pairwise(alarmed) if a != b]
    assert changes == [True, False]


def test_who_leaves_and_returns_is_one_person_and_a_row_says_so() -> None:
    def here(time_s: float) -> list[tuple[int, int]]:
        return [] if 3 < time_s < 6 else [(100, 60) if time_s < 4 else (200, 20)]

    face = np.eye(128, dtype=np.float32)[0]
    rows, summary, _ = watched(here, seconds=9, embed=lambda _crop, _points: face)
    assert [person.person for person in summary.persons] == [0]
    assert any("person 0 is seen again" in str(row.reason) for row in rows)
    assert {face.person for face in updates(rows)[-1].faces} == {0}
    _, alone, _ = watched(here, seconds=9)
    assert [person.person for person in alone.persons] == [0, 1], "nobody can tell without embeddings"


def test_ctrl_c_ends_the_session_with_a_row() -> None:
    def squares(time_s: float) -> list[tuple[int, int]]:
        if time_s > 2:
            raise KeyboardInterrupt
        return [(100, 60)]

    rows, summary, _ = watched(squares)
    assert (rows[-1].kind, rows[-1].reason, summary.reason) == ("end", "stopped", "stopped")
    assert len(rows[-1].persons) == 1


class FullDisk:
    """Takes some rows, then no more."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def write(self, row: Row) -> None:
        if len(self.rows) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", "rows.jsonl")
        self.rows.append(row)

    def close(self) -> None:
        raise AssertionError("it is no sink any more")


def test_an_output_that_fails_is_told_of_and_the_watch_goes_on() -> None:
    disk = FullDisk()
    rows, _, _ = watched(one_face, sinks=[disk])
    assert len(disk.rows) == 3
    told = [row for row in rows if row.reason == "rows.jsonl: No space left on device; not written on"]
    assert len(told) == 1
    assert len(updates(rows)) > 15


def test_a_stream_without_a_face_or_a_frame_has_a_verdict_that_says_so() -> None:
    assert watched(lambda _: [], seconds=2)[1].verdicts == ["no face found"]
    assert Summary("refused", 0.0, 0, 0, 0, (), ()).verdicts == ["could not be read"]


# Equality with a check.


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offline") / "cheap.safetensors"
    write_cheap_detector(path, {"detection_side_px": 320, "crop_px": 64, "frames_per_video": 12, "workers": 1})
    return path


def two_shots() -> Iterator[np.ndarray]:
    """Two people side by side, then one of them alone elsewhere."""
    yield from person_frames(1, (False, True), 24)
    for picture in person_frames(2, (False,), 24):
        yield np.hstack([picture, picture[:, ::-1] // 3])


def test_a_file_without_a_budget_gets_the_tracks_and_scores_of_a_check(detector_file: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_clip(clip, two_shots(), 24)
    header = read_detector(detector_file)
    predict = Predict(device="cpu", precision="fp32")
    (scored,) = score_videos({"v": clip}, header, "digest", tmp_path / "cache", predict, 1)
    assert scored.reading is not None
    offline = scored.reading.extraction.faces

    hub, networks = Hub(), Networks(header, predict)
    detector = detector_of(header.extract)
    watch = Watch(header, Looker(networks.scorer, Paces()), detector, Settings(Budget(None)), hub)
    session = OfflineWatch(clip, watch, detector)
    summary = session.run()

    names = ("shot", "track", "frame_index", "time_s", "box", "is_detected", "sharpness")
    assert [[getattr(one.face, name) for name in names] for one in session.judged] == [
        [getattr(face, name) for name in names] for face in offline
    ]
    assert len(scored.tracks) >= 3, "two people, and one in the second shot"
    watch_scores = {one.track: [] for one in scored.tracks}
    for one in session.judged:
        watch_scores[one.face.track].append(one.logits["frames"])
    for track in scored.tracks:
        np.testing.assert_allclose(watch_scores[track.track], track.frame_logits, atol=1e-5)
    by_person = sorted(person.overall for person in summary.persons if person.overall is not None)
    wanted = sorted(1 / (1 + np.exp(-track.logit)) for track in scored.tracks)
    np.testing.assert_allclose(by_person, wanted, atol=1e-5)
    rows = [row for _, row in hub.rows_after(-1)]
    assert [row.frame for row in updates(rows)] == sorted({face.frame_index for face in offline})
    assert json.loads(rows[-1].to_line())["kind"] == "end"
