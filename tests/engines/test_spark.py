"""What executors do with a task, without Spark; and, slow, on two executors that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from deepfake.engines import spark
from deepfake.engines.spark import SparkRunner, TaskError, job_error
from deepfake.engines.storage import Folder
from deepfake.errors import UserError
from deepfake.settings import WorkEngine
from deepfake.workers import Limits
from engine_tasks import Work, full_disk, length, process, threads, write_square
from spark_sessions import cluster as cluster
from spark_sessions import on_spark as on_spark
from spark_sessions import processes, wait_for
from worker_tasks import double

pa = pytest.importorskip("pyarrow")
QUICK = Limits(1, 60)


def handed(task: spark.Task, *numbers: int) -> list[int]:
    batch = pa.RecordBatch.from_arrays([pa.array(numbers, pa.int64())], ["id"])
    return [number for made in task([batch]) for number in made.column(0).to_pylist()]


@pytest.fixture
def children() -> object:
    pytest.importorskip("pyspark")  # a task asks it for its cores; `make test` does without, CI and `make test-all` not
    yield
    while spark.children:
        spark.children.pop().end()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "spool"))


def task_of(folder: Folder, function: Callable[[Any], Any], items: Sequence[Any], size: int = 1) -> spark.Task:
    return spark.Task(folder, tuple(spark.write_items(folder, function, items, size)), QUICK, ())


def test_a_task_writes_one_part_whole_and_a_second_attempt_the_same(folder: Folder, children: object) -> None:
    task = task_of(folder, double, [1, 2, 3, 4, 5], 2)
    assert len(task.places) == 4
    assert handed(task, 0, 2) == [0, 2]
    assert folder.names("results") == ["000000.parquet", "000002.parquet"]
    first = folder.read("results/000000.parquet")
    assert list(spark.read_part(first)) == [(1, 2), (2, 4)]
    assert list(spark.read_part(folder.read("results/000002.parquet"))) == [(5, 10)]
    handed(task, 0)
    assert folder.read("results/000000.parquet") == first


def test_a_python_worker_keeps_its_child_for_the_next_task(folder: Folder, children: object) -> None:
    handed(task_of(folder, process, [1, 2, 3]), 0, 1, 2)
    made = [row for name in folder.names("results") for _, row in spark.read_part(folder.read(f"results/{name}"))]
    assert len(set(made)) == 1 and made[0][1] == os.getpid()


def test_an_executor_that_does_not_see_the_spool_says_so(folder: Folder) -> None:
    task = task_of(folder, double, [1])
    shutil.rmtree(folder.place)
    with pytest.raises(TaskError, match=r"does not see .*spool: name a place that the driver and all executors see"):
        handed(task, 0)


def test_an_executor_with_another_version_says_so(folder: Folder) -> None:
    with pytest.raises(TaskError, match=r"has deepfake .*, the driver 0\.0\.1: install the same one"):
        handed(replace(task_of(folder, double, [1]), version="0.0.1"), 0)


def test_a_full_disk_is_for_another_executor_and_no_part_is_written(folder: Folder, children: object) -> None:
    with pytest.raises(TaskError, match=r"executor .*: /scratch/shard\.tar: No space left on device"):
        handed(task_of(folder, full_disk, [1]), 0)
    assert folder.names("results") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Job aborted\n  deepfake.engines.spark.TaskError: executor e1: /x: No space left on device\n at",
            "executor e1: /x",
        ),
        ("[PYTHON_VERSION_MISMATCH] Python in worker has different version", "workers' Python is another one"),
        ("ModuleNotFoundError: No module named 'deepfake'", "workers' Python has no package deepfake"),
        ('java.io.IOException: Cannot run program "python9": error=2', "executors have no such Python"),
        (
            "x\nTraceback\n  File 'a'\nOSError: no bucket\n\tat java.lang",
            "the Spark job failed: OSError: no bucket; videos",
        ),
        ("Out of luck\nat java", "the Spark job failed: Out of luck; videos that are done are kept"),
    ],
)
def test_a_job_that_fails_says_why_in_a_sentence(text: str, words: str) -> None:
    assert words in str(job_error(RuntimeError(text)))


def test_few_items_are_a_task_each_and_a_million_are_no_more_than_ten_thousand(tmp_path: Path) -> None:
    assert len(spark.write_items(Folder(str(tmp_path / "few")), double, range(3), None)) == 3 + 1
    paths = [str(number) for number in range(25_000)]
    assert len(spark.write_items(Folder(str(tmp_path / "many")), length, paths, None)) == 8334 + 1


@pytest.mark.slow
def test_results_lie_in_no_spool_afterwards(on_spark: SparkRunner) -> None:
    assert len(list(on_spark(length, [str(number) for number in range(200)], QUICK))) == 200
    assert list(Path(on_spark.spool).iterdir()) == []


@pytest.mark.slow
def test_a_process_has_the_threads_of_its_task(on_spark: SparkRunner) -> None:
    assert {made for _, made in on_spark(threads, range(2), Limits(8, 60))} == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["CoarseGrainedExecutorBackend", "pyspark.daemon", "multiprocessing"])
def test_whatever_is_killed_in_the_middle_the_job_ends_with_the_same(
    on_spark: SparkRunner, tmp_path: Path, what: str
) -> None:
    items = [Work(tmp_path / "made", number, 0.5) for number in range(24)]
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: len(list((tmp_path / "made").glob("*.txt"))) >= 3, "the first results")
        victims = [one for one in processes(what) if one.pid != os.getpid()]
        killed.append(victims[-1].pid)
        os.kill(victims[-1].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    made = {work.number: outcome for work, outcome in on_spark(write_square, items, Limits(1, 60))}
    thread.join()
    assert killed
    failed = {number for number, outcome in made.items() if outcome != number**2}
    # A child that dies is taken for one that its video killed: that costs this one video, as on one machine.
    assert len(made) == 24 and len(failed) <= (1 if what == "multiprocessing" else 0), made
    files = {int(path.stem): int(path.read_text()) for path in (tmp_path / "made").glob("*.txt")}
    assert files | {number: number**2 for number in failed} == {number: number**2 for number in range(24)}
    for number in failed:  # the child may have died while it wrote: what it wrote aside goes with the next writing
        write_square(Work(tmp_path / "made", number, 0))
    assert not list((tmp_path / "made").glob(".*.part"))
    assert list(Path(on_spark.spool).iterdir()) == []
    wait_for(lambda: not [p for p in killed if psutil.pid_exists(p) and psutil.Process(p).status() != "zombie"], "ends")


@pytest.mark.slow
def test_a_full_disk_on_all_executors_ends_the_job_with_a_sentence(on_spark: SparkRunner) -> None:
    with pytest.raises(UserError, match=r"executor .*: /scratch/shard\.tar: No space left on device"):
        list(on_spark(full_disk, [1], QUICK))
    assert list(Path(on_spark.spool).iterdir()) == []


@pytest.mark.slow
def test_a_session_that_is_active_is_used_as_it_is(cluster: WorkEngine, tmp_path: Path) -> None:
    other = SparkRunner(WorkEngine(kind="spark", master="spark://nowhere:1"), str(tmp_path))
    assert other.session() is SparkRunner(cluster, str(tmp_path)).session()
    assert dict(other(double, [4], QUICK)) == {4: 8}
