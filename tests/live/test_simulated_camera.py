"""A camera where no kernel brings one: a capture device of FFmpeg's own (lavfi, in real time) instead of v4l2."""

from __future__ import annotations

import time

import pytest

from deepfake.live.sources import LiveSource
from deepfake.media.live_streams import Opening, StreamError

PICTURES = "testsrc=size=640x360:rate=25,realtime"


def test_a_camera_is_drained_at_its_own_rate_and_the_newest_frame_is_handed_out() -> None:
    source = LiveSource(Opening("camera", PICTURES, "a camera", input_format="lavfi"))
    source.start()
    try:
        arrived = [source.next(1.0)]
        time.sleep(1.0)  # nobody asks, and a second of frames goes by
        arrived += [source.next(1.0), source.next(1.0)]
        frames = [one.frame for one in arrived if one is not None]
        assert [(frame.width_px, frame.height_px) for frame in frames] == [(640, 360)] * 3
        assert frames[1].time_s - frames[0].time_s == pytest.approx(1.0, abs=0.3)
        assert frames[2].index - frames[1].index <= 3
        assert source.n_dropped == frames[2].index + 1 - 3
        assert all(one is not None and one.age_s(time.monotonic()) < 1.2 for one in arrived[1:])
    finally:
        source.close()


def test_a_camera_that_is_not_there_ends_the_watch_before_it_begins() -> None:
    with pytest.raises(StreamError, match="could not be opened"):
        LiveSource(Opening("camera", "/dev/video99", "camera 99", input_format="v4l2")).start()
