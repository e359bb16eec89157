"""What a coded packet's first bytes hold: does any other frame refer to this one, is it shown at all.

Pure functions over bytes, without decoding. To support another codec, add it to `_NONREFERENCE`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_HEAD_BYTES = 2048  # headers before an MPEG picture's own take less
NO_ENTRY, OPEN, CLOSED = 0, 1, 2
_START_CODE = re.compile(b"\x00\x00\x01", re.DOTALL)
# Codecs in which every packet stands alone.
INTRA_ONLY = {"mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "rawvideo", "png", "gif", "dvvideo", "utvideo"}
# Their packets are all flagged as keyframes, but only the first stands alone: the others paint over it.
DELTAS = {"apng"}


def length_bytes(codec: str, extradata: bytes) -> int:
    """How many bytes of length stand before each NAL unit; 0: start codes instead (Annex B)."""
    if codec == "h264" and len(extradata) > 6 and extradata[0] == 1:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 22 and (extradata[0] or extradata[1] or extradata[2] > 1):
        return (extradata[21] & 3) + 1
    return 0


def _nals(packet: memoryview, size: int) -> Iterator[tuple[int, int]]:
    """First byte and its place of each NAL unit."""
    if size == 0:
        for code in _START_CODE.finditer(packet):
            if code.end() < len(packet):
                yield packet[code.end()], code.end()
        return
    at = 0
    while at + size < len(packet):
        yield packet[at + size], at + size
        at += size + int.from_bytes(packet[at : at + size], "big")


def _h264_nonreference(packet: memoryview, size: int) -> bool:
    for header, _ in _nals(packet, size):
        if header & 31 in (1, 2, 5):
            return header >> 5 & 3 == 0
    return False


def _hevc_nonreference(packet: memoryview, size: int) -> bool:
    for header, _ in _nals(packet, size):
        kind = header >> 1 & 63
        if kind < 32:
            return kind <= 14 and kind % 2 == 0
    return False


def _mpeg4_nonreference(packet: memoryview, size: int) -> bool:
    head = bytes(packet[:_HEAD_BYTES])
    at = head.find(b"\x00\x00\x01\xb6")
    return 0 <= at < len(head) - 4 and head[at + 4] >> 6 == 2


def _mpeg2_nonreference(packet: memoryview, size: int) -> bool:
    head = bytes(packet[:_HEAD_BYTES])
    at = head.find(b"\x00\x00\x01\x00")
    return 0 <= at < len(head) - 5 and head[at + 5] >> 3 & 7 == 3


_NONREFERENCE: dict[str, Callable[[memoryview, int], bool]] = {
    "h264": _h264_nonreference,
    "hevc": _hevc_nonreference,
    "mpeg4": _mpeg4_nonreference,
    "mpeg2video": _mpeg2_nonreference,
    "mpeg1video": _mpeg2_nonreference,
    # FFmpeg's decoders of these leave nothing out; each frame counts as a reference.
    "vp8": lambda packet, size: False,
    "vp9": lambda packet, size: False,
}


def tells_references(codec: str) -> bool:
    """Whether packets of this codec show, without decoding, which frames others refer to."""
    return codec in _NONREFERENCE or codec in INTRA_ONLY


def is_reference(codec: str, packet: memoryview, size: int) -> bool:
    """Whether other frames may refer to this packet's; where bytes do not say, True.

    `size` is what `length_bytes` returned for the stream.
    """
    check = _NONREFERENCE.get(codec)
    return check is None or not check(packet, size)


def _ue(bits: int, n_bits: int, at: int) -> tuple[int, int]:
    """An Exp-Golomb number at bit `at` of `bits`, and where the next one starts."""
    zeros = 0
    while at + zeros < n_bits - 1 and not bits >> (n_bits - 1 - at - zeros) & 1:
        zeros += 1
    end = min(at + 2 * zeros + 1, n_bits)
    return (bits >> (n_bits - end) & ((1 << (zeros + 1)) - 1)) - 1, end


def _h264_entry(packet: memoryview, size: int) -> int:
    for header, at in _nals(packet, size):
        if header & 31 == 5:
            return CLOSED
        if header & 31 == 1:
            body = bytes(packet[at + 1 : at + 9])
            _, after_first_block = _ue(int.from_bytes(body, "big"), len(body) * 8, 0)
            slice_type, _ = _ue(int.from_bytes(body, "big"), len(body) * 8, after_first_block)
            return OPEN if slice_type % 5 == 2 else NO_ENTRY
    return NO_ENTRY


def _hevc_entry(packet: memoryview, size: int) -> int:
    for header, _ in _nals(packet, size):
        kind = header >> 1 & 63
        if kind < 32:
            return NO_ENTRY if not 16 <= kind <= 23 else OPEN if kind == 21 else CLOSED
    return NO_ENTRY


def entry_kind(codec: str, packet: memoryview, size: int) -> int:
    """Whether decoding can start at a packet flagged as keyframe.

    CLOSED: nothing after it refers to anything before it. OPEN: its leading frames do. NO_ENTRY: it
    starts a periodic intra refresh, so the picture is whole only many frames later.
    """
    check = {"h264": _h264_entry, "hevc": _hevc_entry}.get(codec)
    return CLOSED if check is None else check(packet, size)


def is_shown(codec: str, packet: memoryview) -> bool:
    """Whether the packet gives a frame to see; VP8 hides its alternative references."""
    return codec != "vp8" or len(packet) == 0 or bool(packet[0] >> 4 & 1)
