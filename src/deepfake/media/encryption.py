"""Is a video encrypted? Read from the file's own boxes, for a decoder shows noise or nothing and does not say why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

# DRM systems by the id in a `pssh` box: https://dashif.org/identifiers/content_protection
_SYSTEMS = {
    "edef8ba979d64acea3c827dcd51d21ed": "Widevine",
    "9a04f07998404286ab92e65be0885f95": "PlayReady",
    "94ce86fb07ff4f43adb893d2fa968ca2": "FairPlay",
    "1077efecc0b24d02ace33c1e52e2fb4b": "ClearKey",
    "e2719d58a985b3c9781ab030af78d30e": "ClearKey",
}
_ENCRYPTED_ENTRIES = {b"encv", b"drmi"}
_ENTRY_HEADER_BYTES = 78  # of a video's sample entry, before its own boxes
_MOST_BYTES = 64 << 20  # an index is smaller; more is damage
_TS_PACKET_BYTES, _TS_PACKETS = 188, 4000


def encryption_of(path: Path, container: Any, stream: Any) -> str | None:
    """What encrypts this stream, such as `cenc, Widevine`; None where nothing does."""
    names = container.format.name
    if "mp4" in names:
        return _of_mp4(path, int(stream.id))
    if "matroska" in names:
        return "WebM encryption" if "enc_key_id" in stream.metadata else None
    return "scrambled transport stream" if names == "mpegts" and _is_scrambled(path, int(stream.id)) else None


def _of_mp4(path: Path, track: int) -> str | None:
    with path.open("rb") as file:
        moov = next((body for kind, body in _top_boxes(file) if kind == b"moov"), b"")
    systems = {_SYSTEMS.get(body[4:20].hex(), "") for kind, body in _boxes(moov) if kind == b"pssh"} - {""}
    for kind, trak in _boxes(moov):
        if kind == b"trak" and _track_id(trak) == track:
            scheme = _scheme(_inside(trak, b"mdia", b"minf", b"stbl", b"stsd"))
            return None if scheme is None else ", ".join([scheme, *sorted(systems)])
    return None


def _scheme(stsd: bytes) -> str | None:
    """The encryption scheme that a track's sample descriptions name; None where no entry is encrypted."""
    for kind, entry in _boxes(stsd[8:]):
        if kind in _ENCRYPTED_ENTRIES:
            schm = _inside(entry[_ENTRY_HEADER_BYTES:], b"sinf", b"schm")
            return schm[4:8].decode("ascii", "replace").strip("\0 ") or "DRM"
    return None


def _track_id(trak: bytes) -> int:
    tkhd = _inside(trak, b"tkhd")
    at = 20 if tkhd[:1] == b"\1" else 12
    return int.from_bytes(tkhd[at : at + 4], "big")


def _inside(data: bytes, *path: bytes) -> bytes:
    """The body of the first box at the end of a path of boxes; empty where there is none."""
    for wanted in path:
        data = next((body for kind, body in _boxes(data) if kind == wanted), b"")
    return data


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of successive boxes; ends at what is none."""
    at = 0
    while at + 8 <= len(data):
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or len(data) - at
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


def _top_boxes(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of a file's boxes; the bodies of media are skipped, not read."""
    while len(head := file.read(8)) == 8:
        size, kind, n_read = int.from_bytes(head[:4], "big"), head[4:], 8
        if size == 1:
            size, n_read = int.from_bytes(file.read(8), "big"), 16
        if size and size < n_read:
            return
        if kind == b"moov":
            yield kind, file.read(min(size - n_read, _MOST_BYTES) if size else _MOST_BYTES)
            return
        if size == 0:
            return
        file.seek(size - n_read, 1)


def _is_scrambled(path: Path, pid: int) -> bool:
    """Whether most packets of an elementary stream say that their payload is scrambled."""
    with path.open("rb") as file:
        data = file.read(_TS_PACKET_BYTES * _TS_PACKETS)
    packets = [data[at : at + 4] for at in range(0, len(data) - 3, _TS_PACKET_BYTES)]
    own = [p for p in packets if p[0] == 0x47 and int.from_bytes(p[1:3], "big") & 0x1FFF == pid]
    return sum(p[3] >> 6 != 0 for p in own) * 2 > len(own)
