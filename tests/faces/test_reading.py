"""What is remembered of a file: only of the very file that was read, and only what its content is the cause of."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake.faces import reading
from deepfake.faces.extraction import read_videos
from deepfake.faces.reading import Reading, ReadJob, read, read_note
from deepfake.files import probe_note, sha256_of, state_of
from deepfake.media import file_facts
from deepfake.media.demux import Demuxed
from deepfake.media.file_facts import VideoFile, read_file
from deepfake.media.source import Source
from deepfake.settings import Extract

SETTINGS = Extract(frames_per_video=2, workers=1)


def read_here(path: Path, cache: Path) -> Reading:
    """What a command reads of a file: from the notes where there are any, else in this process."""
    if read_note(path, cache) is None:
        return read(ReadJob("v", path, cache, SETTINGS))
    (made,) = read_videos({"v": path}, cache, SETTINGS)
    return made


@pytest.fixture
def two_clips(square_clip: Callable[..., Path]) -> tuple[Path, Path]:
    """Two clips of other content, equal in size and in the time of change, as archives with fixed times leave them."""
    one, two = (square_clip(lambda i, w=w: [], n_frames=4, name=f"{w}.avi", width_px=w) for w in (160, 128))
    n_bytes = max(path.stat().st_size for path in (one, two))
    for path in (one, two):
        path.write_bytes(path.read_bytes().ljust(n_bytes, b"\0"))
        os.utime(path, ns=(10**18, 10**18))
    return one, two


def width(made: Reading) -> int:
    assert made.file.probe is not None, made.file.reason
    return made.file.probe.width_px


def test_a_file_that_takes_another_s_place_with_its_name_size_and_time_is_read_itself(
    two_clips: tuple[Path, Path], tmp_path: Path
) -> None:
    clip, cache = tmp_path / "clip.avi", tmp_path / "cache"
    for source in two_clips:
        shutil.copy2(source, clip)  # cp -p
        assert (clip.stat().st_size, clip.stat().st_mtime_ns) == (two_clips[0].stat().st_size, 10**18)
        made = read_here(clip, cache)
        assert width(made) == int(source.stem) and made.file.sha256 == sha256_of(source)
        assert read_here(clip, cache) == made, "what was read is remembered"


def test_a_relative_name_is_not_taken_for_the_same_one_in_another_folder(
    two_clips: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in two_clips:
        folder = tmp_path / f"in_{source.stem}"
        folder.mkdir()
        shutil.copy2(source, folder / "clip.avi")
        monkeypatch.chdir(folder)
        assert width(read_here(Path("clip.avi"), tmp_path / "cache")) == int(source.stem)


def test_where_a_file_system_has_no_inodes_the_first_and_last_bytes_tell_files_apart(
    two_clips: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake.files.state_of", lambda path: (1, 1, path.stat().st_size, 10**18, 10**18))
    clip = tmp_path / "clip.avi"
    notes = [probe_note(Path(shutil.copy2(source, clip)), tmp_path) for source in two_clips]
    assert notes[0] != notes[1]


@pytest.mark.parametrize("name", ["absent.mp4", "folder.mp4", "pipe.mp4"])
def test_what_is_no_file_is_read_once_it_is_one(name: str, square_clip: Callable[..., Path], tmp_path: Path) -> None:
    path, cache = tmp_path / name, tmp_path / "cache"
    if name == "folder.mp4":
        path.mkdir()
    if name == "pipe.mp4":
        os.mkfifo(path)  # opening it would wait for ever
    made = read_here(path, cache)
    assert made.extraction.status == "failed" and name in str(made.extraction.reason) and made.file.sha256 is None
    assert not cache.exists(), "nothing is noted"
    if name == "folder.mp4":
        path.rmdir()
    path.unlink(missing_ok=True)
    square_clip(lambda i: [], n_frames=3, name="v.mp4").rename(path)
    assert read_here(path, cache).extraction.status == "no_face"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_read_once_it_may(square_clip: Callable[..., Path], tmp_path: Path) -> None:
    path = square_clip(lambda i: [], n_frames=3)
    path.chmod(0)
    made = read_here(path, tmp_path / "cache")
    assert "could not be read (Permission denied)" in str(made.extraction.reason)
    path.chmod(0o644)
    assert read_here(path, tmp_path / "cache").extraction.status == "no_face"


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(116, "Stale file handle"), MemoryError("no room")]
)
def test_an_error_of_the_machine_is_not_remembered(
    error: Exception, square_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = square_clip(lambda i: [], n_frames=3)

    def fails(*_: object) -> Demuxed:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(file_facts, "scan", fails)
        made = read_here(path, tmp_path / "cache")
    assert made.file.sha256 is None and str(error.args[-1]) in str(made.extraction.reason)
    assert read_here(path, tmp_path / "cache").extraction.status == "no_face"


def test_what_the_content_is_the_cause_of_is_remembered_with_the_version_that_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = tmp_path / "v.mp4", tmp_path / "cache"
    path.write_text("no video")
    first = read_here(path, cache)
    assert "found text" in str(first.extraction.reason)
    assert json.loads(probe_note(path, cache).read_bytes())["read_by"].startswith("deepfake ")
    monkeypatch.setattr(reading, "read_file", lambda _: pytest.fail("it is remembered"))
    assert read_here(path, cache) == first
    monkeypatch.setattr(reading, "READ_BY", "a version that reads more")
    assert read_note(path, cache) is None


def test_a_file_that_grows_while_it_is_hashed_is_told_so_and_not_remembered(
    square_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = square_clip(lambda i: [], n_frames=3)
    whole = path.read_bytes()
    path.write_bytes(whole[:600])

    hashed = Source.sha256

    def growing(source: Source) -> str:
        digest = hashed(source)
        path.write_bytes(whole)
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(Source, "sha256", growing)
        file, demuxed = read_file(path)
    assert demuxed is None and file.sha256 is None
    assert file.reason == (
        f"video 'clip.mp4': it changed while it was read, from 600 to {len(whole)} bytes; "
        "try again once it is written to its end"
    )
    assert read_here(path, tmp_path / "cache").extraction.status == "no_face"


def test_a_file_s_note_lies_under_the_state_in_which_it_was_read(
    square_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is written to between its hash and the note would else have the older bytes' hash for ever."""
    path, cache = square_clip(lambda i: [], n_frames=3), tmp_path / "cache"
    before = state_of(path)

    def then_written(path: Path) -> tuple[VideoFile, Demuxed | None]:
        result = read_file(path)
        path.write_bytes(path.read_bytes() + b"more")
        return result

    monkeypatch.setattr(reading, "read_file", then_written)
    made = read(ReadJob("v", path, cache, SETTINGS))
    assert state_of(path) != before and "it changed while it was read" in str(made.extraction.reason)
    assert read_note(path, cache) is None and not list(cache.glob("crops/**/*.*"))
