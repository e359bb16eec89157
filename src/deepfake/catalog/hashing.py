"""A video, or a clip that is asked for, as hashes in time: what `copies` compares.

Worker processes import this module, so it imports no numba. Letters: N hashes, P points in time, K variants, W words of
64 bits in a hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake.faces.copy_hashes import (
    BLOCK_FRAMES,
    SAMPLING,
    Block,
    block_of,
    full_length_s,
    grid_places,
    hashed_of,
)
from deepfake.faces.copy_hashes import Hashed as Hashed
from deepfake.faces.copy_hashes import Settings as Settings
from deepfake.faces.copy_hashes import unread as unread
from deepfake.faces.descriptors import DESCRIPTORS, variant_words
from deepfake.media.demux import Demuxed, VideoError, scan
from deepfake.media.needs import allow_for
from deepfake.media.sampling import Ints
from deepfake.media.video import Sampled, sample

ASKED_PER_FRAME = 2  # a clip is asked at so many points for each frame of an index: their grids of time differ


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
        return hashed_of(_blocks(job.path, job.settings.sample_fps), job.settings)
    except (VideoError, OSError) as error:
        reason = str(error) if isinstance(error, VideoError) else f"{error.strerror}"
        return unread(reason)


def _blocks(path: Path, fps: float) -> Iterator[Block]:
    """A video's pictures on a regular grid of time."""
    with _scanned(path) as demuxed, _sampled(path, demuxed, grid_places(demuxed, fps)) as sampled:
        yield from _in_blocks(((f.time_s, f.copy_thumb()) for f in sampled), full_length_s(demuxed))


def _sampled(path: Path, demuxed: Demuxed, places: Ints) -> Sampled:
    return sample(path, SAMPLING, demuxed=demuxed, places=places)


@contextmanager
def _scanned(path: Path) -> Iterator[Demuxed]:
    demuxed = scan(path)
    try:
        yield demuxed
    finally:
        if demuxed.source is not None:
            demuxed.source.close()


def _in_blocks(shown: Iterator[tuple[float, np.ndarray]], length_s: float) -> Iterator[Block]:
    times: list[float] = []
    thumbs: list[np.ndarray] = []
    for time_s, thumb in shown:
        times.append(time_s)
        thumbs.append(thumb)
        if len(thumbs) == BLOCK_FRAMES:
            yield block_of(times, thumbs, length_s)
            times, thumbs = [], []
    yield block_of(times, thumbs, length_s)


def pictures_of(path: Path, fps: float) -> tuple[list[float], list[np.ndarray]]:
    """All that is compared of a video: when it is shown, and the grey pictures that are hashed."""
    blocks = list(_blocks(path, fps))
    return [one for block in blocks for one in block.times], [one for block in blocks for one in block.pictures]


def asked_of(path: Path, settings: Settings) -> Asked:
    """What a clip asks of an index; VideoError for a file that cannot be read."""
    return _asked(_blocks(path, ASKED_PER_FRAME * settings.sample_fps), settings)


def _asked(blocks: Iterable[Block], settings: Settings) -> Asked:
    descriptor = DESCRIPTORS[settings.descriptor]
    times: list[float] = []
    plain: list[np.ndarray] = []
    mirrored: list[np.ndarray] = []
    duration_s = 0.0
    for block in blocks:
        times += block.times
        plain.append(variant_words(descriptor, block.pictures, is_mirrored=False))
        mirrored.append(variant_words(descriptor, block.pictures, is_mirrored=True))
        duration_s = block.duration_s
    return Asked(np.array(times), np.concatenate(plain), np.concatenate(mirrored), duration_s)


def hashed_and_asked(path: Path, settings: Settings) -> tuple[Hashed, Asked]:
    """`hash_video` and `asked_of` of a video, decoded once; VideoError for a file that cannot be read."""
    with _scanned(path) as demuxed:
        held, asked = (grid_places(demuxed, n * settings.sample_fps) for n in (1, ASKED_PER_FRAME))
        if not np.isin(held, asked).all():  # with too few reference frames for the finer grid
            return hashed_of(_blocks(path, settings.sample_fps), settings), asked_of(path, settings)
        length_s, is_held = full_length_s(demuxed), set(held.tolist())
        with _sampled(path, demuxed, asked) as sampled:
            shown = [(frame.index, frame.time_s, frame.copy_thumb()) for frame in sampled]
    own = _in_blocks(((time_s, thumb) for index, time_s, thumb in shown if index in is_held), length_s)
    finer = _in_blocks(((time_s, thumb) for _, time_s, thumb in shown), length_s)
    return hashed_of(own, settings), _asked(finer, settings)
