import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deepfake import files
from deepfake.files import BLOCK_BYTES, part_beside, remove_whole, sha256_of, user_cache, write_whole


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def part_of(path: Path, pid: int) -> Path:
    part = path.with_name(f".{path.name}.{pid}.part")
    part.write_bytes(b"half of")
    return part


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


@pytest.mark.parametrize("name", ["out.csv", "a.b\n[x]*.tar", "y" * 251 + ".csv"])
def test_what_a_killed_process_left_of_a_file_goes_when_that_file_is_written(
    tmp_path: Path, gone: int, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: gone)
        part_beside(path).write_bytes(b"half of")
    write_whole(path, b"whole")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"whole"


def test_parts_of_other_files_of_other_programs_and_of_living_processes_stay(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "out.csv"
    others = {part_of(tmp_path / "another.csv", gone), part_of(path, os.getppid())}
    for name in ("out.csv.part", ".out.csv.part", f"out.csv.{gone}.part", f".out.csv.x{gone}.part", ".out.csv.0.part"):
        (tmp_path / name).write_bytes(b"")
        others.add(tmp_path / name)
    write_whole(path, b"whole")
    assert set(tmp_path.iterdir()) == {path, *others}


def test_a_process_that_ended_and_was_not_yet_asked_how_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read() == b"", "its end is the end of what it says"
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        part_of(path, process.pid)
        write_whole(path, b"whole")
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_older_than_the_process_of_its_number_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    part = part_of(path, os.getppid())
    os.utime(part, (1e9, 1e9))
    write_whole(path, b"whole")
    assert not part.exists()


def test_a_folder_is_listed_once_however_many_files_are_written_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[object] = []
    real = os.scandir
    monkeypatch.setattr(files.os, "scandir", lambda folder: (listed.append(folder), real(folder))[1])
    for number in range(3):
        write_whole(tmp_path / f"{number}", b"")
    assert listed == [tmp_path]


def test_a_part_that_another_machine_takes_for_a_stale_one_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, swept = tmp_path / "out.csv", os.fsync, []

    def fsync(stream: int) -> None:
        real(stream)
        if not swept:
            swept.append(part_beside(path))
            swept[0].unlink()

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"whole")
    assert swept and path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_removed_with_what_was_left_of_it(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"")
    part_of(path, gone)
    remove_whole(path)
    remove_whole(path)
    assert list(tmp_path.iterdir()) == []
