"""Many videos -> the outcome of each, the longest first; long ones are cut, and their chunks are work like any other.

A video goes through: begin (a short one is finished here; a long one is demuxed), then in turn a step, which puts
together what is known and says which chunks are to be read next, and those chunks, until a step has the extraction. It
is all the same to this whether the work is done by processes of this machine or by executors: `run` maps a function
over items. This process imports no extractor; `faces.chunked` does the work.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from deepfake.faces.chunk_tasks import ChunkTask, Next, Outcome, Part, Started, Step, Whole, Work
from deepfake.faces.extracted import Extraction, Job
from deepfake.faces.reading import Reading, ReadJob
from deepfake.workers import Failed

log = logging.getLogger(__name__)
# Long videos whose chunks are out at once: the crops of one wait in memory until its last chunk is there.
MOST_OPEN = 16
Asked = TypeVar("Asked", Job, ReadJob)


def do(work: Work) -> Outcome:
    """Do a piece of work, in a worker process."""
    from deepfake.faces import chunked

    return chunked.do(work.what)


Run = Callable[[Callable[[Work], Outcome], Iterable[Work]], Iterator[tuple[Work, "Outcome | Failed"]]]


def run_longest_first(
    jobs: Sequence[Asked],
    run: Run,
    most_open: int = MOST_OPEN,
    is_stopped: Callable[[], bool] = lambda: False,
    sizes: Sequence[int] = (),
) -> Iterator[tuple[Asked, Extraction | Reading | Failed]]:
    """Yield each job with its outcome as it is done: a Reading of a ReadJob, an Extraction of a Job.

    `run` is given an iterator that ends when nothing can be done before something is finished, and is called anew as
    long as there is work, until `is_stopped`. Where it asks on after that end, as `workers.run_each` does, no video
    waits for others. `sizes` are those of the files in bytes, where they are known.
    """
    queue = Queue(jobs, most_open, sizes)
    while queue.has_work and not is_stopped():
        has_run = False
        for work, outcome in run(do, queue):
            has_run = True
            done = queue.take(work, outcome)
            if done is not None:
                yield jobs[work.number], done
        if not has_run:
            return  # whoever runs it was told to stop


@dataclass
class _Long:
    """A long video on its way."""

    started: Started
    parts: list[Part] = field(default_factory=list)
    n_out: int = 0
    n_asked: int = 0
    problem: str | None = None


class Queue(Generic[Asked]):
    """What can be done now, the longest first; its end is not final."""

    def __init__(self, jobs: Sequence[Asked], most_open: int = MOST_OPEN, sizes: Sequence[int] = ()) -> None:
        self.jobs: Sequence[Asked] = jobs
        self.most_open = most_open
        known = np.array(sizes or [_size(job.path) for job in jobs], np.int64)
        # The largest file last, where it is taken from; of equal ones the first.
        self._unbegun = np.argsort(-known, kind="stable")[::-1]
        self._waiting: list[tuple[int, float, int, Work]] = []
        self._n_pushed = 0
        self._long: dict[int, _Long] = {}
        self._later: list[tuple[int, Started]] = []

    def __iter__(self) -> Queue[Asked]:
        return self

    def __next__(self) -> Work:
        """What is in progress, then chunks, then what is not begun."""
        if self._waiting:
            return heapq.heappop(self._waiting)[-1]
        if not len(self._unbegun):
            raise StopIteration
        number, self._unbegun = int(self._unbegun[-1]), self._unbegun[:-1]
        return Work(number, self.jobs[number])

    @property
    def has_work(self) -> bool:
        """Whether anything can be done now."""
        return bool(self._waiting) or len(self._unbegun) > 0

    def _push(self, turn: int, length: float, work: Work) -> None:
        heapq.heappush(self._waiting, (turn, -length, self._n_pushed, work))
        self._n_pushed += 1

    def take(self, work: Work, outcome: Outcome | Failed) -> Extraction | Reading | Failed | None:
        """Take up what a piece of work gave; the outcome of a video that is done, None of any other."""
        number = work.number
        match outcome:
            case Started():
                self._later.append((number, outcome))
                self._open()
                return None
            case Next():
                long = self._long[number]
                long.n_out, long.n_asked = len(outcome.tasks), long.n_asked + outcome.is_asking
                for task in outcome.tasks:
                    self._push(1, task.chunk.length_s, Work(number, task))
                return None
            case Whole():
                self._read_whole(number, outcome.reason)
                return None
        if isinstance(work.what, ChunkTask):
            self._take_part(number, outcome)
            return None
        if number not in self._long:
            assert isinstance(outcome, Extraction | Reading | Failed), "a job is begun, or done"
            return outcome
        if isinstance(work.what, Step) and isinstance(outcome, Failed):
            self._read_whole(number, outcome.reason)
            return None
        return self._finish(number, outcome)

    def _open(self) -> None:
        while self._later and len(self._long) < self.most_open:
            number, started = self._later.pop(0)
            self._long[number] = _Long(started)
            self._push(0, 0, Work(number, Step(started)))

    def _take_part(self, number: int, outcome: Outcome | Failed) -> None:
        long = self._long[number]
        long.n_out -= 1
        if isinstance(outcome, Part):
            long.parts.append(outcome)
            long.problem = long.problem or outcome.problem
        elif isinstance(outcome, Failed):
            long.problem = outcome.reason
        if long.n_out:
            return
        if long.problem is not None:
            self._read_whole(number, long.problem)
        else:
            self._push(0, 0, Work(number, Step(long.started, tuple(long.parts), long.n_asked)))

    def _read_whole(self, number: int, reason: str) -> None:
        long = self._long[number]
        log.info("video %r: not cut, one process reads it all: %s", long.started.job.video_id, reason)
        long.parts.clear()
        self._push(0, 0, Work(number, Whole(long.started, reason)))

    def _finish(self, number: int, outcome: Outcome | Failed) -> Extraction | Reading | Failed:
        file = self._long.pop(number).started.file
        self._open()
        if isinstance(outcome, Failed):
            return outcome
        assert isinstance(outcome, Extraction), "a step or a whole video was read"
        return outcome if file is None else Reading(file, outcome)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # whoever reads it says why
