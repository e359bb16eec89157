"""Places of outputs are tried before the work, and nothing is left behind."""

import argparse
import importlib
import os
from pathlib import Path

import pytest

from deepfake.commands import arguments
from deepfake.commands.main import COMMANDS as DEEPFAKE
from deepfake.errors import UserError
from deepfake.files import write_whole
from deepfake.outputs import is_same_place, refuse_inputs, try_file, try_folder
from lab.__main__ import COMMANDS as LAB


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder that holds a folder, a file, a pipe and links."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "is a folder; name a file"),
        ("link", "is a folder; name a file"),
        ("pipe", "is a device or a pipe"),
        ("file/out.csv", "file' is a file; name a file elsewhere"),
        ("file/deep/er/out.csv", "file' is a file; name a file elsewhere"),
        ("loop/out.csv", "cannot be written: "),
        ("x" * 300, "cannot be written: File name too long"),
        ("a\0b", "cannot be written: "),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(crowded: Path, name: str, message: str) -> None:
    before = everything_below(crowded)
    with pytest.raises(UserError, match=message):
        try_file(crowded / name)
    assert everything_below(crowded) == before


@pytest.mark.parametrize("name", ["out.csv", "new/deep/out.csv", "file", "folder/out.csv", "ü" * 127])
def test_a_file_that_can_be_written_is_not_written_by_trying(crowded: Path, name: str) -> None:
    before = everything_below(crowded)
    try_file(crowded / name)
    assert everything_below(crowded) == before and (crowded / "file").read_bytes() == b"mine"
    write_whole(crowded / name, b"new")
    assert (crowded / name).read_bytes() == b"new"


def test_the_screen_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="name a file"):
        try_file(Path("-"))


@pytest.mark.parametrize(("name", "message"), [("file", "is a file; name a folder"), ("file/x", "name a folder")])
def test_a_folder_that_cannot_be_made_is_refused(crowded: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        try_folder(crowded / name)


def test_trying_a_folder_leaves_what_was_there_and_nothing_more(crowded: Path) -> None:
    before = everything_below(crowded)
    for name in ("folder", "link", "new/deep"):
        try_folder(crowded / name)
    assert everything_below(crowded) == before


@pytest.mark.parametrize("attempt", [try_file, try_folder])
def test_a_place_that_may_not_be_written_or_is_full_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: object
) -> None:
    assert callable(attempt)
    for error in (PermissionError(13, "Permission denied"), OSError(30, "Read-only file system"), OSError(28, "Full")):

        def refuse(*_: object, error: OSError = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(UserError, match=rf"x.*cannot be written: {error.strerror}; name a"):
            attempt(tmp_path / "x")
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize(("attempt", "name", "part"), [(try_file, "x", "x"), (try_folder, ".", "tried")])
def test_what_a_killed_attempt_left_goes_with_the_next(tmp_path: Path, attempt: object, name: str, part: str) -> None:
    assert callable(attempt)
    left = tmp_path / f".{part}.{os.getppid()}.part"
    left.write_bytes(b"")
    os.utime(left, (1e9, 1e9))  # before that process began, so it is of another one of the same number
    attempt(tmp_path / name)
    assert everything_below(tmp_path) == []


def test_an_output_is_not_written_over_what_is_read(crowded: Path) -> None:
    (crowded / "other").symlink_to("file")
    refuse_inputs(None, [crowded / "file"])
    refuse_inputs(crowded / "out", [crowded / "file"])
    with pytest.raises(UserError, match="is read by this command"):
        refuse_inputs(crowded / "folder" / ".." / "other", [crowded / "file"])
    assert is_same_place(crowded / "link" / "new", crowded / "folder" / "new"), "not there yet"


# --- Every command -----------------------------------------------------------------------------------

NUMBERS = {int, float}
# Flags by which commands write. `check` names them for one video or several, `watch` beside a stream: both try them.
WRITTEN = {"out", "json", "html", "cache", "root", "log"}
TRIED = {arguments.output_file, arguments.output_folder}
PARSERS: dict[str, argparse.ArgumentParser] = {
    f"{program}.{name}": importlib.import_module(f"{program}.commands.{name.replace('-', '_')}").arguments()
    for program, commands in (("deepfake", DEEPFAKE), ("lab", LAB))
    for name in commands
}


@pytest.mark.parametrize("name", PARSERS)
def test_every_number_that_a_command_takes_has_a_range(name: str) -> None:
    assert [action.dest for action in PARSERS[name]._actions if action.type in NUMBERS] == []


@pytest.mark.parametrize("name", PARSERS)
def test_every_place_that_a_command_writes_to_is_tried_before_the_work(name: str) -> None:
    actions = [action for action in PARSERS[name]._actions if action.dest in WRITTEN]
    untried = {action.dest for action in actions if action.type not in TRIED}
    assert untried == ({"json", "html"} if name in ("deepfake.check", "deepfake.watch") else set())
    # argparse tries a default only where it is text.
    assert all(action.default is None or isinstance(action.default, str) for action in actions if action.type in TRIED)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (arguments.whole_number, ["1", "12"], ["0", "-1", "1.5", "²", "", "nan"]),
        (arguments.two_or_more, ["2", "5"], ["1", "0", "-2", "x"]),
        (arguments.natural_number, ["0", "7"], ["-1", "0.0", "²", "", "x"]),
        (arguments.above_zero, ["0.5", "1e3"], ["0", "-1", "nan", "inf", "", "x"]),
        (arguments.share, ["0.2", "1"], ["0", "1.01", "nan", "-0.5", "x"]),
        (arguments.quality, ["1", "100"], ["0", "101", "9.5", "x"]),
    ],
)
def test_numbers_out_of_range_are_refused(kind: object, good: list[str], bad: list[str]) -> None:
    assert callable(kind)
    assert [kind(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"found '{text}', wanted a"):
            kind(text)
