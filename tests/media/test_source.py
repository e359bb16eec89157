"""A file is read once: the same digest, packets and pictures as by its path, for fewer bytes."""

from pathlib import Path

import numpy as np
import pytest

from clip_factory import Coding, write
from conformance import KINDS, Kind
from deepfake.files import sha256_of
from deepfake.media.demux import Demuxed, VideoError, scan
from deepfake.media.file_facts import read_file
from deepfake.media.source import Source
from deepfake.media.video import sample

FAST = [
    k for k in KINDS if k.file in ("plain.mp4", "faststart.mp4", "fragmented.mp4", "clip.mkv", "vp8.webm", "clip.flv")
]
FAST += [
    k for k in KINDS if k.file in ("stream.ts", "mpeg1.mpg", "raw.h264", "mjpeg.avi", "cut.mkv", "cut_no_moov.mp4")
]


def pictures(path: Path, demuxed: Demuxed) -> list[tuple[int, np.ndarray]]:
    """Sampled pictures; none of a file too damaged for any."""
    try:
        return [(frame.index, frame.rgb()) for frame in sample(path, "uniform", 5, demuxed=demuxed)]
    except VideoError:
        return []


def assert_the_same(path: Path, kept_bytes: int) -> None:
    source = Source(path, kept_bytes)
    try:
        by_path = scan(path)
    except VideoError as error:
        with pytest.raises(VideoError) as again:
            scan(path, source)
        assert str(again.value) == str(error)
        return
    by_source = scan(path, source)
    assert by_source.probe == by_path.probe and by_source.tags == by_path.tags
    assert np.array_equal(by_source.packets.keys, by_path.packets.keys)
    assert np.array_equal(by_source.packets.entries, by_path.packets.entries)
    first, second = pictures(path, by_path), pictures(path, by_source)
    assert [index for index, _ in first] == [index for index, _ in second]
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(first, second, strict=True))
    assert source.sha256() == sha256_of(path)
    source.close()


@pytest.mark.parametrize("kept_bytes", [0, 128 << 20])
@pytest.mark.parametrize("kind", FAST, ids=lambda kind: kind.file)
def test_packets_pictures_and_digest_are_those_by_the_path(kind: Kind, kept_bytes: int, tmp_path: Path) -> None:
    assert_the_same(kind.make(tmp_path)[0], kept_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.file)
def test_packets_pictures_and_digest_are_those_by_the_path_for_every_kind(kind: Kind, tmp_path: Path) -> None:
    path = kind.make(tmp_path)[0]
    assert_the_same(path, 0)
    assert_the_same(path, 128 << 20)


def test_a_small_file_is_read_once_and_a_large_one_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", Coding(n_frames=250, audio="last"))
    size = path.stat().st_size
    _, demuxed = read_file(path)
    assert demuxed is not None and demuxed.source is not None
    assert len(list(sample(path, "uniform", 20, demuxed=demuxed))) == 20
    assert demuxed.source.n_read == size
    demuxed.source.close()
    large = Source(path, kept_bytes=0)
    demuxed = scan(path, large)
    assert large.sha256() == sha256_of(path)
    assert large.n_read < 1.6 * size  # hashed while it is demuxed; the index at the end is read again
    list(sample(path, "uniform", 20, demuxed=demuxed))
    assert large.n_read < 2.8 * size
    large.close()


def test_a_digest_has_every_byte_in_whatever_order_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    for kept_bytes in (0, 1 << 30):
        source = Source(path, kept_bytes)
        view = source.view()
        assert view.seek(-10, 2) == 2_999_990 and len(view.read(100)) == 10 and view.read(5) == b""
        assert view.seek(5) == view.tell() == 5 and view.read(3) == path.read_bytes()[5:8]
        assert view.seek(1000, 1) == 1008 and view.read(4) == path.read_bytes()[1008:1012]
        view.seek(0)
        view.read(700)
        assert source.sha256() == sha256_of(path)
        source.close()


def test_what_is_no_video_has_its_digest_and_what_is_absent_none(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("a line\n")
    file, demuxed = read_file(tmp_path / "text.mp4")
    assert demuxed is None and file.sha256 == sha256_of(tmp_path / "text.mp4") and "found text" in str(file.reason)
    assert read_file(tmp_path / "none.mp4")[0].sha256 is None
    assert "a folder" in str(read_file(tmp_path)[0].reason)


def test_a_file_replaced_while_it_is_read_is_the_one_that_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", Coding())
    digest = sha256_of(path)
    source = Source(path)
    write(tmp_path / "other.mp4", Coding(n_frames=10)).replace(path)
    assert scan(path, source).probe.n_frames == 60 and source.sha256() == digest
    source.close()
