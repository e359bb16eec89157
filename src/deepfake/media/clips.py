"""Write RGB frames as a video file, and plain loops over packets: demo data, tests, codec round trips, measurements."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

# Without these, equal frames gave up to ten different files in ten tries: with AVX-512, x264's macroblock tree varies.
REPEATABLE = {
    "libx264": {"x264-params": "cpu-independent=1"},
    "libx265": {"x265-params": "log-level=error:pools=1:frame-threads=1"},
}


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    codec: str = "libx264",
    crf: int = 18,
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    mux: Mapping[str, str] | None = None,
) -> int:
    """Encode HWC uint8 RGB frames of one size, aside and then renamed; return how many. `mux`: the container's options.

    `pix_fmt` yuv420p needs even sides: an odd last row or column is cut off. Encoding runs on
    one thread, so that equal frames give equal bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    settings: dict[str, object] = {
        **({"crf": str(crf)} if codec.startswith("lib") else {}),
        **REPEATABLE.get(codec, {}),
        **(options or {}),
    }
    count = 0
    try:
        with av.open(str(aside), "w", options=dict(mux or {})) as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001 * 240))
            assert isinstance(stream, av.VideoStream), "its codec is one of videos"
            stream.pix_fmt, stream.options, stream.thread_count = pix_fmt, settings, 1
            if codec == "libx265":
                stream.codec_context.codec_tag = "hvc1"
            for frame_HWC in frames:
                height_px, width_px = frame_HWC.shape[0] // 2 * 2, frame_HWC.shape[1] // 2 * 2
                if count == 0:
                    stream.width, stream.height = width_px, height_px
                elif (stream.width, stream.height) != (width_px, height_px):
                    raise ValueError(
                        f"clip {path.name!r}: frame {count} is {width_px}x{height_px}, "
                        f"wanted {stream.width}x{stream.height} like the first"
                    )
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC[:height_px, :width_px]), "rgb24")
                container.mux(stream.encode(picture))
                count += 1
            if count == 0:
                raise ValueError(f"clip {path.name!r}: no frames to write")
            container.mux(stream.encode(None))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def loop_clip(source: Path, path: Path, n_times: int) -> None:
    """Write a video that shows `source` (no B-frames) `n_times` over; packets are copied, nothing is encoded."""
    join_groups(source, path, None, n_times)


def join_groups(source: Path, path: Path, order: Sequence[int] | None, n_times: int = 1) -> None:
    """Write the groups of pictures of `source` (no B-frames) in an order, each a keyframe and what follows it.

    Packets are copied, nothing is encoded: hours take seconds. `order` None is all of them; `n_times`: all that over.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with av.open(str(source)) as read, av.open(str(aside), "w") as written:
            template = read.streams.video[0]
            assert template.time_base is not None, "FFmpeg gives every video stream that it opens one"
            stream = written.add_stream_from_template(template)
            groups: list[list[tuple[bytes, int, bool]]] = []
            for packet in read.demux(template):
                if packet.size:
                    groups += [[]] if packet.is_keyframe else []
                    groups[-1].append((bytes(packet), _known(packet.duration), packet.is_keyframe))
            chosen = groups if order is None else [groups[number] for number in order]
            now = 0
            for data, duration, is_keyframe in (one for _ in range(n_times) for group in chosen for one in group):
                copy = av.Packet(data)
                copy.pts = copy.dts = now
                copy.duration, copy.is_keyframe = duration, is_keyframe
                copy.time_base, copy.stream = template.time_base, stream
                written.mux(copy)
                now += duration
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _known(ticks: int | None) -> int:
    if ticks is None:
        raise ValueError("a packet without its time or duration: wanted a clip that `write_clip` wrote")
    return ticks


def decode_plainly(path: Path, threads: int) -> int:
    """Decode every frame and drop it; return how many. What `make bench` measures in; `threads` 0: as many as help."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO" if threads == 0 else "SLICE"
        stream.codec_context.thread_count = threads
        return sum(1 for _ in container.decode(stream))


def h264_round_trip(
    frames: Sequence[np.ndarray], crf: int, preset: str = "veryfast", first: int = 0
) -> list[np.ndarray]:
    """Frames (HWC uint8 RGB of one size, at least 16 px) encoded by x264 and decoded, in memory.

    Odd sides are padded by a repeated line and cut again. Frames before `first` are not given back.
    """
    height, width = frames[0].shape[:2]
    padded = (height + height % 2, width + width % 2)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = padded[1], padded[0], "yuv420p"
    encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, 25), Fraction(25), 1
    encoder.options = {"crf": str(crf), "preset": preset, "tune": "zerolatency", **REPEATABLE["libx264"]}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number, frame in enumerate(frames):
        if padded != (height, width):
            frame = cv2.copyMakeBorder(frame, 0, padded[0] - height, 0, padded[1] - width, cv2.BORDER_REPLICATE)
        # Threads for so small a picture cost ten times what it takes itself.
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24").reformat(format="yuv420p", threads=1)
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + list(decoder.decode(None))
    if len(decoded) != len(frames):
        raise RuntimeError(f"H.264 round trip: {len(frames)} frames of {width}x{height} in, {len(decoded)} out")
    return [frame.to_ndarray(format="rgb24", threads=1)[:height, :width] for frame in decoded[first:]]


def append_clips(sources: Sequence[Path], path: Path) -> None:
    """Write a transport stream of one H.264 clip after the other, as editors that copy do: nothing is encoded.

    Sources are transport streams, whose keyframes bring their own parameters, of one codec and picture size.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part.ts")
    try:
        with av.open(str(aside), "w") as written:
            stream, begin = None, 0
            for source in sources:
                with av.open(str(source)) as read:
                    template = read.streams.video[0]
                    packets = [packet for packet in read.demux(template) if packet.size]
                    shown = sorted(_known(packet.pts) for packet in packets)
                    shift = begin - shown[0]
                    # The second's headers would not do for the first: bytes alone are copied.
                    stream = stream or written.add_stream_from_template(template)
                    for packet in packets:
                        copy = av.Packet(bytes(packet))
                        copy.pts, copy.dts = (shift + _known(t) for t in (packet.pts, packet.dts))
                        copy.time_base, copy.stream, copy.is_keyframe = packet.time_base, stream, packet.is_keyframe
                        written.mux(copy)
                    begin += shown[-1] - shown[0] + (shown[-1] - shown[0]) // max(len(shown) - 1, 1)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_sound(path: Path, samples: np.ndarray, rate_hz: int, bit_rate: int = 64_000) -> None:
    """Encode mono samples (N,) in -1..1 as AAC beside a grey picture of one frame a second."""
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with av.open(str(aside), "w") as container:
            video = container.add_stream("libx264", rate=1)
            video.width = video.height = 64
            sound = container.add_stream("aac", rate=rate_hz, layout="mono")
            assert isinstance(video, av.VideoStream) and isinstance(sound, av.AudioStream)
            video.pix_fmt, sound.bit_rate = "yuv420p", bit_rate
            grey = np.full((64, 64, 3), 90, np.uint8)
            for _ in range(max(int(len(samples) / rate_hz), 1)):
                container.mux(video.encode(av.VideoFrame.from_ndarray(grey, "rgb24")))
            container.mux(video.encode(None))
            for start in range(0, len(samples), 1024):
                block = samples[None, start : start + 1024].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
