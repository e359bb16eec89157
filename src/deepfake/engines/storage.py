"""Files by URL (file, s3, hdfs, abfs, gs; others through fsspec), and by path.

Whatever is written is there whole or not at all: on a disk by a rename, in an object store by its protocol.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deepfake.errors import UserError
from deepfake.files import write_whole

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

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole."""
        if self._path is not None:
            write_whole(self._path / name, data)
            return
        store, root = self._store
        if store.type_name not in ("s3", "gcs"):  # object stores have no folders
            store.create_dir(f"{root}/{name}".rpartition("/")[0], recursive=True)
        aside = f"{root}/{name}" if store.type_name in ("s3", "gcs", "abfs") else f"{root}/{name}.part"
        with store.open_output_stream(aside) as stream:
            stream.write(data)
        if aside.endswith(".part"):
            store.move(aside, f"{root}/{name}")

    def read(self, name: str) -> bytes:
        """All of a file; FileNotFoundError where there is none."""
        if self._path is not None:
            return (self._path / name).read_bytes()
        store, root = self._store
        with store.open_input_stream(f"{root}/{name}") as stream:
            data: bytes = stream.read()
        return data

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
        return sorted(name for name in found if not name.startswith(".") and not name.endswith(".part"))

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

            shutil.rmtree(self._path, ignore_errors=True)
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
    import fsspec

    try:
        other, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url!r}: {error}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(other)), str(path).rstrip("/")
