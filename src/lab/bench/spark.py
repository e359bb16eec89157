"""What Spark costs beside worker processes, what a second executor gains, and what the driver holds in memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deepfake.engines import Runner
from deepfake.engines.spark import SparkRunner
from deepfake.errors import UserError
from deepfake.faces.extraction import Video, extract_videos
from deepfake.files import sha256_of
from deepfake.media.listing import find_videos
from deepfake.settings import Extract, WorkEngine
from deepfake.workers import Limits, run_each

NAP_S = 0.5
SMALL = {"spark.executor.memory": "512m", "spark.driver.memory": "512m"}


def stub(path: str) -> int:
    """Do nothing with a path."""
    return len(path)


def nap(_: int) -> None:
    """Wait, as for a disk or a network."""
    time.sleep(NAP_S)


@dataclass(frozen=True)
class Timed:
    """Seconds by the clock of some work, beside those of the start that came before it."""

    name: str
    start_s: float
    seconds: tuple[float, ...]

    @property
    def best_s(self) -> float:
        """The least disturbed round."""
        return min(self.seconds)


@contextmanager
def engine(master: str | None) -> Iterator[tuple[Runner, float]]:
    """An engine, and the seconds its start took: worker processes (None), or a Spark of our own on a master."""
    if master is None:
        yield run_each, 0.0
        return
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as spool:
        runner = SparkRunner(WorkEngine(kind="spark", master=master, conf=SMALL), spool)
        began = time.perf_counter()
        session = runner.session()
        list(runner(stub, ["a", "b"], Limits(1, 60)))  # executors, Python workers and their children are there then
        try:
            yield runner, time.perf_counter() - began
        finally:
            session.stop()


def videos_of(folder: Path, n: int) -> list[Video]:
    """So many videos, spread over a folder; of a smaller one all."""
    paths = find_videos(folder)
    chosen = [paths[i * len(paths) // n] for i in range(n)] if n < len(paths) else paths
    return [Video(path.name, path, sha256_of(path), path.stat().st_size) for path in chosen]


def extraction_times(videos: Sequence[Video], masters: Sequence[str | None], rounds: int) -> list[Timed]:
    """Extract the videos on each engine from nothing, so many times."""
    made = []
    for master in masters:
        with engine(master) as (run, start_s):
            seconds = []
            for _ in range(rounds):
                work_dir = Path(tempfile.mkdtemp(prefix="bench-spark-"))
                began = time.perf_counter()
                statuses = [one.status for one in extract_videos(list(videos), work_dir, Extract(workers=2), run=run)]
                seconds.append(time.perf_counter() - began)
                shutil.rmtree(work_dir)
                if len(statuses) != len(videos) or statuses.count("ok") < len(videos) / 2:
                    raise UserError(f"{master}: of {len(videos)} videos {statuses.count('ok')} showed a face")
        made.append(Timed(master or "worker processes", start_s, tuple(seconds)))
    return made


def nap_times(n: int, masters: Sequence[str | None]) -> list[Timed]:
    """Items that wait and compute nothing: what the engine itself loses."""
    made = []
    for master in masters:
        with engine(master) as (run, start_s):
            began = time.perf_counter()
            assert sum(1 for _ in run(nap, range(n), Limits(2, 60))) == n
            made.append(Timed(master or "worker processes", start_s, (time.perf_counter() - began,)))
    return made


@dataclass(frozen=True)
class Memory:
    """What the driver took at most: its Python, and its Java with the scheduler."""

    n_items: int
    seconds: float
    python_mb: float
    java_mb: float


def driver_memory(n_items: int, master: str, items_per_task: int | None) -> Memory:
    """Map a function that does nothing over so many paths, and watch the driver."""
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as spool:
        settings = WorkEngine(kind="spark", master=master, conf=SMALL, items_per_task=items_per_task)
        runner = SparkRunner(settings, spool)
        session = runner.session()
        list(runner(stub, ["a"], Limits(1, 60)))
        with watched() as peak:
            began = time.perf_counter()
            paths = [f"part_{i // 1000:04d}/{i:08d}.mp4" for i in range(n_items)]
            assert sum(1 for _ in runner(stub, paths, Limits(1, 60))) == n_items
            seconds = time.perf_counter() - began
        session.stop()
    return Memory(n_items, seconds, peak["python"], peak["java"])


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """The largest resident memory of this process and of the Java that is its child, in MB."""
    peak, done = {"python": 0.0, "java": 0.0}, threading.Event()
    me = psutil.Process()
    (java,) = (child for child in me.children() if "java" in child.name())

    def watch() -> None:
        while not done.wait(0.2):
            for name, process in (("python", me), ("java", java)):
                peak[name] = max(peak[name], process.memory_info().rss / 2**20)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
