"""What the Kaggle notebook calls: score the test videos in the time there is, and show what came out.

A whole submission.csv is there from the start, with the prior for every video, and gets better while videos are
scored. What is done is kept in the work folder, so a notebook that was killed goes on where it was.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake.detector.file import TrainedDetector, open_detector
from deepfake.detector.judged import judge
from deepfake.detector.score_videos import Scored, refuse_equal_scores, score_videos
from deepfake.ensemble.submission import (
    Submission,
    count_reasons,
    csv_bytes,
    make_submission,
    read_sample,
    rounded,
    short_names,
    write_submission,
)
from deepfake.errors import UserError
from deepfake.faces.extracted import Extraction, stored_crop
from deepfake.files import digest, sha256_of, write_whole
from deepfake.kaggle.budget import Pace, ladder, next_step
from deepfake.kaggle.setup import SAMPLE, TEST_VIDEOS, Places
from deepfake.media.listing import find_videos, video_id_of
from deepfake.models.detector_file import find_weights
from deepfake.report import plots
from deepfake.report.strips import Strip, facts_html, spread_places, strips_html
from deepfake.settings import Config, Extract, Kaggle, result_values

FORMAT = 2  # raise it when records of an older version no longer hold
NOT_YET, ERROR = "not scored yet", "error: "
MAX_ERRORS_IN_ROW = 5  # so many videos that fail one after the other have a common cause
SLOW_BATCH = 2.0  # a batch that takes so many times its seconds is broken off and the frames are chosen anew
log = logging.getLogger(__name__)

ScoreBatch = Callable[[dict[str, Path], int, float], Generator[Scored, None, None]]


@dataclass(frozen=True)
class Scorer:
    """A detector that scores batches of videos, each with a number of frames and a deadline for a video in seconds."""

    detector: TrainedDetector
    weights_sha256: str
    work: Path
    config: Config

    def settings(self, n_frames: int) -> Extract:
        """The detector's extraction with another number of frames a video."""
        return self.detector.extract.model_copy(update={"frames_per_video": n_frames})

    def __call__(self, paths: dict[str, Path], n_frames: int, deadline_s: float) -> Generator[Scored, None, None]:
        """Yield the result of each video as it is done."""
        extract = self.settings(n_frames).model_copy(update={"deadline_s": deadline_s})
        workers = self.config.kaggle.workers or os.cpu_count() or 2
        yield from score_videos(
            paths, replace(self.detector, extract=extract), self.weights_sha256, self.work, self.config.predict, workers
        )


def open_scorer(places: Places, config: Config) -> Scorer:
    """The bundle's detector."""
    weights = find_weights(places.bundle / "weights")
    return Scorer(open_detector(weights, config.predict), sha256_of(weights), places.work, config)


@dataclass(frozen=True)
class Record:
    """What is known of a video; `key` changes with its file and with the detector, `n_frames` were asked of it.

    `crops`: see `Scored`; `engine` ran the networks, in words.
    """

    key: str
    n_frames: int
    p_fake: float
    n_faces: int
    n_tracks: int
    fallback: str | None
    crops: str | None = None
    engine: str | None = None


@dataclass(frozen=True)
class Job:
    """The videos to score (by video_id), the submission's names, and all that decides about them.

    `levels`: frames a video to choose from, the most first. `keys` are of the videos, see `Record`.
    """

    names: list[str]
    paths: dict[str, Path]
    keys: dict[str, str]
    prior: float
    clip_p: float
    levels: tuple[int, ...]
    settings: Kaggle
    places: Places

    @property
    def progress_path(self) -> Path:
        """Where records are kept."""
        return self.places.work / "progress.json"


def prepare(places: Places, scorer: Scorer) -> Job:
    """List the videos that the sample submission names; where there is none, every row will have the prior."""
    detector, settings = scorer.detector, scorer.config.kaggle
    names = read_sample(places.competition / SAMPLE)
    folder = places.competition / TEST_VIDEOS
    try:
        paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    except UserError as error:
        log.warning("%s", error)
        paths = {}
    wanted = set(names)
    paths = {v: paths[v] for name, v in short_names(list(paths)).items() if name in wanted or v in wanted}
    kind = [FORMAT, scorer.weights_sha256, {**result_values(detector.extract, "extract"), "frames_per_video": 0}]
    return Job(
        names=names,
        paths=dict(sorted(paths.items())),
        keys={v: _key(path, kind) for v, path in paths.items()},
        prior=detector.stack.prior,
        clip_p=detector.ensemble.clip_p,
        levels=ladder(detector.extract.frames_per_video, settings.min_frames),
        settings=settings,
        places=places,
    )


def _key(path: Path, kind: Sequence[Any]) -> str:
    try:
        state: list[Any] = [path.stat().st_size, path.stat().st_mtime_ns]
    except OSError:  # scoring it will report why
        state = []
    return digest([str(path), *state, *kind])[:32]


def load_records(job: Job) -> dict[str, Record]:
    """What an earlier run of the same detector left of videos that are still the same, except where it failed."""
    try:
        kept = {v: Record(**values) for v, values in json.loads(job.progress_path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s cannot be read (%s): all videos are scored again", job.progress_path, error)
        return {}
    same = {v: record for v, record in kept.items() if record.key == job.keys.get(v)}
    return {v: record for v, record in same.items() if not (record.fallback or "").startswith(ERROR)}


def publish(job: Job, records: Mapping[str, Record]) -> Submission:
    """Write what is known: records for a later run, submission.csv for Kaggle, details.csv for people."""
    plain = {v: asdict(record) for v, record in sorted(records.items())}
    write_whole(job.progress_path, json.dumps(plain, indent=0).encode())
    submission = _lay_out(job, records)
    write_submission(job.places.out / "submission.csv", submission)
    empty = Record(key="", n_frames=0, p_fake=job.prior, n_faces=0, n_tracks=0, fallback=NOT_YET)
    known = [(v, records.get(v, empty)) for v in job.paths]
    header = ("filename", "p_fake", "frames_asked", "n_faces", "n_tracks", "fallback")
    rows = [(v, rounded(r.p_fake), r.n_frames, r.n_faces, r.n_tracks, r.fallback or "") for v, r in known]
    have = {*short_names(list(job.paths)), *job.paths}
    absent = [(n, rounded(job.prior), 0, 0, 0, why) for n, why in submission.fallbacks.items() if n not in have]
    write_whole(job.places.out / "details.csv", csv_bytes([header, *rows, *absent]))
    return submission


def _lay_out(job: Job, records: Mapping[str, Record]) -> Submission:
    if not job.paths:
        return Submission(job.names, [job.prior] * len(job.names), dict.fromkeys(job.names, "no such video"), [])
    rows = [(v, records[v].p_fake, records[v].fallback) if v in records else (v, job.prior, NOT_YET) for v in job.paths]
    scores = pd.DataFrame(rows, columns=["video_id", "p_fake", "fallback"])
    return make_submission(scores, job.names, job.prior, job.clip_p)


def pending(job: Job, records: Mapping[str, Record]) -> tuple[list[str], tuple[int, ...]]:
    """Videos to work on next and the numbers of frames that would help them.

    First those without a result; then, should there be time, those that were scored by too few frames.
    """
    new = [v for v in job.paths if v not in records]
    if new:
        return new, job.levels
    known = [(records[v].n_frames, v) for v in job.paths if records[v].fallback in (None, "no_face")]
    lower = sorted(item for item in known if item[0] < job.levels[0])
    return [v for _, v in lower], tuple(level for level in job.levels if lower and level > lower[-1][0])


def run(
    job: Job,
    score: ScoreBatch,
    started_s: float,
    clock: Callable[[], float] = time.monotonic,
    report: Callable[[str], None] = log.info,
) -> dict[str, Record]:
    """Score all videos within the budget, which began at `started_s` of the clock; the submission follows.

    A video that hangs, crashes its process or cannot be read costs itself alone and keeps the prior, with the reason.
    """
    settings = job.settings
    end_s = started_s + settings.budget_hours * 3600 - settings.reserve_s
    records = load_records(job)
    if records:
        report(f"{len(records)} videos were scored before")
    publish(job, records)
    paces: list[Pace] = []
    published_s = clock()
    while True:
        ids, levels = pending(job, records)
        step = next_step(levels, paces, len(ids), end_s - clock(), settings.batch_s, settings.first_videos)
        if step is None:
            break
        batch = {v: job.paths[v] for v in ids[: step.n_videos]}
        start_s, n_done = clock(), 0
        limit_s = min(end_s, start_s + SLOW_BATCH * settings.batch_s)
        deadline_s = max(min(settings.video_deadline_s, end_s - start_s), 1.0)
        with closing(_one_by_one(score, batch, step.n_frames, deadline_s, job.prior)) as results:
            for result in results:
                n_done += 1
                records[result.video_id] = _better(records.get(result.video_id), _record(job, result, step.n_frames))
                if clock() - published_s >= settings.write_every_s:
                    publish(job, records)
                    published_s = clock()
                if clock() > limit_s:
                    break
        assert n_done, "every video of a batch gives a result"
        paces.append(Pace(step.n_frames, n_done, clock() - start_s))
        report(_progress(job, records, paces[-1], end_s - clock()))
    publish(job, records)
    return records


def _record(job: Job, result: Scored, n_frames: int) -> Record:
    return Record(
        key=job.keys[result.video_id],
        n_frames=n_frames,
        p_fake=result.p_fake,
        n_faces=result.n_faces,
        n_tracks=result.n_tracks,
        fallback=result.fallback,
        crops=result.crops,
        engine=result.engine.words if result.engine else None,
    )


def _better(old: Record | None, new: Record) -> Record:
    """The new record, unless it is the first that failed."""
    if old is not None and old.fallback is None and new.fallback is not None:
        return replace(old, n_frames=new.n_frames)
    return new


def _progress(job: Job, records: Mapping[str, Record], pace: Pace, left_s: float) -> str:
    cost = pace.seconds / pace.n_videos
    return (
        f"{len(records)} of {len(job.paths)} videos; {pace.n_frames} frames each, {cost:.1f} s a video; "
        f"{max(left_s, 0) / 3600:.1f} h left"
    )


def _one_by_one(
    score: ScoreBatch, batch: dict[str, Path], n_frames: int, deadline_s: float, prior: float
) -> Generator[Scored, None, None]:
    """Results of a batch; where scoring itself fails, the rest is scored alone, to find whose fault it was."""
    waiting = dict(batch)
    try:
        with closing(score(batch, n_frames, deadline_s)) as results:
            for result in results:
                waiting.pop(result.video_id)
                yield result
        return
    except (ValueError, RuntimeError, OSError) as error:
        log.warning("a batch failed (%s): its %d other videos are scored one by one", error, len(waiting))
    n_errors = 0
    for video_id, path in waiting.items():
        try:
            with closing(score({video_id: path}, n_frames, deadline_s)) as alone:
                yield from alone
            n_errors = 0
        except (ValueError, RuntimeError, OSError) as error:
            n_errors += 1
            if n_errors == MAX_ERRORS_IN_ROW:
                raise
            yield Scored(video_id, prior, 0, 0, ERROR + " ".join(str(error).split()))


def summary(job: Job, records: Mapping[str, Record], seconds: float) -> str:
    """HTML: counts, reasons for the prior, frames, seconds and a histogram. Raises where all scores are equal."""
    scored = {v: r for v, r in records.items() if r.fallback is None}
    refuse_equal_scores([Scored(v, r.p_fake, r.n_faces, r.n_tracks, None, crops=r.crops) for v, r in scored.items()])
    reasons = count_reasons(_lay_out(job, records).fallbacks)
    frames = pd.Series([r.n_frames for r in scored.values()], dtype=int).value_counts().sort_index(ascending=False)
    facts = {
        "Rows of submission.csv": f"{len(job.names):,}",
        "Scored": f"{len(scored):,}",
        "With the prior": ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none",
        "Frames a video": ", ".join(f"{n} for {count:,}" for n, count in frames.items()) or "-",
        "Networks by": "; ".join(sorted({r.engine for r in scored.values() if r.engine})) or "-",
        "Faces": f"{sum(r.n_faces for r in scored.values()):,} in {sum(r.n_tracks for r in scored.values()):,} tracks",
        "Time": f"{seconds:,.0f} s of {job.settings.budget_hours * 3600:,.0f}",
        "Files": f"{job.places.out / 'submission.csv'}, details.csv beside it",
    }
    return facts_html(facts, plots.plain_histogram(np.array([r.p_fake for r in scored.values()])) if scored else "")


def example_ids(records: Mapping[str, Record]) -> dict[str, str]:
    """The video that looks most forged, the most real one and the one nearest to 0.5, as far as there are so many."""
    scored = sorted((r.p_fake, v) for v, r in records.items() if r.fallback is None)
    chosen: dict[str, str] = {}
    ranks: dict[str, Callable[[float], float]] = {
        "most forged": lambda p: -p,
        "most real": lambda p: p,
        "least sure": lambda p: abs(p - 0.5),
    }
    for title, rank in ranks.items():
        free = [(rank(p), v) for p, v in scored if v not in chosen.values()]
        if free:
            chosen[title] = min(free)[1]
    return chosen


def examples(job: Job, scorer: Scorer, records: Mapping[str, Record]) -> str:
    """HTML: three videos with crops of the face that decided, from what is kept in the work folder."""
    strips = []
    for title, video_id in example_ids(records).items():
        record = records[video_id]
        (result,) = scorer({video_id: job.paths[video_id]}, record.n_frames, job.settings.video_deadline_s)
        if result.reading is not None and result.tracks:
            strips.append(_strip(title, result, result.reading.extraction, scorer))
    return strips_html(strips)


def _strip(title: str, result: Scored, extraction: Extraction, scorer: Scorer) -> Strip:
    detector = scorer.detector
    judged = judge(result.tracks, detector.stack, detector.ensemble)
    decisive = result.tracks[judged.most_telling(result.tracks)]
    faces = [face for face in extraction.faces if face.track == decisive.track]
    p_fake = scorer.detector.stack.calibration.apply(decisive.frame_logits)
    shown = [(faces[i], p_fake[i]) for i in spread_places(len(faces))]
    return Strip(
        title=f"{title}: {result.video_id}, p_fake {result.p_fake:.2f}",
        note=f"face {decisive.track + 1} of {len(result.tracks)}, {len(faces)} frames",
        crops=[stored_crop(scorer.work, face) for face, _ in shown],
        captions=[f"{face.time_s:.1f} s: {p:.2f}" for face, p in shown],
    )
