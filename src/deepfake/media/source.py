"""A file that is read once for all that is made of it: its digest, its packets, its pictures.

A file of up to KEPT_BYTES is read into memory; a larger one is hashed while it is demuxed, and read again, by the same
descriptor, while it is decoded. On a slow share that is a third, or two thirds, of what three readings cost.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from deepfake.files import BLOCK_BYTES

KEPT_BYTES = 128 << 20
_MOST_SKIPPED_BYTES = 8 << 20  # such a gap (sound between pictures) is read to be hashed, a larger one at the end


class Source:
    """An open file; `sha256` of all its bytes, whatever was read of it by `view`."""

    def __init__(self, path: Path, kept_bytes: int = KEPT_BYTES) -> None:
        self.path = path
        self.n_read = 0  # bytes that the file system was asked for
        self._hasher, self._n_hashed = hashlib.sha256(), 0
        self._descriptor: int | None = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            self.size_bytes = os.fstat(self._descriptor).st_size
            self._data = self._read(0, self.size_bytes) if self.size_bytes <= kept_bytes else None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; views of it end."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def __del__(self) -> None:
        self.close()

    def view(self) -> View:
        """The file as FFmpeg wants one, from its beginning."""
        return View(self)

    def sha256(self) -> str:
        """SHA-256 (64 hex digits) of the whole file."""
        while self._n_hashed < self.size_bytes:
            if not self.read(self._n_hashed, BLOCK_BYTES):
                raise OSError(f"{self.path.name!r} became shorter while it was read")
        return self._hasher.hexdigest()

    def read(self, at: int, n_bytes: int) -> bytes:
        """Up to so many bytes from a place on; none at the end."""
        n_bytes = max(min(n_bytes, self.size_bytes - at), 0)
        if self._data is not None:
            data = self._data[at : at + n_bytes]
        else:
            if 0 < at - self._n_hashed <= _MOST_SKIPPED_BYTES:
                self._hash(self._n_hashed, self._read(self._n_hashed, at - self._n_hashed))
            data = self._read(at, n_bytes)
        self._hash(at, data)
        return data

    def _read(self, at: int, n_bytes: int) -> bytes:
        if self._descriptor is None:
            raise OSError(f"{self.path.name!r} is closed")
        parts = []
        while n_bytes > 0:
            os.lseek(self._descriptor, at, os.SEEK_SET)
            part = os.read(self._descriptor, n_bytes)
            if not part:
                break
            parts.append(part)
            at, n_bytes, self.n_read = at + len(part), n_bytes - len(part), self.n_read + len(part)
        return b"".join(parts)

    def _hash(self, at: int, data: bytes) -> None:
        new = data[self._n_hashed - at :] if at <= self._n_hashed < at + len(data) else b""
        self._hasher.update(new)
        self._n_hashed += len(new)


class View:
    """A place in a `Source` that moves on as it is read."""

    def __init__(self, source: Source) -> None:
        self._source, self._at = source, 0
        self.name = str(source.path.absolute())  # FFmpeg takes hints from the ending

    def read(self, n_bytes: int) -> bytes:
        """The next bytes."""
        data = self._source.read(self._at, n_bytes)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place; where that is now."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size_bytes}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def tell(self) -> int:
        """Where reading goes on."""
        return self._at
