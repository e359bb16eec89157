"""How long a cluster takes, on paper: clips drawn from timings that were measured, worked off by so many cores.

`measure` times stage 02's work on clips of yours: each as one task, and the long ones by their chunks, too, with what
lies between the rounds. `simulate` draws as many clips from these rows as an archive has, gives them to cores in an
order, and says when the last one is done. Nothing in it is guessed but that all cores are as quick as the one that
measured, and that storage is as quick as the disk here.
"""

from __future__ import annotations

import csv
import heapq
import pickle
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.errors import UserError
from deepfake.faces.chunk_queue import MOST_OPEN, run_longest_first
from deepfake.faces.chunk_tasks import ChunkTask, Outcome, Work
from deepfake.faces.extracted import Extraction, Job
from deepfake.faces.extraction import Video, extract_videos
from deepfake.faces.extractor import detector_of, extract
from deepfake.media.demux import scan
from deepfake.settings import Extract

DRAWN_SEED = 0
CLIPS_COUNTED = 5_000


@dataclass(frozen=True)
class Timing:
    """One clip, measured: processor seconds as one task, and of a long one by chunks, summed over these.

    `serial_s` is what one process does before, between and after the two rounds of chunks; all three and `n_chunks` are
    0 of a clip that is not cut. Bytes are those of the file, of its shard, of what comes back to the driver, and of
    what waits there until the last chunk is done.
    """

    clip: str
    duration_s: float
    seconds: float
    serial_s: float
    search_s: float
    sample_s: float
    n_chunks: int
    file_bytes: int
    shard_bytes: int
    result_bytes: int
    waiting_bytes: int


def measure(clips: Sequence[Path], settings: Extract, report: Callable[[str], None]) -> Iterator[Timing]:
    """Time each clip in this process; whoever cannot be read is left out and reported."""
    detector_of(settings)  # loaded before the first is timed
    with tempfile.TemporaryDirectory() as folder:
        for place, clip in enumerate(clips):
            report(f"{place + 1} of {len(clips)}: {clip.name}")
            job = Job(clip.name, clip, Path(folder), f"{place}.tar", settings)
            start = time.process_time()
            made = extract(job)
            seconds = time.process_time() - start
            if made.failure is not None:
                report(f"left out: {made.failure}")
                continue
            shard_bytes = job.shard_path.stat().st_size
            length_s = scan(clip).probe.duration_s
            parts = _by_chunks(clip, Path(folder), settings) if length_s > settings.chunk_from_s else _Parts()
            result = len(pickle.dumps(made))
            sizes = (clip.stat().st_size, shard_bytes, result, parts.waiting_bytes)
            yield Timing(clip.name, length_s, seconds, parts.serial_s, parts.search_s, parts.sample_s, parts.n, *sizes)


@dataclass
class _Parts:
    """What a long clip costs by chunks; a runner that does the work here and counts it."""

    serial_s: float = 0.0
    search_s: float = 0.0
    sample_s: float = 0.0
    n: int = 0
    waiting_bytes: int = 0

    def __call__(self, do: Callable[[Work], Outcome], items: Iterable[Work]) -> Iterator[tuple[Work, Outcome]]:
        for work in items:
            start = time.process_time()
            made = do(work)
            seconds = time.process_time() - start
            what = work.what
            if not isinstance(what, ChunkTask):
                self.serial_s += seconds
            elif what.one.kind == "search":
                self.search_s, self.n = self.search_s + seconds, self.n + (not what.questions)
            else:
                self.sample_s += seconds
            if isinstance(what, ChunkTask):
                self.waiting_bytes += len(pickle.dumps(made))
            yield work, made


def _by_chunks(clip: Path, folder: Path, settings: Extract) -> _Parts:
    parts = _Parts()
    ((_, made),) = run_longest_first([Job(clip.name, clip, folder, "chunks.tar", settings)], parts)
    is_cut = isinstance(made, Extraction) and parts.n > 1
    return parts if is_cut else _Parts()  # it cannot be cut: as one task


def write_timings(timings: Iterable[Timing], path: Path) -> list[Timing]:
    """Keep timings as CSV, each as soon as it is there."""
    kept = []
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Timing)])
        for timing in timings:
            writer.writerow(astuple(timing))
            file.flush()
            kept.append(timing)
    return kept


def read_timings(path: Path) -> list[Timing]:
    """Undo `write_timings`; UserError for another table."""
    kinds = {"clip": str, "n_chunks": int, "file_bytes": int, "shard_bytes": int, "result_bytes": int}
    kinds |= {"waiting_bytes": int}
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        made = [Timing(**{f.name: kinds.get(f.name, float)(row[f.name]) for f in fields(Timing)}) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: no table of timings ({error!r}); --keep writes one") from None
    if not made:
        raise UserError(f"{path}: no row; wanted one for each clip that was timed")
    return made


@dataclass(frozen=True)
class Outcomes:
    """What a cluster makes of an archive.

    `tail_s`: from the moment a core has nothing to do any more to the end. `busy`: share of the cores' time in work.
    """

    makespan_s: float
    tail_s: float
    busy: float


def draw(timings: Sequence[Timing], n_clips: int, long_share: float | None = None) -> list[Timing]:
    """So many clips, drawn from the timings; `long_share`: of those drawn, so many are cut ones."""
    rng = np.random.default_rng(DRAWN_SEED)
    if long_share is None:
        return [timings[i] for i in rng.integers(0, len(timings), n_clips)]
    long, short = [t for t in timings if t.n_chunks], [t for t in timings if not t.n_chunks]
    if not long or not short:
        raise UserError(f"--long-share: {len(long)} of the clips are cut and {len(short)} are not; wanted both kinds")
    is_long = rng.random(n_clips) < long_share
    return [kind[int(rng.integers(0, len(kind)))] for one in is_long for kind in (long if one else short,)]


def simulate(clips: Sequence[Timing], n_cores: int, cut: bool, longest_first: bool) -> Outcomes:
    """Work off clips: whoever is idle takes the next one; of a cut clip the rounds follow each other."""
    now, n_free, n_begun = 0.0, n_cores, 0
    order = sorted(clips, key=lambda clip: -clip.seconds) if longest_first else list(clips)
    ready: list[tuple[float, int, float]] = []  # (-seconds, clip, seconds) of rounds that may begin
    running: list[tuple[float, int]] = []
    rounds = {i: _rounds(clip) for i, clip in enumerate(order) if cut and clip.n_chunks}
    n_out: dict[int, int] = {}
    total, first_idle = 0.0, None

    def open_round(i: int) -> None:
        tasks = rounds[i].pop(0)
        n_out[i] = len(tasks)
        for seconds in tasks:
            heapq.heappush(ready, (-seconds, i, seconds))

    while n_begun < len(order) or ready or running:
        while n_free and (ready or n_begun < len(order)):
            if ready:
                _, i, seconds = heapq.heappop(ready)
            else:
                i, n_begun = n_begun, n_begun + 1
                if i in rounds:
                    open_round(i)
                    continue
                seconds = order[i].seconds
            heapq.heappush(running, (now + seconds, i))
            total, n_free = total + seconds, n_free - 1
        if n_free and first_idle is None and n_begun == len(order):
            first_idle = now
        now, i = heapq.heappop(running)
        n_free += 1
        if i in n_out:
            n_out[i] -= 1
            if not n_out[i] and rounds[i]:
                open_round(i)
    return Outcomes(now, now - (now if first_idle is None else first_idle), total / (n_cores * now) if now else 1.0)


def _rounds(clip: Timing) -> list[list[float]]:
    """The tasks of a cut clip: demuxing, chunks that are searched, a step, chunks that are sampled, the last step."""
    n, serial_s = clip.n_chunks, clip.serial_s / 3
    return [[serial_s], [clip.search_s / n] * n, [serial_s], [clip.sample_s / n] * n, [serial_s]]


def bytes_of_a_clip() -> float:
    """What the driver holds of each clip before the first is done."""
    held: list[int] = []

    def run(function: object, items: object, limits: object) -> Iterator[Any]:
        held.append(tracemalloc.get_traced_memory()[0])
        return iter(())

    with tempfile.TemporaryDirectory() as folder:
        for n in (10, CLIPS_COUNTED):  # the first time modules are imported, too
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
            root = Path("/archive/part")
            videos = [Video(f"part/{i:08d}.mp4", root / f"{i:08d}.mp4", f"{i:064x}", 1 + i) for i in range(n)]
            list(extract_videos(videos, Path(folder), Extract(), run=run))
            tracemalloc.stop()
    return (held[-1] - before) / CLIPS_COUNTED


def table(timings: Sequence[Timing], n_clips: Sequence[int], n_cores: Sequence[int], long_share: float | None) -> str:
    """The outcomes, a row for each archive, cluster and way."""
    head = "| clips | cores | cut | longest first | makespan | tail | cores busy |\n|---|---|---|---|---|---|---|"
    lines = [head]
    for n in n_clips:
        drawn = draw(timings, n, long_share)
        for cores in n_cores:
            for cut, longest in ((False, False), (False, True), (True, False), (True, True)):
                made = simulate(drawn, cores, cut, longest)
                words = ("yes" if cut else "no", "yes" if longest else "no")
                cells = (f"{n:,}", f"{cores:,}", *words, clock(made.makespan_s), clock(made.tail_s), f"{made.busy:.1%}")
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def moved(timings: Sequence[Timing], n_clips: Sequence[int], long_share: float | None) -> str:
    """Bytes read, written, and held by the driver, a row for each archive."""
    per_clip = bytes_of_a_clip()
    lines = ["| clips | read | crops written | back to the driver | driver holds |\n|---|---|---|---|---|"]
    for n in n_clips:
        drawn = draw(timings, n, long_share)
        # Hashed and demuxed once; a cut one is read by two rounds of chunks beside that.
        read = sum(clip.file_bytes * (4 if clip.n_chunks else 1) for clip in drawn)
        waiting = max((clip.waiting_bytes for clip in drawn), default=0) * MOST_OPEN
        written, back = sum(c.shard_bytes for c in drawn), sum(c.result_bytes + c.waiting_bytes for c in drawn)
        cells = (size(read), size(written), size(back), size(n * per_clip + waiting))
        lines.append(f"| {n:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(n_bytes: float) -> str:
    """Bytes as people say them."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= one:
            return f"{n_bytes / one:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"


def about(timings: Sequence[Timing]) -> str:
    """The distribution in a line."""
    seconds = np.array([timing.seconds for timing in timings])
    p = [float(np.percentile(seconds, q)) for q in (5, 50, 95)]
    n_long = sum(timing.n_chunks > 0 for timing in timings)
    return (
        f"{len(timings)} clips timed: processor seconds 5 % {p[0]:.2f}, median {p[1]:.2f}, 95 % {p[2]:.2f}, longest "
        f"{seconds.max():.2f}; {n_long} of them are long and can be cut"
    )
