"""The crop store: pictures of one video in one tar file, each found by its byte offset.

A shard also carries the rows that describe its pictures, so one rename publishes both. Any tar
program and webdataset can read it; we read single pictures with one `pread`.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfake.errors import UserError
from deepfake.faces.shard_store import fetch_shard
from deepfake.files import write_whole

ROWS = "rows.json"


def encode_crop(crop_HWC: np.ndarray, image_format: str, jpeg_quality: int) -> bytes:
    """A uint8 RGB picture as JPEG 4:4:4 or PNG bytes."""
    bgr = cv2.cvtColor(crop_HWC, cv2.COLOR_RGB2BGR)
    if image_format == "png":
        done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    else:
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        flags = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        done, data = cv2.imencode(".jpg", bgr, flags)
    assert done, f"OpenCV could not encode a crop of shape {crop_HWC.shape}"
    return data.tobytes()


def decode_crop(data: bytes, name: str) -> np.ndarray:
    """Bytes of a stored crop as HWC uint8 RGB; `name` is what an error calls it."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if bgr is None:
        raise UserError(f"crop {name}: {len(data)} bytes that are no picture; run 02_extract_faces with --force")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def write_shard(path: Path, pictures: Sequence[tuple[str, bytes]], rows: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Write named pictures and `rows` (plain values), whole or not at all; return each picture's (offset, size).

    The offsets are also put into `rows["faces"][i]`, one entry per picture.
    """
    places: list[tuple[int, int]] = []
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in pictures:
            _add(tar, name, data)
            places.append((buffer.tell() - _padded(len(data)), len(data)))
        faces = [{**face, "offset": o, "size": s} for face, (o, s) in zip(rows["faces"], places, strict=True)]
        _add(tar, ROWS, json.dumps({**rows, "faces": faces}, sort_keys=True).encode())
    write_whole(path, buffer.getvalue())
    return places


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)  # time, owner and mode stay at their defaults: equal crops give equal files
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def read_rows(path: Path) -> dict[str, Any]:
    """The rows a shard was written with, each face with its offset and size."""
    try:
        with tarfile.open(path, "r:") as tar:
            stream = tar.extractfile(ROWS)
            assert stream is not None
            rows: dict[str, Any] = json.load(stream)
            return rows
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise UserError(f"shard {path}: not readable ({error}); run 02_extract_faces with --force") from None


def read_crop(work_dir: Path, shard: str, offset: int, size: int) -> np.ndarray:
    """One stored crop as HWC uint8 RGB; `shard` is a path below `work_dir`."""
    return decode_crop(read_picture(work_dir, shard, offset, size), f"{shard} at {offset}")


def read_picture(work_dir: Path, shard: str, offset: int, size: int) -> bytes:
    """The bytes of one stored crop, which `decode_crop` reads; `shard` is a path below `work_dir`."""
    path = work_dir / shard
    if ".." in Path(shard).parts or Path(shard).is_absolute():
        raise UserError(f"crop {shard!r}: the path leaves {work_dir}; the faces table was not made by stage 02")
    try:
        if not path.exists():
            fetch_shard(work_dir, shard)
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"shard {path}: {error.strerror}; run 02_extract_faces again") from None
    try:
        data = os.pread(handle, size, offset) if size > 0 and offset >= 0 else b""
    finally:
        os.close(handle)
    if len(data) != size:
        raise UserError(
            f"shard {path}: {len(data)} bytes at {offset}, wanted {size}; run 02_extract_faces with --force"
        )
    return data
