"""Odd names, a full disk, places that may not be written, two runs at once: commands end well or say what is wrong."""

from __future__ import annotations

import csv
import errno
import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake.commands import guard
from deepfake.detector.file import load_detector
from deepfake.detector.score_videos import predict_folder
from deepfake.detector.verdict import check_videos
from deepfake.files import write_whole
from deepfake.media.clips import write_clip
from lab.cheap_detector import write_cheap_detector
from lab.drawn_people import moving_person
from learning_data import one_thread  # noqa: F401 - a fixture
from run_command import ENVIRONMENT, arguments_of

ODD_NAMES = (
    b"x" * 251 + b".mp4",
    "é".encode() * 125 + b".mp4",
    b'a\nline "quoted", comma\t$(x).mp4',
    b"\xff\xfe no utf-8.mp4",
    b"-dash.mp4",
)
QUIET = {**ENVIRONMENT, "OMP_NUM_THREADS": "1", "TQDM_MININTERVAL": "0"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    paths = [tmp_path_factory.mktemp("clips") / f"{number}.mp4" for number in range(2)]
    for number, path in enumerate(paths):
        write_clip(path, moving_person(number, 6, 72), 6)
    return [path.read_bytes() for path in paths]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cheap.safetensors"
    write_cheap_detector(path, {"frames_per_video": 4, "workers": 1})
    return path


@pytest.fixture
def folder(tmp_path: Path, clips: list[bytes]) -> Callable[..., Path]:
    """A folder of clips of these names that differ in their last bytes."""

    def made(*names: bytes) -> Path:
        (tmp_path / "videos").mkdir()
        for number, name in enumerate(names):
            path = tmp_path / "videos" / os.fsdecode(name)
            path.write_bytes(clips[number % 2] + bytes(8) + bytes([number]))
        return tmp_path / "videos"

    return made


def predict(videos: Path, out: Path, cache: Path, weights: Path) -> list[str]:
    arguments = (videos, "--out", out, "--cache", cache, "--weights", weights, "--workers", "1")
    return [sys.executable, *arguments_of("deepfake.predict"), *map(str, arguments)]


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


@pytest.mark.usefixtures("one_thread")
def test_a_folder_of_odd_names_gets_a_row_each_and_a_check_of_them_a_page(
    folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    videos, out, detector = folder(*ODD_NAMES), tmp_path / "out.csv", load_detector(weights)
    scored = predict_folder(videos, out, detector, "ab" * 32, tmp_path / "cache", 1)
    with out.open(newline="", encoding="utf-8") as stream:
        rows = {row["filename"]: row for row in csv.DictReader(stream)}
    assert set(rows) == {name.decode("utf-8", "backslashreplace") for name in ODD_NAMES}
    assert all(row["fallback"] == "" and row["n_faces"] == "4" for row in rows.values()) and len(scored) == 5
    paths = sorted(videos.iterdir())
    for number, _, made in check_videos(paths, detector, "ab" * 32, tmp_path / "cache"):
        assert made.file.name == paths[number].name and made.p_fake is not None
        assert json.loads(made.to_json())["file"]["name"] == paths[number].name


def test_a_file_s_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("y" * 251 + ".csv")
    write_whole(path, b"all of it")
    assert path.read_bytes() == b"all of it" and list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_names_the_file_and_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"
    write_whole(path, b"older")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        write_whole(path, b"newer")
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "c/1.tar"), "c/1.tar: No space left on device; make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "c/1.tar"), "c/1.tar: Disk quota exceeded; make room"),
        (OSError(errno.EROFS, "Read-only file system", "o.csv"), "o.csv: Read-only file system; name another place"),
    ],
)
def test_what_a_disk_refuses_ends_a_command_with_a_sentence(
    error: OSError, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> int:
        raise error

    with pytest.raises(SystemExit) as ended:
        guard.guarded(fails)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(f"error: {sentence}")


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))


@pytest.mark.slow
def test_where_nothing_more_can_be_written_a_run_says_so_and_the_next_one_goes_on(
    folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    """A limit for the size of files stands for a full disk: it needs no rights, and writes fail in the same places."""
    command = predict(folder(b"a.mp4", b"b.mp4"), tmp_path / "out.csv", tmp_path / "cache", weights)
    full = subprocess.run(command, capture_output=True, text=True, env=QUIET, preexec_fn=small_files)
    assert full.returncode == 2 and "File too large" in full.stderr and "Traceback" not in full.stderr
    assert not (tmp_path / "out.csv").exists() and parts(tmp_path) == []
    done = subprocess.run(command, capture_output=True, text=True, env=QUIET)
    assert (done.returncode, done.stderr) == (0, "") and "scored: 2" in done.stdout


def in_a_small_disk(script: str, place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own where `place` is a file system of 100 KB."""
    mounted = f'mount -t tmpfs -o size=100k tmpfs "{place}" || exit 99\n{script}'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh", *map(str, arguments)]
    place.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: a small disk cannot be made without rights")
    done = subprocess.run(command, capture_output=True, text=True, env=QUIET)
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    return done


@pytest.mark.slow
def test_on_a_full_disk_a_run_says_so_leaves_nothing_half_written_and_goes_on_once_there_is_room(
    folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    names = [f"{number}.mp4".encode() for number in range(8)]
    command = predict(folder(*names), tmp_path / "out.csv", disk / "cache", weights)
    script = f"""
"$@"; echo "first: $?"; find "{disk}" -name "*.part" | wc -l; ls "{tmp_path}/out.csv" 2>&1
mount -o remount,size=50m "{disk}"
"$@"; echo "second: $?"
"""
    done = in_a_small_disk(script, disk, *command)
    assert re.search(r"^error: .*: No space left on device; make room; the same command again goes on", done.stderr)
    assert done.stderr.count("\n") == 1 and "first: 2\n0\n" in done.stdout and "No such file" in done.stdout
    assert "scored: 8" in done.stdout and done.stdout.endswith("second: 0\n")


@pytest.mark.slow
def test_an_output_folder_that_may_not_be_written_is_told_and_the_older_file_stays(
    folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    command = predict(folder(b"a.mp4"), disk / "out.csv", tmp_path / "cache", weights)
    script = f'echo older > "{disk}/out.csv"; mount -o remount,ro "{disk}"; "$@"; echo "$?"; cat "{disk}/out.csv"'
    done = in_a_small_disk(script, disk, *command)
    assert done.stdout.endswith("2\nolder\n"), "it is seen before the work"
    assert "out.csv' cannot be written: Read-only file system" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_runs_at_once_on_one_cache_give_what_one_gives(
    folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    videos = folder(*(f"{number}.mp4".encode() for number in range(6)))
    outs = [tmp_path / name for name in ("one.csv", "two.csv", "alone.csv")]
    running = [subprocess.Popen(predict(videos, out, tmp_path / "cache", weights), env=QUIET) for out in outs[:2]]
    assert [process.wait(300) for process in running] == [0, 0]
    subprocess.run(predict(videos, outs[2], tmp_path / "another cache", weights), env=QUIET, check=True)
    assert outs[0].read_bytes() == outs[1].read_bytes() == outs[2].read_bytes()
    assert parts(tmp_path) == []


@pytest.mark.slow
def test_the_bar_of_a_folder_run_moves_as_videos_are_done(
    folder: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    videos = folder(*(f"{number}.mp4".encode() for number in range(8)))
    screen, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen(
        predict(videos, tmp_path / "o.csv", tmp_path / "cache", weights), stderr=theirs, env=QUIET
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(screen, 4096)
        except OSError:  # the command has ended
            break
        if not data:
            break
        shown += data
    os.close(screen)
    assert process.wait(60) == 0
    counts = [int(count) for count in re.findall(rb" (\d+)/8 ", shown)]
    assert counts == sorted(counts) and len(set(counts)) >= 4 and counts[-1] == 8
