"""What executors do in tests; they import it by name."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from deepfake.files import write_whole


@dataclass(frozen=True)
class Work:
    """Write a file of this number into a folder, and take a while."""

    folder: Path
    number: int
    seconds: float = 0.0


def write_square(work: Work) -> int:
    begun = work.folder / "begun" / f"{work.number}.{os.getpid()}"
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.touch()
    time.sleep(work.seconds)
    write_whole(work.folder / f"{work.number}.txt", str(work.number**2).encode())
    return work.number**2


def full_disk(number: int) -> int:
    raise OSError(28, "No space left on device", "/scratch/shard.tar")


def length(text: str) -> int:
    return len(text)


def threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def process(_: int) -> tuple[int, int]:
    time.sleep(0.05)
    return os.getpid(), os.getppid()
