"""Read videos in another process while this one still imports its libraries: that saves a check some seconds.

What was read is handed over as it is; whatever goes wrong here comes up again, and is reported, where it is scored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deepfake.faces.reading import Reading, ReadJob, read
from deepfake.files import probe_note
from deepfake.models.detector_file import read_header
from deepfake.settings import Extract
from deepfake.workers import Failed, Limits, run_each

log = logging.getLogger(__name__)
# The other core imports meanwhile.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@contextmanager
def reading_ahead(paths: Sequence[Path], weights: Path, cache_dir: Path) -> Iterator[Mapping[Path, Reading]]:
    """Read videos with a detector's settings while the block runs; at its end the mapping holds those that were read.

    Where the block fails, what is being read is stopped.

    Those probed before are most likely extracted, too: they are left to the detector.
    """
    settings = Extract.model_validate(read_header(weights)["extract"])
    jobs = [
        ReadJob(path.name, path, cache_dir, settings) for path in paths if not probe_note(path, cache_dir).is_file()
    ]
    limits = Limits(max(len(jobs), 1), settings.deadline_s, settings.memory_mb)
    readings: dict[Path, Reading] = {}

    stopped = threading.Event()

    def work() -> None:
        try:
            for job, outcome in run_each(read, jobs, limits, ONE_THREAD, stopped.is_set):
                log.debug("read ahead: %s: %s", job.path, outcome)
                if not isinstance(outcome, Failed):
                    readings[job.path] = outcome
        except Exception:  # it is only ahead: the same comes up again where it can be reported
            log.debug("read ahead", exc_info=True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield readings
    except BaseException:  # Ctrl-C, too: what is read serves nobody any more
        stopped.set()
        raise
    finally:
        thread.join()
