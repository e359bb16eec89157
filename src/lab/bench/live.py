"""`deepfake watch` on clips of drawn people at 25 frames a second: how old frames are at their verdict, and memory.

The clips are played at their own rate by the command itself, held to one core or two. An hour is watched by the same
loop without its pauses (`memory_over`): its times are those of the stream, so all that ages or is bounded by time does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import cv2
import numpy as np
import psutil

from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.media.clips import loop_clip, write_clip
from deepfake.models.detector_file import shipped_weights
from deepfake.workers import ONE_THREAD
from lab.drawn_people import person

if TYPE_CHECKING:
    from deepfake.live.annotations import Row
    from deepfake.live.sources import Arrived
    from deepfake.live.sources import Event as StreamEvent

FPS, GROUP_S, CLIP_S = 25, 3, 12
HEIGHTS_PX = (360, 720, 1080)
N_FACES = (1, 4)
FACE_SHARE = {1: 0.7, 4: 0.45}  # of the picture's height, with the wall around the head
PHASES = 25  # pictures of a person who speaks
ENCODED = {"preset": "veryfast", "g": str(FPS), "bf": "0"}  # as a camera or a call codes it
SHARES = (50, 95, 99)
GOOD_CODES = (0, 3, 4, 5)
MEMORY_HEIGHT_PX, UPDATES_A_S, PERSON_S, N_PERSONS = 360, 2, 10, 6


@dataclass(frozen=True)
class Case:
    """What is watched, and on how many cores."""

    height_px: int
    n_faces: int
    n_cores: int
    has_reader: bool = False

    @property
    def name(self) -> str:
        """For a table."""
        faces = f"{self.n_faces} face{'s' * (self.n_faces > 1)}"
        cores = f"{self.n_cores} core{'s' * (self.n_cores > 1)}"
        return f"watch {self.height_px}p, {faces}, {cores}{', its page open' if self.has_reader else ''}"


@dataclass(frozen=True)
class Paced:
    """What came of a watch: seconds, but for `dropped` (a share of all frames) and `busy` (a share of the cores)."""

    ages_s: tuple[float, ...]
    first_s: float | None
    between_s: float
    dropped: float
    busy: float
    peak_mb: float
    pictures_s: tuple[float, ...] = ()

    @property
    def words(self) -> str:
        """All of it in a line."""
        ages = "/".join(f"{1000 * self.age_s(share):.0f}" for share in SHARES)
        first = "never" if self.first_s is None else f"{self.first_s:.2f} s"
        return (
            f"ages {ages} ms, first verdict {first}, between updates {self.between_s:.2f} s, dropped "
            f"{100 * self.dropped:.0f} %, busy {100 * self.busy:.0f} %, {self.peak_mb:.0f} MB"
        )

    def age_s(self, percent: float) -> float:
        """So many percent of the updates had frames of this age or less."""
        return float(np.percentile(self.ages_s, percent)) if self.ages_s else float("nan")


def cases(n_cores: int) -> list[Case]:
    """All that are measured on so many cores; on two with the page open, too."""
    grid = [Case(height, n, n_cores) for height in HEIGHTS_PX for n in N_FACES]
    return [*grid, *([Case(720, 1, 2, has_reader=True)] if n_cores == 2 else [])]


def clip_of(folder: Path, height_px: int, n_faces: int, seconds: float = CLIP_S) -> Path:
    """The clip of a case, made once."""
    path = folder / f"live_{height_px}p_{n_faces}_{seconds:.0f}s.mp4"
    if not path.is_file():
        group = folder / f".live_{height_px}p_{n_faces}.mp4"
        write_clip(group, _talking(height_px, range(n_faces), GROUP_S * FPS), FPS, crf=23, options=ENCODED)
        loop_clip(group, path, max(round(seconds / GROUP_S), 1))
        group.unlink()
    return path


def _talking(height_px: int, numbers: Sequence[int], n_frames: int) -> Iterator[np.ndarray]:
    """People side by side who speak and sway, before a wall with a camera's noise; the end meets the beginning."""
    width_px = height_px * 16 // 9 // 2 * 2
    side_px = round(height_px * FACE_SHARE[1 if len(numbers) == 1 else 4])
    rng = np.random.default_rng(0)
    wall = cv2.resize(np.asarray(rng.uniform(60, 200, (5, 7, 3)), np.float32), (width_px, height_px))
    noise = rng.normal(0, 3, (height_px + 64, width_px + 64, 1)).astype(np.float32)
    columns = len(numbers) if len(numbers) < 4 else 2
    rows = -(-len(numbers) // columns)
    for i in range(n_frames):
        frame, turn = wall.copy(), 2 * np.pi * i / n_frames
        for place, number in enumerate(numbers):
            x = (place % columns + 0.5) * width_px / columns - side_px / 2 + side_px / 20 * np.sin(turn + number)
            y = (place // columns + 0.5) * height_px / rows - side_px / 2
            frame[round(y) : round(y) + side_px, round(x) : round(x) + side_px] = _phase(number, i % PHASES, side_px)
        x, y = rng.integers(0, 64, 2)
        noisy = frame + noise[y : y + height_px, x : x + width_px]
        yield noisy.clip(0, 255).astype(np.uint8)


@cache
def _phase(number: int, phase: int, side_px: int) -> np.ndarray:
    return person(number, 0.5 + 0.5 * float(np.sin(2 * np.pi * phase / PHASES)), side_px)


def paced(case: Case, folder: Path, seconds: float = CLIP_S) -> Paced:
    """Watch a case's clip with the shipped detector, as a person would; Linux, for it holds to cores."""
    from deepfake.detector.header import read_detector
    from deepfake.live.session import read_rows

    n_wanted = read_detector(shipped_weights()).ensemble.real_frames
    clip = clip_of(folder, case.height_px, case.n_faces, seconds)
    cores = sorted(os.sched_getaffinity(0))[: case.n_cores]
    if len(cores) < case.n_cores:
        raise UserError(f"benchmark: {case.name}: this process may use {len(cores)} cores")
    with tempfile.TemporaryDirectory() as made:
        rows, said = Path(made) / "rows.jsonl", Path(made) / "said"
        flags = ["--json", str(rows), "--html", f"{made}/report.html"]
        before = os.times()
        with said.open("w") as errors:
            started = subprocess.Popen(
                [
                    "taskset",
                    "-c",
                    ",".join(map(str, cores)),
                    sys.executable,
                    "-m",
                    "deepfake",
                    "watch",
                    str(clip),
                    *flags,
                ],
                stderr=errors,
                env=_environment(),
            )
            reader = _Reader(said) if case.has_reader else None
            peak_mb = _peak_mb(started)
        after = os.times()
        pictures_s = reader.ages_s() if reader is not None else ()
        if started.returncode not in GOOD_CODES:
            raise UserError(
                f"benchmark: {case.name} ended with {started.returncode}: {said.read_text().strip()[-300:]}"
            )
        spent_s = after.children_user + after.children_system - before.children_user - before.children_system
        return _paced(list(read_rows(rows)), n_wanted, spent_s, case.n_cores, peak_mb, pictures_s)


def _environment() -> dict[str, str]:
    """That of a person who sets no number of threads."""
    kept = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    return {**kept, "PYTHONPATH": str(PROJECT_ROOT / "src")}


def _peak_mb(started: subprocess.Popen[bytes]) -> float:
    peak_mb = 0.0
    while started.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak_mb = max(peak_mb, psutil.Process(started.pid).memory_info().rss / 2**20)
        time.sleep(0.1)
    return peak_mb


def _paced(
    rows: Sequence[Row],
    n_wanted: int,
    spent_s: float,
    n_cores: int,
    peak_mb: float,
    pictures_s: tuple[float, ...] = (),
) -> Paced:
    """What the rows say; processor seconds hold the start, too, so the share is a little too high."""
    updates = [row for row in rows if row.kind == "update"]
    if not updates:
        raise UserError("benchmark: not one update; does `deepfake watch` see the clip?")
    known_s = [row.time_s + (row.latency_ms or 0.0) / 1000 for row in updates]
    last = rows[-1]
    length_s = max(last.time_s, 1e-3)
    return Paced(
        ages_s=tuple((row.latency_ms or 0.0) / 1000 for row in updates),
        first_s=_first_s(updates, n_wanted),
        between_s=float(np.percentile(np.diff(known_s), 95)) if len(known_s) > 1 else float("nan"),
        dropped=last.n_dropped / (last.frame + 1),
        busy=spent_s / (length_s * n_cores),
        peak_mb=peak_mb,
        pictures_s=pictures_s,
    )


def _first_s(updates: Sequence[Row], n_wanted: int) -> float | None:
    """From a face's first frame until so many crops had scores: the longest wait of all; None where one never ended."""
    waits: dict[int, float | None] = {}
    for row in updates:
        for one in row.persons:
            waits.setdefault(one.person, None)
            if waits[one.person] is None and one.n_scored >= n_wanted:
                waits[one.person] = row.time_s + (row.latency_ms or 0.0) / 1000 - one.first_seen_s
    known = [wait for wait in waits.values() if wait is not None]
    return max(known) if waits and len(known) == len(waits) else None


class _Reader:
    """Reads a page as a browser does, from the address that the command prints, and notes how old pictures are."""

    def __init__(self, said: Path) -> None:
        self._said = said
        self._ages_s: list[float] = []
        self._is_over = Event()
        self._threads = [Thread(target=self._pictures, daemon=True), Thread(target=self._rows, daemon=True)]
        for thread in self._threads:
            thread.start()

    def ages_s(self) -> tuple[float, ...]:
        """Of the pictures that came, once the watch is over."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(5)
        return tuple(self._ages_s)

    @property
    def _address(self) -> str:
        while not self._is_over.is_set():
            for line in self._said.read_text().splitlines():
                if line.startswith("page: "):
                    return line.removeprefix("page: ")
            self._is_over.wait(0.1)
        return ""

    def _pictures(self) -> None:
        address, number = self._address, -1
        with contextlib.suppress(OSError, urllib.error.URLError, ValueError):
            while address and not self._is_over.is_set():
                with urllib.request.urlopen(f"{address}frame.jpg?after={number}", timeout=5) as answer:  # noqa: S310
                    answer.read()
                    if answer.status == 200:
                        number = int(answer.headers["X-Row"])
                        self._ages_s.append(float(answer.headers["X-Age-Ms"]) / 1000)

    def _rows(self) -> None:
        address = self._address
        with contextlib.suppress(OSError, urllib.error.URLError):
            if address:
                with urllib.request.urlopen(f"{address}events", timeout=5) as answer:  # noqa: S310
                    for _ in answer:
                        if self._is_over.is_set():
                            return


# Memory.


@dataclass(frozen=True)
class Hours:
    """How long is watched, by which detector, and from which clip: one frame an update."""

    clip: Path
    weights: Path
    hours: float
    with_people: bool = True


@dataclass(frozen=True)
class Held:
    """MB in use by stream minutes, how many updates there were, and how much faster than real time it went."""

    minutes: tuple[float, ...]
    mb: tuple[float, ...]
    n_updates: int
    speed: float

    @property
    def after_start(self) -> tuple[float, ...]:
        """Without the first twelfth, in which everything is loaded."""
        return self.mb[len(self.mb) // 12 :]

    @property
    def spread(self) -> float:
        """By which share of its mean it goes up or down."""
        mean = sum(self.after_start) / len(self.after_start)
        return max(max(self.after_start) - mean, mean - min(self.after_start)) / mean


def memory_clip(folder: Path) -> Path:
    """A minute of six people, ten seconds each, with as many frames as there are updates."""
    path = folder / f"live_memory_{MEMORY_HEIGHT_PX}p.mp4"
    if not path.is_file():
        frames = (
            frame
            for number in range(N_PERSONS)
            for frame in _talking(MEMORY_HEIGHT_PX, [number], PERSON_S * UPDATES_A_S)
        )
        write_clip(path, frames, UPDATES_A_S, crf=23, options=ENCODED)
    return path


def memory_over(asked: Hours) -> Held:
    """Watch for hours of the stream without waiting: in a process of its own, with the page, a reader and a report."""
    from deepfake.detector.check import Band
    from deepfake.detector.header import Networks, read_detector
    from deepfake.faces.extractor import detector_of
    from deepfake.live.budget import Paces
    from deepfake.live.hub import Hub
    from deepfake.live.looking import Looker
    from deepfake.live.page import Watched, serve
    from deepfake.live.session import SessionSink
    from deepfake.live.watch import Settings, Sink, Watch, embedding_here
    from deepfake.live.writing import JsonLines
    from deepfake.settings import Predict

    rules = read_detector(asked.weights)
    looker = Looker(Networks(rules, Predict()).scorer, Paces())
    looker.warm_up()
    hub = Hub()
    embed = embedding_here() if asked.with_people else None
    source = _Endless(asked.clip, asked.hours * 3600)
    low, high = rules.stack.band
    with tempfile.TemporaryDirectory() as made, serve(hub, Watched("memory", Band(low=low, high=high))) as address:
        (Path(made) / "said").write_text(f"page: {address}\n")
        reader = _Reader(Path(made) / "said")
        with (Path(made) / "rows.jsonl").open("w") as out:
            sinks: list[Sink] = [SessionSink(hub), JsonLines(out, is_ours=False)]
            settings = Settings(embed=embed, alarm_above=0.5, with_pictures=True)
            watch = Watch(rules, looker, detector_of(rules.extract), settings, hub, sinks, sleep=lambda _: None)
            began_s = time.monotonic()
            summary = watch.run(source)
            speed = asked.hours * 3600 / (time.monotonic() - began_s)
        reader.ages_s()
    return Held(tuple(source.minutes), tuple(source.mb), summary.n_updates, speed)


class _Endless:
    """Frames of a clip over and over, each as soon as it is asked for, with the times of an endless stream."""

    n_dropped = 0

    def __init__(self, clip: Path, seconds: float) -> None:
        self.minutes: list[float] = []
        self.mb: list[float] = []
        self._frames = self._decoded(clip, seconds)
        self._is_over = False

    def next(self, timeout_s: float) -> Arrived | None:
        """The next frame, on time."""
        from deepfake.live.sources import Arrived

        frame = next(self._frames, None)
        self._is_over = frame is None
        return None if frame is None else Arrived(frame, time.monotonic())

    def events(self) -> list[StreamEvent]:
        """Its end, at the end."""
        from deepfake.live.sources import Event

        return [Event("end", 0.0, "long enough")] if self._is_over else []

    def close(self) -> None:
        """Nothing to let go of."""

    def _decoded(self, clip: Path, seconds: float) -> Iterator:  # type: ignore[type-arg]
        from deepfake.media.live_streams import LiveStream, Opening

        process, index, per_person = psutil.Process(), 0, PERSON_S * UPDATES_A_S
        while index < seconds * UPDATES_A_S:
            with LiveStream(Opening("file", str(clip), clip.name)) as stream:
                for unit in stream.units():
                    for frame, _ in stream.decode(unit):
                        frame.index, frame.time_s, frame.shot = index, index / UPDATES_A_S, index // per_person
                        if index % (60 * UPDATES_A_S) == 0:
                            self.minutes.append(index / UPDATES_A_S / 60)
                            self.mb.append(process.memory_info().rss / 2**20)
                        yield frame
                        index += 1
