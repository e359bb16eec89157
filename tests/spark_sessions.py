"""Spark for the tests: one session on two executors, each a process of its own, for a whole run of tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deepfake.engines.spark import SparkRunner
from deepfake.settings import WorkEngine

MASTER = "local-cluster[2,1,1024]"


@pytest.fixture(scope="session")
def cluster() -> Iterator[WorkEngine]:
    """The settings of a session that is started once."""
    pytest.importorskip("pyspark")
    settings = WorkEngine(kind="spark", master=MASTER, conf={"spark.executor.memory": "512m"})
    session = SparkRunner(settings, "").session()
    yield settings
    session.stop()


@pytest.fixture
def on_spark(cluster: WorkEngine, tmp_path: Path) -> SparkRunner:
    return SparkRunner(cluster, str(tmp_path / "spool"))


def processes(words: str) -> list[psutil.Process]:
    """Processes below this one with these words on their command line."""
    return [
        process for process in psutil.Process().children(recursive=True) if words in " ".join(_command_line(process))
    ]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
