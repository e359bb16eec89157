"""Which videos a clip, or an excerpt of it, was seen in before, second by second: near-duplicates by their pictures.

Letters: N hashes, V videos, P points in time, K variants.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from deepfake.catalog.alignment import Limits, Range, aligned_ranges
from deepfake.catalog.copy_index import Index, Key, Row, join_parts, parts_of, read_index, write_part
from deepfake.catalog.hashing import Asked, Job, Settings, asked_of, hash_video, unread
from deepfake.catalog.search import gains_of_videos
from deepfake.media.needs import LEAST, allow_for
from deepfake.workers import Failed, run_each
from deepfake.workers import Limits as Costs

log = logging.getLogger(__name__)

PART_ROWS, PART_S = 1000, 60.0  # a part is written after so many videos, or so long
POINT_S = 0.5  # points that look for videos stand so far apart; all points then say which seconds
FEWEST_POINTS = 16
MOST_CANDIDATES = 50  # videos that are looked at second by second
LIMITS = Limits(max_bits=72, mean_bits=64.0, sure_bits=24.0, min_moves_alike=0.15, min_frames=4)


@dataclass(frozen=True)
class Found:
    """Seconds of a clip that are seconds of an indexed video."""

    key: Key
    range: Range


def find_like(asked: Asked, index: Index, leave_out: Key | None = None, threads: int = 1) -> list[Found]:
    """What of a clip is in the index, in the clip's order; of the same seconds the most alike first."""
    if not len(asked.times_P) or not len(index.words_N4):
        return []
    found = []
    for video in _candidates(asked, index, threads):
        if index.keys[video] != leave_out:
            found += [Found(index.keys[video], one) for one in aligned_ranges(asked, index.held(video), LIMITS)]
    return sorted(found, key=lambda one: (round(one.range.clip_from_s), one.range.bits, one.key))


def _candidates(asked: Asked, index: Index, threads: int) -> list[int]:
    """Videos that hold pictures like the clip's, those with most of them first."""
    step = float(np.median(np.diff(asked.times_P))) if len(asked.times_P) > 1 else POINT_S
    stride = max(1, min(round(POINT_S / step), len(asked.times_P) // FEWEST_POINTS))
    both_PKW = np.concatenate([asked.plain_PKW[::stride], asked.mirrored_PKW[::stride]], axis=1)
    gains_V = gains_of_videos(index.words_N4, index.starts_V, both_PKW, LIMITS.max_bits, threads)
    order = np.argsort(-gains_V, kind="stable")[:MOST_CANDIDATES]
    return [int(video) for video in order if gains_V[video] > 0]


@dataclass(frozen=True)
class _Ask:
    """A video of an index that is asked of it."""

    path: Path
    key: Key
    index: Path
    settings: Settings


@cache
def _opened(folder: Path, settings: Settings) -> Index:
    return read_index(folder, settings)


def _ask(job: _Ask) -> list[Found]:
    allow_for(job.path.stat().st_size)
    return find_like(asked_of(job.path, job.settings), _opened(job.index, job.settings), job.key)


def pairs_among(
    paths: Mapping[Key, Path], folder: Path, workers: int, settings: Settings, on_video: Callable[[], None]
) -> Iterator[tuple[Key, Found]]:
    """What each of an index's videos has of the others; a pair comes both ways, one way where the other was missed.

    Videos that cannot be read have none.
    """
    index = read_index(folder, settings)
    jobs = [_Ask(paths[key], key, folder, settings) for key in index.known if key in paths]
    for job, outcome in run_each(_ask, jobs, Costs(workers, LEAST.deadline_s, LEAST.memory_mb, grow=(True, True))):
        if isinstance(outcome, Failed):
            log.warning("%s: %s", job.key[1], outcome.reason)
        else:
            yield from ((job.key, one) for one in outcome)
        on_video()


@dataclass(frozen=True)
class Indexed:
    """What an indexing came to: videos in all, hashed now, known before, and those that could not be read, with why."""

    n_videos: int
    n_new: int
    n_known: int
    failures: Mapping[str, str]


def index_videos(
    paths: Mapping[Key, Path], folder: Path, workers: int, settings: Settings, on_video: Callable[[], None]
) -> Indexed:
    """Hash the videos that an index does not hold as they are now, and add them to it part by part.

    What was done before a stop stays done.
    """
    known = read_index(folder, settings).known if parts_of(folder) else {}
    states = {key: _state(path) for key, path in paths.items()}
    new = {path: key for key, path in paths.items() if states[key] is None or known.get(key) != states[key]}
    failures: dict[str, str] = {}
    rows: list[Row] = []
    written = time.monotonic()
    jobs = [Job(path, settings) for path in new]
    try:
        for job, outcome in run_each(
            hash_video, jobs, Costs(workers, LEAST.deadline_s, LEAST.memory_mb, grow=(True, True))
        ):
            key = new[job.path]
            hashed = unread(outcome.reason) if isinstance(outcome, Failed) else outcome
            if hashed.reason is not None:
                failures[key[1]] = hashed.reason
            rows.append(Row(*key, *(states[key] or (0, 0)), hashed))
            if len(rows) >= PART_ROWS or time.monotonic() - written > PART_S:
                write_part(folder, rows, settings)
                rows, written = [], time.monotonic()
            on_video()
    finally:
        if rows:  # after Ctrl-C, too
            write_part(folder, rows, settings)
    join_parts(folder, settings)
    return Indexed(len(paths), len(new) - len(failures), len(paths) - len(new), failures)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns
