"""What every engine promises, on worker processes and, slow, on two executors of Spark."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deepfake.engines import Runner, open_runner
from deepfake.settings import WorkEngine
from deepfake.workers import Failed, Limits, run_each
from engine_tasks import Work, write_square
from spark_sessions import cluster as cluster
from spark_sessions import on_spark as on_spark
from worker_tasks import double, mishap

QUICK = Limits(2, 60)


@pytest.fixture(params=["local", pytest.param("spark", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest) -> Runner:
    return run_each if request.param == "local" else request.getfixturevalue("on_spark")


def test_every_item_comes_once_with_its_result(run: Runner) -> None:
    assert sorted(run(double, range(7), QUICK)) == [(i, 2 * i) for i in range(7)]
    assert list(run(double, [], QUICK)) == []
    assert dict(run(double, (number for number in (3, 5)), QUICK)) == {3: 6, 5: 10}


@pytest.mark.slow
def test_an_item_that_hangs_or_dies_is_failed_and_the_rest_goes_on(run: Runner) -> None:
    made = dict(run(mishap, ["a", "die", "spin", "exit", "b"], Limits(2, 8)))
    assert {item: made[item] for item in "ab"} == {"a": "a", "b": "b"}
    assert made["die"] == Failed("its process died (exit code -9): the decoder or a library crashed")
    assert made["exit"] == Failed("its process died (exit code 3): the decoder or a library crashed")
    assert made["spin"] == Failed("took longer than 8 s and was stopped; --deadline-s 16 gives it more")


@pytest.mark.slow
def test_an_item_that_eats_the_memory_is_failed(run: Runner) -> None:
    made = dict(run(mishap, ["eat", "a"], Limits(2, 60, memory_mb=400)))
    assert made == {
        "a": "a",
        "eat": Failed("needed more than 400 MB of memory and was stopped; --memory-mb 800 gives it more"),
    }


def test_what_the_function_raises_is_raised(run: Runner) -> None:
    with pytest.raises(ValueError, match="the function says no"):
        list(run(mishap, ["a", "raise", "b"], QUICK))


def test_closing_it_stops_the_work(run: Runner, tmp_path: Path) -> None:
    results = run(write_square, [Work(tmp_path, number, 0.2) for number in range(60)], QUICK)
    next(results)
    results.close()  # type: ignore[attr-defined]
    counts = [-1]
    for _ in range(10):  # a busy machine takes its time to stop executors
        time.sleep(1)
        counts.append(len(list(tmp_path.glob("*.txt"))))
        if counts[-1] == counts[-2]:
            break
    assert counts[-1] < 50
    assert counts[-1] == counts[-2], "nothing goes on"
    assert not list((tmp_path / "spool").glob("*"))


def test_the_settings_choose(tmp_path: Path) -> None:
    assert open_runner(WorkEngine(), tmp_path) is run_each
