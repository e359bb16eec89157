"""Questions in SQL over the tables of a data set: DuckDB's only door.

The answer may read the tables and nothing else: one SELECT at a time, no file, no extension, no setting, and no more
memory than was said. DuckDB reads the Parquet files themselves, so an answer takes as long as with DuckDB alone.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deepfake.catalog.views import HOW, View, stage_tables, views
from deepfake.errors import UserError
from deepfake.settings import Config

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY_MB = 1000
SPILL_MB = 10_000  # what an answer may lay aside on the disk
BATCH_ROWS = 10_000
IN_WORDS = {"frame_scores": "scores", "track_scores": "scores", "video_scores": "scores"}
NO_TABLE = re.compile(r"(?:Table|View) with name \"?(?P<name>[^\s\"]+)\"? does not exist")
FILES = ("csv", "parquet", "json", "db")
ASK = "ask the views, and write the answer with --out"
REMEDY = "`deepfake query --columns` lists the views and their columns"

Places = Mapping[str, Sequence[tuple[str, Path]]]


def tables_of(config: Config) -> Places:
    """Where the stage tables of a data set and a run lie, as far as there are any: which part each is, and its path.

    Parts are what was scored, `oof` or `test`; tables of one part have an empty name for it.
    """
    work, run = config.work_dir, config.run_dir
    parts = ("oof", "test")
    listed: dict[str, list[tuple[str, Path]]] = {
        **{
            name: [("", work / f"{name}.parquet")]
            for name in ("videos", "extractions", "faces", "failures", "folds", "people", "copies")
        },
        "frame_scores": [(part, run / f"frames_{part}.parquet") for part in parts],
        "track_scores": [(part, run / f"{h}_{part}.parquet") for h in config.sequences.heads for part in parts],
        "video_scores": [(part, run / f"{part}_video_scores.parquet") for part in parts],
    }
    return {name: [(part, path) for part, path in files if path.is_file()] for name, files in listed.items()}


def older_than_faces(config: Config) -> bool:
    """Whether stage 02 has written its faces anew since `deepfake people` compared them."""
    people, faces = (config.work_dir / f"{name}.parquet" for name in ("people", "faces"))
    return people.is_file() and faces.is_file() and people.stat().st_mtime_ns < faces.stat().st_mtime_ns


class Catalog:
    """The views of a data set, ready to be asked; `open_catalog` makes one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, missing: Sequence[str], hint: str) -> None:
        self._connection, self._missing, self._hint = connection, missing, hint

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer in parts; the first has its columns, even where it has no row.

        Of two columns of one name the second gets a number: a JSON object would hold one of them.
        """
        import duckdb
        import pyarrow as pa

        try:
            sql.encode()  # DuckDB says of a text that is none in UTF-8 that it is no text
            _refuse_all_but_a_question(duckdb.extract_statements(sql))
            reader = self._connection.sql(sql).to_arrow_reader(BATCH_ROWS)
            names = _each_once(reader.schema.names)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema).rename_columns(names)
            yield from (batch.rename_columns(names) for batch in reader)
        except (duckdb.Error, pa.ArrowException, UnicodeEncodeError) as error:
            self._say(error)

    def ask(self, sql: str) -> pa.Table:
        """The whole answer."""
        import pyarrow as pa

        return pa.Table.from_batches(list(self.batches(sql)))

    def _say(self, error: Exception) -> NoReturn:
        """Raise what went wrong in words: what was found, what was wanted, what to do."""
        import duckdb

        text = str(error)
        first = " ".join(text.split("\n\n")[0].split()).partition(" LINE ")[0]
        found = NO_TABLE.search(text)
        if found:
            self._say_no_table(found["name"])
        if isinstance(error, duckdb.PermissionException):
            raise UserError(f"SQL that reads or writes files is refused ({first}); {ASK}") from None
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in text:
            raise UserError(
                "the answer needs more memory than it may have; ask for less (count, LIMIT, fewer columns), or allow "
                "more with --memory-mb"
            ) from None
        raise UserError(f"SQL: {first}; {REMEDY}") from None

    def _say_no_table(self, name: str) -> NoReturn:
        known = [view.name for view in views()]
        if "/" in name or name.rpartition(".")[2] in FILES:
            raise UserError(f"SQL that reads or writes files is refused ({name!r} is no view); {ASK}") from None
        wanted = next((view.wanted for view in views() if view.name == name), ())
        lacking = [table for table in wanted if table in self._missing]
        if lacking:
            raise UserError(
                f"table {lacking[0]} of {self._hint} is not there; run `{HOW[lacking[0]]}` with the same --config first"
            ) from None
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)};"
        raise UserError(f"SQL: there is no table {name!r}; {hint} {REMEDY}") from None


def _each_once(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{i}" if i else name for i in range(len(names)))
        found.append(next(one for one in numbered if one not in found))
    return found


def _refuse_all_but_a_question(statements: Sequence[duckdb.Statement]) -> None:
    """A file that may be read may be written, too, by DuckDB's rules: so nothing but a SELECT is run."""
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        found = " and ".join(kinds) or "nothing"
        raise UserError(
            f"SQL: found {found}, wanted one SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE): tables are only read; write "
            "the answer with --out"
        )


@contextmanager
def open_catalog(places: Places, hint: str, memory_mb: int = MEMORY_MB) -> Iterator[Catalog]:
    """Open the views over stage tables; `hint` is how errors call the data set."""
    import duckdb

    from deepfake.models.runtime import cores

    for name, files in places.items():
        for _, path in files:
            _refuse_other_columns(name, path)
    with tempfile.TemporaryDirectory(prefix="deepfake-query-") as folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # else variables of ours could be asked like tables
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(Path(folder) / "aside"),
            "max_temp_directory_size": f"{SPILL_MB}MB",
            "threads": cores(),
        }
        with duckdb.connect(":memory:", config=config) as connection:
            missing = _load(connection, places, Path(folder))
            yield Catalog(connection, missing, hint)


def _load(connection: duckdb.DuckDBPyConnection, places: Places, folder: Path) -> list[str]:
    """Make the views, and close every other way to a file; returns which tables are missing."""
    links: list[str] = []
    connection.execute("CREATE SCHEMA stage")
    for name, table in stage_tables().items():
        selects = []
        for part, path in places.get(name, ()):
            # In a folder of ours: DuckDB takes * ? [ in a path for a pattern, and has no way to write them as they are.
            link = folder / f"{name}{len(links)}.parquet"
            link.symlink_to(path.resolve())
            links.append(f"'{link}'")
            selects.append(f"SELECT *{_scored(name, part)} FROM read_parquet('{link}')")  # noqa: S608 - ours
        if selects:
            connection.execute(f"CREATE VIEW stage.{name} AS {' UNION ALL '.join(selects)}")
        else:
            connection.register("nothing", table.schema.empty_table())
            connection.execute(f"CREATE TABLE stage.{name} AS SELECT *{_scored(name, '')} FROM nothing")  # noqa: S608 - ours
            connection.unregister("nothing")
    missing = sorted(
        {name for name in stage_tables() if name not in IN_WORDS and not places.get(name)}
        | ({"scores"} if not any(places.get(name) for name in IN_WORDS) else set())
    )
    for view in views():
        if not set(view.wanted) & set(missing):
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
    connection.execute(f"SET allowed_paths = [{', '.join(links)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return missing


def _scored(name: str, part: str) -> str:
    return f", '{part}' AS scored" if name in IN_WORDS else ""


def _refuse_other_columns(name: str, path: Path) -> None:
    """Raise where a file is no table of this version; only its end is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"table {name}: {path} is not a readable Parquet file ({error}); make it again") from None
    wanted = stage_tables()[name].schema
    if found.names != wanted.names or found.types != wanted.types:
        raise UserError(f"table {name}: {path} has other columns than this version makes; make it again with --force")


def describe(view: View) -> str:
    """A view and its columns as lines of text."""
    width = max(map(len, view.columns)) + 2
    lines = "".join(f"    {name:{width}}{meaning}\n" for name, meaning in view.columns.items())
    return f"  {view.name}: a row is {view.row}\n{lines}"
