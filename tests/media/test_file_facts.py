"""What is printed of a file beside its score."""

from __future__ import annotations

from pathlib import Path

import pytest

from clip_factory import pictures
from deepfake.media.clips import write_clip
from deepfake.media.demux import VideoError, VideoProbe
from deepfake.media.file_facts import VideoFile, describe, describe_path, hints, plays_in_browsers, probe_file, warnings

MP4, MKV = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"


def probed(**changes: object) -> VideoProbe:
    plain = {
        "path": Path("v.mp4"),
        "container": MP4,
        "stream": 0,
        "codec": "h264",
        "pixel_format": "yuv420p",
        "width_px": 64,
        "height_px": 48,
        "rotation": 0,
        "is_mirrored": False,
        "fps": 25.0,
        "duration_s": 2.0,
        "n_packets": 50,
        "n_declared": 50,
        "n_discarded": 0,
        "n_missing_pts": 0,
        "is_vfr": False,
        "keyframe_share": 0.1,
        "reference_share": 0.5,
        "start_s": 0.0,
        "first_frame_s": 0.0,
        "timeline_start_s": 0.0,
        "has_audio": False,
        "n_frames": 50,
        "is_cut_short": False,
        "streams": (),
    }
    return VideoProbe(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "container", "codec", "pixel_format", "widely"),
    [
        (".mp4", MP4, "h264", "yuv420p", "widely"),
        (".webm", MKV, "vp9", "yuv420p", "widely"),
        (".mp4", MP4, "av1", "yuv420p", "some"),
        (".mov", MP4, "hevc", "yuv420p10le", "some"),
        (".mp4", MP4, "h264", "yuv422p10le", "rarely"),
        (".mkv", MKV, "h264", "yuv420p", "rarely"),
        (".webm", MKV, "h264", "yuv420p", "rarely"),
        (".avi", "avi", "mpeg4", "yuv420p", "rarely"),
        (".ts", "mpegts", "h264", "yuv420p", "rarely"),
    ],
)
def test_browsers_play_common_kinds_only(
    suffix: str, container: str, codec: str, pixel_format: str, widely: str
) -> None:
    assert plays_in_browsers(suffix, container, codec, pixel_format) == widely


def test_a_sound_file_of_one_length_has_no_warning() -> None:
    assert warnings(probed()) == []


def test_what_cost_frames_is_warned_of() -> None:
    (text,) = warnings(probed(is_cut_short=True, n_declared=90))
    assert "promises 90 frames, 50 can be played" in text
    assert "edit list hides 7" in warnings(probed(n_discarded=7))[0]
    assert "single frame" in warnings(probed(n_frames=1))[0]


def test_a_late_start_of_the_picture_is_said_and_a_running_clock_is_none() -> None:
    assert "begins 15.0 s after" in warnings(probed(first_frame_s=15.0))[0]
    assert warnings(probed(first_frame_s=3600.0, timeline_start_s=3599.98)) == []


def test_scarce_bits_are_judged_by_codec() -> None:
    assert "0.020 bits a pixel" in hints(probed(), 0.02, {})[0]
    assert hints(probed(codec="hevc"), 0.02, {}) == [] == hints(probed(), 0.05, {})


def test_tags_that_name_an_encoder_mean_a_second_coding() -> None:
    (text,) = hints(probed(), 1.0, {"encoder": "Lavf60", "encoder_settings": "x264 - core 164 crf=23.0 qcomp=0.6"})
    assert "(x264 at crf 23)" in text and "at least twice" in text
    assert hints(probed(), 1.0, {"encoder": "Lavf60"}) == ["Packed by software (Lavf60), not straight from a camera."]
    assert "YouTube" in hints(probed(), 1.0, {"handler_name": "ISO Media file produced by Google Inc."})[0]
    assert "can be copied" in hints(probed(), 1.0, {"com.apple.quicktime.model": "iPhone 12"})[0]


def test_a_clip_of_x264_is_described_from_its_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write_clip(path, pictures(20), 10, crf=30)
    file = probe_file(path)
    facts = describe(file)
    assert facts == describe_path(path)
    assert (facts.codec, facts.n_frames, facts.duration_s, facts.fps) == ("h264", 20, 2.0, 10.0)
    assert facts.kbit_per_s == pytest.approx(8 * path.stat().st_size / 2000, abs=0.1)
    assert facts.bits_per_pixel == pytest.approx(8 * path.stat().st_size / (160 * 96 * 20), abs=1e-4)
    assert facts.plays_in_browsers == "widely" and "x264 at crf 30" in facts.hints[-1]
    assert "crf=30" in file.tags["encoder_settings"]


def test_what_is_no_video_has_no_facts(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("text\n")
    with pytest.raises(VideoError, match="found text"):
        describe_path(tmp_path / "v.mp4")


def test_a_file_is_kept_as_it_was_found_and_notes_of_other_versions_are_none(tmp_path: Path) -> None:
    path = tmp_path / "v\udcff.mp4"
    write_clip(path, pictures(5), 10)
    (tmp_path / "text.mp4").write_text("text\n")
    for made in (probe_file(path), probe_file(tmp_path / "text.mp4"), probe_file(tmp_path / "none.mp4")):
        assert VideoFile.from_json(made.to_json(), made.path) == made
    assert probe_file(tmp_path / "none.mp4").sha256 is None
    with pytest.raises(ValueError):
        VideoFile.from_json(b'{"video_id": "v.mp4", "status": "ok", "sha256": "ab"}', path)
