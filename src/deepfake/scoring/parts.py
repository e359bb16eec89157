"""Stage 06 on an engine: parts of a run's videos scored by frame networks and by networks over tracks, each a job.

A job of frames leaves its outputs where `run_scores.frame_outputs` looks for them; a second one finds them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepfake.engines import Runner
from deepfake.errors import UserError
from deepfake.files import State, state_of
from deepfake.models.checkpoints import fold_folder
from deepfake.scoring.frame_scorer import FrameScorer, open_scorer, probed
from deepfake.scoring.run_heads import HeadScores, joined_heads, load_heads, score_heads
from deepfake.scoring.run_scores import FramePart, frame_outputs, frame_parts, keep_outputs, predict_frames
from deepfake.settings import Config
from deepfake.workers import Failed, Limits

if TYPE_CHECKING:
    import pandas as pd

DEADLINE_S = 6 * 3600.0  # of a part of 500 videos: for what hangs


@dataclass(frozen=True)
class PartJob:
    """A part of the faces, to be scored by the networks of a fold; `probe` decides about their precision."""

    number: int
    config: Config
    fold: int
    part: FramePart
    probe: pd.DataFrame


def part_jobs(config: Config, faces: pd.DataFrame, folds: Sequence[int]) -> list[PartJob]:
    """All jobs, fold by fold."""
    alone = config.model_copy(update={"frames": config.frames.model_copy(update={"loader_workers": 0})})
    probe = probed(faces)
    parts = [
        (fold, part)
        for fold in folds
        for part in frame_parts(config, fold_folder(config.run_dir, "frames", fold), faces)
    ]
    return [PartJob(number, alone, fold, part, probe) for number, (fold, part) in enumerate(parts)]


def predict_on(
    run: Runner, config: Config, faces: pd.DataFrame, folds: Sequence[int]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """FRAME_SCORES, and TRACK_SCORES by member, of videos that no network has seen: what stage 06 writes."""
    jobs = part_jobs(config, faces, folds)
    score_frames(run, jobs)
    return predict_frames(config, faces, folds), joined_heads(config, score_tracks(run, jobs))


def score_frames(run: Runner, jobs: Sequence[PartJob]) -> None:
    """Score every part by its frame networks, and leave the outputs beside these."""
    for job, outcome in run(frames_job, [job for job in jobs if job.part.kept() is None], Limits(1, DEADLINE_S)):
        _refuse_failed(job, outcome)


def score_tracks(run: Runner, jobs: Sequence[PartJob]) -> list[HeadScores]:
    """The scores of every part by its networks over tracks, in the order of the jobs."""
    scores: dict[int, HeadScores] = {}
    for job, outcome in run(heads_job, jobs, Limits(1, DEADLINE_S)):
        scores[job.number] = _refuse_failed(job, outcome)
    return [scores[number] for number in sorted(scores)]


def _refuse_failed(job: PartJob, outcome: HeadScores | Failed | None) -> HeadScores:
    if isinstance(outcome, Failed):
        first = job.part.faces["video_id"].iloc[0]
        raise UserError(f"the part of fold {job.fold} that begins with {first!r}: {outcome.reason}")
    return outcome or HeadScores({}, {})


def frames_job(job: PartJob) -> None:
    """Score a part by the frame networks."""
    if job.part.kept() is None:
        weights = job.part.checkpoint / "model.safetensors"
        keep_outputs(job.part, _scorer(job, state_of(weights)), job.config)


def _scorer(job: PartJob, state: State) -> FrameScorer:
    """The networks of the job before, where they are the same: they are loaded once by a process."""
    key = (str(job.part.checkpoint), state, job.config.predict.model_dump_json())
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = open_scorer(job.part.checkpoint, job.config.predict, job.probe, job.config.work_dir)
    return _loaded[key]


_loaded: dict[tuple[str, State, str], FrameScorer] = {}


def heads_job(job: PartJob) -> HeadScores:
    """Score a part by the networks over tracks."""
    (outputs,) = frame_outputs(job.config, job.part.checkpoint, job.part.faces)
    return score_heads(job.config, load_heads(job.config, job.fold), outputs.tracks())
