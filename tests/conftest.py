"""Rules and little clips for all tests: whoever logs an ERROR fails. Files that take long are begun first."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# Several processes of tests (`pytest -n`) have one thread each, or they wait for each other; said before torch comes.
# A worker of a command that is alone has a thread a core all the same: those sleep while they wait.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest

from deepfake.media.clips import write_clip

Box = tuple[int, int, int, int]
# Files of half a minute and more, the longest first: begun last, one would keep a single process busy in the end.
LONG = (
    "tests/lab/test_kills.py",
    "tests/test_end_to_end.py",
    "tests/test_bad_days.py",
    "tests/test_wheel.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.location[0], len(LONG)))


def at_usual_priority() -> None:
    """Undo what SVT-AV1 does where root encodes: the process becomes a real-time one that leaves a core to no other."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    yield
    at_usual_priority()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    yield
    at_usual_priority()


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    errors = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not errors, f"logged as ERROR: {errors}"


# Where processes are kept for the next call: on executors they serve the next task, here the next test file must not
# meet them.
KEPT = (("deepfake.engines.spark", "children"), ("deepfake.engines.transformers.tasks", "_children"))


@pytest.fixture(autouse=True, scope="module")
def no_process_is_kept() -> Iterator[None]:
    yield
    for module, name in KEPT:
        kept = vars(sys.modules[module])[name] if module in sys.modules else []
        while kept:
            kept.pop().end()


def scene(boxes: Sequence[Box], width_px: int = 160, height_px: int = 96, grey: int | np.ndarray = 90) -> np.ndarray:
    """A picture of a grey, or of greys (height, width, 1), with white squares."""
    frame_HWC = np.full((height_px, width_px, 3), grey, np.uint8)
    for x0, y0, x1, y1 in boxes:
        frame_HWC[y0:y1, x0:x1] = 255
    return frame_HWC


@pytest.fixture
def square_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a lossless clip of white squares; `boxes_of(number)` are the squares of a frame."""

    def write(
        boxes_of: Callable[[int], Sequence[Box]],
        n_frames: int = 32,
        fps: float = 8,
        name: str = "clip.mp4",
        grey_of: Callable[[int], int | np.ndarray] = lambda number: 90,
        width_px: int = 160,
        height_px: int = 96,
    ) -> Path:
        pictures = (scene(boxes_of(i), width_px, height_px, grey_of(i)) for i in range(n_frames))
        path = tmp_path / name
        write_clip(path, pictures, fps, crf=4, options={"preset": "ultrafast"})
        return path

    return write
