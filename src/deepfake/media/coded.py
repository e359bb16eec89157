"""How a file was coded, packet by packet, and a few of its pictures and its sound as they were decoded.

What `evidence.coding` looks at: most of it without decoding. Letters: N packets, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from deepfake.media import bitstream
from deepfake.media.demux import VideoError, coded_packets, open_video, set_up
from deepfake.media.slices import H264Headers

MOST_PACKETS = 40_000
MOST_SOUND_S = 600.0
_GREY_FIRST = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray", "yuva420p"}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coded:
    """The packets of a video stream, by the time that players show them, up to MOST_PACKETS.

    `kinds_N` are "I", "P", "B" or "" where packets do not say; `quantisers_N` (H.264: 0..51) are NaN there. `changes`
    are seconds at which parameters of the coding change, with what changed. `order_N` is each packet's place in the
    file.
    """

    stream: int
    codec: str
    times_s_N: Floats
    n_bytes_N: Floats
    is_key_N: npt.NDArray[np.bool_]
    kinds_N: npt.NDArray[np.str_]
    quantisers_N: Floats
    order_N: npt.NDArray[np.int64]
    changes: tuple[tuple[float, str], ...]
    is_whole: bool
    tick_s: float
    origin_s: float  # the time of a stamp of 0

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next, usually."""
        return float(np.median(np.diff(self.times_s_N))) if len(self.times_s_N) > 1 else 0.04


@dataclass(frozen=True)
class Picture:
    """Luma (H, W) uint8 as it is stored, not turned, and its time."""

    time_s: float
    luma_HW: npt.NDArray[np.uint8]


def read_coded(path: Path, first_frame_s: float = 0.0, stream: int | None = None) -> Coded:
    """One pass over the packets; times count on from the first frame's, `first_frame_s`."""
    with open_video(path) as container:
        chosen = _chosen(container, path, stream)
        codec = chosen.codec_context
        name, extradata = codec.codec.canonical_name, bytes(codec.extradata or b"")
        headers = None
        if name == "h264":
            headers = H264Headers(bitstream.length_bytes(name, extradata))
            headers.take_extradata(extradata)
        rows: list[tuple[int, int, bool, str, float]] = []
        changes: list[tuple[int, str]] = []
        mark, is_whole = None, True
        for packet in _until_damage(coded_packets(container, chosen)):
            if len(rows) >= MOST_PACKETS:
                is_whole = False
                break
            view, kind, quantiser = memoryview(packet), "", np.nan
            if headers is not None:
                head = headers.read(view)
                kind, quantiser = (head.kind, float(head.quantiser)) if head is not None else ("", np.nan)
                changes += [(len(rows), words) for words in headers.changes]
            if packet.is_keyframe and (found := _mark(view)) is not None:
                if mark is not None and found != mark:
                    changes.append((len(rows), "the encoder's own note"))
                mark = found
            pts = packet.pts if packet.pts is not None else packet.dts
            rows.append((len(rows) if pts is None else pts, packet.size, packet.is_keyframe, kind, quantiser))
        tick_s = float(chosen.time_base or 0) or 0.04
    if not rows:
        raise VideoError(f"video {path.name!r}: found no packet of a picture; leave it out")
    keys = np.array([row[0] for row in rows], np.int64)
    order = np.argsort(keys, kind="stable")
    times_s = (keys - keys.min()) * tick_s + first_frame_s
    return Coded(
        chosen.index,
        name,
        times_s[order],
        np.array([row[1] for row in rows], float)[order],
        np.array([row[2] for row in rows], bool)[order],
        np.array([row[3] for row in rows], np.str_)[order],
        np.array([row[4] for row in rows], float)[order],
        order,
        tuple(dict.fromkeys((float(times_s[place]), words) for place, words in changes)),
        is_whole,
        tick_s,
        first_frame_s - float(keys.min()) * tick_s,
    )


def _chosen(container: Any, path: Path, stream: int | None) -> Any:
    streams = [one for one in container.streams.video if one.codec_context is not None]
    if not streams:
        raise VideoError(f"video {path.name!r}: found no video stream that can be decoded; leave it out")
    return next((one for one in streams if one.index == stream), streams[0])


def _until_damage(packets: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.FFmpegError):
            return


def _mark(packet: memoryview) -> bytes | None:
    """What x264 or x265 wrote into a keyframe of its version and settings."""
    head = bytes(packet[:4096])
    for name in (b"x264 - core", b"x265 (build"):
        if name in head:
            return head[head.index(name) :].partition(b"\0")[0][:1000]
    return None


def read_pictures(path: Path, coded: Coded, n_pictures: int, most_px: int) -> list[Picture]:
    """Up to so many pictures spread over the file; no more than `most_px` pixels are decoded, or passed over.

    Only frames that others refer to are decoded: keyframes first, for they are decoded alone; where there are few, what
    follows each of them.
    """
    with open_video(path) as container:
        stream = _chosen(container, path, coded.stream)
        codec = set_up(stream, "NONREF", 1)
        n_decoded = max(most_px // max(codec.width * codec.height, 1), 2)
        runs = _runs(coded, min(n_pictures, n_decoded), n_decoded)
        pictures: list[Picture] = []
        inside: list[Any] = []
        for place, packet in enumerate(_until_damage(coded_packets(container, stream))):
            if not runs:
                break
            start, end, n_kept = runs[0]
            if place >= start:
                inside += _decoded(codec, packet)
            if place >= end - 1:
                inside += _decoded(codec, None)
                codec.flush_buffers()
                pictures += _kept(inside, n_kept, coded)
                inside = []
                runs.pop(0)
        pictures += _kept(inside, runs[0][2], coded) if runs else []
    pictures.sort(key=lambda picture: picture.time_s)
    spread = np.linspace(0, len(pictures) - 1, min(n_pictures, len(pictures))).round().astype(int)
    return [pictures[place] for place in spread]


def _runs(coded: Coded, n_pictures: int, n_decoded: int) -> list[tuple[int, int, int]]:
    """Places in the file from which and up to which to decode, and how many pictures of these to keep."""
    keys = np.sort(coded.order_N[coded.is_key_N])
    keys = keys if len(keys) else np.array([0])
    if len(keys) > n_pictures:
        keys = keys[np.linspace(0, len(keys) - 1, n_pictures).round().astype(int)]
    length, kept = n_decoded // len(keys), -(-n_pictures // len(keys))
    ends = [*keys[1:].tolist(), len(coded.order_N)]
    return [(int(key), min(int(key) + length, end), kept) for key, end in zip(keys, ends, strict=True)]


def _decoded(codec: Any, packet: Any) -> list[Any]:
    try:
        return [picture for picture in codec.decode(packet) if not picture.is_corrupt]
    except (av.error.FFmpegError, ValueError):
        return []


def _kept(pictures: Sequence[Any], n_kept: int, coded: Coded) -> list[Picture]:
    if not pictures:
        return []
    places = np.unique(np.linspace(0, len(pictures) - 1, n_kept).round().astype(int))
    made = []
    for place in places:
        picture = pictures[int(place)]
        pts = picture.pts
        time_s = coded.times_s_N[0] if pts is None else pts * coded.tick_s + coded.origin_s
        made.append(Picture(float(time_s), _luma(picture)))
    return made


def _luma(picture: Any) -> npt.NDArray[np.uint8]:
    if picture.format.name not in _GREY_FIRST:
        return np.asarray(picture.to_ndarray(format="gray", threads=1), np.uint8)
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8)[: plane.line_size * picture.height]
    return rows.reshape(picture.height, plane.line_size)[:, : picture.width].copy()


@dataclass(frozen=True)
class Samples:
    """The first sound track (N,) in -1..1, its channels mixed, from `start_s` on by the file's own clock."""

    samples_N: npt.NDArray[np.float32]
    start_s: float = 0.0


def read_samples(path: Path, rate_hz: int, most_s: float = MOST_SOUND_S) -> Samples:
    """All that can be decoded of the sound, one frame after the other; no samples where there is none."""
    parts: list[npt.NDArray[np.float32]] = []
    n_samples, start_s = 0, 0.0
    with open_video(path) as container:
        tracks = [one for one in container.streams.audio if one.codec_context is not None]
        if not tracks:
            return Samples(np.zeros(0, np.float32))
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
        for packet in _until_damage(coded_packets(container, tracks[0])):
            try:
                decoded = packet.decode()
                if not parts and decoded and decoded[0].time is not None:
                    start_s = float(decoded[0].time)
                made = [one.to_ndarray()[0] for frame in decoded for one in resampler.resample(frame)]
            except (av.error.FFmpegError, ValueError):
                continue
            parts += [np.asarray(samples, np.float32) for samples in made]
            n_samples += sum(len(samples) for samples in made)
            if n_samples >= most_s * rate_hz:
                break
    return Samples(np.concatenate(parts) if parts else np.zeros(0, np.float32), start_s)
