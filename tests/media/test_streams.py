"""Which of several video streams stands for a file, and which are looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepfake.media.streams import COVER, MAX_STREAMS, STILL, TOO_MANY, VideoStream, looked_at, why_left_out

PLAIN = VideoStream(
    stream=0,
    codec="h264",
    width_px=640,
    height_px=360,
    n_frames=300,
    first_frame_s=0.0,
    duration_s=10.0,
    is_default=False,
)


def streams(*changes: dict[str, object]) -> list[VideoStream]:
    return [replace(PLAIN, stream=number, **change) for number, change in enumerate(changes)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ([{}], [0]),
        ([{}, {}], [0, 1]),
        ([{}, {"is_default": True}], [1, 0]),
        # More pixels are no reason: players show the first.
        ([{}, {"width_px": 1920, "height_px": 1080}], [0, 1]),
        ([{"width_px": 64, "height_px": 48, "is_default": True}, {}], [1, 0]),
        ([{"width_px": 64, "height_px": 48}, {"width_px": 64, "height_px": 48}], [0, 1]),
        ([{"n_frames": 1, "width_px": 4000, "height_px": 3000, "is_default": True}, {"n_frames": 58}], [1]),
        ([{"n_frames": 29, "is_default": True}, {}], [1, 0]),
        ([{"n_frames": 30, "is_default": True}, {}], [0, 1]),
        ([{"duration_s": 4.9, "is_default": True}, {}], [1, 0]),
        ([{"duration_s": 5.0, "is_default": True}, {}], [0, 1]),
        ([{"n_frames": 1}, {"n_frames": 1}], [0, 1]),
        ([{"left_out": COVER, "n_frames": 500}, {"n_frames": 1}], [1]),
    ],
)
def test_the_stream_that_is_a_video_comes_first(changes: list[dict[str, object]], chosen: list[int]) -> None:
    assert looked_at(streams(*changes)) == chosen


def test_what_is_left_out_has_its_reason() -> None:
    found = streams({}, {"n_frames": 1}, {"left_out": COVER})
    assert [why_left_out(one, looked_at(found)) for one in found] == [None, STILL, COVER]


def test_of_very_many_streams_the_default_is_looked_at_and_the_rest_is_named() -> None:
    found = streams(*[{}] * MAX_STREAMS, {"is_default": True})
    chosen = looked_at(found)
    assert chosen == [MAX_STREAMS, *range(MAX_STREAMS - 1)]
    assert why_left_out(found[MAX_STREAMS - 1], chosen) == TOO_MANY
