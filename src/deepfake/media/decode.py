"""Decoded pictures with their display times: one linear PyAV pass, or one decord batch.

A bad packet costs itself; corrupt pictures are dropped and counted. Stretches nobody asked for are
demuxed but not decoded, which finds the same frames as seeking does, in any container.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from deepfake.media.demux import Packets, VideoError, coded_packets, decode_alone, open_video, set_up
from deepfake.media.source import Source

# Files of these name the place of each keyframe; a chunk further in than so many packets is sought there.
_INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
_SEEK_PACKETS = 300
_MIN_SKIP_S = 1.0  # shorter stretches are decoded although nobody asked: cuts are found by them, tracks span them


@dataclass
class Progress:
    """Shared by a decoding pass and its reader: where to go on, and what went wrong.

    Frames shown before `from_key`, and from `to_key` on, are not handed out: they are another chunk's
    (`media.chunks`). `n_skips` counts the stretches left out so far, `reorder_depths` are how many frames the decoder
    held back: frames that a skip drops depend on it.
    """

    resume_at: int = 0
    from_key: float = -np.inf
    to_key: float = np.inf
    n_skips: int = 0
    has_ended: bool = False  # a frame from `to_key` on came
    reorder_depths: set[int] = field(default_factory=set)
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
                if key is not None and key < progress.from_key:
                    continue
                if key is not None and key >= progress.to_key:
                    progress.has_ended = True
                    return
                if picture.is_corrupt:
                    progress.n_corrupt += 1
                    progress.spoil(packets, key)
                    if not with_damaged:
                        continue
                if key is None or key <= last or not _contains(packets.keys, key):
                    continue
                last = key
                progress.is_suspect = key < progress.suspect_until
                progress.reorder_depths.add(codec.reorder_depth)
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
    source = _from_chunk(container, stream, packets, progress)
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
            progress.n_skips += is_skipping
            is_skipping = False
            # One by one: without the frames between them h264's keyframes come out in the wrong order.
            if packets.is_start[ordinal]:
                pictures = decode_alone(codec, packet)
                progress.n_bad_packets += not (pictures or packet.is_discard)
                yield pictures
            continue
        if is_skipping:
            codec.flush_buffers()
            is_skipping = False
            progress.n_skips += 1
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


def _from_chunk(container: Any, stream: Any, packets: Packets, progress: Progress) -> Iterator[tuple[int, Any]]:
    """Packets with their places in decode order; of a chunk far into a file that has an index, from its keyframe on."""
    if progress.resume_at < _SEEK_PACKETS or np.isinf(progress.from_key) or container.format.name not in _INDEXED:
        yield from enumerate(coded_packets(container, stream))
        return
    key, place = int(progress.from_key), progress.resume_at  # the reader moves that on
    container.seek(key, stream=stream)
    found = coded_packets(container, stream)
    for packet in itertools.islice(found, _SEEK_PACKETS):
        if packet.is_keyframe and packet.pts == key:
            yield place, packet
            yield from enumerate(found, place + 1)
            return
    container.seek(0, stream=stream)  # its index led elsewhere: from the beginning, then
    yield from enumerate(coded_packets(container, stream))


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
