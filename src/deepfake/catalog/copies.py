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
from typing import TYPE_CHECKING

import numpy as np

from deepfake.catalog.alignment import Limits, Range, aligned_ranges
from deepfake.catalog.copy_index import Index, Key, Row, join_parts, parts_of, read_index, write_part
from deepfake.catalog.hashing import Asked, Hashed, Job, Settings, asked_of, hash_video, unread
from deepfake.catalog.search import gains_of_videos
from deepfake.faces.copy_hashes import kept_hashes
from deepfake.faces.extracted import shard_name
from deepfake.media.needs import LEAST, allow_for
from deepfake.settings import Extract
from deepfake.workers import Failed, run_each
from deepfake.workers import Limits as Costs

if TYPE_CHECKING:
    import pandas as pd

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


def pair_row(video_id: str, other_id: str, near: Range) -> Mapping[str, object]:
    """A row of the table copies: seconds of a video that are seconds of another."""
    same = {name: getattr(near, name) for name in ("speed", "is_mirrored", "n_frames", "bits")}
    return {
        "video_id": video_id,
        "other_id": other_id,
        "from_s": near.clip_from_s,
        "to_s": near.clip_to_s,
        "other_from_s": near.from_s,
        "other_to_s": near.to_s,
        **same,
    }


@dataclass(frozen=True)
class Indexed:
    """What an indexing came to: videos in all, hashed now, known before, and those that could not be read, with why.

    Of `n_kept` of the new ones extraction had kept the hashes.
    """

    n_videos: int
    n_new: int
    n_kept: int
    n_known: int
    failures: Mapping[str, str]


def index_videos(
    paths: Mapping[Key, Path],
    folder: Path,
    workers: int,
    settings: Settings,
    on_video: Callable[[], None],
    kept: Callable[[Key], Hashed | None] | None = None,
) -> Indexed:
    """Hash the videos that an index does not hold as they are now, and add them to it part by part.

    What was done before a stop stays done. `kept`: hashes that lie somewhere already, so that nothing is decoded.
    """
    known = read_index(folder, settings).known if parts_of(folder) else {}
    states = {key: _state(path) for key, path in paths.items()}
    new = {key: path for key, path in paths.items() if states[key] is None or known.get(key) != states[key]}
    failures: dict[str, str] = {}
    rows: list[Row] = []
    n_kept = 0
    written = time.monotonic()
    try:
        for key, hashed, is_kept in _hashed(new, workers, settings, kept or (lambda key: None)):
            n_kept += is_kept
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
    return Indexed(len(paths), len(new) - len(failures), n_kept, len(paths) - len(new), failures)


def _hashed(
    paths: Mapping[Key, Path], workers: int, settings: Settings, kept: Callable[[Key], Hashed | None]
) -> Iterator[tuple[Key, Hashed, bool]]:
    """Each video with its hashes, those first that need not be made; whether they were kept."""
    to_make: dict[Path, Key] = {}
    for key, path in paths.items():
        hashed = kept(key)
        if hashed is None:
            to_make[path] = key
        else:
            yield key, hashed, True
    jobs = [Job(path, settings) for path in to_make]
    for job, outcome in run_each(
        hash_video, jobs, Costs(workers, LEAST.deadline_s, LEAST.memory_mb, grow=(True, True))
    ):
        yield to_make[job.path], unread(outcome.reason) if isinstance(outcome, Failed) else outcome, False


def kept_by_extraction(
    videos: pd.DataFrame, table: Path, paths: Mapping[Key, Path], work_dir: Path, extract: Extract, settings: Settings
) -> Callable[[Key], Hashed | None]:
    """The hashes that stage 02 kept of a data set's videos; `videos` is its table, which lies at `table`.

    None of a video that was changed since the table was made: its crops are of what it was.
    """
    contents = dict(zip(videos["video_id"], zip(videos["sha256"], videos["size_bytes"], strict=True), strict=True))
    made_ns = table.stat().st_mtime_ns

    def kept(key: Key) -> Hashed | None:
        sha256, size_bytes = contents.get(key[1], (None, 0))
        state = _state(paths[key])
        if not sha256 or state is None or state[0] != size_bytes or state[1] > made_ns:
            return None
        return kept_hashes(work_dir, shard_name(sha256, extract), settings)

    return kept


def _state(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns
