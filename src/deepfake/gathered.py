"""Rows that come video after video, in any order, into a table: on disk, so that memory does not grow with them.

The file is the one that `tables.write` would write of all rows at once, byte for byte.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake.files import whole_file
from deepfake.tables import Table, check, empty

ROWS_IN_MEMORY = 20_000
GROUP_ROWS = 1 << 20  # of a Parquet row group, as pyarrow has it where nothing is said


class Gathered:
    """The rows of a table so far; `folder` is a place for those that memory does not hold, and goes in the end."""

    def __init__(self, table: Table, folder: Path) -> None:
        self.table, self.n_rows = table, 0
        self._folder = folder / f".{table.name}.{os.getpid()}.part"
        self._rows: list[Mapping[str, object]] = []
        self._parts: list[Path] = []

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Take in some rows."""
        self.n_rows += len(rows)
        self._rows.extend(rows)
        if len(self._rows) >= ROWS_IN_MEMORY:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f"{len(self._parts):06d}.arrow"
            arrow = self._checked()
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, arrow.schema) as writer:
                writer.write_table(arrow)
            self._parts.append(part)
            self._rows.clear()

    def write(self, path: Path) -> None:
        """Write the table, sorted by its key, whole or not at all."""
        with whole_file(path) as aside, pq.ParquetWriter(aside, self.table.schema, compression="zstd") as writer:
            for group in self._groups():
                writer.write_table(group, row_group_size=GROUP_ROWS)

    def _checked(self) -> pa.Table:
        names = list(empty(self.table).columns)
        return check(self.table, pd.DataFrame(self._rows, columns=names) if self._rows else empty(self.table))

    def _groups(self) -> Iterator[pa.Table]:
        rest = self._checked()
        if not self._parts:
            for start in range(0, max(len(rest), 1), GROUP_ROWS):
                yield rest.slice(start, GROUP_ROWS)
            return
        parts = [pa.ipc.open_file(pa.memory_map(str(part))).read_all() for part in self._parts]
        rows = pa.concat_tables([*parts, rest])
        order = pc.sort_indices(rows.select(self.table.key), [(name, "ascending") for name in self.table.key])
        last: Any = None
        for start in range(0, len(rows), GROUP_ROWS):
            group = rows.take(order.slice(start, GROUP_ROWS)).combine_chunks()
            last = self._refuse_repeated(group.select(self.table.key), last)
            yield group

    def _refuse_repeated(self, keys: pa.Table, last: pa.Table | None) -> pa.Table:
        """Raise where two rows that follow each other have one key; returns the last row, for the next group."""
        joined = keys if last is None else pa.concat_tables([last, keys]).combine_chunks()
        alike: Any = None
        for name in self.table.key:
            column = joined.column(name)
            same = pc.equal(column.slice(1), column.slice(0, len(joined) - 1))
            alike = same if alike is None else pc.and_(alike, same)
        if len(joined) > 1 and pc.any(alike).as_py():
            first = joined.slice(pc.index(alike, True).as_py(), 1).to_pylist()[0]
            raise ValueError(f"table {self.table.name}: rows repeat a key, the first {first}")
        return joined.slice(len(joined) - 1, 1)
