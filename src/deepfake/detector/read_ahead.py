"""Read videos in another process while this one still imports its networks: that saves a check some seconds.

What was read is handed over as it is; whatever goes wrong here comes up again, and is reported, where it is scored.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deepfake.faces.chunk_queue import run_longest_first
from deepfake.faces.chunk_tasks import Outcome, Work
from deepfake.faces.reading import Reading, ReadJob, read_note
from deepfake.media.needs import limits_of
from deepfake.models.detector_file import extract_settings, read_header
from deepfake.workers import ONE_THREAD, Failed, Started, run_each

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ahead:
    """What is read ahead: so many videos, and at the end of the block what was read of them."""

    n_videos: int
    readings: dict[Path, Reading] = field(default_factory=dict)


@contextmanager
def reading_ahead(
    paths: Sequence[Path],
    weights: Path,
    cache_dir: Path,
    limits: Mapping[str, float] | None = None,
    started: Started = (),
) -> Iterator[Ahead]:
    """Read videos with a detector's settings while the block runs; at its end `readings` holds those that were read.

    `limits` of one video, where they were set, by the name of their setting; `started`: see `run_each`.

    Where the block fails, what is being read is stopped.

    Those probed before are most likely extracted, too: they are left to the detector.
    """
    settings = extract_settings(read_header(weights)).model_copy(update=limits or {})
    jobs = [ReadJob(path.name, path, cache_dir, settings) for path in paths if read_note(path, cache_dir) is None]
    # One a video, and as many for a long one as this machine has cores; none is started before there is work for it.
    workers = {"workers": max(len(jobs), os.cpu_count() or 1)}
    ahead = Ahead(len(jobs))

    stopped = threading.Event()

    def work() -> None:
        try:
            most = limits_of(settings.model_copy(update=workers))

            def run(do: Callable[[Work], Outcome], items: Iterable[Work]) -> Iterator[tuple[Work, Outcome | Failed]]:
                return run_each(do, items, most, ONE_THREAD, stopped.is_set, started=started)

            for job, outcome in run_longest_first(jobs, run, is_stopped=stopped.is_set):
                log.debug("read ahead: %s: %s", job.path, outcome)
                if isinstance(outcome, Reading):
                    ahead.readings[job.path] = outcome
        except Exception:  # it is only ahead: the same comes up again where it can be reported
            log.debug("read ahead", exc_info=True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield ahead
    except BaseException:  # Ctrl-C, too: what is read serves nobody any more
        stopped.set()
        raise
    finally:
        thread.join()
