"""Quantisers and parameters in the headers of H.264 packets, without decoding (ITU-T H.264, 7.3).

A header that ends early, or holds what no encoder writes, gives None. Pure functions over bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_HEAD_BYTES = 96  # a slice header takes less, unless it reorders or weighs dozens of references
_SETS_BYTES = 512
_HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_P, _B, _I, _SP, _SI = range(5)
KINDS = {_P: "P", _B: "B", _I: "I", _SP: "P", _SI: "I"}
_MOST = 1 << 16  # of anything that is counted here


class _Odd(Exception):
    """No header that an encoder writes."""


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, n_bits: int) -> int:
        if n_bits > self._left:
            raise _Odd
        self._left -= n_bits
        return self._value >> self._left & ((1 << n_bits) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise _Odd
        return (1 << zeros) - 1 + self.u(zeros)

    def count(self, most: int = _MOST) -> int:
        value = self.ue()
        if value > most:
            raise _Odd
        return value

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value % 2 else -(value // 2)


@dataclass(frozen=True)
class _Sequence:
    chroma: int
    has_planes: bool
    frame_num_bits: int
    order_kind: int
    order_bits: int
    order_is_zero: bool
    frames_only: bool


@dataclass(frozen=True)
class _Picture:
    sequence: int
    is_cabac: bool
    has_order: bool
    n_references: tuple[int, int]
    weighs_p: bool
    weighs_b: int
    quantiser: int
    has_redundant: bool
    has_groups: bool


@dataclass(frozen=True)
class Slice:
    """The first slice of a packet: I, P or B, and the quantiser (0..51) that its macroblocks begin with."""

    kind: str
    quantiser: int


@dataclass
class H264Headers:
    """Parameter sets as they come; `read` says what a packet's first slice begins with."""

    size: int  # see `bitstream.length_bytes`
    sequences: dict[int, _Sequence] = field(default_factory=dict)
    pictures: dict[int, _Picture] = field(default_factory=dict)
    stored: dict[tuple[int, int], bytes] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def take_extradata(self, data: bytes) -> None:
        """Parameter sets that the container holds: avcC, or Annex B."""
        for unit in _avcc_units(data) if data[:1] == b"\1" else units(memoryview(data), 0):
            self._take(bytes(unit[:_SETS_BYTES]))
        self.changes.clear()

    def read(self, packet: memoryview) -> Slice | None:
        """The first slice; `changes` then has what the packet's parameter sets changed, in words."""
        self.changes.clear()
        for unit in units(packet, self.size):
            kind = unit[0] & 31
            if kind in (7, 8):
                self._take(bytes(unit[:_SETS_BYTES]))
            elif kind in (1, 2, 5):
                try:
                    return self._slice(_unescaped(bytes(unit[:_HEAD_BYTES])))
                except _Odd:
                    return None
        return None

    def _take(self, unit: bytes) -> None:
        data = _unescaped(unit)
        try:
            if unit[0] & 31 == 7:
                number, sequence = _sequence(data)
                key, words = (7, number), _profile(unit)
                self.sequences[number] = sequence
            elif unit[0] & 31 == 8:
                number, picture = _picture(data, self.sequences)
                key, words = (8, number), "picture parameters"
                self.pictures[number] = picture
            else:
                return
        except _Odd:
            return
        unit = unit.rstrip(b"\0")
        if key in self.stored and self.stored[key] != unit:
            self.changes.append(words)
        self.stored[key] = unit

    def _slice(self, data: bytes) -> Slice | None:
        bits = _Bits(data[1:])
        is_idr, is_reference = data[0] & 31 == 5, data[0] >> 5 & 3 != 0
        bits.ue()
        kind = bits.count(9) % 5
        picture = self.pictures.get(bits.count(255))
        sequence = None if picture is None else self.sequences.get(picture.sequence)
        if picture is None or sequence is None:
            return None
        _skip_order(bits, sequence, picture, is_idr)
        if picture.has_redundant:
            bits.ue()
        _skip_references(bits, sequence, picture, kind)
        if is_reference:
            _skip_marking(bits, is_idr)
        if picture.is_cabac and kind not in (_I, _SI):
            bits.ue()
        quantiser = picture.quantiser + bits.se()
        return Slice(KINDS[kind], quantiser) if 0 <= quantiser <= 51 else None


def units(packet: memoryview, size: int) -> Iterator[memoryview]:
    """NAL units of a packet, behind their lengths of `size` bytes, or behind start codes (0)."""
    if size:
        at = 0
        while at + size < len(packet):
            length = int.from_bytes(packet[at : at + size], "big")
            if length:
                yield packet[at + size : at + size + length]
            at += size + length
        return
    data = bytes(packet)
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        after = data.find(b"\0\0\1", at + 3)
        yield packet[at + 3 : after if after >= 0 else len(data)]
        at = after


def _avcc_units(data: bytes) -> Iterator[memoryview]:
    view, at = memoryview(data), 5
    for mask in (31, 255):
        if at >= len(view):
            return
        n_sets, at = view[at] & mask, at + 1
        for _ in range(n_sets):
            length = int.from_bytes(view[at : at + 2], "big")
            if length and at + 2 + length <= len(view):
                yield view[at + 2 : at + 2 + length]
            at += 2 + length


def _unescaped(unit: bytes) -> bytes:
    return unit.replace(b"\0\0\3", b"\0\0")


def _profile(unit: bytes) -> str:
    return f"sequence parameters (profile {unit[1]}, level {unit[3] / 10:g})" if len(unit) > 3 else "parameters"


def _sequence(data: bytes) -> tuple[int, _Sequence]:
    bits = _Bits(data[1:])
    profile = bits.u(8)
    bits.u(16)
    number, chroma, has_planes = bits.count(31), 1, False
    if profile in _HIGH:
        chroma = bits.count(3)
        has_planes = bool(bits.u(1)) if chroma == 3 else False
        bits.ue(), bits.ue(), bits.u(1)
        if bits.u(1):
            for place in range(8 if chroma != 3 else 12):
                if bits.u(1):
                    _skip_scaling(bits, 16 if place < 6 else 64)
    frame_num_bits, order_kind = bits.count(12) + 4, bits.count(2)
    order_bits, is_zero = 0, False
    if order_kind == 0:
        order_bits = bits.count(12) + 4
    elif order_kind == 1:
        is_zero = bool(bits.u(1))
        bits.se(), bits.se()
        for _ in range(bits.count(255)):
            bits.se()
    bits.ue(), bits.u(1), bits.ue(), bits.ue()
    frames_only = bool(bits.u(1))
    return number, _Sequence(chroma, has_planes, frame_num_bits, order_kind, order_bits, is_zero, frames_only)


def _skip_scaling(bits: _Bits, n_values: int) -> None:
    last = after = 8
    for _ in range(n_values):
        if after:
            after = (last + bits.se() + 256) % 256
        last = after or last


def _picture(data: bytes, sequences: Mapping[int, _Sequence]) -> tuple[int, _Picture]:
    bits = _Bits(data[1:])
    number, sequence = bits.count(255), bits.count(31)
    is_cabac, has_order = bool(bits.u(1)), bool(bits.u(1))
    has_groups = bits.count(7) > 0
    if has_groups:
        raise _Odd  # slice groups: of the extended profile, which nobody writes
    references = (bits.count(31) + 1, bits.count(31) + 1)
    weighs_p, weighs_b = bool(bits.u(1)), bits.u(2)
    quantiser = 26 + bits.se()
    bits.se(), bits.se(), bits.u(2)
    redundant = bool(bits.u(1))
    return number, _Picture(
        sequence, is_cabac, has_order, references, weighs_p, weighs_b, quantiser, redundant, has_groups
    )


def _skip_order(bits: _Bits, sequence: _Sequence, picture: _Picture, is_idr: bool) -> None:
    if sequence.has_planes:
        bits.u(2)
    bits.u(sequence.frame_num_bits)
    is_field = False
    if not sequence.frames_only:
        is_field = bool(bits.u(1))
        if is_field:
            bits.u(1)
    if is_idr:
        bits.ue()
    if sequence.order_kind == 0:
        bits.u(sequence.order_bits)
        if picture.has_order and not is_field:
            bits.se()
    elif sequence.order_kind == 1 and not sequence.order_is_zero:
        bits.se()
        if picture.has_order and not is_field:
            bits.se()


def _skip_references(bits: _Bits, sequence: _Sequence, picture: _Picture, kind: int) -> None:
    if kind == _B:
        bits.u(1)
    counts = list(picture.n_references)
    if kind in (_P, _SP, _B) and bits.u(1):
        counts[0] = bits.count(31) + 1
        if kind == _B:
            counts[1] = bits.count(31) + 1
    lists = {_I: 0, _SI: 0, _B: 2}.get(kind, 1)
    for _ in range(lists):
        if bits.u(1):
            while bits.count(5) != 3:
                bits.ue()
    if (picture.weighs_p and kind in (_P, _SP)) or (picture.weighs_b == 1 and kind == _B):
        bits.ue()
        has_colour = sequence.chroma != 0 and not sequence.has_planes
        if has_colour:
            bits.ue()
        for count in counts[:lists]:
            for _ in range(count):
                if bits.u(1):
                    bits.se(), bits.se()
                if has_colour and bits.u(1):
                    bits.se(), bits.se(), bits.se(), bits.se()


def _skip_marking(bits: _Bits, is_idr: bool) -> None:
    if is_idr:
        bits.u(2)
        return
    if bits.u(1):
        while (operation := bits.count(6)) != 0:
            bits.ue()
            if operation == 3:
                bits.ue()
