"""`kill -9` at random moments: of a command or one of its workers, then the same command again until it is done.

What it makes must be what an undisturbed run makes, byte by byte, and nothing may be left running or half-written.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from deepfake.errors import UserError
from deepfake.files import sha256_of, write_whole
from deepfake.media.clips import write_clip
from lab.cheap_detector import NETWORK, write_cheap_detector
from lab.drawn_people import moving_person

SOURCES = Path(__file__).parents[1]
PEOPLE, N_FRAMES, SIDE_PX = 6, 16, 96
KILLS_A_TRIAL = 8
LIMIT_S = 900  # a command that takes longer hangs
GONE_S = 20  # workers look for their parent once a second; a busy machine lets them wait
STAGES = ("01_index_videos", "02_extract_faces", "03_make_folds", "04_train_frames", "05_train_sequences")


@dataclass(frozen=True)
class Target:
    """A command to be killed: its arguments and the files it makes, below the project's folder.

    It starts from what the `ready` stages left.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    outputs: Sequence[str]
    ready: int = 0
    good_exits: Sequence[int] = (0,)


def _deepfake(*arguments: str) -> Callable[[Path], list[str]]:
    def made(folder: Path) -> list[str]:
        own = [str(folder / argument[1:]) if argument.startswith("@") else argument for argument in arguments]
        return [
            "-m",
            "deepfake",
            *own,
            "--weights",
            str(folder / "cheap.safetensors"),
            "--cache",
            str(folder / "cache"),
        ]

    return made


def _stage(name: str) -> Callable[[Path], list[str]]:
    return lambda folder: [str(SOURCES / f"{name}.py"), "--config", str(folder / "config.yaml")]


_CHECKED = ("check", "@raw/train/real0.mp4", "@raw/train/fake1.mp4", "@raw/train/broken.mp4", "--html", "@pages")
TARGETS = (
    Target("predict", _deepfake("predict", "@raw", "--out", "@out.csv"), ("out.csv",)),
    Target("check", _deepfake(*_CHECKED, "--json", "@pages/all.json"), ("pages/*",), good_exits=(0, 3, 4, 5)),
    Target("02_extract_faces", _stage(STAGES[1]), ("data/work/drawn/*.parquet", "data/work/drawn/crops/**/*"), 1),
    Target("04_train_frames", _stage(STAGES[3]), ("data/runs/tiny/*.parquet", "data/runs/tiny/frames/*/model.*"), 3),
    Target("06_predict_videos", _stage("06_predict_videos"), ("data/runs/tiny/*.parquet",), 5),
)


def targets_of(names: str | None) -> tuple[Target, ...]:
    """The commands of these names, a comma between two; None: all of them."""
    if names is None:
        return TARGETS
    known = {target.name: target for target in TARGETS}
    wanted = [name.strip() for name in names.split(",")]
    unknown = next((name for name in wanted if name not in known), None)
    if unknown is not None:
        raise UserError(f"--only: found {unknown!r}, wanted some of {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(wanted))


@dataclass
class Tally:
    """What became of a command that was killed."""

    target: str
    wanted: Mapping[str, str]  # what it makes undisturbed, and in what time
    undisturbed_s: float
    kills: int = 0
    workers_killed: int = 0
    trials: int = 0
    equal: int = 0
    breaches: list[str] = field(default_factory=list)


def make_project(folder: Path) -> None:
    """Clips of drawn people, real and forged, a broken one, settings and a cheap detector."""
    entries = {}
    for number in range(PEOPLE):
        for kind in ("real", "fake"):
            name = f"{kind}{number}.mp4"
            frames = moving_person(number, N_FRAMES, SIDE_PX)
            shown = frames if kind == "real" else (frame[:, ::-1] // 2 + 60 for frame in frames)
            write_clip(folder / "raw/train" / name, shown, 8, options={"preset": "veryfast"})
            entries[name] = {"label": kind.upper()} | ({"original": f"real{number}.mp4"} if kind == "fake" else {})
    for number in range(3):
        clip = folder / "raw/test" / f"{number}.mp4"
        write_clip(clip, moving_person(PEOPLE + number, N_FRAMES, SIDE_PX), 8, options={"preset": "veryfast"})
    (folder / "raw/train/broken.mp4").write_bytes((folder / "raw/train/real0.mp4").read_bytes()[:700])
    write_whole(folder / "raw/train/metadata.json", json.dumps(entries).encode())
    extract = {"frames_per_video": 8, "detection_side_px": 128, "crop_px": 64}
    settings = {
        "dataset": "drawn",
        "run": "tiny",
        "data_dir": str(folder / "data"),
        "submissions_dir": str(folder / "submissions"),
        "index": {"root": str(folder / "raw"), "test_folders": ["test"]},
        "extract": extract,
        "folds": {"by_face": False},  # drawn people all have one face
        "frames": {
            **{"backbone": NETWORK, "start_from": "random", "frozen_stages": 0, "freeze_batchnorm": False},
            **{"input_px": 32, "epochs": 3, "frames_per_track": 4, "pairs_per_batch": 4, "checkpoint_steps": 1},
        },
        "sequences": {"hidden": 8, "epochs": 1, "clip_frames": 8, "heads": ["sequences"]},
        "predict": {"precision": "fp32"},
    }
    write_whole(folder / "config.yaml", json.dumps(settings).encode())
    write_cheap_detector(folder / "cheap.safetensors", extract)


def start(target: Target, folder: Path) -> int:
    """Start a command in the project's folder, and return its process; what it says goes to files there.

    It is forked from this process, which has imported torch: so more kills meet its work, and fewer its imports.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.chdir(folder)
        for number, name in ((1, "stdout.txt"), (2, "stderr.txt")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ.update(PYTHONPATH=str(SOURCES), OMP_NUM_THREADS="1")
        _run(target.arguments(folder))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    sys.exit(0)


def finish(target: Target, folder: Path) -> None:
    """Run a command to its end; UserError where that is not a good one."""
    pid = start(target, folder)
    code = _end(pid, LIMIT_S)
    if code is None:
        _kill(pid)
    if code not in target.good_exits:
        said = (folder / "stderr.txt").read_text(errors="replace").strip()[-2000:]
        raise UserError(f"{target.name}: ended with {code}, wanted one of {target.good_exits}; it said: {said}")


def _end(pid: int, limit_s: float) -> int | None:
    """The exit code of a process that ends within so many seconds; None where it does not and is killed."""
    due = time.monotonic() + limit_s
    while time.monotonic() < due:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def digests(target: Target, folder: Path) -> dict[str, str]:
    """The bytes of all that a command made, as digests by path."""
    paths = {path for pattern in target.outputs for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(paths)}


def parts_left(folder: Path) -> list[str]:
    """Files that were begun aside and stayed there."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.part"))


class Attack:
    """Kills of the commands of one project."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.project, self.snapshots = folder / "project", folder / "snapshots"
        self.rng = np.random.default_rng(seed)
        make_project(self.project)
        self.project_files = {path.name for path in self.project.iterdir()}
        for number in range(len(STAGES) + 1):
            (self.project / "data").mkdir(exist_ok=True)
            shutil.copytree(self.project / "data", self.snapshots / str(number))
            if number < len(STAGES):
                finish(Target(STAGES[number], _stage(STAGES[number]), ()), self.project)

    def reset(self, target: Target) -> None:
        """The project as it is before the command."""
        for path in self.project.iterdir():
            if path.name not in self.project_files:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.snapshots / str(target.ready), self.project / "data")

    def begin(self, target: Target) -> Tally:
        """Run a command undisturbed: what it makes, and how long that takes."""
        self.reset(target)
        begun = time.monotonic()
        finish(target, self.project)
        return Tally(target.name, digests(target, self.project), time.monotonic() - begun)

    def trial(self, target: Target, tally: Tally, n: int) -> None:
        """Kill a command up to `n` times, then let it come to its end, and compare what it made."""
        self.reset(target)
        tally.trials += 1
        for number in range(n):
            begun = time.monotonic()
            if not self._kill(target, tally):
                if number == 0:  # the machine was busier at the beginning: kills would come too late again
                    tally.undisturbed_s = min(tally.undisturbed_s, time.monotonic() - begun)
                break
        finish(target, self.project)
        left = parts_left(self.project)
        if left:
            tally.breaches.append(f"{target.name}, trial {tally.trials}: left behind {', '.join(left[:5])}")
        made, wanted = digests(target, self.project), tally.wanted
        if made == wanted:
            tally.equal += 1
            return
        differ = sorted(name for name in made.keys() | wanted.keys() if made.get(name) != wanted.get(name))
        tally.breaches.append(f"{target.name}, trial {tally.trials}: other bytes in {', '.join(differ[:5])}")

    def _kill(self, target: Target, tally: Tally) -> bool:
        """Kill it once, or one of its workers; False where it was done before."""
        pid = start(target, self.project)
        if _end(pid, float(self.rng.uniform(0.02, 1.0)) * tally.undisturbed_s) is not None:
            return False
        workers = _workers(pid)
        if workers and self.rng.random() < 0.5:
            workers[int(self.rng.integers(len(workers)))].kill()
            tally.workers_killed += 1
            if _end(pid, LIMIT_S) is None:
                _kill(pid)
                tally.breaches.append(f"{target.name}: it hung after one of its workers was killed")
        else:
            _kill(pid)
            _, alive = psutil.wait_procs(workers, timeout=GONE_S)
            tally.breaches += [f"{target.name}: process {one.pid} outlived it" for one in alive]
        tally.kills += 1
        return True


def _workers(pid: int) -> list[psutil.Process]:
    """The processes that a command started to work for it."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [child for child in children if any("spawn_main" in part for part in child.cmdline())]
    except psutil.Error:
        return []


def attack(seed: int, n: int, folder: Path, targets: Sequence[Target] = TARGETS) -> Iterator[list[Tally]]:
    """Kill each command as often as the others, `n` times in all; what became of them so far, after each trial."""
    made = Attack(folder, seed)
    tallies = [made.begin(target) for target in targets]
    due = [n * (number + 1) // len(targets) - n * number // len(targets) for number in range(len(targets))]
    while any(tally.kills < most and not tally.breaches for tally, most in zip(tallies, due, strict=True)):
        for target, tally, most in zip(targets, tallies, due, strict=True):
            if tally.kills < most and not tally.breaches:
                made.trial(target, tally, min(KILLS_A_TRIAL, most - tally.kills))
                yield tallies


def table(tallies: Sequence[Tally]) -> str:
    """The tallies as a table, and each breach."""
    lines = ["| command | kills | of workers | trials | same bytes | undisturbed |", "|---|---|---|---|---|---|"]
    for one in tallies:
        cells = (one.target, one.kills, one.workers_killed, one.trials, one.equal, f"{one.undisturbed_s:.1f} s")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    breaches = [breach for one in tallies for breach in one.breaches]
    return "\n".join([*lines, *(f"BREACH {breach}" for breach in breaches), f"{len(breaches)} breaches"])
