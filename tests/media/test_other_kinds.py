"""A file that is no video is called what it is; animated PNG is read."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_factory import picture, read_number
from deepfake.media.demux import VideoError, scan
from deepfake.media.other_kinds import kind_of
from deepfake.media.video import sample

PICTURES = [Image.fromarray(picture(number)) for number in range(40)]


def animated(path: Path) -> Path:
    PICTURES[0].save(path, save_all=True, append_images=PICTURES[1:], duration=100)
    return path


def reason(path: Path) -> str:
    with pytest.raises(VideoError) as error:
        scan(path)
    assert repr(path.name) in str(error.value)
    return str(error.value)


def test_an_animated_webp_is_called_so_and_what_to_convert_it_to(tmp_path: Path) -> None:
    text = reason(animated(tmp_path / "a.webp"))
    assert "found an animated WebP" in text and "convert it to MP4" in text and "known video" not in text


def test_an_animated_png_is_read_frame_by_frame(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.png")
    probe = scan(path).probe
    assert (probe.codec, probe.n_frames, round(probe.fps, 3)) == ("apng", 40, 10.0)
    assert probe.keyframe_share == pytest.approx(1 / 40)  # the others paint over what the first left
    for mode in ("uniform", "reference"):
        frames = list(sample(path, mode, 4))
        assert [read_number(frame.rgb()) for frame in frames] == [frame.index for frame in frames] == [4, 14, 24, 34]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("s.png", "a PNG picture"), ("s.jpg", "a JPEG picture"), ("s.webp", "a WebP picture"), ("s.bmp", "a BMP picture")],
)
def test_a_picture_is_called_a_picture(name: str, wanted: str, tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / name)
    assert f"found {wanted}" in reason(tmp_path / name)


def test_archives_pages_and_empty_downloads_are_called_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mp4", "w") as archive:
        archive.writestr("x", "y")
    (tmp_path / "b.mp4").write_bytes(gzip.compress(b"x" * 999))
    (tmp_path / "c.mp4").write_text("<!DOCTYPE html><html><body>Sign in</body></html>\n")
    (tmp_path / "d.mp4").write_bytes(bytes(5000))
    (tmp_path / "e.mp4").write_text("a line\n")
    (tmp_path / "f.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    found = {name: reason(tmp_path / f"{name}.mp4") for name in "abcdef"}
    assert "a ZIP archive" in found["a"] and "unpack it" in found["a"]
    assert "a gzip archive" in found["b"]
    assert "a web page" in found["c"]
    assert "nothing but zeros" in found["d"] and "fetch it again" in found["d"]
    assert "found text" in found["e"]
    assert "no known video container" in found["f"]


def test_an_index_that_is_missing_is_called_so_but_not_of_a_picture() -> None:
    assert "without its index" in kind_of(b"\0\0\0\x20ftypisom")[0]
    assert kind_of(b"\0\0\0\x20ftypheic")[0] == "a HEIF picture"
    assert kind_of(b"\0\0")[0].startswith("nothing but zeros")
