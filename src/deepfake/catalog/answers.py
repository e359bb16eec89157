"""Answers of `catalog.query` as a table to read, CSV, JSON or Parquet, written part by part."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deepfake.errors import UserError
from deepfake.files import part_beside, printable, remove_stale_parts

if TYPE_CHECKING:
    import pyarrow as pa

    Batches = Iterable[pa.RecordBatch]

MOST_ROWS = 40  # of a table on the screen
MOST_WIDE = 60  # letters of one of its cells
FORMATS = ("table", "csv", "json")


def table_text(batches: Batches, most_rows: int = MOST_ROWS) -> str:
    """The first rows of an answer as a table; its last line says where there are more."""
    columns, rows = _first_rows(batches, most_rows + 1)
    is_number = [_is_number(column.type) for column in columns]
    cells = [[column.name for column in columns], *([_cell(value) for value in row] for row in rows[:most_rows])]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, is_number, strict=True)
        ).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    if len(rows) > most_rows:
        lines.append(f"... the first {most_rows} rows; --out FILE.csv writes all")
    elif not rows:
        lines.append("no rows")
    return "\n".join(lines) + "\n"


def _first_rows(batches: Batches, most: int) -> tuple[Sequence[pa.Field], list[tuple[Any, ...]]]:
    columns: Sequence[pa.Field] = ()
    rows: list[tuple[Any, ...]] = []
    for batch in batches:
        columns = list(batch.schema)
        rows += zip(*(column.to_pylist() for column in batch.slice(0, most - len(rows)).columns), strict=True)
        if len(rows) >= most:
            break
    return columns, rows


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > 3:
        return f"[{len(value)} values]"
    text = printable(value)
    return text if len(text) <= MOST_WIDE else text[: MOST_WIDE - 3] + "..."


def write_csv(batches: Batches, stream: IO[bytes]) -> int:
    """All rows as CSV in UTF-8, lists as JSON; returns how many there were."""
    import pyarrow.csv

    n_rows, writer = 0, None
    for batch in batches:
        flat = _flat(batch)
        writer = writer or pyarrow.csv.CSVWriter(stream, flat.schema)
        writer.write_batch(flat)
        n_rows += batch.num_rows
    if writer:
        writer.close()
    return n_rows


def _flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = [
        pa.array([None if value is None else json.dumps(_plain(value)) for value in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def write_json(batches: Batches, stream: IO[bytes]) -> int:
    """All rows as a list of objects, one a line; numbers that JSON has no word for become null."""
    n_rows = 0
    stream.write(b"[")
    for batch in batches:
        for row in batch.to_pylist():
            text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)
            stream.write((",\n" if n_rows else "\n").encode() + text.encode("utf-8", "surrogatepass"))
            n_rows += 1
    stream.write(b"\n]\n")
    return n_rows


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def write_parquet(batches: Batches, stream: IO[bytes]) -> int:
    """All rows as a Parquet file."""
    import pyarrow.parquet as pq

    n_rows, writer = 0, None
    for batch in batches:
        writer = writer or pq.ParquetWriter(stream, batch.schema, compression="zstd")
        writer.write_batch(batch)
        n_rows += batch.num_rows
    if writer:
        writer.close()
    return n_rows


WRITERS: Mapping[str, Callable[[Batches, IO[bytes]], int]] = {
    ".csv": write_csv,
    ".json": write_json,
    ".parquet": write_parquet,
}


def refuse_other_endings(path: Path) -> None:
    """Raise where the ending of a file does not say how an answer is to be written."""
    if path.suffix.lower() not in WRITERS:
        raise UserError(f"{str(path)!r}: the ending says how the answer is written; wanted {', '.join(WRITERS)}")


def write_answer(batches: Batches, path: Path) -> int:
    """Write an answer as the ending of the file says, whole or not at all; returns how many rows there were."""
    refuse_other_endings(path)
    with _written_whole(path) as stream:
        return WRITERS[path.suffix.lower()](batches, stream)


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[bytes]]:
    """`files.write_whole` for what does not fit into memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_parts(path)
    aside = part_beside(path)
    try:
        with aside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def print_answer(batches: Batches, how: str, screen: IO[str]) -> None:
    """Show an answer on the screen, as one of FORMATS."""
    if how == "table":
        screen.write(table_text(batches))
        return
    stream = screen.buffer if isinstance(screen, TextIOWrapper) else None
    assert stream is not None, "a screen of bytes"
    WRITERS[f".{how}"](batches, stream)
    stream.flush()
