"""The bytes of a video file, damaged in ten ways: where its boxes lie, and what is done to them.

To add a way, write a function of the file's bytes, its boxes and a generator, and give it a line in `DAMAGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

TS_PACKET = 188
TS_HEADER_PACKETS = 6  # tables, and the beginning of the first frame
MP4_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"dinf"}
EBML_PARENTS = {  # Segment, SeekHead, Seek, Info, Tracks, TrackEntry, Video, Cluster, BlockGroup, Cues, CuePoint, Tags
    *(b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\x4d\xbb", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\xae"),
    *(b"\xe0", b"\x1f\x43\xb6\x75", b"\xa0", b"\x1c\x53\xbb\x6b", b"\xbb", b"\x12\x54\xc3\x67"),
}
EBML_MEDIA = {b"\xa3", b"\xa1"}  # SimpleBlock, Block
ODD_VALUES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62)


@dataclass(frozen=True)
class Box:
    """An MP4 box, Matroska element, RIFF chunk or TS packet: its header from `start` to `body`, then to `end`.

    Its size stands from `size_at` to `size_end`. `is_media`: it holds coded frames.
    """

    name: bytes
    start: int
    body: int
    end: int
    size_at: int
    size_end: int
    is_media: bool
    is_parent: bool = False


def boxes_of(data: bytes, container: str) -> list[Box]:
    """The boxes of an undamaged file, parents before their children."""
    find = {"mp4": _mp4, "mov": _mp4, "mkv": _ebml, "webm": _ebml, "avi": _riff, "ts": _ts}[container]
    return list(find(data, 0, len(data)))


def _mp4(data: bytes, start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        size, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        stop = end if size == 0 else min(start + max(size, 8), end)
        is_parent = name in MP4_PARENTS
        yield Box(name, start, start + 8, stop, start, start + 4, name == b"mdat", is_parent)
        if is_parent:
            yield from _mp4(data, start + 8, stop)
        start = stop


def _ebml(data: bytes, start: int, end: int) -> Iterator[Box]:
    while start + 2 <= end and data[start]:
        size_at = start + 9 - data[start].bit_length()
        if size_at >= end or not data[size_at]:
            return
        body = size_at + 9 - data[size_at].bit_length()
        bits = 7 * (body - size_at)
        size = int.from_bytes(data[size_at:body], "big") & ((1 << bits) - 1)
        name, stop = data[start:size_at], end if size == (1 << bits) - 1 else min(body + size, end)
        yield Box(name, start, body, stop, size_at, body, name in EBML_MEDIA, name in EBML_PARENTS)
        if name in EBML_PARENTS:
            yield from _ebml(data, body, stop)
        start = stop


def _riff(data: bytes, start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        name, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        is_parent = name in (b"RIFF", b"LIST")
        body = start + (12 if is_parent else 8)
        stop = min(start + 8 + size + size % 2, end)
        is_media = name[2:] in (b"dc", b"db", b"wb")
        yield Box(name, start, min(body, stop), stop, start + 4, start + 8, is_media, is_parent)
        if is_parent:
            yield from _riff(data, body, stop)
        start = max(stop, start + 8)


def _ts(data: bytes, start: int, end: int) -> Iterator[Box]:
    for number, at in enumerate(range(start, end - TS_PACKET + 1, TS_PACKET)):
        is_media = number >= TS_HEADER_PACKETS
        # Of a packet the length of its adaptation field is what comes nearest to a size.
        yield Box(data[at + 1 : at + 3], at, at + 4, at + TS_PACKET, at + 4, at + 5, is_media)


Boxes = list[Box]
Damage = Callable[[bytes, Boxes, np.random.Generator], bytes]


def _pick(boxes: Boxes, rng: np.random.Generator) -> Box:
    return boxes[int(rng.integers(len(boxes)))]


def _places(boxes: Boxes, n_bytes: int, is_media: bool) -> np.ndarray:
    """Every byte that belongs to coded frames, or every one that does not."""
    mask = np.zeros(n_bytes, bool)
    for box in boxes:
        if box.is_media:
            mask[box.body : box.end] = True
    return np.flatnonzero(mask == is_media)


def _flip(data: bytes, places: np.ndarray, n_bits: int, rng: np.random.Generator) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    for place in rng.choice(places, min(n_bits, len(places)), replace=False):
        array[place] ^= 1 << int(rng.integers(8))
    return array.tobytes()


def header_bits(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to 32 bits outside coded frames, flipped."""
    return _flip(data, _places(boxes, len(data), is_media=False), int(2 ** rng.uniform(0, 5)), rng)


def data_bits(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to 1,000 bits of coded frames, flipped."""
    return _flip(data, _places(boxes, len(data), is_media=True), int(10 ** rng.uniform(0, 3)), rng)


def cut(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """The end, or seldom the beginning, is missing."""
    place = int(rng.integers(len(data)))
    return data[place:] if rng.random() < 0.2 else data[:place]


def _piece(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(data)))
    return start, min(start + int(2 ** rng.uniform(0, 13)), len(data))


def deleted(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to 8 KB in the middle are missing."""
    start, end = _piece(data, rng)
    return data[:start] + data[end:]


def inserted(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to 8 KB of noise in the middle."""
    start, end = _piece(data, rng)
    return data[:start] + rng.bytes(end - start) + data[start:]


def repeated(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to 8 KB stand there up to 50 times."""
    start, end = _piece(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 50)) + data[end:]


def swapped(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Two boxes in each other's place."""
    one = _pick(boxes, rng)
    others = [box for box in boxes if box.end <= one.start or box.start >= one.end]
    if not others:
        return data[one.body :]
    first, second = sorted((one, _pick(others, rng)), key=lambda box: box.start)
    a, b = data[first.start : first.end], data[second.start : second.end]
    return data[: first.start] + b + data[first.end : second.start] + a + data[second.end :]


def _odd(n_bytes: int, rng: np.random.Generator) -> bytes:
    value = int(rng.choice(ODD_VALUES)) if rng.random() < 0.7 else int(rng.integers(1 << 62))
    return (value % (1 << 8 * n_bytes)).to_bytes(n_bytes, "little" if rng.random() < 0.5 else "big")


def wrong_sizes(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to three boxes that say another size."""
    array = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        box = _pick([box for box in boxes if rng.random() < 0.5 or not box.is_media] or boxes, rng)
        array[box.size_at : box.size_end] = _odd(box.size_end - box.size_at, rng)
    return bytes(array)


def huge_values(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to four fields of headers with huge, tiny or odd numbers: dimensions, counts, durations, time bases."""
    array = bytearray(data)
    fields = [box for box in boxes if not box.is_media and not box.is_parent and box.body < box.end]
    for _ in range(int(rng.integers(1, 5))):
        box = _pick(fields, rng)
        width = min(int(rng.choice([1, 2, 4, 8])), box.end - box.body)
        start = box.body + int(rng.integers((box.end - box.body) // width)) * width
        array[start : start + width] = _odd(width, rng)
    return bytes(array)


def random_boxes(data: bytes, boxes: Boxes, rng: np.random.Generator) -> bytes:
    """Up to five boxes of noise between the others, under known and unknown names."""
    for _ in range(int(rng.integers(1, 6))):
        box = _pick(boxes, rng)
        head = bytearray(data[box.start : box.body])
        if rng.random() < 0.3 and len(head) >= 8:
            head[4:8] = rng.bytes(4)
        place = _pick(boxes, rng).start
        noise = rng.bytes(min(box.end - box.body, 4096) if rng.random() < 0.7 else int(rng.integers(4096)))
        data = data[:place] + bytes(head) + noise + data[place:]
    return data


DAMAGES: Mapping[str, Damage] = {
    "header bits": header_bits,
    "data bits": data_bits,
    "cut": cut,
    "deleted": deleted,
    "inserted": inserted,
    "repeated": repeated,
    "swapped boxes": swapped,
    "wrong sizes": wrong_sizes,
    "huge values": huge_values,
    "random boxes": random_boxes,
}
