"""`make bench`: what every step costs in seconds, in ratios to something known, and in memory.

Everything is measured in one run on the same machine; ways that are compared take turns, and the
best round of each counts. Another part is one function and one line in `PARTS`.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import psutil

from deepfake.detector.verdict import EXIT_CODES
from deepfake.errors import UserError
from deepfake.faces.extractor import Job, extract
from deepfake.files import PROJECT_ROOT
from deepfake.media.clips import decode_plainly
from deepfake.models.detector_file import shipped_weights
from deepfake.settings import Config, Extract
from deepfake.settings_file import load_config
from deepfake.stages import STAGES, is_current
from deepfake.workers import ONE_THREAD, Failed, Limits, run_each
from lab.bench import checking, engines, learning, live
from lab.bench.clips import Clips, make_clips
from lab.bench.extraction import STAGE, UNIT, WINNER, Turns, job_for, recall_of, take_turns, time_steps
from lab.cheap_detector import write_cheap_detector

Item = TypeVar("Item")
T = TypeVar("T")
FIRST_FRAME = Path(__file__).parent / "first_frame"
WATCH_S = 0.005
COMMAND_WATCH_S = 0.05  # of a whole command: its processes are read page by page
DEADLINE_S = 1800
RECALL_CLIPS = 6
DFDC_CLIPS = 119_154
THROUGHPUT_CLIPS = 24
FOLDER_CLIPS = 40
VERDICT_CODES = tuple(sorted(set(EXIT_CODES.values())))
THROUGHPUT_ROUNDS = 2


@dataclass(frozen=True)
class Row:
    """A measurement. `ratio` is so many times, or so many, of `of`; None where there is no such thing."""

    name: str
    seconds: float | None
    of: str = ""
    ratio: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True)
class Setting:
    """What all parts need: the videos, made by the first that wants them, where others are kept, whether to hurry."""

    root: Path
    folder: Path
    quick: bool
    report: Callable[[str], None] = lambda text: None

    @cached_property
    def clips(self) -> Clips:
        """The videos to measure on."""
        self.report("videos to measure on (made once)")
        return make_clips(self.root, self.folder, self.quick)

    @property
    def rounds(self) -> int:
        """How often what is compared takes its turn."""
        return 1 if self.quick else 3


class MemoryWatch:
    """Highest memory of this process's workers while it is open, from Linux's books; MB.

    `resident_mb` counts also the pages of library files that all processes share; `private_mb` does not.
    """

    def __init__(self) -> None:
        self.resident_mb = self.private_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        workers: list[int] = []
        while not self._done.wait(WATCH_S):
            workers = workers or [child.pid for child in psutil.Process().children() if _is_worker(child)]
            for pid in workers:
                self._note(pid)

    def _note(self, pid: int) -> None:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        kb = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "RssAnon"))}
        self.resident_mb = max(self.resident_mb, int(kb.get("VmHWM", 0)) / 1024)
        self.private_mb = max(self.private_mb, int(kb.get("RssAnon", 0)) / 1024)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def in_workers(function: Callable[[Item], T], items: Iterable[Item], workers: int = 1) -> Iterator[T]:
    """Results of a function in worker processes of one thread each, as stage 02 runs its own."""
    limits = Limits(workers, DEADLINE_S)
    for item, outcome in run_each(function, items, limits, ONE_THREAD):
        if isinstance(outcome, Failed):
            raise UserError(f"benchmark: {item}: {outcome.reason}")
        yield outcome


def in_worker(function: Callable[[Item], T], item: Item) -> T:
    """The result of a function in one fresh worker process."""
    (result,) = in_workers(function, [item])
    return result


def measure_ways(setting: Setting) -> Iterator[Row]:
    """Stage 02 on ten seconds of 1080p beside PyAV, decord and the DFDC winner's recipe."""
    turns = in_worker(take_turns, Turns(setting.clips.hd, setting.rounds))
    best = {name: min(seconds) for name, seconds in turns.items() if not isinstance(seconds, str)}
    for name, seconds in turns.items():
        if isinstance(seconds, str):
            yield Row(name, None, f"not measured: {seconds}")
        else:
            yield Row(name, best[name], UNIT, best[name] / best[UNIT])
    yield Row(STAGE, best[STAGE], WINNER, best[STAGE] / best[WINNER])


def measure_start_up(setting: Setting) -> Iterator[Row]:
    """The whole of stage 02's work on one video, and the part that is paid once a worker."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        in_worker(extract, job_for(Path(folder) / "not_there.mp4", folder))
        started = time.perf_counter() - start
        yield Row("stage 02, start of a worker", started)
        start = time.perf_counter()
        in_worker(extract, job_for(setting.clips.hd, folder))
        whole = time.perf_counter() - start
        yield Row("stage 02, from start to end", whole, "start of a worker", whole / started)


def measure_steps(setting: Setting) -> Iterator[Row]:
    """Where stage 02's seconds go; an `of` share of the whole for each step."""
    seconds = in_worker(time_steps, setting.clips.hd)
    total = sum(seconds.values())
    for step, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        yield Row(f"  step: {step}", spent, "all steps", spent / total)


def measure_recall(setting: Setting) -> Iterator[Row]:
    """Share of the faces that MTCNN finds at full size on every sampled frame and that stage 02 has as well."""
    demo = setting.clips.demo
    chosen = [demo[round(i * (len(demo) - 1) / (RECALL_CLIPS - 1))] for i in range(RECALL_CLIPS)]
    paths = [setting.clips.hd, *dict.fromkeys(chosen)][: 2 if setting.quick else None]
    start = time.perf_counter()
    recalls = list(in_workers(recall_of, paths, workers=2))
    n_wanted, n_found = sum(r.n_wanted for r in recalls), sum(r.n_found for r in recalls)
    of = f"the {n_wanted} faces of full-size detection on every sampled frame, {len(paths)} videos"
    yield Row("faces found", time.perf_counter() - start, of, n_found / n_wanted if n_wanted else None)


def measure_memory(setting: Setting) -> Iterator[Row]:
    """Peak memory of a fresh worker by video."""
    if not Path("/proc/self/status").exists():
        yield Row("memory of a worker", None, "not measured: only Linux reports it")
        return
    clips = {"1080p": setting.clips.hd, "4K": setting.clips.uhd, "2 hours": setting.clips.two_hours}
    for name, path in clips.items():
        with tempfile.TemporaryDirectory() as folder, MemoryWatch() as memory:
            start = time.perf_counter()
            in_worker(extract, job_for(path, folder))
            seconds = time.perf_counter() - start
        yield Row(f"worker on {name}, resident (with shared library files)", seconds, peak_mb=memory.resident_mb)
        yield Row(f"worker on {name}, private", seconds, peak_mb=memory.private_mb)


def measure_throughput(setting: Setting) -> Iterator[Row]:
    """Videos a second by one and by two workers, from their first result to the last, in turns."""
    demo = setting.clips.demo
    paths = [demo[i % len(demo)] for i in range(4 if setting.quick else THROUGHPUT_CLIPS)]
    rates = {1: 0.0, 2: 0.0}
    for _ in range(1 if setting.quick else THROUGHPUT_ROUNDS):
        for workers in rates:
            rates[workers] = max(rates[workers], _clips_a_second(paths, workers))
    for workers, rate in rates.items():
        yield Row(f"stage 02, demo clips, workers: {workers}", 1 / rate, "clips a second", rate)
    yield Row("stage 02, demo clips, workers: 2", None, "the clips a second of 1 worker", rates[2] / rates[1])


def _clips_a_second(paths: list[Path], workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        jobs = [_numbered(job_for(path, folder), number) for number, path in enumerate(paths)]
        ends = [time.perf_counter() for _ in in_workers(extract, jobs, workers)]
    return (len(ends) - workers) / (ends[-1] - ends[workers - 1])


def _numbered(job: Job, number: int) -> Job:
    return replace(job, video_id=f"{number}", shard=f"{number}.tar")


def measure_learning(setting: Setting) -> Iterator[Row]:
    """A training step of the demo's image classifier, and its scoring."""
    step = in_worker(learning.training_step_s, 3 if setting.quick else 8)
    images = learning.IMAGES_A_STEP
    yield Row(
        f"training step, Lite0, {images // 2} pairs of {learning.INPUT_PX} px", step, "images a second", images / step
    )
    times = in_worker(learning.gradients_s, setting.rounds)
    name = f"bf16 gradients, Lite0, {images} crops of {learning.INPUT_PX} px, ours"
    yield Row(name, times["ours"], "the time of torch's depthwise", times["ours"] / times["torch"])
    times = in_worker(learning.scoring_s, setting.rounds)
    for precision, seconds in times.items():
        name = f"scoring a batch of {learning.SCORED_CROPS} crops, Lite0, {precision}"
        yield Row(name, seconds, "ms a crop", 1000 * seconds / learning.SCORED_CROPS)


def measure_blends(setting: Setting) -> Iterator[Row]:
    """Fakes made of real pictures while training: never the bottleneck."""
    times = in_worker(learning.blend_pair_s, 60 if setting.quick else 400)
    for what, seconds in times.items():
        yield Row(f"{what}, a pair of {learning.FORGED_PX} px", seconds, "pairs a second on one core", 1 / seconds)


def measure_numbers(setting: Setting) -> Iterator[Row]:
    """The compiled loops: near-duplicates and the bootstrap."""
    n_hashes, n_videos = (2000, 500) if setting.quick else (20000, 4000)
    seconds = learning.hash_pairs_s(n_hashes)
    yield Row(f"all pairs of {n_hashes} hashes", seconds, "million pairs a second", n_hashes**2 / 2e6 / seconds)
    seconds = learning.bootstrap_s(n_videos)
    yield Row(
        f"all metrics with bootstrap, {n_videos} videos", seconds, "resamples a second", learning.RESAMPLES / seconds
    )


def measure_check(setting: Setting) -> Iterator[Row]:
    """`deepfake check` on the 1080p clip, from the command to the written page; the second time its crops are known."""
    known = [
        *sorted((PROJECT_ROOT / "data/weights").glob("*.safetensors")),
        demo_config().run_dir / "detector.safetensors",
    ]
    weights = next((path for path in known if path.is_file()), None)
    if weights is None:
        yield Row("check", None, "not measured: no detector; run `make demo` first")
        return
    start = time.perf_counter()
    decode_plainly(setting.clips.hd, 1)
    decode_s = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        outputs = ["--json", f"{folder}/page.json", "--html", f"{folder}/page.html"]
        flags = ["--weights", str(weights), "--cache", folder, *outputs, str(setting.clips.hd)]
        for name in ("check on 1080p, page written", "check on 1080p, the second time"):
            seconds, peak_mb = _command("-m", "deepfake", "check", *flags, good=VERDICT_CODES)
            yield Row(name, seconds, UNIT, seconds / decode_s, peak_mb)


def measure_check_steps(setting: Setting) -> Iterator[Row]:
    """The steps of such a check one after the other, all processors at each; a check does the first two at once."""
    steps = checking.Steps(setting.clips.hd, shipped_weights())
    ((_, seconds),) = run_each(checking.steps_of, [steps], Limits(1, DEADLINE_S))
    if isinstance(seconds, Failed):
        raise UserError(f"benchmark: the steps of a check: {seconds.reason}")
    for step, spent in seconds.items():
        yield Row(f"  step: {step}", spent, checking.DECODING, spent / seconds[checking.DECODING])


def measure_engines(setting: Setting) -> Iterator[Row]:
    """Networks of the shipped detector by what can run them, with all instructions and with AVX2 at most."""
    asked = engines.Asked(shipped_weights(), (1, 2), (1,) if setting.quick else (1, 8, 32), setting.rounds)
    for isa in ("", "AVX2"):
        variables = {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
        ((_, timings),) = run_each(engines.times_of, [asked], Limits(1, DEADLINE_S), {**ONE_THREAD, **variables})
        if isinstance(timings, Failed):
            raise UserError(f"benchmark: engines: {timings.reason}")
        for one in timings:
            held = f", {isa} at most (libraries of oneDNN)" if isa else ""
            name = f"{one.engine}, {one.network}, threads {one.threads}, batch {one.batch}{held}"
            yield Row(name, one.ms / 1000, "PyTorch fp32 with as many", one.ratio)


def measure_folder(setting: Setting) -> Iterator[Row]:
    """`deepfake predict` on a folder of 40 clips of 10 s 1080p with a face, and how busy it keeps the processors."""
    n_clips = FOLDER_CLIPS if not setting.quick else 2
    start = time.perf_counter()
    decode_plainly(setting.clips.hd, 1)
    decode_s = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        clip = setting.clips.hd.read_bytes()
        (Path(folder) / "clips").mkdir()
        for number in range(n_clips):  # an empty box at the end makes each a file of its own
            box = struct.pack(">I4sI", 12, b"free", number)
            (Path(folder) / f"clips/{number}.mp4").write_bytes(clip + box)
        flags = ["--out", f"{folder}/scores.csv", "--cache", f"{folder}/cache"]
        before = time.perf_counter()
        processor_s = _processor_s(partial(_command, "-m", "deepfake", "predict", *flags, f"{folder}/clips"))
        clip_s = (time.perf_counter() - before) / n_clips
        yield Row(f"predict, a clip in a folder of {n_clips}", clip_s, UNIT, clip_s / decode_s)
        cores = os.cpu_count() or 1
        share = 100 * processor_s / (clip_s * n_clips * cores)
        yield Row("the same, of the processor", processor_s / n_clips, f"% of {cores} cores kept busy", share)


def measure_command(setting: Setting) -> Iterator[Row]:
    """What a person waits for before the work: help, the first decoded frame, the answer of a video that is known."""
    for name, arguments in (("deepfake --help", ["--help"]), ("deepfake check --help", ["check", "--help"])):
        rounds = [_processor_s(partial(_command, "-m", "deepfake", *arguments)) for _ in range(3)]
        yield Row(f"{name}, of the processor", min(rounds))
    with tempfile.TemporaryDirectory() as folder:
        cheap, flags = Path(folder) / "cheap.safetensors", ["--cache", folder, "--html", f"{folder}/page.html"]
        write_cheap_detector(cheap, {})
        check = ("-m", "deepfake", "check", "--weights", str(cheap), *flags, str(setting.clips.hd))
        notes = Path(folder) / "first_frame"
        begun = time.time()
        whole, peak_mb = _command(*check, good=VERDICT_CODES, watched=notes)
        first_s = min(float(line) for line in notes.read_text().split()) - begun
        yield Row("check, first frame decoded", first_s, "the whole check by a network of no size", first_s / whole)
        yield Row("check, page written", whole, peak_mb=peak_mb)
        start = time.perf_counter()
        seconds = _processor_s(partial(_command, *check, good=VERDICT_CODES))
        yield Row("check of a known video", time.perf_counter() - start)
        yield Row("check of a known video, of the processor", seconds)


def _processor_s(work: Callable[[], object]) -> float:
    """Seconds of all processors that what is started by `work` and ends takes."""
    before = os.times()
    work()
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measure_second_run(setting: Setting) -> Iterator[Row]:
    """`run_stages` where nothing has changed."""
    config = demo_config()
    stale = [stage.name for stage in STAGES.values() if not is_current(stage, config, None)]
    if stale:
        yield Row("run_stages, nothing changed", None, f"not measured: {stale[0]} is not up to date; run `make demo`")
        return
    seconds, _ = _command(str(PROJECT_ROOT / "src/run_stages.py"), "--config", str(PROJECT_ROOT / "configs/demo.yaml"))
    yield Row("run_stages, nothing changed", seconds)


def measure_dfdc(setting: Setting) -> Iterator[Row]:
    """What all of DFDC would cost by a 10 s 1080p clip: stages 01 and 02, scoring by one network, crops on disk."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = [job_for(setting.clips.hd, f"{folder}/{number}") for number in range(2 * setting.rounds + 2)]
        finished = []
        for _ in in_workers(extract, jobs, workers=2):
            finished.append(time.perf_counter())
        clip_s = (finished[-1] - finished[1]) / (len(finished) - 2)
        clip_mb = jobs[0].shard_path.stat().st_size / 1e6
    scoring_ms = next(row.ratio or 0.0 for row in measure_learning(setting) if "bf16" in row.name)
    hours = DFDC_CLIPS / 3600
    yield Row("a 10 s 1080p clip, 2 workers", clip_s)
    yield Row("all of DFDC, stage 02, 2 workers", clip_s * DFDC_CLIPS, "hours", clip_s * hours)
    yield Row("all of DFDC, crops on disk", None, "GB", clip_mb * DFDC_CLIPS / 1000)
    frames = Extract().frames_per_video
    seconds = scoring_ms / 1000 * frames * DFDC_CLIPS
    yield Row("all of DFDC, scoring by one Lite0 at 224 px, bf16, 1 thread", seconds, "hours", seconds / 3600)


def measure_live(setting: Setting) -> Iterator[Row]:
    """`deepfake watch` at 25 frames a second on two cores: age of a frame at its verdict, drops, processor."""
    yield from _watched(setting, live.cases(2))


def measure_live_one_core(setting: Setting) -> Iterator[Row]:
    """The same on one core."""
    yield from _watched(setting, live.cases(1))


def _watched(setting: Setting, cases: list[live.Case]) -> Iterator[Row]:
    for case in cases[:1] + cases[6:] if setting.quick else cases:
        got = live.paced(case, setting.folder, 6 if setting.quick else live.CLIP_S)
        setting.report(f"  {case.name}: {got.words}")
        for share in live.SHARES:
            yield Row(f"{case.name}: age of a frame at its verdict, p{share}", got.age_s(share), peak_mb=got.peak_mb)
        yield Row("  enough seen for a verdict, after the first frame of a face", got.first_s)
        yield Row("  between two updates, p95", got.between_s)
        yield Row("  frames passed over", None, "% of all", 100 * got.dropped)
        yield Row("  of the processor", None, f"% of {case.n_cores} cores kept busy", 100 * got.busy)
        if got.pictures_s:
            yield Row("  age of a picture as a page gets it, the oldest", max(got.pictures_s))


def measure_live_memory(setting: Setting) -> Iterator[Row]:
    """What a watch holds over an hour of its stream, by a network of no size and without pauses."""
    hours = 1 / 12 if setting.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "cheap.safetensors"
        write_cheap_detector(weights, {})
        held = in_worker(live.memory_over, live.Hours(live.memory_clip(setting.folder), weights, hours))
    n_updates = f"{held.n_updates} updates, {held.speed:.1f} times as fast as they come"
    yield Row(f"watch for {hours:.2g} h, memory", None, n_updates, peak_mb=max(held.mb))
    yield Row("  up or down after the first twelfth", None, "% of its mean", 100 * held.spread)
    yield Row("  last minute", None, "of the MB after the first twelfth", held.mb[-1] / held.after_start[0])


def demo_config() -> Config:
    """The settings of `make demo`."""
    return load_config(PROJECT_ROOT / "configs/demo.yaml")


def _command(*arguments: str, good: tuple[int, ...] = (0,), watched: Path | None = None) -> tuple[float, float]:
    """Seconds of `python` with these arguments, and the peak memory in MB of it and what it starts.

    `watched` is a file in which its processes note when each had decoded its first frame.
    """
    command = [sys.executable, *arguments]
    peak_mb = 0.0
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "src")}
        if watched is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(FIRST_FRAME), environment["PYTHONPATH"]])
            environment["FIRST_FRAME"] = str(watched)
        started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)
        while started.poll() is None:
            peak_mb = max(peak_mb, _memory_mb(started.pid))
            time.sleep(COMMAND_WATCH_S)
        seconds = time.perf_counter() - start
        if started.returncode not in good:
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()[-300:]
            raise UserError(f"benchmark: {' '.join(arguments[:3])} ended with {started.returncode}: {message}")
    return seconds, peak_mb


def _memory_mb(pid: int) -> float:
    """Memory of a process and all below it; what they share counts once (Linux), or not at all (elsewhere)."""
    in_use = 0
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for process in family:
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info()
            in_use += getattr(memory, "pss", memory.uss)
    return in_use / 2**20


PARTS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "ways": measure_ways,
    "start": measure_start_up,
    "steps": measure_steps,
    "faces": measure_recall,
    "memory": measure_memory,
    "workers": measure_throughput,
    "learning": measure_learning,
    "blends": measure_blends,
    "numbers": measure_numbers,
    "check": measure_check,
    "check_steps": measure_check_steps,
    "engines": measure_engines,
    "folder": measure_folder,
    "command": measure_command,
    "stages": measure_second_run,
    "dfdc": measure_dfdc,
    "live": measure_live,
    "live_one_core": measure_live_one_core,
    "live_memory": measure_live_memory,
}


def choose_parts(only: list[str]) -> list[str]:
    """Names of the parts to measure, in their order; nothing asked for means all."""
    unknown = [name for name in only if name not in PARTS]
    if unknown:
        raise UserError(f"--only {unknown[0]}: there is no such part; choose from {', '.join(PARTS)}")
    return [name for name in PARTS if not only or name in only]


def run(root: Path, folder: Path, only: list[str], quick: bool, report: Callable[[str], None]) -> list[Row]:
    """Measure; `root` holds the demo's videos, `folder` keeps the generated ones, `report` gets the progress."""
    names = choose_parts(only)
    folder.mkdir(parents=True, exist_ok=True)
    setting = Setting(root, folder, quick, report)
    rows = []
    for number, name in enumerate(names, 1):
        report(f"{number}/{len(names)} {name}: {(PARTS[name].__doc__ or '').strip()}")
        rows += list(PARTS[name](setting))
    return rows


def as_json(rows: list[Row]) -> bytes:
    """The rows as a JSON list."""
    return (json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n").encode()


def table(rows: list[Row]) -> str:
    """The rows for a person."""
    cells = [("", "seconds", "ratio", "of", "peak MB")]
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.3f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}" if row.ratio < 100 else f"{row.ratio:.0f}"
        cells.append((row.name, seconds, ratio, row.of, "" if row.peak_mb is None else f"{row.peak_mb:.0f}"))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    sides = "<>><>"
    return "\n".join(
        "  ".join(f"{text:{side}{width}}" for text, side, width in zip(line, sides, widths, strict=True)).rstrip()
        for line in cells
    )
