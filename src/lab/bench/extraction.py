"""What stage 02 costs and finds on one video, beside others on the same one. These functions run in processes of
their own, each on one thread, as the stage's workers do.
"""

from __future__ import annotations

import inspect
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from deepfake.faces import extractor, sight
from deepfake.faces.extracted import Extraction
from deepfake.faces.extractor import Job, extract
from deepfake.faces.linker import Linker, overlap
from deepfake.faces.mtcnn import FaceDetector, plain_mtcnn
from deepfake.media import video
from deepfake.media.clips import decode_plainly
from deepfake.media.decode import decord_batch
from deepfake.media.demux import VideoError
from deepfake.media.shots import CutFinder
from deepfake.media.video import Frame, probe, sample
from deepfake.settings import Extract

T = TypeVar("T")
UNIT = "PyAV, every frame, 1 thread"
STAGE = "stage 02, warm worker"
WINNER = "DFDC winner's recipe"
N_FRAMES = 32
WINNER_THRESHOLDS = (0.7, 0.8, 0.8)  # its kernel's; smallest face 20 px, frames one by one at half size
SAME_FACE_IOU = 0.6


@dataclass(frozen=True)
class Turns:
    """Several ways to go through one video, in turns, so that a busy machine is unfair to none."""

    path: Path
    rounds: int


def job_for(path: Path, folder: str, settings: Extract | None = None) -> Job:
    """Stage 02's job on a video, into a folder that is thrown away."""
    return Job(path.name, path, Path(folder), f"{path.stem}.tar", settings or Extract())


def take_turns(turns: Turns) -> dict[str, list[float] | str]:
    """Seconds of each round by way; a reason in words where a way is not possible."""
    cv2.setNumThreads(1)
    n_frames = probe(turns.path).n_frames
    count_faces = plain_mtcnn(WINNER_THRESHOLDS)
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], object]] = {
            UNIT: lambda: decode_plainly(turns.path, 1),
            "PyAV, every frame, automatic threads": lambda: decode_plainly(turns.path, 0),
            f"decord, {N_FRAMES} frames": lambda: _decord(turns.path, n_frames),
            WINNER: lambda: winners_recipe(turns.path, count_faces),
            STAGE: lambda: _extract_once(job_for(turns.path, folder)),
        }
        measured: dict[str, list[float] | str] = {name: [] for name in ways}
        ways[STAGE]()  # warm
        for _ in range(turns.rounds):
            for name, way in ways.items():
                seconds = measured[name]
                if isinstance(seconds, str):
                    continue
                start = time.perf_counter()
                try:
                    way()
                    seconds.append(time.perf_counter() - start)
                except (ImportError, VideoError) as error:
                    measured[name] = str(error)
    return measured


def _decord(path: Path, n_frames: int) -> None:
    decord_batch(path, np.linspace(0, n_frames - 1, N_FRAMES).round().astype(int).tolist(), n_frames)


def _extract_once(job: Job) -> Extraction:
    job.shard_path.unlink(missing_ok=True)
    extraction = extract(job)
    if extraction.failure is not None:
        raise VideoError(extraction.failure)
    return extraction


def winners_recipe(path: Path, count_faces: Callable[[np.ndarray], int]) -> int:
    """Faces in 32 even frames at half size, one frame at a time; frames between are grabbed, not converted."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    n_frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, n_frames - 1, N_FRAMES).astype(int).tolist())
    n_faces = 0
    try:
        for index in range(n_frames):
            if not capture.grab():
                break
            if index in wanted:
                whole = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
                half = cv2.resize(whole, (whole.shape[1] // 2, whole.shape[0] // 2), interpolation=cv2.INTER_CUBIC)
                n_faces += count_faces(np.asarray(half))
    finally:
        capture.release()
    return n_faces


class StepClock:
    """Seconds by step while watched functions run; a call inside another counts for the inner step alone."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def measure(self, step: str, call: Callable[[], T]) -> T:
        """Call and count."""
        self._inner.append(0.0)
        start = time.perf_counter()
        try:
            return call()
        finally:
            spent = time.perf_counter() - start
            self.seconds[step] += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent

    def watched(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, or generator function, with its time counted."""
        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def generate(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
                with closing(function(*args, **kwargs)) as source:
                    while (item := self.measure(step, lambda: next(source, StopIteration))) is not StopIteration:
                        yield item

            return generate

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.measure(step, lambda: function(*args, **kwargs))

        return call

    @contextmanager
    def watching(self, places: list[tuple[Any, str, str]]) -> Iterator[None]:
        """Watch functions by (module or class, name, step) for a while."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
        try:
            for owner, name, step in places:
                setattr(owner, name, self.watched(step, getattr(owner, name)))
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)


STEPS: list[tuple[Any, str, str]] = [
    (video, "scan", "demux and probe"),
    (video, "decode", "decode"),
    (Frame, "small_rgb", "colour conversion"),
    (Frame, "rgb_region", "colour conversion"),
    (Frame, "luma_thumb", "shots"),
    (CutFinder, "feed", "shots"),
    (FaceDetector, "detect", "detection"),
    (Linker, "update", "linking"),
    (sight, "cut_square", "crops"),
    (sight, "sharpness", "crops"),
    (sight, "encode_crop", "crops"),
    (sight, "perceptual_hash", "shots"),
    (extractor, "write_shard", "writing"),
]


def time_steps(path: Path) -> dict[str, float]:
    """Seconds of each step of stage 02 on a video, the second time it is extracted; they sum up to the whole."""
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        job = job_for(path, folder)
        _extract_once(job)
        with clock.watching(STEPS):
            clock.measure("everything else", lambda: _extract_once(job))
    return dict(clock.seconds)


@dataclass(frozen=True)
class Recall:
    """How many faces full-size detection finds on the sampled frames, and how many of them stage 02 has."""

    n_wanted: int
    n_found: int
    n_ours: int


def recall_of(path: Path) -> Recall:
    """Compare stage 02's boxes with MTCNN on every sampled frame at full size, smallest face as in the settings."""
    settings = Extract()
    with tempfile.TemporaryDirectory() as folder:
        job = job_for(path, folder, settings)
        faces = _extract_once(job).faces
    detector = FaceDetector(settings.min_face_ratio, settings.min_score)
    n_wanted = n_found = 0
    for frame in sample(path, settings.sampling, settings.frames_per_video):
        wanted = detector.detect([frame.rgb()])[0].boxes
        ours = [face.box for face in faces if face.frame_index == frame.index]
        n_wanted += len(wanted)
        if len(wanted) and ours:
            n_found += int((overlap(wanted, np.array(ours, np.float32)).max(axis=1) >= SAME_FACE_IOU).sum())
    return Recall(n_wanted, n_found, len(faces))
