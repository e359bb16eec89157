"""Places of outputs, tried before the work: what cannot be written is said at once, not after hours of scoring."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepfake.errors import UserError
from deepfake.files import part_beside, remove_stale_parts

SCREEN = "-"
TRIED_BYTES = 1 << 16  # a full disk takes an empty file


def try_file(path: Path) -> None:
    """Raise UserError where `write_whole` could not write this file; nothing is changed or left behind."""
    if str(path) == SCREEN:
        raise UserError("'-' would be a file of that name, this is not shown on the screen; name a file")
    with _in_words(path, "a file"):
        if path.is_dir():
            raise UserError(f"{str(path)!r} is a folder; name a file")
        if path.exists() and not path.is_file():
            raise UserError(f"{str(path)!r} is a device or a pipe; name a file")
        with _made(path.parent):
            _try_part(path)


def try_folder(path: Path) -> None:
    """Raise UserError where no files could be written into this folder; nothing is changed or left behind."""
    with _in_words(path, "a folder"):
        if path.exists() and not path.is_dir():
            raise UserError(f"{str(path)!r} is a file; name a folder")
        with _made(path):
            _try_part(path / "tried")


def _try_part(path: Path) -> None:
    remove_stale_parts(path)
    part = part_beside(path)
    try:
        part.write_bytes(bytes(TRIED_BYTES))
    finally:
        part.unlink(missing_ok=True)


def refuse_inputs(out: Path | None, inputs: Iterable[Path]) -> None:
    """Raise UserError where an output would be written over something that is read."""
    read = next((path for path in inputs if out is not None and is_same_place(out, path)), None)
    if read is not None:
        raise UserError(f"{str(out)!r} is read by this command and would be written over; name another file")


def is_same_place(one: Path, other: Path) -> bool:
    """Whether two paths name one file, there already or not yet."""
    return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def _in_words(path: Path, wanted: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if isinstance(error, UserError):
            raise
        blocked = next((one for one in path.parents if _is_file(one)), None)
        reason = f"{str(blocked)!r} is a file" if blocked else getattr(error, "strerror", None) or error
        raise UserError(f"{str(path)!r} cannot be written: {reason}; name {wanted} elsewhere") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder and those above it, as long as the block runs: made ones are removed again while they are empty."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for one in missing:
            with suppress(OSError):  # another command has put something there
                one.rmdir()
