"""Damaged clips through `deepfake predict`: a row for each, and everything that must not happen counted.

The clips are generated and damaged by a seed; the command runs in processes of its own, which are watched.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from deepfake.faces.reading import read_note
from deepfake.files import write_whole
from deepfake.media.clips import write_clip
from deepfake.media.file_facts import describe
from lab.cheap_detector import write_cheap_detector
from lab.damaged_bytes import DAMAGES, boxes_of
from lab.drawn_people import moving_person

SIDE_PX, N_FRAMES, FPS = 72, 12, 12
WATCH_S, COUNT_S = 0.1, 1.0
GRACE_S = 60  # for the command's start and end, beside the clips
OUTCOMES = ("scored", "no face", "refused", "stopped", "crashed", "unexpected", "no row")
BREACHES = ("crashed", "unexpected", "no row")
WHOLE = "none"  # a clip that is left as it is, but for some bytes after its end that make it another file


@dataclass(frozen=True)
class Coding:
    """How an undamaged clip is coded and packed."""

    container: str
    codec: str
    pix_fmt: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    mux: tuple[tuple[str, str], ...] = ()


X264 = (("preset", "ultrafast"), ("g", "4"))
CODINGS = (
    Coding("mp4", "libx264", options=(("preset", "veryfast"), ("g", "6"), ("bf", "2"))),
    Coding("mp4", "libx264", options=X264, mux=(("movflags", "frag_keyframe+empty_moov"),)),
    Coding("mov", "libx264", options=X264, mux=(("movflags", "faststart"),)),
    Coding("mov", "mjpeg", "yuvj420p"),
    Coding("mkv", "libx264", options=X264),
    Coding("mkv", "libx265", options=(("preset", "ultrafast"), ("g", "4"))),
    Coding("webm", "libvpx", options=(("deadline", "realtime"), ("cpu-used", "8"), ("g", "4"), ("b", "200k"))),
    Coding("webm", "libvpx-vp9", options=(("deadline", "realtime"), ("cpu-used", "8"), ("g", "4"))),
    Coding("avi", "mpeg4", options=(("g", "4"),)),
    Coding("avi", "mjpeg", "yuvj420p"),
    Coding("ts", "libx264", options=X264),
    Coding("ts", "mpeg2video", options=(("g", "4"),)),
)
CONTAINERS = tuple(dict.fromkeys(coding.container for coding in CODINGS))


@dataclass(frozen=True)
class Case:
    """A clip to be damaged; its name says all that is needed to find it again."""

    number: int
    damage: str
    coding: Coding

    @property
    def name(self) -> str:
        """What the file is called."""
        return f"{self.number:05d}-{self.damage.replace(' ', '_')}-{self.coding.codec}.{self.coding.container}"


@dataclass(frozen=True)
class Row:
    """What became of a clip."""

    case: Case
    outcome: str
    reason: str


@dataclass
class Watched:
    """What the processes of a command cost, and what they left."""

    seconds: float = 0.0
    exit_code: int | None = None
    stderr: str = ""
    worker_peak_mb: float = 0.0
    main_mb: list[float] = field(default_factory=list)  # the command's own, over time
    left: list[str] = field(default_factory=list)
    done: list[tuple[float, int]] = field(default_factory=list)  # seconds since the start, clips read by then
    worked: list[tuple[float, int]] = field(default_factory=list)  # the same in seconds of processors
    processor_s: dict[int, float] = field(default_factory=dict)  # of each process, by its id

    @property
    def peak_mb(self) -> float:
        """The most memory of the command itself."""
        return max(self.main_mb, default=0.0)

    def held_mb(self, quarter: int) -> float:
        """What the command itself held in one of the four quarters of its time: the median."""
        n = len(self.main_mb)
        return float(np.median(self.main_mb[n * (quarter - 1) // 4 : n * quarter // 4] or [0.0]))


@dataclass(frozen=True)
class Fuzzed:
    """The rows of a fuzz, what was watched, and what must not have happened, in words."""

    seed: int
    rows: Sequence[Row]
    watched: Watched
    breaches: Sequence[str]


def cases(n: int, damages: Sequence[str] = tuple(DAMAGES)) -> Iterator[Case]:
    """Every damage in every coding in turn, so that any number is spread over all of them."""
    pairs = [(damage, coding) for coding in CODINGS for damage in damages]
    order = np.random.default_rng(0).permutation(len(pairs))
    return (Case(number, *pairs[order[number % len(pairs)]]) for number in range(n))


def damaged_bytes(case: Case, whole: bytes, seed: int) -> bytes:
    """A case's file; the seed and its number decide what is damaged."""
    if case.damage == WHOLE:
        return whole + bytes(8) + case.number.to_bytes(8)
    rng = np.random.default_rng([seed, case.number])
    return DAMAGES[case.damage](whole, boxes_of(whole, case.coding.container), rng)


def whole_clips(folder: Path) -> dict[Coding, bytes]:
    """An undamaged clip in each coding."""
    made = {}
    for number, coding in enumerate(CODINGS):
        path = folder / f"{number}.{coding.container}"
        frames = moving_person(number, N_FRAMES, SIDE_PX)
        options, mux = dict(coding.options), dict(coding.mux)
        write_clip(path, frames, FPS, coding.codec, 30, coding.pix_fmt, options, mux)
        made[coding] = path.read_bytes()
        path.unlink()
    return made


@dataclass(frozen=True)
class Limits:
    """How many processes read clips, and what one clip may cost."""

    workers: int = 2
    deadline_s: float = 20
    memory_mb: int = 1500


def fuzz(seed: int, n: int, folder: Path, limits: Limits, damages: Sequence[str] = tuple(DAMAGES)) -> Fuzzed:
    """Damage `n` clips and score them by `deepfake predict` with a cheap detector; all files go below `folder`."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    whole, chosen = whole_clips(clips), list(cases(n, damages))
    for case in chosen:
        (clips / case.name).write_bytes(damaged_bytes(case, whole[case.coding], seed))
    weights, out = folder / "cheap.safetensors", folder / "scores.csv"
    costs = {"deadline_s": limits.deadline_s, "memory_mb": limits.memory_mb}
    write_cheap_detector(weights, {**costs, "frames_per_video": 6})
    command = [sys.executable, "-m", "deepfake", "predict", str(clips), "--out", str(out)]
    command += ["--weights", str(weights), "--cache", str(folder / "cache"), "--workers", str(limits.workers)]
    watched = watch(command, folder, GRACE_S + limits.deadline_s * -(-n // limits.workers))
    rows = _rows(chosen, out)
    undescribed = [words for case in chosen for words in _undescribed(clips / case.name, folder / "cache")]
    return Fuzzed(seed, rows, watched, [*_breaches(rows, watched), *undescribed])


def watch(command: Sequence[str], folder: Path, limit_s: float) -> Watched:
    """Run a command in an empty folder with an empty place for temporary files; what it costs and leaves behind."""
    here, temporary, notes = folder / "here", folder / "temporary", folder / "cache/probes"
    for path in (here, temporary):
        path.mkdir()
    source = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    seen: dict[int, psutil.Process] = {}
    watched, start = Watched(), time.monotonic()
    with (folder / "stderr.txt").open("wb") as stderr, (folder / "stdout.txt").open("wb") as stdout:
        process = subprocess.Popen(command, cwd=here, env=environment, stdout=stdout, stderr=stderr)
        try:
            while process.poll() is None and time.monotonic() - start < limit_s:
                _look(process.pid, seen, watched)
                passed_s = time.monotonic() - start
                if not watched.done or passed_s > watched.done[-1][0] + COUNT_S:
                    n_read = sum(1 for _ in notes.glob("*.json"))
                    watched.done.append((passed_s, n_read))
                    watched.worked.append((sum(watched.processor_s.values()), n_read))
                time.sleep(WATCH_S)
        finally:
            process.kill()
            process.wait()
    watched.seconds, watched.exit_code = time.monotonic() - start, process.returncode
    time.sleep(2)  # processes look for their parent once a second
    watched.left = [f"process {pid}" for pid, one in seen.items() if pid != process.pid and one.is_running()]
    left = [*here.rglob("*"), *temporary.rglob("*"), *(folder / "cache").rglob("*.part")]
    watched.left += [f"file {path.relative_to(folder)}" for path in left]
    watched.stderr = (folder / "stderr.txt").read_text(errors="replace")
    return watched


def _look(pid: int, seen: dict[int, psutil.Process], watched: Watched) -> None:
    try:
        main = psutil.Process(pid)
        for one in (main, *main.children(recursive=True)):
            seen.setdefault(one.pid, one)
            used_mb = one.memory_info().rss / 2**20
            watched.processor_s[one.pid] = sum(one.cpu_times()[:2])
            if one.pid == pid:
                watched.main_mb.append(used_mb)
            else:
                watched.worker_peak_mb = max(watched.worker_peak_mb, used_mb)
    except psutil.Error:
        return  # one has just ended


def _undescribed(path: Path, cache_dir: Path) -> list[str]:
    """Why `deepfake check` could not describe a file that was read, if it could not; what was noted of it is enough."""
    file = read_note(path, cache_dir)
    if file is None or file.probe is None:
        return []
    try:
        describe(file).model_dump_json()
    except Exception as error:  # that is what is looked for
        return [f"{path.name}: it cannot be described: {type(error).__name__}: {error}"]
    return []


def _rows(chosen: Sequence[Case], out: Path) -> list[Row]:
    made: dict[str, dict[str, str]] = {}
    if out.is_file():
        with out.open(newline="", encoding="utf-8") as stream:
            made = {row["filename"]: row for row in csv.DictReader(stream)}
    return [Row(case, *_outcome(made.get(case.name))) for case in chosen]


def _outcome(row: dict[str, str] | None) -> tuple[str, str]:
    if row is None:
        return "no row", ""
    kind, _, reason = row["fallback"].partition(": ")
    if not kind:
        return "scored", row["label"]
    if kind == "no_face":
        return "no face", ""
    for mark, outcome in (("was stopped", "stopped"), ("process died", "crashed"), ("unexpected", "unexpected")):
        if mark in reason:
            return outcome, reason
    return "refused", reason


def _breaches(rows: Sequence[Row], watched: Watched) -> list[str]:
    """What must not have happened, in words."""
    found = [f"{row.case.name}: {row.outcome} {row.reason}".strip() for row in rows if row.outcome in BREACHES]
    if watched.exit_code != 0:
        found.append(f"the command ended with exit code {watched.exit_code} after {watched.seconds:.0f} s")
    if watched.stderr.strip():
        found.append(f"stderr is not empty: {watched.stderr.strip()[-2000:]}")
    found += [f"left behind: {what}" for what in watched.left]
    return found


def csv_text(fuzzed: Fuzzed) -> str:
    """A line a clip."""
    lines = ["file,damage,container,codec,outcome,reason"]
    for row in fuzzed.rows:
        reason = row.reason.replace('"', '""')
        case = row.case
        lines.append(f'{case.name},{case.damage},{case.coding.container},{case.coding.codec},{row.outcome},"{reason}"')
    return "\n".join(lines) + "\n"


def report(fuzzed: Fuzzed) -> str:
    """What became of the clips by damage and container, why, what it cost, and each breach."""
    counts = Counter((row.case.damage, row.case.coding.container, row.outcome) for row in fuzzed.rows)
    kinds = [kind for kind in OUTCOMES if any(key[2] == kind for key in counts)]
    lines = [
        (damage, *("/".join(str(counts[damage, container, kind]) for kind in kinds) for container in CONTAINERS))
        for damage in dict.fromkeys(row.case.damage for row in sorted(fuzzed.rows, key=_place))
    ]
    totals = Counter(row.outcome for row in fuzzed.rows)
    watched = fuzzed.watched
    speeds, rates = (
        " ".join(f"{speed:.1f}" for speed in quarter_speeds(pairs)) for pairs in (watched.done, watched.worked)
    )
    return "\n".join(
        [
            f"seed {fuzzed.seed}, {len(fuzzed.rows)} clips, {fuzzed.watched.seconds:.0f} s; {' / '.join(kinds)}:",
            *_markdown([("damage", *CONTAINERS), *lines]),
            ", ".join(f"{totals[kind]} {kind}" for kind in kinds),
            *(f"  {count:4d} {reason}" for reason, count in _reasons(fuzzed.rows)),
            *(
                [f"clips a second, by quarters of the clips read: {speeds}; a processor's second: {rates}"]
                if speeds
                else []
            ),
            f"peak memory: {watched.worker_peak_mb:.0f} MB of a worker, {watched.peak_mb:.0f} MB of the command; "
            f"it held {watched.held_mb(2):.0f} MB in its second quarter, {watched.held_mb(4):.0f} MB in its last",
            *(f"BREACH {breach}" for breach in fuzzed.breaches),
            f"{len(fuzzed.breaches)} breaches",
        ]
    )


def _place(row: Row) -> int:
    return [*DAMAGES, WHOLE].index(row.case.damage)


def quarter_speeds(done: Sequence[tuple[float, int]]) -> list[float]:
    """Clips a second in each quarter of the clips, from the first one read on; empty where there are too few."""
    read = [(seconds, n) for seconds, n in done if n > 0]
    if len(read) < 8:
        return []
    seconds, counts = zip(*read, strict=True)
    marks = np.linspace(counts[0], counts[-1], 5)
    return [float((marks[1] - marks[0]) / max(step, 1e-9)) for step in np.diff(np.interp(marks, counts, seconds))]


def _markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return [rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]]


def _reasons(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Why clips have no score, without names and numbers, the most frequent first."""
    plain = (re.sub(r"\d+", "N", re.sub(r"^video '.*?': ", "", row.reason)) for row in rows if row.outcome != "scored")
    return Counter(reason[:110] for reason in plain if reason).most_common(12)


def keep(fuzzed: Fuzzed, folder: Path, out: Path | None) -> None:
    """Write the rows where asked, and the clips of breaches beside them; the rest of `folder` goes."""
    if out is not None:
        write_whole(out, csv_text(fuzzed).encode())
        for row in fuzzed.rows:
            if row.outcome in BREACHES:
                target = out.with_name(f"{out.stem}-clips")
                target.mkdir(exist_ok=True)
                shutil.copy2(folder / "clips" / row.case.name, target)
