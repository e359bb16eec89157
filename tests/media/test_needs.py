"""What reading a video may cost grows with its file and picture, and never past half of the machine."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from deepfake.media import needs as module
from deepfake.media.demux import VideoProbe
from deepfake.media.needs import LEAST, Needs, limits_of, needs, picture_bytes, stride_within
from deepfake.settings import Extract
from deepfake.workers import Limits


def probe(width_px: int, height_px: int, pixel_format: str = "yuv420p", n_frames: int = 300) -> VideoProbe:
    return VideoProbe(
        path=Path("v.mp4"),
        stream=0,
        streams=(),
        is_mirrored=False,
        first_frame_s=0.0,
        timeline_start_s=0.0,
        container="mp4",
        codec="hevc",
        pixel_format=pixel_format,
        width_px=width_px,
        height_px=height_px,
        rotation=0,
        fps=30.0,
        duration_s=n_frames / 30,
        n_packets=n_frames,
        n_declared=None,
        n_discarded=0,
        n_missing_pts=0,
        is_vfr=False,
        keyframe_share=0.1,
        reference_share=None,
        start_s=0.0,
        has_audio=False,
        n_frames=n_frames,
        is_cut_short=False,
    )


@pytest.fixture(autouse=True)
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 << 30))


@pytest.mark.parametrize(
    ("pixel_format", "bytes_a_pixel"),
    [("yuv420p", 1.5), ("yuv420p10le", 3), ("nv12", 1.5), ("p010le", 3), ("yuv422p", 2), ("yuv444p", 4), ("rgba", 4)],
)
def test_a_picture_takes_its_samples_and_their_depth(pixel_format: str, bytes_a_pixel: float) -> None:
    assert picture_bytes(probe(1000, 10, pixel_format)) == 10_000 * bytes_a_pixel


def test_an_ordinary_video_has_the_least_memory_and_8k_of_10_bits_more() -> None:
    assert needs(10 << 20, probe(1920, 1080)).memory_mb == LEAST.memory_mb == 1500
    assert needs(10 << 20, probe(7680, 4320, "yuv420p10le")).memory_mb == 1200 + 10 + round(
        24 * 7680 * 4320 * 3 / 2**20
    )


def test_huge_dimensions_in_a_header_get_no_more_than_half_of_the_machine() -> None:
    assert needs(1000, probe(60000, 60000)).memory_mb == 32 << 10


def test_a_large_file_on_a_slow_share_and_a_long_video_have_time() -> None:
    assert needs(0) == Needs(300, 1500)
    assert needs(1 << 30).deadline_s == 300 + 1024
    assert needs(0, probe(2000, 1000, n_frames=18_000)).deadline_s == 300 + 1800


def test_fewer_frames_are_held_of_8k_and_as_many_as_ever_of_4k() -> None:
    assert stride_within(4, probe(3840, 2160, "yuv420p10le")) == 4
    assert stride_within(4, probe(7680, 4320)) == 4
    assert stride_within(4, probe(7680, 4320, "yuv420p10le")) == 1
    assert stride_within(4, probe(60000, 60000)) == 1


def test_limits_grow_only_where_the_settings_leave_them_open() -> None:
    assert limits_of(Extract()) == Limits(2, 300, 1500, grow=(True, True))
    assert limits_of(Extract(memory_mb=700)) == Limits(2, 300, 700, grow=(True, False))
    assert limits_of(Extract(deadline_s=9, workers=1)) == Limits(1, 9, 1500, grow=(False, True))


def test_a_worker_is_told_what_a_file_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int]] = []
    monkeypatch.setattr(module, "allow", lambda *wanted: asked.append(wanted))
    module.allow_for(1 << 30)
    assert asked == [(1324, 1500)]
