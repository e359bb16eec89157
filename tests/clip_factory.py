"""Odd clips for tests: every frame carries its number as a bar code that survives compression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BLOCK_PX = 16
EDGE_PX = 8
COLUMNS = 4
N_BITS = 8
N_CHECK = 4
WIDTH_PX, HEIGHT_PX = 160, 96


def _bits(number: int) -> list[int]:
    check = (number * 11 + (number >> 4) * 7 + 5) % 16
    word = (number % 256) << N_CHECK | check
    return [word >> i & 1 for i in range(N_BITS + N_CHECK)]


def picture(number: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX, scene: int = 0) -> np.ndarray:
    """A coloured, moving background with `number` (0..255) as 3 x 4 black and white blocks at the upper left."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    waves = [
        120
        + 60 * np.sin((x * (1 + scene % 3) + 3 * number) / 17 + part) * np.cos((y - 2 * number) / (13 + scene) + part)
        for part in range(3)
    ]
    frame_HWC = np.clip(np.stack(waves, -1) + 25 * (scene % 4) - 30, 0, 255).astype(np.uint8)
    frame_HWC[: EDGE_PX * 2 + 3 * BLOCK_PX, : EDGE_PX * 2 + COLUMNS * BLOCK_PX] = 128
    for i, bit in enumerate(_bits(number)):
        top, left = EDGE_PX + i // COLUMNS * BLOCK_PX, EDGE_PX + i % COLUMNS * BLOCK_PX
        frame_HWC[top : top + BLOCK_PX, left : left + BLOCK_PX] = 255 * bit
    return frame_HWC


def read_number(frame_HWC: np.ndarray) -> int | None:
    """The number in an upright picture; None where the bar code cannot be trusted."""
    if frame_HWC.shape[0] < HEIGHT_PX or frame_HWC.shape[1] < HEIGHT_PX:
        return None
    word = 0
    for i in range(N_BITS + N_CHECK):
        top, left = EDGE_PX + i // COLUMNS * BLOCK_PX, EDGE_PX + i % COLUMNS * BLOCK_PX
        grey = float(frame_HWC[top + 4 : top + BLOCK_PX - 4, left + 4 : left + BLOCK_PX - 4].mean())
        if 80 < grey < 175:
            return None
        word |= int(grey >= 175) << i
    number = word >> N_CHECK
    return number if sum(b << i for i, b in enumerate(_bits(number))) == word else None


def pictures(n_frames: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> Iterator[np.ndarray]:
    return (picture(number, width_px, height_px) for number in range(n_frames))


@dataclass(frozen=True)
class Coding:
    """How to code and pack a clip."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    rotation: int = 0
    n_frames: int = 60
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    fps: int = 30
    audio: str = ""
    second_video: bool = False
    step: Callable[[int], int] = lambda number: number
    mux: tuple[tuple[str, str], ...] = ()
    full_range: bool = False
    interlaced: bool = False


def write(path: Path, coding: Coding) -> Path:
    """Write `coding.n_frames` numbered frames to `path`; the container follows from its suffix."""
    with av.open(str(path), "w", options=dict(coding.mux)) as container:
        sound = container.add_stream("aac", rate=16000, layout="mono") if coding.audio == "first" else None
        if coding.second_video:
            small = container.add_stream("libx264", rate=coding.fps)
            small.width, small.height, small.pix_fmt, small.thread_count = 64, 48, "yuv420p", 1
        options = dict(coding.options)
        if coding.codec == "libx265":
            options["x265-params"] = ":".join(
                ["log-level=none", "pools=1", "frame-threads=1", options.get("x265-params", "")]
            )
        stream = container.add_stream(coding.codec, rate=coding.fps, options=options)
        turned = coding.rotation % 180 != 0
        sides = (coding.height_px, coding.width_px) if turned else (coding.width_px, coding.height_px)
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = *sides, coding.pix_fmt, 1
        stream.codec_context.time_base = Fraction(1, coding.fps)
        if coding.codec == "libx265":
            stream.codec_context.codec_tag = "hvc1"
        if coding.full_range:
            stream.codec_context.color_range = 2
        if coding.rotation:
            stream.set_display_rotation(-coding.rotation)
        if coding.audio == "last":
            sound = container.add_stream("aac", rate=16000, layout="mono")
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 16000, 0
            container.mux(sound.encode(silence))
        for number in range(coding.n_frames):
            upright = picture(number, coding.width_px, coding.height_px)
            stored = np.ascontiguousarray(np.rot90(upright, coding.rotation // 90))
            frame = av.VideoFrame.from_ndarray(stored, "rgb24")
            if coding.full_range:
                frame = frame.reformat(format=coding.pix_fmt, dst_color_range=2)
            frame.pts, frame.time_base = coding.step(number), Fraction(1, coding.fps)
            container.mux(stream.encode(frame))
            if coding.second_video:
                container.mux(small.encode(av.VideoFrame.from_ndarray(picture(0, 160, 96)[:48, :64].copy(), "rgb24")))
        container.mux(stream.encode(None))
        if coding.second_video:
            container.mux(small.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path
