"""`make bench-tracks`: our linker beside SORT, ByteTrack and OC-SORT on the same boxes, scored by motrics.

A tracker is a list of track numbers, one a face, for each frame. The library's trackers run in a virtual
environment of their own (`library_trackers`); where there is none, ours stands alone.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import motrics
import numpy as np

from deepfake.errors import UserError
from deepfake.faces.linker import Linker
from lab.bench.track_scenes import EVERY, FPS, MOTIONS, SceneFrame, make_scene

Numbers = list[list[int]]
OURS, OURS_LOOKS, PERFECT = "ours", "ours, with appearance", "perfect linking"
MAX_GAP_S = 1.0  # the default of stage 02
APPEARANCE_WEIGHT = 1.0
SEEDS = tuple(range(8))
TIMEOUT_S = 1800


@dataclass(frozen=True)
class TrackScore:
    """How well identities were kept: IDF1 in 0..1, id switches, and numbers given (there are three people)."""

    idf1: float
    n_switches: float
    n_tracks: float


def link(frames: Sequence[SceneFrame], appearance_weight: float = 0.0) -> Numbers:
    """Our linker's numbers."""
    linker = Linker(MAX_GAP_S, appearance_weight)
    return [linker.update(f.index, f.time_s, 0, f.faces, f.appearance) for f in frames]


def link_perfectly(frames: Sequence[SceneFrame]) -> Numbers:
    """Everyone's own number, and a new one for each false box: what misses and hidden people leave possible."""
    fresh = count(1000)
    return [[person if person >= 0 else next(fresh) for person in f.detected_people] for f in frames]


OWN: dict[str, Callable[[Sequence[SceneFrame]], Numbers]] = {
    PERFECT: link_perfectly,
    OURS: link,
    OURS_LOOKS: lambda frames: link(frames, APPEARANCE_WEIGHT),
}


def score(frames: Sequence[SceneFrame], numbers: Numbers) -> TrackScore:
    """Score tracks of two faces or more: a lone face is taken for a false alarm, as in stage 02, whoever linked it."""
    lengths = Counter(number for row in numbers for number in row)
    kept = [[i for i, number in enumerate(row) if number >= 0 and lengths[number] > 1] for row in numbers]
    sides = (
        [frame.people for frame in frames],
        [np.ascontiguousarray(frame.truth, np.float64) for frame in frames],
        [[row[i] for i in which] for row, which in zip(numbers, kept, strict=True)],
        [np.ascontiguousarray(f.faces.boxes[which], np.float64) for f, which in zip(frames, kept, strict=True)],
    )
    switches = motrics.compute_clear(*sides).num_switches
    return TrackScore(motrics.compute_identity(*sides).idf1, switches, len({n for row in sides[2] for n in row}))


def mean_score(scores: Sequence[TrackScore]) -> TrackScore:
    """The mean over scenes."""
    return TrackScore(*(float(np.mean([getattr(s, name) for s in scores])) for name in TrackScore.__annotations__))


def library_numbers(python: Path, scenes: Sequence[Sequence[SceneFrame]]) -> tuple[str, dict[str, list[Numbers]]]:
    """Version of `trackers` and the numbers by tracker and scene; `python` is that of its virtual environment."""
    asked = [
        {
            "fps": FPS / (frames[1].index - frames[0].index),
            "boxes": [frame.faces.boxes.tolist() for frame in frames],
            "scores": [frame.faces.scores.tolist() for frame in frames],
        }
        for frames in scenes
    ]
    # -P: otherwise our modules beside the script would hide others of the same name.
    command = [str(python), "-P", str(Path(__file__).with_name("library_trackers.py"))]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"bench-tracks: {python} ended with {done.returncode}: {reason}; run `make bench-tracks`")
    answer = json.loads(done.stdout)
    return answer["version"], answer["numbers"]


Scores = dict[str, dict[tuple[str, int], TrackScore]]


def run(python: Path | None, seeds: Sequence[int] = SEEDS) -> tuple[Scores, str]:
    """Mean scores by tracker and (motion, every n-th frame), and the versions; `python` None leaves libraries out."""
    cases = [(motion, every) for motion in MOTIONS for every in EVERY]
    scenes = {case: [make_scene(*case, seed) for seed in seeds] for case in cases}
    every_scene = [frames for case in cases for frames in scenes[case]]
    numbers = {name: [tracker(frames) for frames in every_scene] for name, tracker in OWN.items()}
    versions = f"motrics {motrics.__version__}"
    if python is not None:
        version, theirs = library_numbers(python, every_scene)
        numbers |= theirs
        versions += f", trackers {version}"
    by_tracker: Scores = {}
    for name, of_scenes in numbers.items():
        scores = [score(frames, rows) for frames, rows in zip(every_scene, of_scenes, strict=True)]
        n = len(seeds)
        by_tracker[name] = {case: mean_score(scores[i * n : (i + 1) * n]) for i, case in enumerate(cases)}
    return by_tracker, versions


def table(scores: Scores) -> str:
    """A line a tracker: IDF1 / id switches / tracks made for each motion and sampling, then the mean IDF1."""
    cases = list(next(iter(scores.values())))
    lines = [["", *(f"{motion} 1/{every}" for motion, every in cases), "mean IDF1"]]
    for name, of_cases in scores.items():
        cells = [f"{s.idf1:.3f} {s.n_switches:4.1f} {s.n_tracks:4.1f}" for s in of_cases.values()]
        lines.append([name, *cells, f"{np.mean([s.idf1 for s in of_cases.values()]):.3f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(f"{cell:{'<' if i == 0 else '>'}{widths[i]}}" for i, cell in enumerate(line)) for line in lines
    )
