"""Arrays kept in files, whole or not at all, and read back without being loaded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from deepfake.files import write_whole


def write_array(path: Path, array: np.ndarray) -> None:
    """Keep an array in a file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def map_array(path: Path, n_rows: int) -> np.ndarray | None:
    """An array of so many rows as it lies on the disk, mapped, not read; None: not there, or not whole."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if len(array) == n_rows else None
