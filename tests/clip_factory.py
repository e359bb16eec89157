"""Odd clips for tests: every frame carries its number as a bar code that survives compression."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

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
class Beside:
    """Another video stream in the same file; its frames carry numbers from `first` on.

    `disposition` is FFmpeg's; None leaves it to the container.
    """

    first: int = 100
    codec: str = "libx264"
    n_frames: int = 60
    fps: int = 30
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    comes_first: bool = False
    disposition: int | None = None


@dataclass(frozen=True)
class Coding:
    """How to code and pack a clip. Shown are all frames from `late_s` on, turned by `rotation`, then mirrored."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    rotation: int = 0
    is_mirrored: bool = False
    n_frames: int = 60
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    fps: int = 30
    audio: str = ""
    beside: tuple[Beside, ...] = ()
    step: Callable[[int], int] = lambda number: number
    late_s: float = 0.0
    mux: tuple[tuple[str, str], ...] = ()
    full_range: bool = False
    interlaced: bool = False

    @property
    def numbers(self) -> list[int]:
        """The number of the first frame of each video stream, in the order of the file."""
        before, after = ([b.first for b in self.beside if b.comes_first is first] for first in (True, False))
        return [*before, 0, *after]


def write(path: Path, coding: Coding) -> Path:
    """Write `coding.n_frames` numbered frames to `path`; the container follows from its suffix."""
    with av.open(str(path), "w", options=dict(coding.mux)) as container:
        sound = container.add_stream("aac", rate=16000, layout="mono") if coding.audio == "first" else None
        others = {one: _add(container, one) for one in coding.beside if one.comes_first}
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
        if coding.rotation and not coding.is_mirrored:
            stream.set_display_rotation(-coding.rotation)
        others |= {one: _add(container, one) for one in coding.beside if not one.comes_first}
        if coding.audio == "last":
            sound = container.add_stream("aac", rate=16000, layout="mono")
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 16000, 0
            container.mux(sound.encode(silence))
        for number in range(coding.n_frames):
            upright = picture(number, coding.width_px, coding.height_px)
            mirrored = upright[:, ::-1] if coding.is_mirrored else upright
            stored = np.ascontiguousarray(np.rot90(mirrored, coding.rotation // 90))
            frame = av.VideoFrame.from_ndarray(stored, "rgb24")
            if coding.full_range:
                frame = frame.reformat(format=coding.pix_fmt, dst_color_range=2)
            frame.pts, frame.time_base = (
                coding.step(number) + round(coding.late_s * coding.fps),
                Fraction(1, coding.fps),
            )
            container.mux(stream.encode(frame))
            for one, other in others.items():
                if number * one.fps % coding.fps == 0 and number * one.fps // coding.fps < one.n_frames:
                    container.mux(other.encode(_frame_of(one, number * one.fps // coding.fps)))
        container.mux(stream.encode(None))
        for other in others.values():
            container.mux(other.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    if coding.is_mirrored:
        set_display_matrix(path, coding.rotation)
    return path


def _add(container: Any, one: Beside) -> Any:
    stream = container.add_stream(one.codec, rate=one.fps)
    stream.width, stream.height, stream.thread_count = one.width_px, one.height_px, 1
    stream.pix_fmt = "yuvj420p" if one.codec == "mjpeg" else "yuv420p"
    stream.codec_context.time_base = Fraction(1, one.fps)
    if one.disposition is not None:
        stream.disposition = one.disposition
    return stream


def _frame_of(one: Beside, number: int) -> av.VideoFrame:
    whole = picture(one.first + number, max(one.width_px, WIDTH_PX), max(one.height_px, HEIGHT_PX))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(whole[: one.height_px, : one.width_px]), "rgb24")
    frame.pts, frame.time_base = number, Fraction(1, one.fps)
    return frame


def set_display_matrix(path: Path, rotation: int) -> None:
    """Have players turn the first track of an MP4 or MOV clockwise by `rotation` and mirror it then.

    A track header holds its matrix a b u, c d v, x y w after 40 bytes (version 0), as 16.16 fixed point.
    """
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    assert data[start] == 0, "version 1 has longer times"
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[rotation]
    matrix = [-cosine, sine, 0, sine, cosine, 0, 0, 0]
    data[start + 40 : start + 76] = struct.pack(">9i", *(value << 16 for value in matrix), 1 << 30)
    path.write_bytes(bytes(data))


def join(path: Path, *sources: Path, late_s: tuple[float, ...] = ()) -> Path:
    """Write one file that has the first video stream of each source, each so many seconds late; packets are copied."""
    with av.open(str(path), "w") as container:
        packets = []
        for source, late in zip(sources, late_s or (0.0,) * len(sources), strict=True):
            with av.open(str(source)) as read:
                template = read.streams.video[0]
                stream = container.add_stream_from_template(template)
                for packet in read.demux(template):
                    if packet.size:
                        shift = round(late / packet.time_base)
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        packets.append((float(packet.dts * packet.time_base), packet))
        for _, packet in sorted(packets, key=lambda timed: timed[0]):
            container.mux(packet)
    return path
