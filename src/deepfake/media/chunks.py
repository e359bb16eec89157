"""A long video cut at keyframes into parts that are decoded apart, and whether a part gave what the whole gives.

A chunk is a half-open range of display times that begins with the keyframe at which decoding starts for its first
wanted frame. Frames that a decoder gives before it (leading frames of an open group) are those of the chunk before,
which is decoded past its end until the first frame of the next one comes. Pure arithmetic over packets and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake.media.demux import Packets
from deepfake.media.sampling import Ints

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chunk:
    """Frames `first` to `last` of those chosen, shown from `from_key` up to, not with, `to_key` (display times).

    The first chunk begins at minus infinity, the last one ends at infinity.
    """

    number: int
    first: int
    last: int
    from_key: float
    to_key: float
    length_s: float

    @property
    def n_frames(self) -> int:
        """Frames chosen in it."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Decoded:
    """All frames that a pass decoded of a chunk, sampled or not, in display order.

    `stretches` counts up wherever frames were left out, because none was wanted near them.
    """

    indices: Ints
    stretches: Ints
    times_s: Floats
    sides_px: npt.NDArray[np.int32]
    last_stretch: int
    reorder_depths: frozenset[int]
    has_ended: bool
    n_spoilt: int


def why_whole(packets: Packets) -> str | None:
    """Why a video cannot be cut at all; None where it can."""
    if not packets.has_pts:
        return "its packets have no display times of their own, so that frames are counted from the beginning"
    if packets.is_reference is None:
        return "its packets do not say which frames others refer to, so that the frames of a part cannot be counted"
    if packets.is_start.sum() < 2:
        return "only one keyframe is whole when decoding starts at it"
    return None


def cut(packets: Packets, positions: Ints, most_s: float) -> list[Chunk]:
    """Chunks of about `most_s` seconds or less of the frames chosen, longer where no keyframe lies between."""
    keys, entries = packets.keys[positions], packets.entries[positions]
    start_keys = packets.keys[packets.is_keyframe]
    # The keyframe at which decoding starts for each of them, by when it is shown.
    starts = start_keys[np.maximum(np.searchsorted(start_keys, keys, side="right") - 1, 0)] if len(start_keys) else keys
    may_begin = np.flatnonzero((np.diff(entries) > 0) & (np.diff(starts) > 0)) + 1
    n_chunks = max(int(np.ceil(float(keys[-1] - keys[0]) * packets.tick_s / most_s)), 1)
    wanted = keys[0] + np.arange(1, n_chunks) * float(keys[-1] - keys[0]) / n_chunks
    begins = np.unique(may_begin[_nearest(starts[may_begin], wanted)]) if len(may_begin) else np.zeros(0, np.int64)
    firsts = [0, *begins.tolist()]
    bounds = [-np.inf, *(float(starts[first]) for first in firsts[1:]), np.inf]
    shown = [float(keys[0]), *bounds[1:-1], float(keys[-1])]
    return [
        Chunk(
            number=number,
            first=first,
            last=(firsts[number + 1] if number + 1 < len(firsts) else len(positions)) - 1,
            from_key=bounds[number],
            to_key=bounds[number + 1],
            length_s=(shown[number + 1] - shown[number]) * packets.tick_s,
        )
        for number, first in enumerate(firsts)
    ]


def _nearest(keys: Ints, wanted: Floats) -> Ints:
    return np.asarray(np.abs(keys[None].astype(float) - wanted[:, None]).argmin(1), np.int64)


def why_incomplete(packets: Packets, allowed: Ints, chunk: Chunk, decoded: Decoded) -> str | None:
    """Why a chunk's frames may not be those that one pass over the video gives; None where they are.

    Between two stretches left out every frame the packets promise has to come: `allowed` are the places of these.
    """
    n_frames = len(decoded.indices)
    if decoded.n_spoilt:
        return f"{decoded.n_spoilt} packets or frames are damaged"
    if not n_frames:
        return "no frame of a part could be decoded"
    ranks = np.searchsorted(allowed, decoded.indices)
    if ranks[-1] >= len(allowed) or (allowed[ranks] != decoded.indices).any():
        return "frames came that its packets do not promise"
    begins = np.concatenate([[True], np.diff(decoded.stretches) > 0])
    goes_on = np.diff(ranks)[~begins[1:]]
    n_lost = int((goes_on - 1).sum())
    if n_lost:
        return f"{n_frames} of {n_frames + n_lost} frames of a part came"
    first_key = packets.keys[decoded.indices[0]]
    if np.isfinite(chunk.from_key) and first_key != chunk.from_key:
        return "the keyframe that a part begins with did not come"
    if np.isfinite(chunk.to_key):
        if not decoded.has_ended:
            return "the first frame of the next part did not come"
        of_chunk = int(np.searchsorted(packets.keys[allowed], chunk.to_key))
        was_left_out = decoded.last_stretch > decoded.stretches[-1]
        if not was_left_out and ranks[-1] != of_chunk - 1:
            return f"{int(ranks[-1] - ranks[0]) + 1} of {of_chunk - int(ranks[0])} frames of a part came"
    return None


def why_unequal(parts: Sequence[Decoded]) -> str | None:
    """Why parts that are complete may differ from one pass: how much a decoder holds back decides what a skip drops."""
    depths = frozenset[int]().union(*(part.reorder_depths for part in parts))
    if len(depths) > 1 and any(part.last_stretch > part.stretches[0] for part in parts):
        return f"its decoder holds back {sorted(depths)} frames, here these, there those"
    return None
