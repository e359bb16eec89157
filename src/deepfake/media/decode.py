"""Decoded pictures with their display times: one linear PyAV pass, or one decord batch.

A bad packet costs itself; corrupt pictures are dropped and counted. Stretches nobody asked for are
demuxed but not decoded, which finds the same frames as seeking does, in any container.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from deepfake.media.demux import Packets, VideoError, coded_packets, decode_alone, open_video, set_up
from deepfake.media.source import Source

_MIN_SKIP_S = 1.0  # shorter stretches are decoded although nobody asked: cuts are found by them, tracks span them


@dataclass
class Progress:
    """Shared by a decoding pass and its reader: where to go on, and what went wrong."""

    resume_at: int = 0
    n_corrupt: int = 0
    n_bad_packets: int = 0
    suspect_until: float = -np.inf
    is_suspect: bool = False

    def spoil(self, packets: Packets, key: int | None) -> None:
        """Nothing can be trusted from here to the next keyframe: decoders show old frames without saying so."""
        self.suspect_until = max(self.suspect_until, packets.next_start(key) if key is not None else np.inf)


def decode(
    path: Path,
    packets: Packets,
    level: str,
    threads: int,
    progress: Progress,
    with_damaged: bool = False,
    source: Source | None = None,
) -> Generator[tuple[Any, int], None, None]:
    """Decoded pictures with their display keys, in rising order; corrupt ones are left out, or come `with_damaged`.

    Packets before `progress.resume_at` (a keyframe's place in decode order; the reader moves it on)
    are not decoded where that leaves out at least a second.
    """
    with open_video(path, source) as container:
        stream = container.streams[packets.stream]
        codec = set_up(stream, "DEFAULT" if level == "NONKEY" else level, threads, with_damaged)
        last, counted = -(1 << 62), 0
        for pictures in _decoded_packets(container, stream, level, codec, packets, progress):
            for picture in pictures:
                key, counted = picture.pts if packets.has_pts else counted, counted + 1
                if picture.is_corrupt:
                    progress.n_corrupt += 1
                    progress.spoil(packets, key)
                    if not with_damaged:
                        continue
                if key is None or key <= last or not _contains(packets.keys, key):
                    continue
                last = key
                progress.is_suspect = key < progress.suspect_until
                yield picture, key


def _contains(keys: npt.NDArray[np.int64], key: int) -> bool:
    place = int(np.searchsorted(keys, key))
    return place < len(keys) and int(keys[place]) == key


def _decoded_packets(
    container: Any, stream: Any, level: str, codec: Any, packets: Packets, progress: Progress
) -> Iterator[list[Any]]:
    """What each packet gives, packet by packet, a bad one giving nothing."""
    usual_s = (packets.length_s / max(len(packets.keys) - 1, 1)) or 1.0
    min_skip = max(2, round(_MIN_SKIP_S / usual_s))
    skip_until = 0
    is_skipping = False
    source = enumerate(coded_packets(container, stream))
    while True:
        try:
            ordinal, packet = next(source)
        except StopIteration:
            break
        except av.error.FFmpegError:
            progress.n_bad_packets += 1
            break
        if progress.resume_at - ordinal >= min_skip:
            skip_until = progress.resume_at
        if ordinal < skip_until:
            is_skipping = True
            continue
        if level == "NONKEY":
            # One by one: without the frames between them h264's keyframes come out in the wrong order.
            if packets.is_start[ordinal]:
                pictures = decode_alone(codec, packet)
                progress.n_bad_packets += not (pictures or packet.is_discard)
                yield pictures
            continue
        if is_skipping:
            codec.flush_buffers()
            is_skipping = False
        try:
            pictures = codec.decode(packet)
        except (av.error.FFmpegError, ValueError):
            progress.n_bad_packets += 1
            progress.spoil(packets, packet.pts)
            if not packets.has_pts:
                return  # what follows cannot be numbered any more
            continue
        yield pictures
    try:
        pictures = codec.decode(None) if not is_skipping else []
    except (av.error.FFmpegError, ValueError, EOFError):
        pictures = []
    yield pictures


def decord_batch(path: Path, indices: list[int], n_frames: int) -> list[Any]:
    """The RGB pictures of rising `indices`, by decord, turned upright by it; the reader is closed at once."""
    import decord  # optional; its own FFmpeg is loaded only when asked for

    decord.logging.set_level(decord.logging.QUIET)
    try:
        reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
        if len(reader) != n_frames:
            raise VideoError(
                f"video {path.name!r}: decord counts {len(reader)} frames, the file has {n_frames}; use backend pyav"
            )
        batch = reader.get_batch(indices).asnumpy()
        del reader  # an idle reader goes on reading ahead, up to gigabytes
    except (decord.DECORDError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise VideoError(f"video {path.name!r}: decord failed ({first_line}); use backend auto or pyav") from None
    return [av.VideoFrame.from_ndarray(frame_HWC, format="rgb24") for frame_HWC in batch]
