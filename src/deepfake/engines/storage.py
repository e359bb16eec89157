"""Files by URL (file, s3, hdfs, abfs, gs; others through fsspec), and by path.

Whatever is written is there whole or not at all: on a disk by a rename, in an object store by its protocol. It may be
written by several machines at once, but it is not flushed to the disk: it is not to outlive a loss of power.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepfake.errors import UserError

WHOLE_BY_THEMSELVES = ("s3", "gcs", "abfs")  # object stores: a file is there once its last byte has come
BLOCK_BYTES = 1 << 20
REMOVE_S = 2.0  # for so long it is tried to remove a folder into which somebody writes
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(place: str) -> bool:
    """Whether a place is named by a URL, rather than by a path."""
    return _URL.match(place) is not None


class Folder:
    """A folder on a disk or in a store, and the files in it by their names (`/` between folders)."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self._path = None if is_url(place) else Path(place)
        self._opened: tuple[Any, str] | None = None

    def __getstate__(self) -> str:
        return self.place

    def __setstate__(self, place: str) -> None:
        self.__init__(place)  # type: ignore[misc]  # connections do not travel

    @property
    def _store(self) -> tuple[Any, str]:
        if self._opened is None:
            self._opened = open_store(self.place)
        return self._opened

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a file whole."""
        mark = f".{uuid.uuid4().hex}.part"  # of this write alone: pids of two machines may be the same
        if self._path is not None:
            place = self._path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = place.with_name(mark)
            try:
                with aside.open("wb") as file:
                    file.writelines(parts)
                aside.replace(place)
            finally:
                with suppress(OSError):
                    aside.unlink()
            return
        store, root = self._store
        place_in, _, _ = f"{root}/{name}".rpartition("/")
        has_folders = store.type_name not in WHOLE_BY_THEMSELVES
        if has_folders:
            store.create_dir(place_in, recursive=True)
        at = f"{place_in}/{mark}" if has_folders else f"{root}/{name}"
        with store.open_output_stream(at) as stream:
            for data in parts:
                stream.write(data)
        if has_folders:
            store.move(at, f"{root}/{name}")

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """A file's bytes from `start` on; FileNotFoundError where there is none."""
        if self._path is not None:
            with (self._path / name).open("rb") as file:
                file.seek(start)
                return file.read(size)
        store, root = self._store
        with store.open_input_file(f"{root}/{name}") as stream:
            stream.seek(start)
            data: bytes = stream.read(size)
        return data

    def fetch(self, name: str, path: Path, most_bytes: int) -> None:
        """Copy a file of it to a disk; OSError of more than `most_bytes`, and one that names `path` of a full disk."""
        source = (self._path / name).open("rb") if self._path is not None else self._open_stream(name)
        size = 0
        with source, path.open("wb") as target:
            while block := source.read(BLOCK_BYTES):
                size += len(block)
                if size > most_bytes:
                    raise OSError(f"it has grown beyond {most_bytes >> 20} MB since it was listed")
                try:
                    target.write(block)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, str(path)) from None

    def _open_stream(self, name: str) -> Any:
        store, root = self._store
        return store.open_input_stream(f"{root}/{name}")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        if self._path is not None:
            return (self._path / name).is_file()
        store, root = self._store
        return bool(store.get_file_info(f"{root}/{name}").is_file)

    def files(self) -> Iterator[tuple[str, int, str]]:
        """All files below it: name, size, and when it was changed; UserError where it cannot be listed."""
        from pyarrow.fs import FileSelector

        store, root = open_store(str(self._path.absolute().as_uri()) if self._path else self.place)
        try:
            entries = store.get_file_info(FileSelector(root, recursive=True))
        except OSError as error:
            raise UserError(f"{self.place!r} cannot be listed: {error}") from None
        for entry in entries:
            if entry.is_file:
                changed = "" if entry.mtime is None else entry.mtime.isoformat()
                yield entry.path.removeprefix(f"{root}/"), entry.size, changed

    def names(self, folder: str) -> list[str]:
        """The names of the whole files in a folder of it, sorted; none where there is no such folder."""
        if self._path is not None:
            place = self._path / folder
            found = [path.name for path in place.iterdir()] if place.is_dir() else []
        else:
            from pyarrow.fs import FileSelector

            store, root = self._store
            entries = store.get_file_info(FileSelector(f"{root}/{folder}", allow_not_found=True))
            found = [entry.base_name for entry in entries]
        return sorted(name for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._path is not None:
            (self._path / name).unlink(missing_ok=True)
            return
        store, root = self._store
        try:
            store.delete_file(f"{root}/{name}")
        except FileNotFoundError:
            return

    def remove_all(self) -> None:
        """Remove the folder with all that is in it."""
        if self._path is not None:
            import shutil

            # Another process may be writing into it just now: what it made meanwhile goes with the next try.
            until_s = time.monotonic() + REMOVE_S
            while self._path.exists() and time.monotonic() < until_s:
                shutil.rmtree(self._path, ignore_errors=True)
                if self._path.exists():
                    time.sleep(0.05)
            return
        store, root = self._store
        try:
            store.delete_dir(root)
        except FileNotFoundError:
            return


def open_store(url: str) -> tuple[Any, str]:
    """A pyarrow file system for a URL, and the path in it; UserError where nothing here speaks its protocol."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        store, path = fs.FileSystem.from_uri(url)
        return store, path.rstrip("/")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if "nrecognized filesystem" not in str(error):
            raise UserError(f"{url!r}: {error}") from None
    except OSError as error:  # no such host, no right to look
        raise UserError(f"{url!r} cannot be reached: {error}") from None
    import fsspec

    try:
        other, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url!r}: {error}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(other)), str(path).rstrip("/")
