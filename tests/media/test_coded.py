"""Packets, a few pictures and the sound of clips whose making is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clip_factory
from deepfake.media import coded as module
from deepfake.media.clips import append_clips, write_clip, write_sound
from deepfake.media.coded import read_coded, read_pictures, read_samples
from deepfake.media.demux import VideoError


def clip(path: Path, **options: str) -> Path:
    return clip_factory.write(path, clip_factory.Coding(options=tuple(options.items()), n_frames=40, fps=20))


def test_packets_come_in_the_order_in_which_they_are_shown(tmp_path: Path) -> None:
    coded = read_coded(clip(tmp_path / "a.mp4", g="10", sc_threshold="0"), first_frame_s=1.5)
    assert np.allclose(coded.times_s_N, 1.5 + np.arange(40) / 20, atol=1e-3)
    assert np.flatnonzero(coded.is_key_N).tolist() == [0, 10, 20, 30]
    assert sorted(coded.order_N.tolist()) == list(range(40)) and coded.is_whole


def test_pictures_are_spread_over_the_file_and_bounded(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", g="10", sc_threshold="0", bf="0")
    coded = read_coded(path)
    pixels = clip_factory.WIDTH_PX * clip_factory.HEIGHT_PX
    few = read_pictures(path, coded, 4, 4 * pixels)
    assert [round(picture.time_s, 2) for picture in few] == [0.0, 0.5, 1.0, 1.5]
    for picture in few:
        rgb = np.repeat(picture.luma_HW[:, :, None], 3, axis=2)
        assert clip_factory.read_number(rgb) == round(picture.time_s * 20)
    assert len(read_pictures(path, coded, 8, 40 * pixels)) == 8


def test_settings_that_change_within_a_stream_are_seen_at_their_time(tmp_path: Path) -> None:
    frames = list(clip_factory.pictures(20))
    parts = [tmp_path / "a.ts", tmp_path / "b.ts"]
    write_clip(parts[0], frames, 20)
    write_clip(parts[1], frames, 20, options={"profile": "baseline", "preset": "ultrafast"})
    append_clips(parts, tmp_path / "both.ts")
    coded = read_coded(tmp_path / "both.ts")
    times_s = {time for time, _ in coded.changes}
    assert len(coded.times_s_N) == 40 and len(times_s) == 1
    assert min(times_s) == pytest.approx(1.0, abs=0.06)


def test_sound_is_read_as_it_was_written(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(np.arange(32_000) * 2 * np.pi * 440 / 16_000)
    write_sound(tmp_path / "a.mp4", tone, 16_000)
    read = read_samples(tmp_path / "a.mp4", 16_000).samples_N
    assert len(read) == pytest.approx(32_000, abs=2100)
    assert float(np.sqrt((read[4000:28_000] ** 2).mean())) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_a_file_without_sound_has_none_and_one_without_pictures_is_said(tmp_path: Path) -> None:
    assert len(read_samples(clip(tmp_path / "a.mp4"), 16_000).samples_N) == 0
    path = tmp_path / "no.mp4"
    path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0")
    with pytest.raises(VideoError):
        read_coded(path)


def test_a_file_of_endless_packets_is_read_as_far_as_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PACKETS", 15)
    coded = read_coded(clip(tmp_path / "a.mp4"))
    assert len(coded.times_s_N) == 15 and not coded.is_whole


def test_damage_ends_the_reading_and_raises_nothing(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.ts", g="10")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    coded = read_coded(path)
    assert len(read_pictures(path, coded, 6, 10**6)) <= 6
