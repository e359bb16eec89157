"""A recording holds the stream's own packets, can be played however it ended, and goes on across connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.media.clips import write_clip
from deepfake.media.live_streams import LiveStream, Opening
from deepfake.media.remux import Recorder, aside_of, parameter_sets, refuse_recording
from deepfake.media.video import sample


def clip(path: Path, grey: int = 60, codec: str = "libx264", n: int = 20, **more: str) -> Path:
    def picture(number: int) -> np.ndarray:
        made = np.full((64, 96, 3), grey, np.uint8)
        made[8:24, 4 * number % 80 : 4 * number % 80 + 12] = 240
        return made

    write_clip(path, (picture(number) for number in range(n)), 20, codec, options={"g": "5", **more})
    return path


def record(recorder: Recorder, source: Path, offset_s: float, most: int = 1000, first: int = 0) -> None:
    """Record the packets of a file, from one of them on."""
    with LiveStream(Opening("file", str(source), source.name)) as stream:
        recorder.connect(stream)
        for number, unit in enumerate(stream.units()):
            if first <= number < first + most:
                stream.decode(unit)
                recorder.take(unit, offset_s)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def frames(path: Path) -> list[tuple[float, int]]:
    """Time and grey of each frame."""
    with av.open(str(path)) as container:
        return [(float(f.time), int(f.to_ndarray(format="gray")[-1, -1])) for f in container.decode(video=0)]


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_the_packets_are_those_of_the_stream_and_times_are_the_watchs(tmp_path: Path, ending: str) -> None:
    source = clip(tmp_path / "source.mp4")
    recorder = Recorder(tmp_path / f"kept.{ending}")
    record(recorder, source, 100.0)
    assert recorder.zero_s == pytest.approx(100.0, abs=0.2)
    recorder.close()
    assert recorder.finished == [tmp_path / f"kept.{ending}"]
    made = frames(tmp_path / f"kept.{ending}")
    assert len(made) == 20
    np.testing.assert_allclose(np.diff([time_s for time_s, _ in made]), 0.05, atol=0.002)
    if ending != "ts":
        assert packets(tmp_path / f"kept.{ending}") == packets(source)
    assert len([None for _ in sample(tmp_path / f"kept.{ending}", "uniform", 4)]) == 4, "and check reads it"


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_what_a_crash_leaves_can_be_played(tmp_path: Path, ending: str) -> None:
    recorder = Recorder(tmp_path / f"kept.{ending}")
    record(recorder, clip(tmp_path / "source.mp4", n=80), 0.0)
    left = aside_of(tmp_path / f"kept.{ending}").read_bytes()  # the process is gone here
    (tmp_path / f"left.{ending}").write_bytes(left)
    assert len(frames(tmp_path / f"left.{ending}")) >= 55, "all but the last second, of four"


def test_it_begins_with_a_keyframe_and_goes_on_across_connections(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept.mkv")
    record(recorder, clip(tmp_path / "one.mp4"), 0.0, first=3)
    record(recorder, clip(tmp_path / "two.mp4", grey=120), 4.0)
    recorder.close()
    made = frames(tmp_path / "kept.mkv")
    assert len(made) == 15 + 20
    times = [time_s for time_s, _ in made]
    assert times == sorted(times)
    assert times[15] - times[14] > 2.5, "the gap is in it"
    assert abs(made[20][1] - 120) < 5


def test_where_the_coding_changes_another_file_begins(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "kept.mkv")
    record(recorder, clip(tmp_path / "one.mp4"), 0.0)
    record(recorder, clip(tmp_path / "two.mp4", codec="mpeg4"), 5.0)
    assert recorder.zero_s == pytest.approx(5.0, abs=0.2)
    recorder.close()
    assert recorder.finished == [tmp_path / "kept.mkv", tmp_path / "kept-2.mkv"]
    assert [len(frames(path)) for path in recorder.finished] == [20, 20]


def test_a_stream_that_was_joined_between_keyframes_is_recorded_too(tmp_path: Path) -> None:
    """Then its opening found out neither size nor parameters: they come with the first keyframe."""
    whole = tmp_path / "whole.ts"
    recorder = Recorder(whole)
    record(recorder, clip(tmp_path / "source.mp4", n=40, bf="0"), 0.0)
    recorder.close()
    first_key = [bytes(p) for p in _demuxed(whole, lambda p: p.is_keyframe)][1]
    data = whole.read_bytes()
    middle = tmp_path / "middle.ts"
    middle.write_bytes(data[len(data) // 188 // 8 * 188 :])
    joined = Recorder(tmp_path / "kept.mkv")
    record(joined, middle, 0.0)
    joined.close()
    assert parameter_sets("h264", first_key)
    assert 20 <= len(frames(tmp_path / "kept.mkv")) < 40


def _demuxed(path: Path, wanted: Callable[[av.Packet], bool]) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size and wanted(packet)]


def test_parameters_are_what_comes_before_the_picture() -> None:
    sets = b"\0\0\0\1\x09\xf0\0\0\0\1\x67abc\0\0\1\x68d"
    assert parameter_sets("h264", sets + b"\0\0\1\x65picture") == sets
    assert parameter_sets("hevc", b"\0\0\1\x40\1v\0\0\1\x26\1picture") == b"\0\0\1\x40\1v"
    assert parameter_sets("h264", b"no start code") == b""


def test_nothing_is_recorded_over_what_is_there_or_into_what_nobody_plays(tmp_path: Path) -> None:
    refuse_recording(tmp_path / "new.mkv")
    with pytest.raises(UserError, match=r"found the ending '.avi', wanted one of .mkv, .ts, .mp4"):
        refuse_recording(tmp_path / "new.avi")
    (tmp_path / "old.recording.mkv").write_bytes(b"x")
    with pytest.raises(UserError, match=r"old.recording.mkv' exists and is not written over; move it away"):
        refuse_recording(tmp_path / "old.mkv")
