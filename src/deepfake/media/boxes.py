"""What FFmpeg does not tell of a file: MP4 boxes with credentials, XMP and times; bounded, whatever a file claims.

Nothing is read but headers of boxes and the few that are asked for; a size that cannot be ends the walk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

MOST_BOXES = 5_000
MOST_XMP_BYTES = 1 << 18
_CREDENTIAL = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
_INSIDE = {b"moov", b"trak", b"mdia", b"udta"}
_TIMES = {b"mvhd": "the file", b"tkhd": "a track", b"mdhd": "a track's media"}
_UNIX_TIMES = range(
    int(datetime(1972, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
)


@dataclass(frozen=True)
class BoxTimes:
    """When a header says that its part of the file was made and last changed (UTC); None where it does not say."""

    of: str
    created: datetime | None
    modified: datetime | None


@dataclass(frozen=True)
class Boxes:
    """What was found: bytes of Content Credentials (0: none), the beginning of XMP, and times."""

    credential_bytes: int = 0
    xmp: str = ""
    times: tuple[BoxTimes, ...] = ()


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int  # of its content
    end: int


def read_boxes(path: Path) -> Boxes:
    """The boxes of an MP4 or MOV, or the chunks of an AVI; nothing for any other file."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return Boxes(sum(box.end - box.start for box in _chunks(file, 12, size) if box.kind == b"C2PA"))
        if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid"):
            return Boxes()
        return _of_mp4(file, size)


def _of_mp4(file: BinaryIO, size: int) -> Boxes:
    credential, xmp, times = 0, "", []
    for box in _walk(file, 0, size):
        if box.kind == b"uuid":
            named = _at(file, box.start, 16)
            if named == _CREDENTIAL:
                credential += box.end - box.start
            elif named == _XMP:
                xmp = xmp or _text(file, box.start + 16, box.end)
        elif box.kind == b"XMP_":
            xmp = xmp or _text(file, box.start, box.end)
        elif box.kind in _TIMES:
            times.append(_times(_TIMES[box.kind], _at(file, box.start, 20)))
    return Boxes(credential, xmp, tuple(times))


def _walk(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """Boxes and those inside, no more than MOST_BOXES in all."""
    spans, left = [(start, end)], MOST_BOXES
    while spans and left:
        at, stop = spans.pop()
        while at + 8 <= stop and left:
            left -= 1
            head = _at(file, at, 16)
            if len(head) < 8:
                break
            length, content = int.from_bytes(head[:4], "big"), 8
            if length == 1 and len(head) == 16:
                length, content = int.from_bytes(head[8:], "big"), 16
            length = length or stop - at
            if length < content or at + length > stop:
                break
            box = _Box(head[4:8], at + content, at + length)
            yield box
            if box.kind in _INSIDE:
                spans.append((at + length, stop))
                spans.append((box.start, box.end))
                break
            at += length


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    at = start
    for _ in range(MOST_BOXES):
        head = _at(file, at, 8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield _Box(head[:4], at + 8, min(at + 8 + length, end))
        at += 8 + length + length % 2


def _at(file: BinaryIO, at: int, n_bytes: int) -> bytes:
    file.seek(at)
    return file.read(n_bytes)


def _text(file: BinaryIO, start: int, end: int) -> str:
    return _at(file, start, min(end - start, MOST_XMP_BYTES)).decode("utf-8", "replace")


def _times(of: str, data: bytes) -> BoxTimes:
    if len(data) < 12:
        return BoxTimes(of, None, None)
    created, modified = struct.unpack_from(">QQ" if data[0] == 1 and len(data) == 20 else ">II", data, 4)
    return BoxTimes(of, _time(created), _time(modified))


def _time(seconds: int) -> datetime | None:
    """Seconds since 1904; some software counts from 1970."""
    if seconds == 0 or seconds > 1 << 33:
        return None
    time = _EPOCH + timedelta(seconds=seconds)
    if time.year < 1972 and seconds in _UNIX_TIMES:
        time = datetime.fromtimestamp(seconds, UTC)
    return time if 1972 <= time.year <= 2100 else None
