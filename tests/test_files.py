import hashlib
from pathlib import Path

from deepfake.files import BLOCK_BYTES, sha256_of, user_cache


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_longer_than_a_block_and_an_empty_one_are_hashed_whole(tmp_path: Path) -> None:
    long, empty = tmp_path / "long", tmp_path / "empty"
    long.write_bytes(b"x" * (BLOCK_BYTES + 1))
    empty.write_bytes(b"")
    assert sha256_of(long) == hashlib.sha256(b"x" * (BLOCK_BYTES + 1)).hexdigest()
    assert sha256_of(empty) == hashlib.sha256().hexdigest()


def test_the_user_s_cache_is_where_the_system_keeps_it() -> None:
    home = Path("/home/me")
    assert user_cache({}, home, on_windows=False) == home / ".cache"
    assert user_cache({"XDG_CACHE_HOME": ""}, home, on_windows=False) == home / ".cache"
    assert user_cache({"XDG_CACHE_HOME": "here"}, home, on_windows=False) == home / ".cache", "a relative one is none"
    assert user_cache({"XDG_CACHE_HOME": "/fast"}, home, on_windows=False) == Path("/fast")
    assert user_cache({"LOCALAPPDATA": "/local", "XDG_CACHE_HOME": "/fast"}, home, on_windows=True) == Path("/local")
    assert user_cache({}, home, on_windows=True) == home / "AppData/Local"
