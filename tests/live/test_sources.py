"""A source is always drained, holds the newest frame only, reconnects, and says what happened to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from deepfake.live import sources
from deepfake.live.sources import Arrived, Event, LiveSource
from deepfake.media.clips import write_clip
from deepfake.media.live_streams import LiveStream, Opening, StreamError, Unit
from deepfake.media.video import Frame

pytestmark = pytest.mark.slow  # streams in real time

SIDE_PX = 32


class Packet:
    """Stands for a packet; `picture` is what decoding brings."""

    def __init__(self, picture: Frame | None) -> None:
        self.picture = picture


def unit(shown_s: float, is_keyframe: bool = True, side_px: int = SIDE_PX, brings: bool = True) -> Unit:
    grey = int(100 + 50 * (shown_s % 1))
    rows = np.full((side_px, side_px, 3), grey, np.uint8)
    rows[:, : side_px // 2] = 30
    frame = Frame(av.VideoFrame.from_ndarray(rows, "rgb24"), 0, 0, 0.0)
    frame.is_keyframe = is_keyframe
    return Unit(Packet(frame if brings else None), True, is_keyframe, shown_s, shown_s)


class Connection:
    """A stream whose packets come as a script says: a unit, seconds of nothing, or an error."""

    extradata, sound, is_whole = b"", None, False

    def __init__(self, script: list[object], codec: str = "h264", is_whole: bool = False) -> None:
        self.script, self.codec, self.is_whole = script, codec, is_whole
        self.n_bad_packets, self.levels, self.n_restarts = 0, ["DEFAULT"], 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def units(self) -> Iterator[Unit]:
        for step in self.script:
            if isinstance(step, Unit):
                yield step
            elif isinstance(step, Exception):
                raise step
            elif callable(step):
                step()
            else:
                time.sleep(float(step))  # type: ignore[arg-type]

    def decode(self, one: Unit) -> list[tuple[Frame, float | None]]:
        return [(one.packet.picture, one.shown_s)] if one.packet.picture is not None else []

    def allow(self, level: str) -> None:
        if self.levels[-1] != level:
            self.levels.append(level)

    def flush(self) -> list[tuple[Frame, float | None]]:
        return []

    def restart(self) -> None:
        self.n_restarts += 1


PATIENT = Opening("network", "tcp://studio:1", "studio", open_s=3, read_s=3)
NETWORK = Opening("network", "tcp://studio:1", "studio", open_s=0.3, read_s=0.3)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BACKOFF_S", 0.02)
    monkeypatch.setattr(sources, "GAP_S", 0.15)
    monkeypatch.setattr(sources, "TELL_AFTER_S", 0.2)
    monkeypatch.setattr(sources, "HUNG_S", 0.3)
    monkeypatch.setattr(sources, "LOST_S", 0.15)


def started(*connections: Connection | StreamError, opening: Opening = NETWORK, give_up_s: float = 0.3) -> LiveSource:
    """A source whose connections these are, one after the other; then nobody is there."""
    left = iter(connections)

    def connect(_opening: Opening, _with_sound: bool) -> LiveStream:
        one = next(left, StreamError("studio: could not be opened: Connection refused"))
        if isinstance(one, StreamError):
            raise one
        return one  # type: ignore[return-value]

    source = LiveSource(opening, give_up_s=give_up_s, connect=connect)
    source.start()
    return source


def watched(source: LiveSource, every_s: float = 0.0) -> tuple[list[Arrived], list[Event]]:
    """All that a watcher gets who takes so long for a frame."""
    frames, events = [], []
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        arrived = source.next(0.05)
        if arrived is not None:
            frames.append(arrived)
            time.sleep(every_s)
        events += source.events()
        if any(event.kind == "end" for event in events):
            break
    source.close()
    return frames, events


def words(events: list[Event], kind: str) -> str:
    return " | ".join(event.reason for event in events if event.kind == kind)


def test_who_is_slow_gets_the_newest_frame_and_the_others_are_counted() -> None:
    script = [step for number in range(20) for step in (unit(number * 0.02), 0.02)]
    source = started(Connection(script))
    frames, _ = watched(source, every_s=0.1)
    assert 3 <= len(frames) <= 6
    assert len(frames) + source.n_dropped == 20
    gaps_s = np.diff([one.frame.time_s for one in frames[:-1]])
    assert (gaps_s > 0.06).all(), "none that came while the one before was looked at"


def test_a_source_that_breaks_off_is_opened_anew_and_the_gap_has_its_seconds() -> None:
    first = [step for number in range(5) for step in (unit(100 + number * 0.02), 0.02)]
    broken = Connection([*first, StreamError("studio: Connection reset")])
    again = Connection([step for number in range(5) for step in (unit(7 + number * 0.02), 0.02)])
    refused = StreamError("studio: could not be opened: Connection refused")
    frames, events = watched(started(broken, refused, refused, refused, again, give_up_s=1.0))
    assert "studio: Connection reset; trying again in" in words(events, "notice")
    (gap,) = [event for event in events if event.kind == "gap"]
    assert gap.seconds is not None and gap.seconds > 0.15
    times = [one.frame.time_s for one in frames]
    assert times == sorted(times), "the watch's time goes on"
    before, after = max(t for t in times if t < gap.time_s), gap.time_s
    assert after - before == pytest.approx(gap.seconds, abs=0.1)
    assert events[-1].kind == "end"
    assert "not a frame for" in events[-1].reason


def test_tries_lie_ever_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "JITTER", 0.0)
    _, events = watched(started(give_up_s=0.2))
    waits = [float(event.reason.split(" in ")[1].split()[0]) for event in events if "trying again in" in event.reason]
    assert waits[:3] == [0.0, 0.1, 0.2], "0.04, 0.08, 0.16 s"


def test_a_stream_without_a_keyframe_is_told_of_and_waited_for() -> None:
    blind = [step for number in range(20) for step in (unit(number * 0.02, False, brings=False), 0.02)]
    frames, events = watched(started(Connection([*blind, unit(0.5)])))
    assert "data came, but no keyframe and so no picture" in words(events, "notice")
    assert len(frames) == 1, "once there is one the watch goes on"


def test_a_stall_is_told_of_while_it_lasts() -> None:
    _, events = watched(started(Connection([unit(0.0), 0.4, unit(0.4)])))
    assert "nothing came for" in words(events, "notice")
    assert [event.kind for event in events if event.kind in ("gap", "end")] == ["gap", "end"]


def test_a_change_of_size_and_of_coding_is_a_notice_and_begins_a_shot() -> None:
    one = Connection([unit(0.0), 0.03, unit(0.04, side_px=64), 0.03])
    frames, events = watched(started(one, Connection([unit(0.0, side_px=64), 0.05], codec="hevc")))
    assert "the picture has now 64x64 px, before 32x32" in words(events, "notice")
    assert "now coded as hevc, before as h264" in words(events, "notice")
    assert [one.frame.shot for one in frames][:2] == [0, 1]


def test_packets_that_bring_no_picture_any_more_make_it_connect_anew() -> None:
    spoilt = [step for number in range(20) for step in (unit(number * 0.02, False, brings=False), 0.02)]
    frames, events = watched(started(Connection([unit(0.0), 0.01, *spoilt]), Connection([unit(0.0), 0.03])))
    assert "its packets bring no picture any more; trying again" in words(events, "notice")
    assert len(frames) == 2


def test_a_file_and_a_stream_of_known_length_end_where_they_end() -> None:
    _, events = watched(started(Connection([unit(0.0), 0.02], is_whole=True)))
    assert (events[-1].kind, events[-1].reason) == ("end", "its end")
    file = Opening("file", "/a.mp4", "a.mp4")
    _, events = watched(started(Connection([unit(0.0)], is_whole=True), opening=file))
    assert events[-1].reason == "its end"


def test_what_can_never_be_opened_is_an_error_at_once() -> None:
    with pytest.raises(StreamError, match="Permission denied"):
        started(StreamError("camera 0: Permission denied", is_final=True), opening=Opening("camera", "0", "camera 0"))
    _, events = watched(started(StreamError("studio: 404 Not Found", is_final=True)))
    assert [event.kind for event in events] == ["end"]


def test_a_reader_that_hangs_in_a_library_is_left_alone_and_another_one_begun() -> None:
    release = threading.Event()
    hung = Connection([unit(0.0), lambda: release.wait(5), unit(9.0)])
    frames, events = watched(started(hung, Connection([unit(3.0), 0.02, unit(3.02), 0.02]), give_up_s=0.5))
    release.set()
    assert "reading it hung for" in words(events, "notice")
    assert len(frames) == 3, "and nothing of what the first one brings later"


@pytest.mark.slow
def test_a_decoder_that_is_slow_leaves_out_what_nobody_needs_then_all_up_to_a_keyframe() -> None:
    class Slow(Connection):
        def decode(self, one: Unit) -> list[tuple[Frame, float | None]]:
            time.sleep(0.0 if self.levels[-1] == "NONREF" and one.shown_s and one.shown_s > 1.5 else 0.15)
            return super().decode(one)

    slow = Slow([unit(number * 0.04, number % 40 == 0) for number in range(60)])
    frames, _ = watched(started(slow))
    assert slow.levels[1] == "NONREF"
    assert slow.n_restarts >= 1, "a keyframe was waited for"
    assert max(one.age_s(one.due_s + 0) for one in frames) <= 1.0


def test_delay_that_is_not_ours_to_mend_is_none() -> None:
    """A camera that pauses for a second goes on where it was: its frames are new all the same."""
    steps: list[object] = [step for number in range(6) for step in (unit(number * 0.02), 0.02)]
    steps += [1.2, *(step for number in range(6, 40) for step in (unit(number * 0.02), 0.02))]
    frames, events = watched(started(Connection(steps), opening=PATIENT))
    assert words(events, "gap") == "nothing came"
    assert sum(one.frame.time_s > 0.3 for one in frames) > 10


def test_a_frame_older_than_a_second_is_never_handed_out() -> None:
    source = started(Connection([unit(0.0), 1.2, unit(1.2), 0.02]), opening=PATIENT)
    time.sleep(1.1)
    frames, _ = watched(source)
    assert [round(one.frame.time_s, 1) for one in frames] == [1.2]
    assert source.n_dropped == 1


def test_a_clip_is_shown_at_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, (np.full((64, 64, 3), 5 * i, np.uint8) for i in range(10)), 20)
    source = LiveSource(Opening("file", str(path), path.name))
    began_s = time.monotonic()
    source.start()
    frames, _ = watched(source)
    assert time.monotonic() - began_s >= 0.45
    assert [round(one.frame.time_s, 2) for one in frames] == [round(i / 20, 2) for i in range(10)]


def test_what_no_video_is_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(StreamError, match=r"text.mp4: could not be opened: Invalid data"):
        LiveSource(Opening("file", str(tmp_path / "text.mp4"), "text.mp4")).start()
