"""The index of copies as a folder of Parquet parts: a row a video, with its hashes in time.

It grows by new parts and can be stopped at any moment; each part names its descriptor, version and settings, and others
are refused. Letters: N hashes, V videos.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepfake.catalog.hashing import Hashed, Held, Settings
from deepfake.errors import UserError
from deepfake.faces.descriptors import BITS, bytes_of, words_of
from deepfake.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa

MARK = b"deepfake_copies"  # of the parts' metadata
MOST_PARTS = 16  # more are joined to one
WORD_BYTES = BITS // 8
Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """A video of an index: the folder it was found below, its name there, and the state of its file."""

    folder: str
    video_id: str
    size_bytes: int
    mtime_ns: int
    hashed: Hashed

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.folder, self.video_id


@dataclass(frozen=True)
class Index:
    """All rows of an index, sorted by folder and name; video v has the hashes `starts_V[v]` to `starts_V[v + 1]`."""

    settings: Settings
    keys: Sequence[Key]
    states: Sequence[tuple[int, int]]
    reasons: Sequence[str | None]
    durations_V: np.ndarray
    starts_V: np.ndarray
    times_N: np.ndarray
    words_N4: np.ndarray

    @cached_property
    def known(self) -> Mapping[Key, tuple[int, int]]:
        """The state of each file that was hashed; those that could not be read are to be tried again."""
        return {k: s for k, s, why in zip(self.keys, self.states, self.reasons, strict=True) if why is None}

    def held(self, video: int) -> Held:
        """One video's hashes."""
        part = slice(int(self.starts_V[video]), int(self.starts_V[video + 1]))
        return Held(self.times_N[part].astype(float), self.words_N4[part], float(self.durations_V[video]))


def parts_of(folder: Path) -> list[Path]:
    """The parts of an index, oldest first."""
    return sorted(folder.glob("part-*.parquet"))


def _schema(settings: Settings) -> pa.Schema:
    import pyarrow as pa

    fields = {
        "folder": pa.string(),
        "video_id": pa.string(),
        "size_bytes": pa.int64(),
        "mtime_ns": pa.int64(),
        "duration_s": pa.float64(),
        "reason": pa.string(),
        "times_s": pa.list_(pa.float32()),
        "hashes": pa.list_(pa.binary(WORD_BYTES)),
    }
    return pa.schema(list(fields.items()), metadata={MARK: json.dumps(asdict(settings)).encode()})


def write_part(folder: Path, rows: Sequence[Row], settings: Settings) -> Path:
    """Add rows to an index as one more part; of a video that it held, they take the place."""
    import pyarrow as pa

    counts = [len(row.hashed.times_N) for row in rows]
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    times = np.concatenate([np.zeros(0, np.float32), *(row.hashed.times_N for row in rows)])
    raw = pa.py_buffer(b"".join(bytes_of(row.hashed.words_N4) for row in rows))
    hashes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(WORD_BYTES), int(sum(counts)), [None, raw])
    schema = _schema(settings)
    columns = [
        *([row.folder for row in rows], [row.video_id for row in rows]),
        *([row.size_bytes for row in rows], [row.mtime_ns for row in rows]),
        *([row.hashed.duration_s for row in rows], [row.hashed.reason for row in rows]),
        pa.ListArray.from_arrays(offsets, pa.array(times, pa.float32())),
        pa.ListArray.from_arrays(offsets, hashes),
    ]
    arrays = [pa.array(c, f.type) if isinstance(c, list) else c for c, f in zip(columns, schema, strict=True)]
    return _write_table(folder, pa.Table.from_arrays(arrays, schema=schema))


def _write_table(folder: Path, table: pa.Table) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = [int(path.stem.partition("-")[2]) for path in parts_of(folder)]
    path = folder / f"part-{max(numbers, default=0) + 1:06d}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    write_whole(path, sink.getvalue().to_pybytes())
    return path


def read_index(folder: Path, settings: Settings | None = None) -> Index:
    """Read a whole index; UserError where there is none, or it is not one of these settings (None: as it says)."""
    table, found = _read_table(folder, settings)
    return _as_index(table, found)


def _remedy(folder: Path) -> str:
    return f"`deepfake find index FOLDER --index {folder}` makes it"


def _read_table(folder: Path, settings: Settings | None) -> tuple[pa.Table, Settings]:
    import pyarrow as pa

    parts = parts_of(folder)
    if not parts:
        what = "holds no index" if folder.is_dir() else "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"index {str(folder)!r} {what}; {_remedy(folder)}")
    tables = []
    for path in parts:
        table, found = _read_part(folder, path)
        if settings is None:
            settings = found
        if found != settings:
            raise UserError(
                f"index {str(folder)!r}: {path.name} was made by {_in_words(found)}, wanted {_in_words(settings)}; "
                f"their hashes cannot be compared: index anew into another folder with `deepfake find index FOLDER "
                f"--index OTHER`, or remove {str(folder)!r} first"
            )
        tables.append(table)
    assert settings is not None, "there is a part"
    return _latest(pa.concat_tables(tables)), settings


def _in_words(settings: Settings) -> str:
    return f"descriptor {settings.descriptor}, version {settings.version}, {settings.sample_fps:g} pictures a second"


def _read_part(folder: Path, path: Path) -> tuple[pa.Table, Settings]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        settings = Settings(**json.loads((table.schema.metadata or {})[MARK]))
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"index {str(folder)!r}: {path.name} is not a readable Parquet file ({first}); remove it and run "
            f"`deepfake find index FOLDER --index {folder}` again: it makes what is missing"
        ) from None
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"index {str(folder)!r}: {path.name} does not say what made it; it is no part of an index of this version: "
            "remove it, or name another folder with --index"
        ) from None
    if table.schema.names != _schema(settings).names or table.schema.types != _schema(settings).types:
        raise UserError(
            f"index {str(folder)!r}: {path.name} has other columns than this version makes; remove the index and run "
            f"`deepfake find index FOLDER --index {folder}` again"
        )
    return table, settings


def _latest(table: pa.Table) -> pa.Table:
    """The last row of each video, sorted by folder and name."""
    keys = list(zip(table["folder"].to_pylist(), table["video_id"].to_pylist(), strict=True))
    last = {key: place for place, key in enumerate(keys)}
    order = [last[key] for key in sorted(last)]
    return table if order == list(range(len(keys))) else table.take(order)


def _as_index(table: pa.Table, settings: Settings) -> Index:
    table = table.combine_chunks()
    assert table["hashes"].num_chunks <= 1, "they are less than 2**31"
    counts = [np.asarray(chunk.value_lengths(), np.int64) for chunk in table["hashes"].chunks]
    hashes = [chunk.flatten() for chunk in table["hashes"].chunks]
    raw = [memoryview(one.buffers()[1])[WORD_BYTES * one.offset :][: WORD_BYTES * len(one)] for one in hashes]
    times = [np.asarray(chunk.flatten(), np.float32) for chunk in table["times_s"].chunks]
    return Index(
        settings=settings,
        keys=list(zip(table["folder"].to_pylist(), table["video_id"].to_pylist(), strict=True)),
        states=list(zip(table["size_bytes"].to_pylist(), table["mtime_ns"].to_pylist(), strict=True)),
        reasons=table["reason"].to_pylist(),
        durations_V=np.asarray(table["duration_s"], float),
        starts_V=np.concatenate([[0], *(np.cumsum(one) for one in counts)]).astype(np.int64),
        times_N=times[0] if times else np.zeros(0, np.float32),
        words_N4=words_of(raw[0]) if raw else np.zeros((0, BITS // 64), np.uint64),
    )


def join_parts(folder: Path, settings: Settings) -> None:
    """Make one part of many; stopped in between, rows stand in two of them, and the last one counts."""
    parts = parts_of(folder)
    if len(parts) > MOST_PARTS:
        table, _ = _read_table(folder, settings)
        _write_table(folder, table)
        for path in parts:
            path.unlink()
