"""Run a function over many items in processes that can be killed: deadline, memory limit, crash.

An item that hangs, eats the memory or takes its process down costs that one item: it becomes a
`Failed` with the reason, the process is replaced and the rest goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import TypeVar

import psutil
from pebble import ProcessExpired, ProcessPool

WATCH_S = 0.2
Item = TypeVar("Item")
T = TypeVar("T")


@dataclass(frozen=True)
class Failed:
    """Why an item has no result."""

    reason: str


@dataclass(frozen=True)
class Limits:
    """What one item may cost."""

    workers: int
    deadline_s: float
    memory_mb: int | None = None


def _follow_parent(parent: int) -> None:
    while True:
        time.sleep(1)
        if os.getppid() != parent:
            os._exit(1)  # the parent was killed: leave nothing running


def _start_worker(parent: int, environment: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.update(environment)
    threading.Thread(target=_follow_parent, args=(parent,), daemon=True).start()


def _kill_above(memory_mb: int, killed: set[int], done: threading.Event) -> None:
    me = psutil.Process()
    while not done.wait(WATCH_S):
        for child in me.children():
            try:
                if child.memory_info().rss > memory_mb * 2**20 and "spawn_main" in " ".join(child.cmdline()):
                    killed.add(child.pid)
                    child.kill()
            except psutil.Error:
                continue  # it has just ended


def _outcome(future: Future[T | Failed], limits: Limits, killed: set[int]) -> T | Failed:
    try:
        return future.result()
    except TimeoutError:
        return Failed(f"took longer than {limits.deadline_s:g} s and was stopped")
    except ProcessExpired as error:
        if error.pid in killed:
            return Failed(f"needed more than {limits.memory_mb} MB of memory and was stopped")
        return Failed(f"its process died (exit code {error.exitcode}): the decoder or a library crashed")


def run_each(
    function: Callable[[Item], T], items: Iterable[Item], limits: Limits, environment: dict[str, str] | None = None
) -> Iterator[tuple[Item, T | Failed]]:
    """Yield (item, result or Failed) as they finish, in no fixed order.

    `function` and items are pickled to the processes, so `function` stands at the top of a module; what it raises
    is raised here too, since only the function knows which errors belong to an item. Closing the
    iterator or Ctrl-C stops all processes. `environment` is set before the function is imported.
    """
    killed: set[int] = set()
    done = threading.Event()
    watch = threading.Thread(target=_kill_above, args=(limits.memory_mb or 0, killed, done), daemon=True)
    pool = ProcessPool(
        max_workers=limits.workers,
        initializer=_start_worker,
        initargs=(os.getpid(), {**_one_thread_each(limits.workers), **(environment or {})}),
        context=multiprocessing.get_context("spawn"),
    )
    waiting: dict[Future[T | Failed], Item] = {}
    source = iter(items)
    try:
        if limits.memory_mb:
            watch.start()
        while True:
            for item in source:
                waiting[pool.schedule(function, args=(item,), timeout=limits.deadline_s)] = item
                if len(waiting) >= 4 * limits.workers:
                    break
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), _outcome(future, limits, killed)
    finally:
        done.set()
        pool.stop()
        pool.join()


def _one_thread_each(workers: int) -> dict[str, str]:
    threads = str(max((os.cpu_count() or 1) // workers, 1))
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
