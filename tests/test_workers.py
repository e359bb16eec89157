"""Processes that can be killed: whatever one item does costs that one item."""

import os
import time
from pathlib import Path

import psutil
import pytest

import worker_tasks
from deepfake.workers import Failed, Limits, _Allowance, _Worker, allow, run_each, start_ahead


def wait_until_gone(pids: list[int]) -> None:
    for _ in range(100):
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f"still running: {pids}")


def test_every_item_gets_its_result() -> None:
    assert dict(run_each(worker_tasks.double, range(20), Limits(2, 30))) == {i: 2 * i for i in range(20)}


def test_parts_are_handed_on_in_their_order_before_the_item_is_done() -> None:
    parts: list[tuple[int, int]] = []
    ends = {}
    for item, result in run_each(
        worker_tasks.count_up_to, [3, 5], Limits(2, 30), on_part=lambda item, part: parts.append((item, part))
    ):
        ends[item] = (result, [part for owner, part in parts if owner == item])
    assert ends == {3: ("done", [1, 2, 3]), 5: ("done", [1, 2, 3, 4, 5])}


def test_parts_that_nobody_waits_for_are_dropped_and_outside_a_worker_nothing_is_sent() -> None:
    assert dict(run_each(worker_tasks.count_up_to, [2], Limits(1, 30))) == {2: "done"}
    assert worker_tasks.count_up_to(2) == "done"


def test_no_items_start_nothing_and_give_nothing() -> None:
    assert list(run_each(worker_tasks.double, [], Limits(2, 30))) == []


def test_a_crash_a_hang_and_a_glutton_cost_one_item_each() -> None:
    items = ["a", "die", "b", "spin", "c", "eat", "d", "exit", "e"]
    results = dict(run_each(worker_tasks.mishap, items, Limits(2, 12, memory_mb=400)))
    assert {key: value for key, value in results.items() if isinstance(value, str)} == {k: k for k in "abcde"}
    reasons = {key: value.reason for key, value in results.items() if isinstance(value, Failed)}
    assert "its process died" in reasons["die"] and "its process died" in reasons["exit"]
    assert reasons["spin"] == "took longer than 12 s and was stopped; --deadline-s 24 gives it more"
    assert reasons["eat"] == "needed more than 400 MB of memory and was stopped; --memory-mb 800 gives it more"
    assert set(reasons) == {"die", "exit", "spin", "eat"}


@pytest.mark.slow
def test_a_worker_raises_the_limits_of_its_item_where_they_may_grow() -> None:
    items, limits = [1, -1, 2], Limits(1, 3, 3000, grow=(True, True))
    results = dict(run_each(worker_tasks.slow_but_allowed, items, limits))
    assert results[1] == 2 and results[2] == 4
    assert results[-1] == Failed("took longer than 3 s and was stopped; --deadline-s 6 gives it more")


def trouble(limits: Limits, since_s: float, resident_mb: float, allowed: tuple[float, int]) -> Failed | None:
    worker = _Worker.__new__(_Worker)
    worker.since, worker.allowed = time.monotonic() - since_s, _Allowance(*allowed)
    worker.resident_mb = lambda: resident_mb  # type: ignore[method-assign]
    return worker.trouble(limits)


def test_what_is_allowed_counts_where_limits_may_grow_and_messages_name_what_moves_them() -> None:
    limits = Limits(1, 5, 1000, grow=(True, True))
    assert trouble(limits, 10, 500, (20, 0)) is None and trouble(limits, 1, 1500, (0, 2000)) is None
    assert trouble(Limits(1, 5, 1000), 10, 500, (20, 0)) == Failed(
        "took longer than 5 s and was stopped; --deadline-s 10 gives it more"
    )
    assert trouble(Limits(1, 5, 1000).of_section("extract"), 1, 1500, (0, 2000)) == Failed(
        "needed more than 1000 MB of memory and was stopped; --set extract.memory_mb=2000 gives it more"
    )
    assert trouble(limits, 1, 2500, (0, 2000)) == Failed(
        "needed more than 2000 MB of memory and was stopped; --memory-mb 4000 gives it more"
    )


def test_nothing_is_allowed_outside_a_worker() -> None:
    allow(5.0, 10)


def test_what_the_function_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="the function says no"):
        list(run_each(worker_tasks.mishap, ["a", "raise", "b"], Limits(1, 30)))


def test_no_process_is_left_after_the_end(tmp_path: Path) -> None:
    pids = {pid for _, pid in run_each(worker_tasks.note_pid, [str(tmp_path)] * 4, Limits(2, 30))}
    assert os.getpid() not in pids
    wait_until_gone([pid for pid in pids if isinstance(pid, int)])


def test_closing_the_iterator_stops_the_processes(tmp_path: Path) -> None:
    running = run_each(worker_tasks.mishap, ["a", "spin", "spin"], Limits(2, 600))
    assert next(running) == ("a", "a")
    children = [c.pid for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
    assert len(children) >= 2
    running.close()
    wait_until_gone(children)


def test_a_stop_ends_the_processes_while_they_work() -> None:
    started = time.monotonic()
    stopped = iter([False, False, True])
    assert list(run_each(worker_tasks.mishap, ["spin"], Limits(1, 60), is_stopped=lambda: next(stopped, True))) == []
    assert time.monotonic() - started < 30
    assert not [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items():  # type: ignore[no-untyped-def]
        for number in range(1000):
            taken.append(number)
            yield number

    running = run_each(worker_tasks.double, items(), Limits(1, 30))
    next(running)
    assert len(taken) <= 8
    running.close()


def test_the_processes_share_the_cores_and_get_the_environment() -> None:
    results = dict(run_each(worker_tasks.environment, ["OMP_NUM_THREADS", "MINE"], Limits(2, 30), {"MINE": "yes"}))
    assert results == {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // 2, 1)), "MINE": "yes"}


def test_a_process_that_was_started_ahead_does_the_work_and_ends() -> None:
    (worker,) = started = start_ahead(1, {"SAID": "ahead"}, ["colorsys"])
    assert dict(run_each(worker_tasks.environment, ["SAID"], Limits(1, 120), started=started)) == {"SAID": "ahead"}
    assert not worker.process.is_alive()
    (idle,) = started = start_ahead(1, {}, [])
    assert list(run_each(worker_tasks.environment, [], Limits(1, 120), started=started)) == []
    assert not idle.process.is_alive()
