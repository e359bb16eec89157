"""What processes of tests do (test_workers.py, commands/test_libraries.py); spawn imports it by name."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.workers import allow, hand_on

if TYPE_CHECKING:
    from deepfake.faces.reading import ReadJob


def double(number: int) -> int:
    return 2 * number


def count_up_to(number: int) -> str:
    """Hand on 1, 2, ... and then return."""
    for part in range(1, number + 1):
        hand_on(part)
    return "done"


def mishap(what: str) -> str:
    """Do what the item says; "die" and "spin" never return."""
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(3)
    while what == "spin":
        pass
    if what == "eat":
        eaten = []
        while True:
            eaten.append(b"x" * (32 << 20))
            time.sleep(0.01)
    if what == "raise":
        raise ValueError("the function says no")
    return what


def note_pid(folder: str) -> int:
    Path(folder, str(os.getpid())).touch()
    time.sleep(0.2)
    return os.getpid()


def slow_but_allowed(number: int) -> int:
    """Take 4 s after asking for more time; a negative number asks for none."""
    if number > 0:
        allow(60.0, 4000)
    time.sleep(4)
    return 2 * number


def environment(name: str) -> str | None:
    return os.environ.get(name)


def libraries_after_reading(job: "ReadJob") -> list[str]:
    """Read a video that shows a face; what was imported by then, by the names of the packages."""
    from deepfake.faces.reading import read

    assert read(job).extraction.faces
    return sorted({name.partition(".")[0] for name in sys.modules})
