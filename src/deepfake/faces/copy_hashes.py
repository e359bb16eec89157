"""A video's pictures as hashes on a regular grid of time: what copies are found by, made wherever frames pass by.

Extraction decodes most of the frames that are hashed anyway: it keeps small grey pictures of them, and their hashes
beside the crops. Worker processes import this module, so it imports no numba. Letters: N
hashes, W words of 64 bits in a hash.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.errors import UserError
from deepfake.faces.crop_store import read_rows
from deepfake.faces.descriptors import BITS, DESCRIPTORS, bytes_of, is_flat, without_borders, words, words_of
from deepfake.faces.shard_store import fetch_shard
from deepfake.media.demux import Demuxed
from deepfake.media.sampling import Ints, every
from deepfake.media.video import nearest_of_mode

VERSION = 2  # another one: the same video gets other hashes
SAMPLING = "reference"  # frames that no other refers to are not decoded where there are enough others
BLOCK_FRAMES = 600  # pictures whose borders are found together
# Of longer videos extraction decodes few frames, and their small pictures would take megabytes.
LONGEST_S = 120.0
TAIL_FRAMES = 2  # extraction stops at the last frame it samples, half of a 32nd before the end


@dataclass(frozen=True)
class Settings:
    """What hashes are made by; hashes made by others cannot be compared with them."""

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
class Block:
    """Some pictures in time without borders, none of them flat; `duration_s` is the whole video's."""

    times: list[float]
    pictures: list[np.ndarray]
    duration_s: float


def grid_places(demuxed: Demuxed, fps: float) -> Ints:
    """Places of the frames of a video that stand for so many moments a second."""
    packets = demuxed.packets
    return nearest_of_mode(demuxed, SAMPLING, every(packets.keys, 1 / (fps * packets.tick_s)))


def full_length_s(demuxed: Demuxed) -> float:
    """A video's length with its last frame, whose own length packets do not say."""
    packets = demuxed.packets
    return packets.length_s + packets.length_s / max(len(packets.keys) - 1, 1)


def block_of(times: Sequence[float], thumbs: Sequence[np.ndarray], duration_s: float) -> Block:
    """What is hashed of small grey pictures."""
    pictures = without_borders(thumbs)
    kept = [place for place, picture in enumerate(pictures) if not is_flat(picture)]
    return Block([times[place] for place in kept], [pictures[place] for place in kept], duration_s)


def hashed_of(blocks: Iterable[Block], settings: Settings) -> Hashed:
    """Hashes of a video's pictures, block by block."""
    descriptor, duration_s = DESCRIPTORS[settings.descriptor], 0.0
    times: list[float] = []
    made = [np.zeros((0, BITS // 64), np.uint64)]
    for block in blocks:
        times += block.times
        made.append(words(descriptor, block.pictures))
        duration_s = block.duration_s
    return Hashed(np.array(times, np.float32), np.concatenate(made), duration_s)


def unread(reason: str) -> Hashed:
    """What there is of a file that cannot be read."""
    return Hashed(np.zeros(0, np.float32), np.zeros((0, BITS // 64), np.uint64), 0.0, reason)


def is_hashed_in_passing(demuxed: Demuxed) -> bool:
    """Whether extraction keeps the small pictures of a video."""
    return full_length_s(demuxed) <= LONGEST_S


def hashed_in_passing(demuxed: Demuxed, thumbs: Mapping[int, np.ndarray], settings: Settings) -> Hashed | None:
    """Hashes of the small pictures that extraction kept, by their places; None where some of the grid are missing.

    The last ones may be missing.
    """
    places = grid_places(demuxed, settings.sample_fps).tolist()
    came = [place for place in places if place in thumbs]
    if came != places[: len(came)] or len(came) < max(len(places) - TAIL_FRAMES, 1):
        return None
    length_s = full_length_s(demuxed)
    packets = demuxed.packets
    times = [packets.time_s(int(packets.keys[place])) for place in came]
    shown = [thumbs[place] for place in came]
    blocks = (
        block_of(times[first : first + BLOCK_FRAMES], shown[first : first + BLOCK_FRAMES], length_s)
        for first in range(0, len(came), BLOCK_FRAMES)
    )
    return hashed_of(blocks, settings)


def as_row(hashed: Hashed, settings: Settings) -> Mapping[str, Any]:
    """Hashes as plain values, for a shard."""
    return {
        "made_by": asdict(settings),
        "duration_s": hashed.duration_s,
        "times_s": [round(float(time_s), 4) for time_s in hashed.times_N],
        "hashes": b64encode(bytes_of(hashed.words_N4)).decode(),
    }


def kept_hashes(work_dir: Path, shard: str, settings: Settings) -> Hashed | None:
    """The hashes that extraction kept beside a video's crops; None where there are none that were made so."""
    try:
        if not (work_dir / shard).exists() and not fetch_shard(work_dir, shard):
            return None
        row = read_rows(work_dir / shard).get("copy_hashes")
        if row is None or row["made_by"] != asdict(settings):
            return None
        times = np.array(row["times_s"], np.float32)
        found = Hashed(times, words_of(b64decode(row["hashes"])), float(row["duration_s"]))
        return found if len(found.words_N4) == len(times) else None
    except (UserError, OSError, KeyError, TypeError, ValueError):
        return None  # a shard that is damaged is for others to complain of: the video itself is there
