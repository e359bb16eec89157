"""What packets tell without decoding, on hand-made bytes."""

from __future__ import annotations

import pytest

from deepfake.media import bitstream
from deepfake.media.bitstream import CLOSED, NO_ENTRY, OPEN


def nals(*units: bytes) -> memoryview:
    """NAL units behind four bytes of length each."""
    return memoryview(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))


SEI = b"\x06\x05\x01\x00"
# First bytes after a slice's header: first_mb 0 is the bit 1, slice types 7 (I) and 5 (P) are 0001000 and 00110.
I_SLICE, P_SLICE = b"\x88\x80", b"\x98\x80"


def test_length_bytes_are_read_from_the_decoder_record() -> None:
    assert bitstream.length_bytes("h264", b"\x01\x64\x00\x1f\xff\xe1\x00") == 4
    assert bitstream.length_bytes("h264", b"\x00\x00\x00\x01\x67\x64\x00") == 0
    assert bitstream.length_bytes("h264", b"") == 0
    assert bitstream.length_bytes("hevc", b"\x01" + b"\x00" * 20 + b"\x0f" + b"\x00" * 4) == 4
    assert bitstream.length_bytes("vp9", b"\x01" * 30) == 0


@pytest.mark.parametrize(("header", "expected"), [(0x41, True), (0x01, False), (0x65, True)])
def test_h264_says_in_each_slice_whether_others_refer_to_it(header: int, expected: bool) -> None:
    slice_ = bytes([header]) + P_SLICE
    assert bitstream.is_reference("h264", nals(SEI, slice_), 4) is expected
    assert (
        bitstream.is_reference("h264", memoryview(b"\x00\x00\x00\x01" + SEI + b"\x00\x00\x01" + slice_), 0) is expected
    )


def test_hevc_says_it_in_the_kind_of_its_slices() -> None:
    assert not bitstream.is_reference("hevc", nals(bytes([0 << 1, 1, 0])), 4)  # TRAIL_N
    assert bitstream.is_reference("hevc", nals(bytes([1 << 1, 1, 0])), 4)  # TRAIL_R
    assert not bitstream.is_reference("hevc", nals(bytes([8 << 1, 1, 0])), 4)  # RASL_N
    assert bitstream.is_reference("hevc", nals(bytes([19 << 1, 1, 0])), 4)  # IDR


def test_mpeg_b_pictures_are_no_references() -> None:
    assert not bitstream.is_reference("mpeg4", memoryview(b"\x00\x00\x01\xb6\x80\x00"), 0)
    assert bitstream.is_reference("mpeg4", memoryview(b"\x00\x00\x01\xb6\x40\x00"), 0)
    assert not bitstream.is_reference("mpeg2video", memoryview(b"\x00\x00\x01\x00\x00\x18\x00\x00"), 0)
    assert bitstream.is_reference("mpeg2video", memoryview(b"\x00\x00\x01\x00\x00\x10\x00\x00"), 0)


def test_what_bytes_do_not_tell_counts_as_a_reference() -> None:
    assert bitstream.is_reference("av1", memoryview(b"\x12\x00"), 0)
    assert not bitstream.tells_references("av1")
    assert bitstream.tells_references("h264")
    assert bitstream.tells_references("mjpeg")
    assert bitstream.is_reference("h264", memoryview(b"\x00\x00"), 4)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [(b"\x65" + I_SLICE, CLOSED), (b"\x41" + I_SLICE, OPEN), (b"\x41" + P_SLICE, NO_ENTRY), (SEI, NO_ENTRY)],
)
def test_h264_keyframes_are_closed_open_or_the_start_of_a_refresh(unit: bytes, expected: int) -> None:
    assert bitstream.entry_kind("h264", nals(SEI, unit), 4) == expected


def test_hevc_keyframes_are_closed_or_open() -> None:
    assert bitstream.entry_kind("hevc", nals(bytes([19 << 1, 1, 0])), 4) == CLOSED
    assert bitstream.entry_kind("hevc", nals(bytes([21 << 1, 1, 0])), 4) == OPEN
    assert bitstream.entry_kind("hevc", nals(bytes([1 << 1, 1, 0])), 4) == NO_ENTRY
    assert bitstream.entry_kind("vp9", memoryview(b"\x82"), 0) == CLOSED


def test_vp8_hides_its_alternative_references() -> None:
    assert bitstream.is_shown("vp8", memoryview(b"\x10"))
    assert not bitstream.is_shown("vp8", memoryview(b"\x00"))
    assert bitstream.is_shown("vp9", memoryview(b"\x00"))


def test_broken_lengths_do_not_run_away() -> None:
    endless = memoryview(b"\x00\x00\x00\x00" * 500)
    assert bitstream.is_reference("h264", endless, 4)
    assert bitstream.entry_kind("h264", memoryview(b"\xff\xff\xff\xff\x41"), 4) == NO_ENTRY


def test_long_notes_before_the_first_slice_do_not_hide_it() -> None:
    note = b"\x00\x00\x01\x4e\x01" + b"\xaa" * 5000
    assert bitstream.entry_kind("hevc", memoryview(note + b"\x00\x00\x01" + bytes([19 << 1, 1, 0])), 0) == CLOSED
