"""What the processes of tests/test_workers.py do; spawn imports it by name."""

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    return 2 * number


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


def environment(name: str) -> str | None:
    return os.environ.get(name)
