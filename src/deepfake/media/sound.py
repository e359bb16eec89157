"""The sound of a file as samples of one channel at one rate, at the times at which players play it.

Damage costs the samples it hits: they are silent, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from deepfake.media.demux import Demuxed

RATE_HZ = 16_000
MAX_GAP_S = 0.02  # samples that follow each other this nearly are of one piece: their times are rounded in many files


@dataclass(frozen=True)
class Sound:
    """Samples (N,) float32 in -1..1, the first of them played at `start_s`; where nothing is played they are 0.

    `lost_ratio` is the share of it that could not be decoded. `n_tracks` is how many sound tracks the file has: this
    is the one that players take. `n_channels` and `rate_hz` are the file's.
    """

    samples: np.ndarray
    start_s: float
    lost_ratio: float
    n_tracks: int
    n_channels: int
    rate_hz: int

    @property
    def end_s(self) -> float:
        """When it ends."""
        return self.start_s + len(self.samples) / RATE_HZ


def zero_of(demuxed: Demuxed) -> float:
    """The presentation time, as the file counts it, that is 0 in the times of this package."""
    packets = demuxed.packets
    return packets.zero * packets.tick_s if packets.has_pts else 0.0


def read_sound(path: Path, zero_s: float, from_s: float, to_s: float) -> Sound | None:
    """The sound of a file from one time to another; None where it has none, or nothing of it can be decoded.

    `zero_s`: see `zero_of`.
    """
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, av.AudioStream):
            return None
        stream.codec_context.thread_count = 1
        reader = _Reader(stream, zero_s, from_s, to_s)
        if from_s > 1 and stream.time_base:
            container.seek(int((from_s + zero_s - 1) / stream.time_base), stream=stream)
        for packet in container.demux(stream):
            if reader.take(packet):
                break
        n_tracks = len(container.streams.audio)
        return reader.sound(n_tracks) if reader.n_frames else None


class _Reader:
    """Lays what is decoded at its place in time."""

    def __init__(self, stream: av.AudioStream, zero_s: float, from_s: float, to_s: float) -> None:
        self._stream, self._zero_s, self._from_s = stream, zero_s, from_s
        self._samples = np.zeros(max(int((to_s - from_s) * RATE_HZ), 1), np.float32)
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, int, str] | None = None
        self._next: int | None = None  # where the next sample goes
        self._first, self._last = len(self._samples), 0
        self.n_frames = self._n_lost = 0

    def take(self, packet: av.Packet[Any]) -> bool:
        """Decode a packet; whether it lies beyond the end."""
        try:
            frames = self._stream.codec_context.decode(packet) if packet.size or packet.dts is None else []
        except (av.error.FFmpegError, ValueError):
            self._n_lost += 1
            return False
        for frame in frames:
            assert isinstance(frame, av.AudioFrame), "the stream is of sound"
            self._lay(frame)
        return self._next is not None and self._next >= len(self._samples)

    def _lay(self, frame: av.AudioFrame) -> None:
        form = (frame.format.name, frame.sample_rate, frame.layout.name)
        if self._resampler is None or form != self._form:
            # A stream may change its form on the way; what the former resampler held back is some samples.
            self._resampler, self._form = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ), form
        place = None if frame.time is None else round((frame.time - self._zero_s - self._from_s) * RATE_HZ)
        if self._next is None or (place is not None and abs(place - self._next) > MAX_GAP_S * RATE_HZ):
            self._next = place or 0
        frame.pts = None
        for part in self._resampler.resample(frame):
            values = np.nan_to_num(part.to_ndarray().reshape(-1), nan=0.0, posinf=0.0, neginf=0.0)
            start, end = max(self._next, 0), min(self._next + len(values), len(self._samples))
            if end > start:
                self._samples[start:end] = values[start - self._next : end - self._next]
                self._first, self._last = min(self._first, start), max(self._last, end)
            self._next += len(values)
        self.n_frames += 1

    def sound(self, n_tracks: int) -> Sound | None:
        """All that was laid; None where nothing lies within the times wanted."""
        if self._last <= self._first:
            return None
        return Sound(
            samples=np.clip(self._samples[self._first : self._last], -1, 1),
            start_s=self._from_s + self._first / RATE_HZ,
            lost_ratio=self._n_lost / (self._n_lost + self.n_frames),
            n_tracks=n_tracks,
            n_channels=self._stream.codec_context.channels,
            rate_hz=self._stream.codec_context.sample_rate,
        )
