"""Read videos in another process while this one imports its networks, and scores the first crops as they are cut.

What was read is handed over as it is; whatever goes wrong here comes up again, and is reported, where it is scored.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepfake.faces.chunk_queue import run_longest_first
from deepfake.faces.chunk_tasks import Outcome, Work
from deepfake.faces.reading import Reading, ReadJob, read_note
from deepfake.media.needs import limits_of
from deepfake.models.detector_file import extract_settings, read_header
from deepfake.workers import ONE_THREAD, Failed, Kept, Started, run_each

log = logging.getLogger(__name__)
MOST_WAITING = 256  # lists of crops: of a detection stride each, some 100 kB
GLANCE_S = 0.05


@dataclass(frozen=True)
class Ahead:
    """What is read ahead: so many videos, and at the end of the block what was read of them."""

    n_videos: int
    readings: dict[Path, Reading] = field(default_factory=dict)
    waiting: queue.Queue[list[bytes]] = field(default_factory=lambda: queue.Queue(MOST_WAITING))
    is_read: threading.Event = field(default_factory=threading.Event)

    def pictures(self) -> Iterator[list[bytes]]:
        """Crops as they are cut, as a shard's pictures, until all is read; not all of each video, nor only its own.

        What is left out, or cut later, lies in the shard.
        """
        while not self.is_read.is_set():
            try:
                yield self.waiting.get(timeout=GLANCE_S)
            except queue.Empty:
                continue

    def keep(self, work: Work, pictures: Any) -> None:
        """Take crops that a process handed on; where nobody keeps up with them they are left to the shard."""
        try:
            self.waiting.put_nowait(pictures)
        except queue.Full:
            log.debug("read ahead: video %d: crops left to the shard", work.number)


@contextmanager
def reading_ahead(
    paths: Sequence[Path],
    weights: Path,
    cache_dir: Path,
    limits: Mapping[str, float] | None = None,
    started: Started = (),
    kept: Kept | None = None,
) -> Iterator[Ahead]:
    """Read videos with a detector's settings while the block runs; at its end `readings` holds those that were read.

    `limits` of one video, where they were set, by the name of their setting; `started`: see `run_each`.
    Where `kept` is given, processes that are idle in the end are left there, for whoever has work for them.

    Where the block fails, what is being read is stopped.

    Those probed before are most likely extracted, too: they are left to the detector.
    """
    settings = extract_settings(read_header(weights)).model_copy(update=limits or {})
    new = [path for path in paths if read_note(path, cache_dir) is None]
    jobs = [ReadJob(path.name, path, cache_dir, settings, hand_on=True) for path in new]
    # One a video, and as many for a long one as this machine has cores; none is started before there is work for it.
    workers = {"workers": max(len(jobs), os.cpu_count() or 1)}
    ahead = Ahead(len(jobs))

    stopped = threading.Event()
    ours: Kept = list(started)

    def work() -> None:
        try:
            most = limits_of(settings.model_copy(update=workers))

            def run(do: Callable[[Work], Outcome], items: Iterable[Work]) -> Iterator[tuple[Work, Outcome | Failed]]:
                return run_each(do, items, most, ONE_THREAD, stopped.is_set, on_part=ahead.keep, kept=ours)

            for job, outcome in run_longest_first(jobs, run, is_stopped=stopped.is_set):
                log.debug("read ahead: %s: %s", job.path, outcome)
                if isinstance(outcome, Reading):
                    ahead.readings[job.path] = outcome
        except Exception:  # it is only ahead: the same comes up again where it can be reported
            log.debug("read ahead", exc_info=True)
        finally:
            ahead.is_read.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield ahead
    except BaseException:  # Ctrl-C, too: what is read serves nobody any more
        stopped.set()
        kept = None
        raise
    finally:
        thread.join()
        if kept is not None:
            kept.extend(ours)
        else:
            for process in ours:
                process.end()
