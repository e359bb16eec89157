"""Traces of editing in clips whose history is known, and none in those without one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake.evidence import coding
from deepfake.evidence.coding import Trace
from deepfake.media.clips import append_clips, write_clip
from deepfake.media.coded import Coded, Picture, Samples, read_coded, read_pictures, read_samples

FPS = 20
RNG = np.random.default_rng(3)
SCENE = cv2.GaussianBlur(RNG.integers(0, 256, (400, 600)).astype(np.float32), (0, 0), 2.0) * 3 - 250
SCENE = np.clip(SCENE, 20, 230).astype(np.uint8)


def frames(n: int = 40, noise: float = 2.0, height: int = 240, width: int = 320, seed: int = 0) -> list[np.ndarray]:
    """A part of a soft texture that moves on by 2 px a frame, with noise."""
    rng = np.random.default_rng(seed)
    shown = []
    for number in range(n):
        part = SCENE[50 : 50 + height, 2 * number : 2 * number + width].astype(np.float32)
        noisy = part + rng.normal(0, noise, part.shape)
        shown.append(np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2))
    return shown


def coded(path: Path, shown: list[np.ndarray], crf: int = 20, **options: str) -> Path:
    write_clip(path, shown, FPS, crf=crf, options={"preset": "veryfast", **options})
    return path


def traces(path: Path) -> dict[str, Trace]:
    packets = read_coded(path)
    return coding.measure(packets, read_pictures(path, packets, 12, 10**8), read_samples(path, coding.SOUND_HZ))


def told(path: Path) -> set[str]:
    return {name for name, trace in traces(path).items() if coding.is_told(name, trace)}


def test_a_clip_that_nobody_edited_shows_no_trace(tmp_path: Path) -> None:
    assert told(coded(tmp_path / "a.mp4", frames())) == set()


def test_noise_that_begins_in_the_middle_is_told_with_its_time(tmp_path: Path) -> None:
    path = coded(tmp_path / "a.mp4", frames(20, 1.0) + frames(20, 8.0), 14)
    assert told(path) == {"noise_change"}
    assert traces(path)["noise_change"].from_s == pytest.approx(1.0, abs=0.15)


def test_borders_that_come_are_told_and_those_that_stay_are_not(tmp_path: Path) -> None:
    def framed(shown: list[np.ndarray]) -> list[np.ndarray]:
        return [cv2.copyMakeBorder(frame[30:-30], 30, 30, 0, 0, cv2.BORDER_CONSTANT) for frame in shown]

    changed = coded(tmp_path / "a.mp4", frames(20) + framed(frames(20)))
    found = traces(changed)["borders_change"]
    assert "borders_change" in told(changed)
    assert found.value == pytest.approx(30 / 240, abs=0.01) and found.from_s == pytest.approx(1.0, abs=0.15)
    assert "borders_change" not in told(coded(tmp_path / "b.mp4", framed(frames())))


def test_a_fade_to_black_brings_no_borders(tmp_path: Path) -> None:
    faded = [(frame * max(1 - 2 * i / 40, 0)).astype(np.uint8) for i, frame in enumerate(frames())]
    assert "borders_change" not in told(coded(tmp_path / "a.mp4", faded))


def test_clips_put_together_without_coding_change_their_settings(tmp_path: Path) -> None:
    one = coded(tmp_path / "a.ts", frames(20))
    other = coded(tmp_path / "b.ts", frames(20, seed=1), 24, profile="baseline")
    append_clips([one, other], tmp_path / "both.ts")
    found = traces(tmp_path / "both.ts")["settings_change"]
    assert found.value == 1 and found.from_s == pytest.approx(1.0, abs=0.06) and "profile 66" in found.detail
    append_clips([one, one], tmp_path / "same.ts")
    assert "settings_change" not in told(tmp_path / "same.ts")


def test_a_constant_quantiser_is_told_and_one_that_varies_is_not(tmp_path: Path) -> None:
    constant = coded(tmp_path / "a.mp4", frames(), -1, qp="30", bf="0")
    assert told(constant) == {"constant_quantiser"}
    trace = traces(constant)["constant_quantiser"]
    assert trace.value == 1 and trace.detail == "30"
    varied = traces(coded(tmp_path / "b.mp4", frames(), 23, bf="0"))["constant_quantiser"]
    assert not coding.is_told("constant_quantiser", varied)


def blocks(offset: int, height: int = 240, width: int = 320) -> list[Picture]:
    """Soft pictures with steps of 2 at every eighth column and row from `offset` on."""
    made = []
    for number in range(4):
        rng = np.random.default_rng(number)
        flat = rng.integers(-1, 2, (height // 8 + 2, width // 8 + 2)).repeat(8, 0).repeat(8, 1) * 2
        part = flat[8 - offset : 8 - offset + height, 8 - offset : 8 - offset + width]
        made.append(
            Picture(float(number), np.clip(part + 120 + rng.integers(0, 2, part.shape), 0, 255).astype(np.uint8))
        )
    return made


@pytest.mark.parametrize("offset", [1, 2, 3, 5, 6, 7])
def test_blocks_beside_the_present_grid_are_those_of_an_earlier_coding(offset: int) -> None:
    trace = coding.earlier_grid(blocks(offset))
    assert coding.is_told("earlier_grid", trace)
    assert trace.detail == f"{offset} px across and {offset} px down"


@pytest.mark.parametrize("offset", [0, 4])
def test_blocks_on_the_present_grid_are_its_own(offset: int) -> None:
    assert not coding.is_told("earlier_grid", coding.earlier_grid(blocks(offset)))


@pytest.mark.parametrize(("ratio", "frequency"), [(1.25, 0.2), (1.5, 1 / 3)])
def test_an_enlarged_picture_is_told_by_the_period_of_its_sharpness(ratio: float, frequency: float) -> None:
    pictures = []
    for number in range(4):
        noisy = np.random.default_rng(number).integers(60, 200, (240, 320)).astype(np.uint8)
        soft = cv2.GaussianBlur(noisy, (0, 0), 0.8)
        size = (round(320 * ratio), round(240 * ratio))
        pictures.append(Picture(float(number), np.asarray(cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR))))
    trace = coding.enlarged(pictures)
    assert coding.is_told("enlarged", trace)
    aliases = [frequency, 2 * frequency, 1 - 2 * frequency]
    assert min(abs(1 / float(trace.detail.removesuffix(" px")) - alias) for alias in aliases) < 0.01
    plain = [
        Picture(p.time_s, np.random.default_rng(i).integers(60, 200, (300, 400)).astype(np.uint8))
        for i, p in enumerate(pictures)
    ]
    assert not coding.is_told("enlarged", coding.enlarged(plain))


def test_the_noise_of_a_picture_is_measured() -> None:
    for sigma in (2.0, 5.0):
        flat = np.random.default_rng(0).normal(120, sigma, (256, 256))
        assert coding.noise_of(np.clip(flat.round(), 0, 255).astype(np.uint8)) == pytest.approx(sigma, rel=0.15)


def speech(n_s: float = 5.0, seed: int = 0) -> np.ndarray:
    """Bursts of noise with pauses in which a room is heard."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(int(n_s * coding.SOUND_HZ)) / coding.SOUND_HZ
    loud = (np.sin(2 * np.pi * 1.5 * times_s) > 0) * 0.2 + 0.003
    return (rng.normal(0, 1, len(times_s)) * loud).astype(np.float32)


def test_a_recording_with_other_pauses_is_told_by_its_high_frequencies() -> None:
    samples = speech()
    for _ in range(6):
        samples[40_000:] = np.convolve(samples[40_000:], [0.25, 0.5, 0.25], "same")
    trace = coding.sound_band(samples)
    assert coding.is_told("sound_band_change", trace) and trace.from_s == pytest.approx(2.5, abs=0.6)
    assert not coding.is_told("sound_band_change", coding.sound_band(speech()))


def test_traces_of_one_shot_alone_are_told_of_that_shot() -> None:
    still = np.random.default_rng(9).integers(60, 200, (240, 320)).astype(np.uint8)
    before = [Picture(0.1 * i, still) for i in range(4)]
    after = [Picture(1.0 + 0.1 * i, one.luma_HW) for i, one in enumerate(blocks(3))]
    trace = coding._by_shot(coding.earlier_grid, [*before, *after], [(0.0, 0.9), (0.95, 1.9)])
    assert (trace.from_s, trace.to_s) == (0.95, 1.9)


@pytest.mark.parametrize(
    "picture", [np.zeros((2, 2), np.uint8), np.full((400, 90), 255, np.uint8), np.zeros((240, 320), np.uint8)]
)
def test_pictures_of_nothing_show_no_trace(picture: np.ndarray) -> None:
    pictures = [Picture(0.1 * i, picture) for i in range(8)]
    empty = Coded(
        *(0, "h264", np.zeros(1), np.ones(1), np.ones(1, bool), np.array([""]), np.full(1, np.nan)),
        *(np.zeros(1, np.int64), (), True, 0.04, 0.0),
    )
    for shown in (pictures, []):
        found = coding.measure(empty, shown, Samples(np.zeros(0, np.float32)))
        assert not [name for name, trace in found.items() if coding.is_told(name, trace)]
    assert not coding.is_told("sound_band_change", coding.sound_band(np.zeros(80_000, np.float32)))
