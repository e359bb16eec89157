"""Score videos on an engine: each is read and scored in one process, wherever that runs, into a cache that all see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.detector.header import DetectorHeader, Networks
from deepfake.detector.score_videos import Scored, score_with, without_score
from deepfake.detector.two_passes import score_with_two_passes
from deepfake.engines import Runner
from deepfake.faces.extraction import stopped
from deepfake.faces.reading import ReadJob
from deepfake.media.demux import LostFileError
from deepfake.media.needs import allow_for, limits_of
from deepfake.media.remote import RemoteVideo, fetched
from deepfake.settings import Predict
from deepfake.workers import Failed, Limits, run_here

if TYPE_CHECKING:
    from deepfake.detector.file import TrainedDetector

NETWORKS_MB = 1500  # beside what reading a video takes
SCORING = 2  # times the time that reading may take


@dataclass(frozen=True)
class ScoreJob:
    """A video, the detector, and the cache; `video`: it lies in a store, and `path` is but its name."""

    video_id: str
    path: Path
    detector: DetectorHeader
    weights_sha256: str
    cache_dir: Path
    predict: Predict
    video: RemoteVideo | None = None


def score_apart(
    paths: Mapping[str, Path],
    detector: DetectorHeader | TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    predict: Predict,
    workers: int,
    *,
    run: Runner,
    stored: Mapping[str, RemoteVideo] | None = None,
) -> Iterator[Scored]:
    """Yield the result of each video as it is done; what lies in the cache is not made again.

    Results are without tracks, and without what a video was read from unless it has several streams: of a million
    videos that is too much for one process. `workers` is the engine's to say. `stored` are those that lie in a store.
    """
    if not isinstance(detector, DetectorHeader):
        raise TypeError("wanted a detector whose networks are not loaded: they do not travel")
    far = stored or {}
    detector = replace(detector, path=detector.path.absolute())  # executors work in folders of their own
    rest = (detector, weights_sha256, cache_dir.absolute(), predict)
    jobs = [ScoreJob(v, path.absolute(), *rest, far.get(v)) for v, path in paths.items()]
    for job, outcome in run(score_job, jobs, _limits(detector)):
        yield _slim(_given_up(job, outcome.reason)) if isinstance(outcome, Failed) else outcome


def _limits(detector: DetectorHeader) -> Limits:
    reading = limits_of(detector.extract)
    memory_mb = None if reading.memory_mb is None else reading.memory_mb + NETWORKS_MB
    return replace(reading, deadline_s=SCORING * reading.deadline_s, memory_mb=memory_mb)


def _given_up(job: ScoreJob, reason: str) -> Scored:
    reading = stopped(ReadJob(job.video_id, job.path, job.cache_dir, job.detector.extract), reason)
    return without_score(reading, job.detector.stack.prior)


def score_job(job: ScoreJob) -> Scored:
    """Score one video; a process loads the networks once."""
    if job.video is not None:
        try:
            allow_for(job.video.size_bytes)
            with fetched(job.video) as path:
                return score_job(replace(job, path=path, video=None))
        except LostFileError as error:
            return _slim(_given_up(job, str(error)))
    networks = _networks(job)
    score = score_with_two_passes if job.detector.ensemble.early_exit == "on" else score_with
    (scored,) = score(networks, {job.video_id: job.path}, job.weights_sha256, job.cache_dir, 1, run=run_here)
    return _slim(scored)


def _slim(scored: Scored) -> Scored:
    reading = scored.reading
    probe = reading.file.probe if reading is not None else None
    is_single = probe is None or len(probe.streams) < 2
    return replace(scored, tracks=(), reading=None if is_single else reading)


def _networks(job: ScoreJob) -> Networks:
    key = (job.weights_sha256, repr(job.detector), job.predict.model_dump_json())
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = Networks(job.detector, job.predict)
    return _loaded[key]


_loaded: dict[tuple[str, str, str], Networks] = {}
