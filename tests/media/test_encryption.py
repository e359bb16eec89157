"""Encrypted files are called encrypted, whatever a decoder makes of them."""

from pathlib import Path

import av
import pytest

from clip_factory import Coding, write
from deepfake.media.demux import VideoError, scan
from deepfake.media.encryption import encryption_of

KEY, KEY_ID = "76a6c65c5ea762046bd749a2e632ccbb", "a7e61c373e219033c21091fa607bf3b8"
CENC = (("encryption_scheme", "cenc-aes-ctr"), ("encryption_key", KEY), ("encryption_kid", KEY_ID))
TRACKS = b"\x16\x54\xae\x6b"
SYSTEM_IDS = {
    "Widevine": "edef8ba979d64acea3c827dcd51d21ed",
    "PlayReady": "9a04f07998404286ab92e65be0885f95",
    "ClearKey": "1077efecc0b24d02ace33c1e52e2fb4b",
}


def box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def add_to_moov(path: Path, extra: bytes) -> None:
    """Append boxes to an index at the end of a file."""
    data = path.read_bytes()
    at = data.rindex(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    assert at + size == len(data)
    path.write_bytes(data[:at] + (size + len(extra)).to_bytes(4, "big") + data[at + 4 :] + extra)


@pytest.mark.parametrize("mux", [(), (("movflags", "frag_keyframe+empty_moov"),), (("movflags", "faststart"),)])
def test_common_encryption_is_named_with_what_to_do(mux: tuple[tuple[str, str], ...], tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", Coding(mux=(*CENC, *mux)))
    with pytest.raises(VideoError, match=r"'clip.mp4': is encrypted \(DRM: cenc\).*copy without DRM"):
        scan(path)


@pytest.mark.parametrize("system", sorted(SYSTEM_IDS))
def test_the_drm_system_is_named(system: str, tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", Coding(mux=CENC))
    add_to_moov(path, box(b"pssh", bytes(4) + bytes.fromhex(SYSTEM_IDS[system]) + bytes(4)))
    with pytest.raises(VideoError, match=rf"DRM: cenc, {system}"):
        scan(path)


def test_a_drm_system_beside_a_clear_picture_is_no_encryption(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", Coding())
    add_to_moov(path, box(b"pssh", bytes(4) + bytes.fromhex(SYSTEM_IDS["Widevine"]) + bytes(4)))
    assert scan(path).probe.n_frames == 60


def vint(number: int) -> bytes:
    return (1 << 56 | number).to_bytes(8, "big")


def read_vint(data: bytes, at: int) -> tuple[int, int]:
    """An EBML length and how many bytes it takes."""
    n_bytes = 9 - data[at].bit_length()
    return int.from_bytes(data[at : at + n_bytes], "big") & ((1 << 7 * n_bytes) - 1), n_bytes


def encrypt_webm(path: Path) -> None:
    """Say in the first track's entry that it is encrypted, as WebM does (ContentEncodings); nothing is encrypted."""
    data = path.read_bytes()
    aes = b"\x47\xe1\x81\x05" + b"\x47\xe2\x84KEY1"  # ContentEncAlgo AES, ContentEncKeyID
    encoding = b"\x50\x33\x81\x01" + b"\x50\x35" + vint(len(aes)) + aes  # ContentEncodingType 1, ContentEncryption
    encoding = b"\x62\x40" + vint(len(encoding)) + encoding
    extra = b"\x6d\x80" + vint(len(encoding)) + encoding
    tracks = data.index(TRACKS, data.index(TRACKS) + 4)  # the first one stands in the table of contents
    tracks_bytes, n_tracks = read_vint(data, tracks + 4)
    body = tracks + 4 + n_tracks
    entry = data.index(b"\xae", body)
    entry_bytes, n_entry = read_vint(data, entry + 1)
    inside = data[entry + 1 + n_entry : entry + 1 + n_entry + entry_bytes] + extra
    new = data[body:entry] + b"\xae" + vint(len(inside)) + inside
    new += data[entry + 1 + n_entry + entry_bytes : body + tracks_bytes]
    segment = data.index(b"\x18\x53\x80\x67") + 4
    _, n_segment = read_vint(data, segment)
    rest = data[segment + n_segment : tracks + 4] + vint(len(new)) + new + data[body + tracks_bytes :]
    path.write_bytes(data[:segment] + vint(len(rest)) + rest)


def test_webm_encryption_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.webm", Coding("libvpx", options=(("b", "400k"), ("cpu-used", "8"))))
    assert scan(path).probe.n_frames == 60
    encrypt_webm(path)
    with pytest.raises(VideoError, match=r"is encrypted \(DRM: WebM encryption\)"):
        scan(path)


def test_a_scrambled_broadcast_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.ts", Coding())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert encryption_of(path, container, stream) is None
        pid = stream.id
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        if int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF == pid:
            data[at + 3] |= 0x80
    path.write_bytes(bytes(data))
    with pytest.raises(VideoError, match=r"is encrypted \(DRM: scrambled transport stream\)"):
        scan(path)
