"""Probing, sampling and converting frames, on small generated clips."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from clip_factory import Coding, picture, read_number, write
from deepfake.errors import UserError
from deepfake.media import pixels
from deepfake.media.demux import VideoError
from deepfake.media.video import probe, sample

SRC = Path(__file__).parents[2] / "src"
MODES = ("uniform", "fps", "reference", "keyframe", "adaptive", "shot_aware")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clip") / "plain.mp4", Coding())


def test_probe_returns_what_a_plain_clip_holds(clip: Path) -> None:
    probed = probe(clip)
    assert (probed.codec, probed.pixel_format, probed.width_px, probed.height_px) == ("h264", "yuv420p", 160, 96)
    assert (probed.n_packets, probed.n_declared, probed.n_discarded, probed.n_missing_pts) == (60, 60, 0, 0)
    assert probed.fps == pytest.approx(30)
    assert probed.duration_s == pytest.approx(2)
    assert probed.keyframe_share == pytest.approx(1 / 60)
    assert not (probed.is_vfr or probed.has_audio or probed.is_cut_short)
    assert probed.verdicts["pyav"] == "ok"


def test_the_reference_share_is_that_of_the_frames_the_decoder_returns(clip: Path) -> None:
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        n_returned = sum(1 for _ in container.decode(video=0))
    assert 0 < n_returned < 60
    assert probe(clip).reference_share == pytest.approx(n_returned / 60)


def test_reference_frames_are_bit_exact(clip: Path) -> None:
    everything = {f.index: f.rgb() for f in sample(clip, "uniform", 60)}
    assert len(everything) == 60
    for frame in sample(clip, "reference", 20):
        assert np.array_equal(frame.rgb(), everything[frame.index])


def test_frames_after_a_skipped_stretch_are_bit_exact(tmp_path: Path) -> None:
    path = write(tmp_path / "short_gops.mp4", Coding(n_frames=120, options=(("g", "20"), ("keyint_min", "20"))))
    everything = {f.index: f.rgb() for f in sample(path, "uniform", 120)}
    for mode in MODES:
        opened = sample(path, mode, 3, sample_fps=0.5)
        frames = list(opened)
        assert opened.n_missing == 0
        assert all(np.array_equal(f.rgb(), everything[f.index]) for f in frames)
    sparse = sample(path, "uniform", 2)
    assert len(list(sparse)) == 2
    assert sparse.n_decoded < 60


@pytest.mark.parametrize("mode", MODES)
def test_every_sampling_mode_yields_rising_times(clip: Path, mode: str) -> None:
    opened = sample(clip, mode, 12, sample_fps=5)
    frames = [(f.index, f.time_s) for f in opened]
    assert len(frames) == opened.n_wanted
    assert frames == sorted(set(frames))
    assert all(time_s == pytest.approx(index / 30) for index, time_s in frames)


def test_more_frames_than_there_are_means_all_of_them(clip: Path) -> None:
    assert [f.index for f in sample(clip, "uniform", 500)] == list(range(60))
    assert [f.index for f in sample(clip, "reference", 500)] == list(range(60))


def test_a_reference_mode_with_too_few_reference_frames_decodes_all(clip: Path) -> None:
    opened = sample(clip, "reference", 50)
    assert len(list(opened)) == 50
    assert "too few reference frames" in opened.decoder_reason


def test_fps_takes_the_frame_nearest_to_each_step(clip: Path) -> None:
    assert [f.index for f in sample(clip, "fps", sample_fps=4)] == [0, 7, 15, 22, 30, 37, 45, 52]


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    path = write(tmp_path / "one.mp4", Coding(n_frames=1))
    for mode in MODES:
        assert [f.index for f in sample(path, mode)] == [0]


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_and_regions_are_upright(tmp_path: Path, rotation: int, is_mirrored: bool) -> None:
    path = write(tmp_path / "turned.mp4", Coding(rotation=rotation, is_mirrored=is_mirrored, n_frames=4))
    probed = probe(path)
    assert (probed.rotation, probed.is_mirrored) == (rotation, is_mirrored)
    assert (probed.width_px, probed.height_px) == (160, 96)
    for frame in sample(path, "uniform", 4):
        whole = frame.rgb()
        assert whole.shape == (96, 160, 3)
        assert read_number(whole) == frame.index
        assert frame.small_rgb(80).shape == (48, 80, 3)
        assert frame.luma_thumb().shape == (36, 64)
        for x0, y0, x1, y1 in [(0, 0, 160, 96), (3, 5, 50, 61), (127, 75, 160, 96), (9, 9, 10, 10)]:
            region = frame.rgb_region(x0, y0, x1, y1)
            assert np.abs(region.astype(int) - whole[y0:y1, x0:x1]).max() <= 2


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "rgb24", "gray"]
)
def test_a_region_equals_that_part_of_the_whole_in_every_format(pix_fmt: str) -> None:
    whole = av.VideoFrame.from_ndarray(picture(7, 320, 200), "rgb24").reformat(format=pix_fmt)
    expected = pixels.rgb(whole, 0)
    for x0, y0, x1, y1 in [(0, 0, 320, 200), (33, 21, 150, 133), (301, 187, 320, 200)]:
        region = pixels.rgb_region(whole, 0, (x0, y0, x1, y1))
        assert np.abs(region.astype(int) - expected[y0:y1, x0:x1]).max() <= 2


def test_a_region_outside_the_frame_is_refused(clip: Path) -> None:
    frame = next(iter(sample(clip, "uniform", 1)))
    with pytest.raises(ValueError, match="does not lie in the frame of 160x96"):
        frame.rgb_region(100, 0, 161, 20)


@pytest.mark.parametrize(
    ("colorspace", "color_range", "height_px", "expected"),
    [
        (1, 1, 48, (255, 23, 0)),  # BT.709
        (6, 1, 48, (254, 0, 0)),  # BT.601
        (6, 2, 48, (238, 14, 13)),  # full range
        (2, 1, 48, (254, 0, 0)),  # unspecified, few lines: BT.601
        (2, 1, 720, (255, 23, 0)),  # unspecified, many lines: BT.709
    ],
)
def test_colours_follow_matrix_and_range(
    colorspace: int, color_range: int, height_px: int, expected: tuple[int, int, int]
) -> None:
    # Y, Cb, Cr of BT.601's pure red.
    red = av.VideoFrame(64, height_px, "yuv420p")
    for plane, value in zip(red.planes, (81, 90, 240), strict=True):
        np.frombuffer(plane, np.uint8)[:] = value
    red.colorspace, red.color_range = colorspace, color_range
    for converted in (pixels.rgb(red, 0), pixels.small_rgb(red, 0, 32), pixels.rgb_region(red, 0, (7, 7, 40, 40))):
        assert np.abs(converted.reshape(-1, 3).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.mp4", b"", "0 bytes"),
        ("notes.mp4", b"This is not a video.\n" * 50, "found text"),
        ("notes.txt", b"This is not a video.\n" * 50, "found text"),
        ("noise.mp4", bytes(range(256)) * 40, "no known video container"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\n/etc/hostname\n", "found a playlist"),
    ],
)
def test_a_file_that_is_no_video_is_named_with_what_was_found(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=words) as caught:
        probe(path)
    assert name in str(caught.value)
    assert "wanted" in str(caught.value) or "fetch it again" in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="found nothing"):
        probe(tmp_path / "gone.mp4")
    with pytest.raises(VideoError, match="found a folder"):
        probe(tmp_path)


def test_an_mp4_cut_before_its_index_says_so(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:4000])
    with pytest.raises(VideoError, match="cut short"):
        probe(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"found audio \(aac\), wanted a video stream"):
        probe(path)


@pytest.mark.parametrize(
    "name", ["with space & 'quotes'.mp4", "käse <b>.mp4", "a:b.mp4", "two\nlines.mp4", "%03d.mp4", "-dash.mp4"]
)
def test_any_file_name_can_be_read(clip: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(clip.read_bytes())
    assert [f.index for f in sample(path, "uniform", 2)] == [14, 44]


def test_unknown_modes_and_backends_are_refused_with_the_choices(clip: Path) -> None:
    with pytest.raises(UserError, match="no sampling is called 'random'; there are uniform, reference"):
        sample(clip, "random")
    with pytest.raises(UserError, match="choose one of auto, pyav, decord"):
        sample(clip, backend="cv2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wanted at least 1"):
        sample(clip, n_frames=0)


def test_decord_missing_is_said_when_asked_for_and_no_matter_otherwise(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert len(list(sample(clip, n_frames=4))) == 4
    assert probe(clip).verdicts["decord"] == "decord is not installed"
    with pytest.raises(UserError, match="pip install decord"):
        sample(clip, backend="decord")


@pytest.mark.parametrize("order", ["torch, video", "video, torch"])
def test_decord_and_torch_live_in_one_process(clip: Path, order: str) -> None:
    pytest.importorskip("decord")
    use = "import sys, pathlib; from deepfake.media.video import sample; clip = pathlib.Path(sys.argv[1])"
    use += "; n = len(list(sample(clip, 'uniform', 4, backend='decord')))"
    torch = "import torch; torch.ones(8, 8) @ torch.ones(8, 8)"
    lines = [torch, use] if order.startswith("torch") else [use, torch]
    done = subprocess.run(
        [sys.executable, "-c", "; ".join([*lines, "print(n)"]), str(clip)],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr


def test_two_threads_decode_the_same_pixels(clip: Path) -> None:
    alone, together = ([f.rgb() for f in sample(clip, "reference", 12, threads=n)] for n in (1, 2))
    assert len(alone) == 12
    assert all(np.array_equal(one, two) for one, two in zip(alone, together, strict=True))


def test_damage_does_not_flood_the_terminal(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = np.frombuffer(clip.read_bytes(), np.uint8).copy()
    data[200:9000:37] ^= 255
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data.tobytes())
    try:
        list(sample(path, "uniform", 60))
    except VideoError as error:
        assert "damaged.mp4" in str(error)
    assert capfd.readouterr().err == ""


def test_a_video_of_which_nothing_can_be_decoded_says_how_much_was_tried(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    start = data.index(b"mdat") + 4
    path = tmp_path / "hollow.mp4"
    path.write_bytes(data[:start] + b"\x00" * (data.index(b"moov") - 4 - start) + data[data.index(b"moov") - 4 :])
    assert probe(path).verdicts["pyav"] == "none of the first keyframes (h264) could be decoded"
    with pytest.raises(VideoError, match="decoded 0 of 20 wanted frames"):
        list(sample(path, "uniform", 20))


def test_closing_early_leaves_frames_valid(clip: Path) -> None:
    with sample(clip, "uniform", 10) as opened:
        frame = next(iter(opened))
    assert read_number(frame.rgb()) == frame.index


def test_every_decoded_frame_is_shown_to_the_watcher(clip: Path) -> None:
    seen: list[int] = []
    opened = sample(clip, "uniform", 3, on_frame=lambda frame: seen.append(frame.index))
    last = max(f.index for f in opened)
    assert seen == list(range(last + 1))
    assert opened.n_decoded == len(seen)


def test_a_probe_is_a_plain_value(clip: Path) -> None:
    values = dataclasses.asdict(probe(clip))
    assert values["verdicts"].keys() == {"pyav", "decord"}
