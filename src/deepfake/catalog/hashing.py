"""A video, or a clip that is asked for, as hashes in time: what `copies` compares.

Worker processes import this module, so it imports no numba. Letters: N hashes, P points in time, K variants, W words of
64 bits in a hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake.faces.descriptors import DESCRIPTORS, THUMB_SIDES_PX, is_flat, variant_words, without_borders, words
from deepfake.media.demux import VideoError, scan
from deepfake.media.needs import allow_for
from deepfake.media.sampling import every
from deepfake.media.video import sample

VERSION = 1  # another one: the same video gets other hashes
BLOCK_FRAMES = 600  # pictures held at once
ASKED_PER_FRAME = 2  # a clip is asked at so many points for each frame of an index: their grids of time differ


@dataclass(frozen=True)
class Settings:
    """What an index is made by; hashes made by others cannot be compared with its own."""

    descriptor: str = "gradient"
    sample_fps: float = 4.0
    version: int = VERSION


@dataclass(frozen=True)
class Hashed:
    """A video's hashes in time; `reason` is why there are none."""

    times_N: np.ndarray
    words_N4: np.ndarray
    duration_s: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Asked:
    """A clip's hashes: when each point is shown, in seconds, and its variants, as it is and mirrored."""

    times_P: np.ndarray
    plain_PKW: np.ndarray
    mirrored_PKW: np.ndarray
    duration_s: float

    def words(self, is_mirrored: bool) -> np.ndarray:
        """The variants that are mirrored, or those that are not."""
        return self.mirrored_PKW if is_mirrored else self.plain_PKW


@dataclass(frozen=True)
class Held:
    """An indexed video's hashes in time."""

    times_N: np.ndarray
    words_NW: np.ndarray
    duration_s: float


@dataclass(frozen=True)
class Job:
    """A video to be hashed."""

    path: Path
    settings: Settings


def hash_video(job: Job) -> Hashed:
    """The hashes of a video's pictures on a regular grid of time; of a file that cannot be read the reason."""
    try:
        allow_for(job.path.stat().st_size)
        descriptor = DESCRIPTORS[job.settings.descriptor]
        blocks: list[np.ndarray] = []
        times: list[float] = []
        duration_s = 0.0
        for block in _blocks(job.path, job.settings.sample_fps):
            times += block.times
            blocks.append(words(descriptor, block.pictures))
            duration_s = block.duration_s
        return Hashed(np.array(times, np.float32), np.concatenate([np.zeros((0, 4), np.uint64), *blocks]), duration_s)
    except (VideoError, OSError) as error:
        reason = str(error) if isinstance(error, VideoError) else f"{error.strerror}"
        return unread(reason)


@dataclass(frozen=True)
class _Block:
    """Some pictures in time without borders, none of them flat; `duration_s` is the whole video's."""

    times: list[float]
    pictures: list[np.ndarray]
    duration_s: float


def _blocks(path: Path, fps: float) -> Iterator[_Block]:
    """A video's pictures on a regular grid of time.

    Frames that no other refers to are not decoded where there are enough others.
    """
    demuxed = scan(path)
    packets = demuxed.packets
    try:
        places = every(packets.keys, 1 / (fps * packets.tick_s))
        length_s = packets.length_s + packets.length_s / max(len(packets.keys) - 1, 1)
        times: list[float] = []
        thumbs: list[np.ndarray] = []
        with sample(path, "reference", demuxed=demuxed, places=places) as sampled:
            for frame in sampled:
                times.append(frame.time_s)
                thumbs.append(frame.luma_thumb(THUMB_SIDES_PX))
                if len(thumbs) == BLOCK_FRAMES:
                    yield _block(times, thumbs, length_s)
                    times, thumbs = [], []
        yield _block(times, thumbs, length_s)
    finally:
        if demuxed.source is not None:
            demuxed.source.close()


def _block(times: Sequence[float], thumbs: Sequence[np.ndarray], duration_s: float) -> _Block:
    pictures = without_borders(thumbs)
    kept = [place for place, picture in enumerate(pictures) if not is_flat(picture)]
    return _Block([times[place] for place in kept], [pictures[place] for place in kept], duration_s)


def pictures_of(path: Path, fps: float) -> tuple[list[float], list[np.ndarray]]:
    """All that is compared of a video: when it is shown, and the grey pictures that are hashed."""
    blocks = list(_blocks(path, fps))
    return [one for block in blocks for one in block.times], [one for block in blocks for one in block.pictures]


def asked_of(path: Path, settings: Settings) -> Asked:
    """What a clip asks of an index; VideoError for a file that cannot be read."""
    descriptor = DESCRIPTORS[settings.descriptor]
    times: list[float] = []
    plain: list[np.ndarray] = []
    mirrored: list[np.ndarray] = []
    duration_s = 0.0
    for block in _blocks(path, ASKED_PER_FRAME * settings.sample_fps):
        times += block.times
        plain.append(variant_words(descriptor, block.pictures, is_mirrored=False))
        mirrored.append(variant_words(descriptor, block.pictures, is_mirrored=True))
        duration_s = block.duration_s
    return Asked(np.array(times), np.concatenate(plain), np.concatenate(mirrored), duration_s)


def unread(reason: str) -> Hashed:
    """What there is of a file that cannot be read."""
    return Hashed(np.zeros(0, np.float32), np.zeros((0, 4), np.uint64), 0.0, reason)
