"""Read videos in another process while this one still imports its libraries: that saves a check some seconds.

What is read lands in the cache that `detector` looks into; whatever goes wrong here is found, and told, there.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepfake.config import Extract
from deepfake.detector_file import read_header
from deepfake.files import probe_note, write_whole
from deepfake.workers import Limits, run_each

log = logging.getLogger(__name__)
# The other core imports meanwhile.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Ahead:
    """A video, the cache, and how to extract."""

    path: Path
    cache_dir: Path
    settings: Extract


def read(job: Ahead) -> None:
    """Probe and extract one video into the cache."""
    from deepfake.index import ProbeJob, probe_file
    from deepfake.video_faces import Job, extract, shard_name

    row = probe_file(ProbeJob(job.path, job.path.name))
    if "sha256" not in row:
        return
    write_whole(probe_note(job.path, job.cache_dir), json.dumps(row).encode())
    shard_path = job.cache_dir / shard_name(row["sha256"], job.settings)
    if row["status"] == "ok" and not shard_path.is_file():
        extract(Job(job.path.name, job.path, shard_path, job.settings))


@contextmanager
def reading_ahead(paths: Sequence[Path], weights: Path, cache_dir: Path) -> Iterator[None]:
    """Read videos with a detector's settings while the block runs; wait for them at its end, stop where it fails.

    Those probed before are most likely extracted, too: they are left to the detector.
    """
    settings = Extract.model_validate(read_header(weights)["extract"])
    jobs = [Ahead(path, cache_dir, settings) for path in paths if not probe_note(path, cache_dir).is_file()]
    limits = Limits(max(len(jobs), 1), settings.deadline_s, settings.memory_mb)

    stopped = threading.Event()

    def work() -> None:
        try:
            for job, outcome in run_each(read, jobs, limits, ONE_THREAD, stopped.is_set):
                log.debug("read ahead: %s: %s", job.path, outcome)
        except Exception:  # it is only ahead: the same comes up again where it can be told
            log.debug("read ahead", exc_info=True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:  # Ctrl-C, too: what is read serves nobody any more
        stopped.set()
        raise
    finally:
        thread.join()
