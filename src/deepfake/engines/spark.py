"""Run a function over many items on Spark's executors, each item in a process of its own inside the task.

The driver hands out numbers. Items lie in files of a spool that all sides see, and so do results, in Parquet parts that
executors write whole: a task that is tried again, or twice at once, writes the same part again. So the driver holds one
part at a time, however many items there are.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from deepfake import __version__, registry
from deepfake.engines.session import spark_session
from deepfake.engines.storage import Folder, is_url
from deepfake.errors import UserError
from deepfake.settings import WorkEngine
from deepfake.workers import Failed, Kept, Limits, run_each, threads_each

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import RecordBatch
    from pyspark.sql import SparkSession

MOST_TASKS = 10_000  # what the driver knows of a task takes some kB
ITEMS = "items"
POLL_S, POLL_STORE_S = 0.1, 1.0
Item = TypeVar("Item")
T = TypeVar("T")


class TaskError(Exception):
    """Why a task cannot do its work on this executor; Spark tries it elsewhere."""


@dataclass(frozen=True)
class SparkRunner:
    """The `Runner` on Spark; `spool` is a folder or a URL."""

    settings: WorkEngine
    spool: str

    def __call__(
        self, function: Callable[[Item], T], items: Iterable[Item], limits: Limits
    ) -> Iterator[tuple[Item, T | Failed]]:
        """See `engines.Runner`."""
        todo: Sequence[Item] = items if isinstance(items, Sequence) else list(items)
        if not todo:
            return
        folder = Folder(f"{self.spool.rstrip('/')}/{uuid.uuid4().hex}")
        try:
            session = self.session()
            places = write_items(folder, function, todo, self.settings.items_per_task)
            task = Task(folder, tuple(places), replace(limits, workers=1), registry.plugins())
            yield from _results(_Job(session, task), folder)
        finally:
            folder.remove_all()

    def session(self) -> SparkSession:
        """The active Spark session, or one as the settings say."""
        conf = {name.replace(".", "__"): value for name, value in self.settings.conf.items()}
        return spark_session(self.settings.master, **conf)


def write_items(
    folder: Folder, function: Callable[[Any], Any], todo: Sequence[Any], items_per_task: int | None
) -> list[int]:
    """Write the items into one file; returns where those of each task begin, and where the last end."""
    size = items_per_task or -(-len(todo) // MOST_TASKS)
    places = [0]

    def tasks() -> Iterator[bytes]:
        for start in range(0, len(todo), size):
            data = pickle.dumps([pickle.dumps((function, item)) for item in todo[start : start + size]])
            places.append(places[-1] + len(data))
            yield data

    folder.write(ITEMS, tasks())
    return places


class _Job(threading.Thread):
    """The Spark job in a thread of its own; `error` is what it ended with."""

    def __init__(self, session: SparkSession, task: Task) -> None:
        super().__init__(daemon=True, name="spark job")
        self.session, self.work, self.n_tasks = session, task, len(task.places) - 1
        self.tag = f"deepfake-{uuid.uuid4().hex}"
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            if self._is_connect:
                self.session.addTag(self.tag)
            else:  # tags of a classic session are known to the thread alone that gave them
                self.session.sparkContext.setJobGroup(self.tag, "deepfake")
            numbers = self.session.range(0, self.n_tasks, 1, self.n_tasks)
            numbers.mapInArrow(self.work, "id long").collect()
        except Exception as error:  # it is raised in the thread that waits
            self.error = error

    @property
    def _is_connect(self) -> bool:
        return type(self.session).__module__.startswith("pyspark.sql.connect")

    def stop(self) -> None:
        """End what still runs."""
        if self.is_alive():
            if self._is_connect:
                self.session.interruptTag(self.tag)
            else:
                self.session.sparkContext.cancelJobGroup(self.tag)
            self.join(timeout=10)


def _results(job: _Job, folder: Folder) -> Iterator[tuple[Any, Any]]:
    """What lies in the parts, as they come."""
    read: set[str] = set()
    poll_s = POLL_STORE_S if is_url(folder.place) else POLL_S
    job.start()
    try:
        while True:
            is_over = not job.is_alive()
            for name in [name for name in folder.names("results") if name not in read]:
                read.add(name)
                yield from read_part(folder.read(f"results/{name}"))
                folder.remove(f"results/{name}")  # a task that is tried again may write it again: it has been read
            if is_over:
                break
            job.join(poll_s)
    finally:
        job.stop()
    if job.error is not None:
        raise job_error(job.error) from job.error
    if len(read) != job.n_tasks:
        raise UserError(
            f"{folder.place}: Spark did all {job.n_tasks} tasks and {len(read)} of their results are there; name a "
            "place that the driver and all executors see (engine.spool)"
        )


def read_part(data: bytes) -> Iterator[tuple[Any, Any]]:
    """The items of a part, each with its result or `Failed`; raises what the function raised."""
    import pyarrow.parquet as pq

    for row in pq.read_table(io.BytesIO(data)).to_pylist():
        _, item = _unpickled(row["call"])
        if row["failed"] is not None:
            yield item, Failed(row["failed"])
            continue
        is_result, value = _unpickled(row["value"])
        if not is_result:
            raise value
        yield item, value


_CAUSES = (
    (r"PYTHON_VERSION_MISMATCH", "the workers' Python is another one than the driver's"),
    (r"No module named '?deepfake", "the workers' Python has no package deepfake"),
    (r"Cannot run program \"([^\"]+)\"", "executors have no such Python"),
)


def job_error(error: Exception) -> UserError:
    """What made a Spark job fail, in a sentence."""
    text = str(error)
    told = re.findall(r"TaskError: (.+)", text)
    if told:
        return UserError(str(told[-1]))
    for pattern, words in _CAUSES:
        if re.search(pattern, text):
            python = os.environ.get("PYSPARK_PYTHON", "python3")
            return UserError(
                f"{words}: set PYSPARK_PYTHON (now {python!r}) to one with deepfake {__version__} on every executor"
            )
    raised = re.findall(r"^\s*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception): .+)$", text, re.MULTILINE)
    first = raised[-1] if raised else next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    return UserError(f"the Spark job failed: {first}; videos that are done are kept, the same command goes on")


@dataclass(frozen=True)
class Task:
    """What an executor does with the numbers it gets: the items of each, into a part.

    `places`: where in the file of items those of each number begin.
    """

    folder: Folder
    places: tuple[int, ...]
    limits: Limits
    plugins: tuple[str, ...]
    version: str = __version__

    def __call__(self, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
        """For `mapInArrow`: numbers in, the same numbers out once their parts are written."""
        if self.version != __version__:
            raise TaskError(
                f"executor {_host()} has deepfake {__version__}, the driver {self.version}: install the same one"
            )
        for batch in batches:
            for number in batch.column(0).to_pylist():
                self._work(number)
            yield batch

    def _work(self, number: int) -> None:
        try:
            start, end = self.places[number : number + 2]
            calls = _unpickled(self.folder.read(ITEMS, start, end - start))
        except FileNotFoundError:
            raise TaskError(
                f"executor {_host()} does not see {self.folder.place}: name a place that the driver and all executors "
                "see (engine.spool), and keep videos and data_dir on such a one"
            ) from None
        registry.use_plugins(self.plugins)
        try:
            rows = [
                (call, outcome.reason, None) if isinstance(outcome, Failed) else (call, None, outcome)
                for call, outcome in run_each(_call, calls, self.limits, task_threads(), kept=children)
            ]
            if self.folder.has(ITEMS):  # else the driver stopped and took the spool away: nothing is to be left there
                self.folder.write(f"results/{number:06d}.parquet", [part_of(rows)])
        except OSError as error:  # a full disk may be this executor's alone
            raise TaskError(
                f"executor {_host()}: {error.filename or self.folder.place}: {error.strerror or error}"
            ) from error


def _host() -> str:
    return socket.gethostname()


def _unpickled(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - out of our own spool; who may write there may write our settings, too


children: Kept = []  # of this Python worker, which Spark keeps for its next task: they have their networks loaded


def _call(call: bytes) -> bytes:
    """In a child: the result of a call, or what it raised; a disk that is full is for another executor."""
    function, item = _unpickled(call)
    try:
        return pickle.dumps((True, function(item)))
    except OSError:
        raise
    except Exception as error:
        try:
            return pickle.dumps((False, error))
        except Exception:
            return pickle.dumps((False, RuntimeError(repr(error))))


def task_threads() -> dict[str, str]:
    """As many threads as Spark gives cores to the task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return threads_each(context.cpus() if context is not None else 1)


def part_of(rows: Sequence[tuple[bytes, str | None, bytes | None]]) -> bytes:
    """A Parquet file of calls, each with the reason why it failed or what came of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    calls, failed, values = zip(*rows, strict=True)
    columns: dict[str, pa.Array] = {
        "call": pa.array(calls, pa.binary()),
        "failed": pa.array(failed, pa.string()),
        "value": pa.array(values, pa.binary()),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
