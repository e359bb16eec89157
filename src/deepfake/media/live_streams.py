"""Streams as they come: opened with deadlines, demuxed and decoded packet by packet; and the cameras that there are.

Who reads a stream may be held up by a library for longer than any deadline says; `live.sources` watches over that.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import av.device

from deepfake.media.demux import VideoError, set_up
from deepfake.media.orientation import orientation
from deepfake.media.video import Frame

Level = Literal["DEFAULT", "NONREF"]
ANALYSED = {"analyzeduration": "1000000", "probesize": "1000000"}  # FFmpeg's own 5 s and 5 MB delay every opening
MAY_READ = "add your user to the group video (Linux), or allow your terminal the camera (macOS, Windows)"
MOST_FOREIGN = 50  # packets of other video streams, and none of the one that is watched: that one is gone
PIPE_WAIT_S = 0.25  # how soon a pipe that gives nothing is left once it is closed
# A recorder's fragments would be of other files: of a local one FFmpeg opens nothing else.
PROTOCOLS = {"file": "file", "network": "http,https,tls,tcp,udp,rtp,rtsp,crypto,httpproxy,data,srt,rtmp"}


class StreamError(VideoError):
    """A stream could not be opened, or broke off; `is_final`: trying again is of no use."""

    def __init__(self, message: str, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True)
class Opening:
    """How a stream is opened: `kind` says what its address is; `name` is what people are shown, without passwords."""

    kind: Literal["file", "camera", "network", "pipe"]
    url: str
    name: str
    input_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    open_s: float = 10.0
    read_s: float = 5.0


@dataclass(frozen=True)
class Unit:
    """One packet: its times in seconds of the stream's own clock, None where it has none."""

    packet: Any
    is_video: bool
    is_keyframe: bool
    decoded_s: float | None
    shown_s: float | None

    @property
    def stamp_s(self) -> float | None:
        """A time that rises from packet to packet."""
        return self.shown_s if self.decoded_s is None else self.decoded_s


class WaitingPipe:
    """A pipe as PyAV reads it: nothing in it is no end, unless `stop` says so."""

    def __init__(self, file: BinaryIO) -> None:
        self._number, self.is_stopped = file.fileno(), False

    def read(self, n: int) -> bytes:
        """Up to so many bytes, as soon as there are some; none at the end."""
        while not self.is_stopped:
            ready, _, _ = select.select([self._number], [], [], PIPE_WAIT_S)
            if ready:
                return os.read(self._number, n)
        return b""


class LiveStream:
    """One connection to a source; `with` closes it. `size` of the decoded picture is known with the first frame."""

    def __init__(self, opening: Opening, with_sound: bool = False) -> None:
        self.opening = opening
        self._pipe = WaitingPipe(sys.stdin.buffer) if opening.kind == "pipe" else None
        self._container = _open(opening, self._pipe)
        try:
            self.video = _video_stream(self._container, opening)
            self._codec = set_up(self.video, "DEFAULT", 1)
        except BaseException:
            self._container.close()
            raise
        self.sound = next(iter(self._container.streams.audio), None) if with_sound else None
        self.codec = str(self._codec.codec.canonical_name)
        self.extradata = bytes(self._codec.extradata or b"")
        self._orientation: tuple[int, bool] | None = None
        self.n_bad_packets = 0

    def __enter__(self) -> LiveStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._pipe is not None:
            self._pipe.is_stopped = True
        self._container.close()

    @property
    def coded_size(self) -> tuple[int, int]:
        """Width and height as they are coded; 0, 0 before a frame was decoded where opening found out nothing."""
        return int(self._codec.width), int(self._codec.height)

    @property
    def is_whole(self) -> bool:
        """Whether its end is the end, and no break: a file has a length, also one that is fetched."""
        return bool(self.opening.kind == "file" or (self._container.duration or 0) > 0)

    def units(self) -> Iterator[Unit]:
        """Packets in the order they come in; StreamError where the stream breaks off, the end where it ends."""
        packets, n_foreign = self._container.demux(), 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:
                packets = self._container.demux()  # PyAV stumbles over a stream that appears in the middle
                continue
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError) as error:
                raise StreamError(f"{self.opening.name}: {_reason(error, self.opening.read_s)}") from None
            number = packet.stream.index
            n_foreign = 0 if number == self.video.index else n_foreign + (packet.stream.type == "video")
            if n_foreign > MOST_FOREIGN:
                raise StreamError(f"{self.opening.name}: another video stream took the place of the one before")
            if packet.size and (number == self.video.index or packet.stream is self.sound):
                yield self._unit(packet)

    def _unit(self, packet: Any) -> Unit:
        tick = float(packet.time_base or 0)
        stamps = [None if ticks is None else ticks * tick for ticks in (packet.dts, packet.pts)]
        return Unit(packet, packet.stream.index == self.video.index, bool(packet.is_keyframe), *stamps)

    def allow(self, level: Level) -> None:
        """Decode everything, or leave out the frames that no other refers to."""
        if self._codec.skip_frame != level:
            self._codec.skip_frame = level

    def restart(self) -> None:
        """Forget what was decoded: the next packet is a keyframe after some that were left out."""
        self._codec.flush_buffers()

    def decode(self, unit: Unit) -> list[tuple[Frame, float | None]]:
        """The frames that a packet of the video brings, each with its time by the stream's clock.

        Of a packet that cannot be decoded none, and the count of bad ones rises.
        """
        try:
            pictures = self._codec.decode(unit.packet)
        except (av.error.FFmpegError, ValueError):
            self.n_bad_packets += 1
            return []
        return [self._frame(picture) for picture in pictures]

    def flush(self) -> list[tuple[Frame, float | None]]:
        """The frames that the decoder still holds, once there are no more packets."""
        try:
            return [self._frame(picture) for picture in self._codec.decode(None)]
        except (av.error.FFmpegError, ValueError, EOFError):
            return []

    def _frame(self, picture: Any) -> tuple[Frame, float | None]:
        if self._orientation is None:
            self._orientation = orientation(picture)
        rotation, is_mirrored = self._orientation
        frame = Frame(picture, rotation, 0, 0.0, is_mirrored)
        frame.is_suspect = bool(picture.is_corrupt)
        tick = picture.time_base or self.video.time_base  # frames that were held back at the end have none
        return frame, None if picture.pts is None else picture.pts * float(tick)


def _open(opening: Opening, pipe: WaitingPipe | None) -> Any:
    av.logging.set_level(None)
    options = {**ANALYSED, **opening.options}
    if opening.kind in PROTOCOLS:
        options["protocol_whitelist"] = PROTOCOLS[opening.kind]
    try:
        return av.open(
            opening.url if pipe is None else pipe,
            format=opening.input_format,
            options=options,
            metadata_errors="replace",
            timeout=(opening.open_s, opening.read_s),
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        is_final = opening.kind != "network" or isinstance(error, av.error.PermissionError | av.error.HTTPClientError)
        reason = _reason(error, opening.open_s)
        if opening.kind == "camera" and isinstance(error, av.error.PermissionError):
            reason += f"; {MAY_READ}"
        raise StreamError(f"{opening.name}: could not be opened: {reason}", is_final) from None


def _reason(error: Exception, waited_s: float) -> str:
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {waited_s:g} s"
    return str(getattr(error, "strerror", None) or error)


def _video_stream(container: Any, opening: Opening) -> Any:
    try:
        stream = container.streams.best("video")
    except (AttributeError, ValueError):
        stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        kinds = ", ".join(sorted({str(one.type) for one in container.streams})) or "no streams"
        raise StreamError(f"{opening.name}: found {kinds}, wanted a video stream that can be decoded", is_final=True)
    return stream


# What FFmpeg calls the cameras of an operating system, and how one is named to it.
CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


def camera_format(platform: str = sys.platform) -> str:
    """FFmpeg's name of what reads cameras here."""
    return CAMERA_FORMATS.get(platform, "v4l2")


def cameras(platform: str = sys.platform, root: Path = Path("/")) -> list[str]:
    """The cameras that there are, as `deepfake watch` takes them."""
    if camera_format(platform) == "v4l2":
        folder = root / "sys/class/video4linux"
        known = sorted(folder.iterdir()) if folder.is_dir() else []
        return [f"/dev/{one.name} ({_text_of(one / 'name')})" for one in known]
    try:
        found = av.device.enumerate_input_devices(camera_format(platform))
    except (av.error.FFmpegError, ValueError):
        return []
    return [
        f"camera:{one.description or one.name}" for one in found if "video" in str(getattr(one, "media_types", "video"))
    ]


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "?"
