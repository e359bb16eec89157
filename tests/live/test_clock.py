"""A watch's time only rises, whatever a stream's own stamps do; and how late a frame is."""

import numpy as np
import pytest

from deepfake.live.clock import StreamClock


def fed(clock: StreamClock, *packets: tuple[float, float]) -> list[float]:
    """The times of frames by (stamp, wall clock)."""
    times = []
    for stamp_s, wall_s in packets:
        clock.take(stamp_s, stamp_s, wall_s)
        times.append(round(clock.time_of(stamp_s, wall_s), 3))
    return times


def test_time_begins_at_0_whatever_the_stream_says() -> None:
    assert fed(StreamClock(), (9000.0, 1.0), (9000.04, 1.04)) == [0, 0.04]


def test_it_goes_on_across_a_reconnection_by_the_wall_clock() -> None:
    clock = StreamClock()
    fed(clock, (50.0, 1.0), (51.0, 2.0))
    clock.reconnect()
    assert fed(clock, (3.0, 7.0), (3.5, 7.5)) == [6.0, 6.5]


@pytest.mark.parametrize("stamp_s", [2.0, 95_000.0])
def test_a_clock_that_jumps_back_or_far_ahead_is_another_one(stamp_s: float) -> None:
    clock = StreamClock()
    fed(clock, (50.0, 1.0), (51.0, 2.0))
    assert clock.take(stamp_s, stamp_s, 2.04)
    assert clock.time_of(stamp_s, 2.04) == pytest.approx(1.04)
    assert not clock.take(stamp_s + 0.04, stamp_s + 0.04, 2.08)


def test_frames_that_a_decoder_held_back_across_a_jump_keep_their_times() -> None:
    clock = StreamClock()
    clock.take(50.0, 50.0, 1.0)
    assert clock.time_of(50.0, 1.0) == 0
    assert clock.take(1.4, 1.48, 1.12)
    times = [clock.time_of(stamp_s, 1.12) for stamp_s in (50.04, 50.08, 1.48, 1.52)]
    np.testing.assert_allclose(times, [0.04, 0.08, 0.12, 0.16], atol=1e-6)


def test_a_pause_of_the_sender_is_no_jump() -> None:
    clock = StreamClock()
    fed(clock, (50.0, 1.0))
    assert not clock.take(80.0, 80.0, 31.0), "its clock went on meanwhile"
    assert clock.time_of(80.0, 31.0) == 30


def test_without_stamps_the_wall_clock_is_the_time() -> None:
    clock = StreamClock()
    clock.take(None, None, 100.0)
    assert clock.time_of(None, 100.0) == 0
    clock.take(None, None, 100.5)
    assert clock.time_of(None, 100.5) == 0.5


def test_times_of_frames_never_fall() -> None:
    clock = StreamClock()
    clock.take(0.0, 0.08, 1.0)
    assert clock.time_of(0.08, 1.0) == 0
    assert clock.time_of(0.04, 1.0) > 0


def test_a_frame_is_late_by_how_much_longer_it_took_than_the_soonest() -> None:
    clock = StreamClock()
    assert clock.late_s(0.0, 10.3) == 0
    assert clock.late_s(1.0, 11.1) == 0, "this one came sooner"
    assert clock.late_s(2.0, 12.6) == pytest.approx(0.5)
    clock.drift(1000.0)
    assert clock.late_s(1002.0, 1012.15) == pytest.approx(0), "a sender's slow crystal is no delay"
    clock.anchor(1003.0, 1020.0)
    assert clock.late_s(1004.0, 1021.0) == 0
