"""A stream kept as it came: its packets written into a file that can be played however the writing ends."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import av

from deepfake.errors import UserError
from deepfake.media.live_streams import LiveStream, Unit

# Of these a file that was cut short can be played: clusters, packets, fragments from keyframe to keyframe.
CONTAINERS = {
    ".mkv": ("matroska", {"cluster_time_limit": "1000", "flush_packets": "1"}),
    ".ts": ("mpegts", {"flush_packets": "1"}),
    ".mp4": ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}),
}


def aside_of(path: Path) -> Path:
    """Where a recording lies until it is whole; its ending says to players what it is."""
    return path.with_name(f"{path.stem}.recording{path.suffix}")


def refuse_recording(path: Path) -> None:
    """Raise UserError where nothing can be recorded into this file, or something lies there already."""
    if path.suffix.lower() not in CONTAINERS:
        wanted = ", ".join(CONTAINERS)
        raise UserError(f"--record {str(path)!r}: found the ending {path.suffix!r}, wanted one of {wanted}")
    for one in (path, aside_of(path), path.with_suffix(".vtt"), aside_of(path.with_suffix(".vtt"))):
        if one.exists():
            raise UserError(f"--record {str(path)!r}: {str(one)!r} exists and is not written over; move it away")


class Recorder:
    """Writes packets of successive connections into one file; where the coding changes, into a next one.

    `zero_s` is the watch's time of the current file's beginning, None before its first keyframe. All is called from
    the thread that reads.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.n_files = path, 0
        self.zero_s: float | None = None
        self.finished: list[Path] = []
        self._out: Any = None
        self._coding: tuple[object, ...] | None = None
        self._stream: LiveStream | None = None
        self._to: dict[int, Any] = {}
        self._last_s: dict[int, float] = {}

    @property
    def current(self) -> Path:
        """The file that is written, by the name that it gets in the end."""
        more = f"-{self.n_files}" if self.n_files > 1 else ""
        return self.path.with_name(f"{self.path.stem}{more}{self.path.suffix}")

    def connect(self, stream: LiveStream) -> None:
        """Packets come from here now."""
        coding = (stream.codec, stream.extradata, stream.sound is None)
        if self._coding is not None and coding != self._coding:
            self.close()
        self._coding, self._stream = coding, stream
        if self._out is not None:
            self._to = self._places(stream, list(self._out.streams))

    def take(self, unit: Unit, offset_s: float) -> None:
        """Write one packet, whose time of the watch is its own and `offset_s`; before the first keyframe none.

        The packet is changed by it: decode it before.
        """
        if self._out is None:
            if not (unit.is_video and unit.is_keyframe and unit.stamp_s is not None):
                return
            self._open(unit, unit.stamp_s + offset_s)
        assert self.zero_s is not None
        out = self._to.get(unit.packet.stream.index)
        if out is not None and unit.stamp_s is not None:
            self._write(unit.packet, out, offset_s - self.zero_s)

    def _write(self, packet: Any, out: Any, shift_s: float) -> None:
        tick = float(packet.time_base)
        shift = round(shift_s / tick)
        pts = packet.dts if packet.pts is None else packet.pts
        dts = pts if packet.dts is None else packet.dts
        # Muxers refuse a time that does not rise, as after a break.
        least = math.floor(self._last_s.get(out.index, -1.0) / tick + 1e-6) + 1
        packet.dts = max(dts + shift, least)
        packet.pts = max(pts + shift, packet.dts)
        self._last_s[out.index] = packet.dts * tick
        packet.stream = out
        self._out.mux_one(packet)

    def _open(self, keyframe: Unit, zero_s: float) -> None:
        assert self._stream is not None
        self.n_files += 1
        self._last_s = {}
        form, options = CONTAINERS[self.path.suffix.lower()]
        self._out = av.open(str(aside_of(self.current)), "w", format=form, options=options)
        made = [self._out.add_stream_from_template(stream) for stream in self._copied(self._stream)]
        _complete(made[0].codec_context, self._stream, keyframe)
        self._to = self._places(self._stream, made)
        self.zero_s = zero_s

    def _copied(self, stream: LiveStream) -> list[Any]:
        """The streams that are kept: no sound of which nothing is known."""
        sound = stream.sound
        return [stream.video, *([sound] if sound is not None and sound.codec_context.sample_rate else [])]

    def _places(self, stream: LiveStream, outs: list[Any]) -> dict[int, Any]:
        return {one.index: out for one, out in zip(self._copied(stream), outs, strict=False)}

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._out is None:
            return
        out, self._out, self.zero_s = self._out, None, None
        out.close()
        aside_of(self.current).replace(self.current)
        self.finished.append(self.current)


def _complete(context: Any, stream: LiveStream, keyframe: Unit) -> None:
    """Say of a stream what its opening did not find out, as where it was joined between two keyframes."""
    if not context.width:
        context.width, context.height = stream.coded_size
    if not context.extradata and stream.codec in _FIRST_PICTURE:
        context.extradata = parameter_sets(stream.codec, bytes(keyframe.packet))


_START = re.compile(b"\x00\x00\x01")
# Whether a unit of this first byte holds a part of a picture.
_FIRST_PICTURE = {"h264": lambda byte: 1 <= byte & 31 <= 5, "hevc": lambda byte: byte >> 1 & 63 < 32}


def parameter_sets(codec: str, data: bytes) -> bytes:
    """What comes before the picture in a keyframe's packet of H.264 or HEVC as streams have it."""
    for found in _START.finditer(data):
        if found.end() < len(data) and _FIRST_PICTURE[codec](data[found.end()]):
            return data[: found.start()]
    return b""
