"""The crop store: exact pictures by offset, equal bytes for equal input, readable by any tar program."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.faces.crop_store import decode_crop, encode_crop, read_crop, read_rows, write_shard


def crop(seed: int, side: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def smooth(side: int = 32) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side]
    return np.stack([x * 7, y * 7, (x + y) * 3], -1).astype(np.uint8)


def shard(folder: Path, n: int = 3) -> tuple[Path, list[tuple[int, int]]]:
    pictures = [(f"{i:03d}.png", encode_crop(crop(i), "png", 95)) for i in range(n)]
    path = folder / "crops" / "one.tar"
    return path, write_shard(path, pictures, {"n_sampled": n, "faces": [{"track": i} for i in range(n)]})


def test_every_picture_comes_back_exactly_by_its_offset(tmp_path: Path) -> None:
    _, places = shard(tmp_path, 5)
    for i in (3, 0, 4, 1, 2):
        assert np.array_equal(read_crop(tmp_path, "crops/one.tar", *places[i]), crop(i))


def test_python_tarfile_reads_the_same_bytes(tmp_path: Path) -> None:
    path, places = shard(tmp_path)
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["000.png", "001.png", "002.png", "rows.json"]
        member = tar.getmember("001.png")
        assert (member.offset_data, member.size) == places[1]
        assert json.load(tar.extractfile("rows.json"))["n_sampled"] == 3  # type: ignore[arg-type]


def test_the_rows_carry_the_place_of_each_picture(tmp_path: Path) -> None:
    path, places = shard(tmp_path)
    assert [(f["track"], f["offset"], f["size"]) for f in read_rows(path)["faces"]] == [
        (i, *place) for i, place in enumerate(places)
    ]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    one, _ = shard(tmp_path / "one")
    two, _ = shard(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


def test_a_video_without_faces_has_a_shard_of_rows_alone(tmp_path: Path) -> None:
    path, places = shard(tmp_path, 0)
    assert places == [] and read_rows(path) == {"n_sampled": 0, "faces": []}


def test_a_picture_of_exactly_one_tar_block_is_found(tmp_path: Path) -> None:
    data = [b"x" * 512, b"y" * 513, b"z"]
    places = write_shard(tmp_path / "t.tar", [(f"{i}.jpg", d) for i, d in enumerate(data)], {"faces": [{}] * 3})
    raw = (tmp_path / "t.tar").read_bytes()
    assert [raw[offset : offset + size] for offset, size in places] == data


def test_pictures_and_rows_must_be_as_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_shard(tmp_path / "t.tar", [("a.jpg", b"x")], {"faces": []})
    assert not (tmp_path / "t.tar").exists()


def test_png_is_exact_and_jpeg_is_near_in_all_three_colours() -> None:
    assert np.array_equal(decode_crop(encode_crop(crop(1), "png", 95), "c"), crop(1))
    back = decode_crop(encode_crop(smooth(), "jpeg", 95), "c")
    assert np.abs(back.astype(int) - smooth()).max() <= 12


def test_jpeg_keeps_the_full_colour_resolution() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255  # red and blue columns, one pixel wide
    back = decode_crop(encode_crop(stripes, "jpeg", 95), "c")
    assert back[:, ::2, 0].mean() > 220 and back[:, 1::2, 0].mean() < 35


@pytest.mark.parametrize("name", ["../one.tar", "crops/../../one.tar", "/etc/passwd"])
def test_a_shard_outside_the_work_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="leaves"):
        read_crop(tmp_path, name, 0, 10)


def test_a_missing_shard_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run 02_extract_faces again"):
        read_crop(tmp_path, "crops/gone.tar", 0, 10)
    with pytest.raises(UserError, match="not readable"):
        read_rows(tmp_path / "crops" / "gone.tar")


def test_a_truncated_shard_is_a_user_error(tmp_path: Path) -> None:
    path, places = shard(tmp_path)
    whole = path.read_bytes()
    for keep in (0, 100, 512, places[2][0] + 5):
        path.write_bytes(whole[:keep])
        with pytest.raises(UserError, match=r"one\.tar.*--force"):
            read_crop(tmp_path, "crops/one.tar", *places[2])
        with pytest.raises(UserError, match=r"one\.tar: not readable"):
            read_rows(path)


@pytest.mark.parametrize(("offset", "size"), [(0, 100), (-5, 10), (512, 0), (512, -1), (10**9, 10)])
def test_a_place_that_holds_no_picture_is_a_user_error(tmp_path: Path, offset: int, size: int) -> None:
    shard(tmp_path)
    with pytest.raises(UserError):
        read_crop(tmp_path, "crops/one.tar", offset, size)
