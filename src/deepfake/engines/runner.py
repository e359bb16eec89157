"""What every engine does, and the one that the settings choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from deepfake.settings import WorkEngine
from deepfake.workers import Failed, Limits, run_each

Item = TypeVar("Item")
T = TypeVar("T")


class Runner(Protocol):
    """Maps a function over items: yields (item, result or Failed) as they finish, in no fixed order.

    The function stands at the top of a module, and items and results can be pickled. An item that hangs, takes its
    process down or needs more than `limits` allow is `Failed`; what the function raises is raised here. What it writes
    is written whole and named by its content: an item may be worked on twice. Paths in items are
    absolute. Closing the iterator stops the work.
    """

    def __call__(
        self, function: Callable[[Item], T], items: Iterable[Item], limits: Limits
    ) -> Iterator[tuple[Item, T | Failed]]:
        """Map."""


def open_runner(settings: WorkEngine, work_dir: Path) -> Runner:
    """The engine that the settings choose; what Spark's driver and executors hand each other lies below `work_dir`."""
    if settings.kind == "local":
        return run_each
    from deepfake.engines.spark import SparkRunner

    return SparkRunner(settings, settings.spool or str(work_dir.absolute() / ".spool"))
