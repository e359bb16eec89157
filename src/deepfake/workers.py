"""Run a function over many items in processes that can be killed: deadline, memory limit, crash.

An item that hangs, eats the memory or takes its process down costs that one item: it becomes a
`Failed` with the reason, the process is replaced and the rest goes on. One loop in the parent, no
threads there: pebble's pool, tried first, hung for good in its `join` when stopped with busy workers.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, Generic, TypeVar

from deepfake import registry

WATCH_S = 0.2
Item = TypeVar("Item")
T = TypeVar("T")


def threads_each(threads: int) -> dict[str, str]:
    """The environment of processes that may have so many threads each."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


# For processes beside one that has work of its own.
ONE_THREAD = threads_each(1)


@dataclass(frozen=True)
class Failed:
    """Why an item has no result."""

    reason: str


@dataclass(frozen=True)
class Limits:
    """What one item may cost.

    `options` are those that move deadline and memory, as messages name them. `grow`: whether a worker may raise the one
    and the other for its item (`allow`).
    """

    workers: int
    deadline_s: float
    memory_mb: int | None = None
    options: tuple[str, str] = ("--deadline-s", "--memory-mb")
    grow: tuple[bool, bool] = (False, False)

    def of_section(self, section: str) -> Limits:
        """The same where this section of the settings moves them."""
        return replace(self, options=(f"--set {section}.deadline_s=", f"--set {section}.memory_mb="))


@dataclass(frozen=True)
class _Allowance:
    """What a worker sends where its item turns out to need more than others."""

    deadline_s: float
    memory_mb: int


@dataclass(frozen=True)
class _Part:
    """What a worker hands on before its item is done."""

    value: Any


_to_parent: list[Connection] = []  # in a worker: where it sends


def hand_on(value: Any) -> None:
    """Send a part of what this process makes of its item to whoever runs it (`on_part`); nothing outside a worker."""
    for connection in _to_parent:
        connection.send((True, _Part(value)))


def allow(deadline_s: float, memory_mb: int) -> None:
    """Raise the limits of the item this process works on to these, if they may grow; nothing outside a worker."""
    for connection in _to_parent:
        connection.send((True, _Allowance(deadline_s, memory_mb)))


def _follow_parent(parent: int) -> None:
    while True:
        time.sleep(1)
        if os.getppid() != parent:
            os._exit(1)  # the parent was killed: leave nothing running


def _serve(
    connection: Connection, parent: int, environment: dict[str, str], plugins: tuple[str, ...], modules: Sequence[str]
) -> None:
    """Body of a worker: answer each (function, item) with (True, result) or (False, exception)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.update(environment)
    registry.start_worker(plugins)
    threading.Thread(target=_follow_parent, args=(parent,), daemon=True).start()
    gc.disable()  # modules are no garbage
    for module in modules:
        importlib.import_module(module)
    gc.enable()
    _to_parent.append(connection)
    while True:
        try:
            function, item = connection.recv()
        except EOFError:
            return
        try:
            answer = (True, function(item))
        except Exception as error:  # it is raised again in the parent
            answer = (False, error)
        try:
            connection.send(answer)
        except (TypeError, AttributeError, ValueError) as error:  # something that cannot be pickled
            connection.send((False, RuntimeError(f"{answer[1]!r} cannot be handed over: {error}")))


_hiding = threading.Lock()


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Start processes that do not run the user's program again to find functions in it: ours stand in modules.

    A script that calls `deepfake.check` without `if __name__ == "__main__"` would else start itself in each.
    """
    with _hiding:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class _Worker(Generic[Item]):
    """A process and the item it works on."""

    def __init__(self, environment: dict[str, str], modules: Sequence[str] = ()) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (theirs, os.getpid(), environment, registry.plugins(), tuple(modules))
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with _main_hidden():
            self.process.start()
        theirs.close()
        self.item: Item | None = None
        self.is_busy = False
        self.since = 0.0
        self.allowed = _Allowance(0.0, 0)

    def give(self, function: Callable[[Item], Any], item: Item) -> None:
        self.item, self.is_busy, self.since = item, True, time.monotonic()
        self.allowed = _Allowance(0.0, 0)
        self.connection.send((function, item))

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def resident_mb(self) -> float:
        import psutil  # only here: the process that is started does without

        try:
            return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)
        except psutil.Error:
            return 0.0  # it has just ended

    def answer(self) -> tuple[bool, Any] | None:
        """What the worker sent; None where it died instead."""
        try:
            answer: tuple[bool, Any] = self.connection.recv()
            return answer
        except (EOFError, OSError):
            return None

    def trouble(self, limits: Limits) -> Failed | None:
        """Why the item must be given up now, if it must."""
        deadline_s = max(limits.deadline_s, self.allowed.deadline_s if limits.grow[0] else 0)
        if time.monotonic() - self.since > deadline_s:
            more = _with_value(limits.options[0], f"{2 * deadline_s:.0f}")
            return Failed(f"took longer than {deadline_s:g} s and was stopped; {more} gives it more")
        memory_mb = max(limits.memory_mb or 0, self.allowed.memory_mb if limits.grow[1] else 0)
        if limits.memory_mb and self.resident_mb() > memory_mb:
            more = _with_value(limits.options[1], str(2 * memory_mb))
            return Failed(f"needed more than {memory_mb} MB of memory and was stopped; {more} gives it more")
        return None


def _with_value(option: str, value: str) -> str:
    """An option as it stands on a command line."""
    return f"{option}{'' if option.endswith('=') else ' '}{value}"


Started = Sequence[_Worker[Any]]
Kept = list[_Worker[Any]]


def start_ahead(n: int, environment: dict[str, str], modules: Sequence[str]) -> Started:
    """Start processes before it is known what they are to do, for one call of `run_each`.

    They import `modules` meanwhile. Nothing heavy is imported here: a command calls this first.
    """
    return [_Worker(environment, modules) for _ in range(n)]


def run_each(
    function: Callable[[Item], T],
    items: Iterable[Item],
    limits: Limits,
    environment: dict[str, str] | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
    started: Started = (),
    on_part: Callable[[Item, Any], None] = lambda item, value: None,
    kept: Kept | None = None,
) -> Iterator[tuple[Item, T | Failed]]:
    """Yield (item, result or Failed) as they finish, in no fixed order.

    `function` and items are pickled to the processes, so `function` stands at the top of a module; what it raises
    is raised here too, since only the function knows which errors belong to an item. Closing the
    iterator or Ctrl-C stops all processes. `environment` is set before the function is imported. The deadline
    of a new process's first item includes its start. Once `is_stopped` says so, all processes end and nothing more
    is yielded: for another thread, which cannot close the iterator. `started` are processes that were started ahead:
    they are used first, with the environment that they have, and end with the others. `kept` are used first, too, and
    those that are idle in the end are left there for the next call. An iterator of items that has ended is asked again
    after each result. `on_part` is called with what a worker hands on (`hand_on`) before its item is done; an item that
    fails later may have handed on parts, too.
    """
    variables = {**_one_thread_each(limits.workers), **(environment or {})}
    workers: list[_Worker[Item]] = [*started, *(kept or ())]
    if kept is not None:
        kept.clear()
    source = iter(items)
    try:
        _fill(workers, function, source, limits, variables)
        while (busy := [worker for worker in workers if worker.is_busy]) and not is_stopped():
            ready = wait([worker.connection for worker in busy], timeout=WATCH_S)
            finished: list[tuple[Any, Any]] = []
            for worker in busy:
                outcome = _outcome(worker, worker.connection in ready, limits, on_part)
                if outcome is None:
                    continue
                finished.append((worker.item, outcome[0]))
                worker.is_busy = False
                if isinstance(outcome[0], Failed):
                    workers.remove(worker)
                    worker.end()
            _fill(workers, function, source, limits, variables)  # first, so that they work while results are used
            yield from finished
            # Whoever takes the results may find new items in them.
            _fill(workers, function, source, limits, variables)
    finally:
        idle = [worker for worker in workers if kept is not None and not worker.is_busy and worker.process.is_alive()]
        for worker in workers:
            if worker not in idle:
                worker.end()
        if kept is not None:
            kept.extend(idle)


def run_here(function: Callable[[Item], T], items: Iterable[Item], limits: Limits) -> Iterator[tuple[Item, T | Failed]]:
    """`run_each` in this process, without limits: for a process that has limits of its own."""
    for item in items:
        yield item, function(item)


def _fill(
    workers: list[_Worker[Item]],
    function: Callable[[Item], Any],
    source: Iterator[Item],
    limits: Limits,
    variables: dict[str, str],
) -> None:
    """Give idle workers the next items, starting processes where there are too few."""
    while sum(worker.is_busy for worker in workers) < limits.workers:
        try:
            item = next(source)
        except StopIteration:
            return
        idle = next((worker for worker in workers if not worker.is_busy), None)
        if idle is None:
            idle = _Worker(variables)
            workers.append(idle)
        idle.give(function, item)


def _outcome(
    worker: _Worker[Item], is_ready: bool, limits: Limits, on_part: Callable[[Item, Any], None]
) -> tuple[Any] | None:
    """The end of a worker's item in a tuple of one; None while it goes on."""
    if not is_ready:
        trouble = worker.trouble(limits)
        return None if trouble is None else (trouble,)
    answer = worker.answer()
    if answer is None:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        return (Failed(f"its process died (exit code {code}): the decoder or a library crashed"),)
    is_result, value = answer
    if isinstance(value, _Allowance):
        worker.allowed = value
        return None
    if isinstance(value, _Part):
        assert worker.item is not None, "it works on one"
        on_part(worker.item, value.value)
        return None
    if not is_result:
        raise value
    return (value,)


def _one_thread_each(workers: int) -> dict[str, str]:
    threads = max((os.cpu_count() or 1) // workers, 1)
    return threads_each(threads)
