"""A network measured on labelled clips it never learnt from: what to choose, to calibrate and to log by.

Whatever is fitted to the clips' labels is fitted on one half of their people and measured on the other.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deepfake.detector.fitting import cross_fitted, frame_scores, member_tracks, places
from deepfake.detector.labelled_clips import Clips, some_frames
from deepfake.ensemble.members import Evidence
from deepfake.ensemble.pooling import Tracks
from deepfake.evaluation import bootstrap
from deepfake.evaluation.metrics import Measure
from deepfake.scoring.frame_scorer import open_scorer
from deepfake.scoring.run_scores import score_faces
from deepfake.settings import Config, CropView
from deepfake.training.loop import LOG, SNAPSHOT

log = logging.getLogger(__name__)


def evidence(
    networks: Mapping[str, tuple[Path, Sequence[CropView]]], clips: Clips, config: Config, n_frames: int
) -> Evidence:
    """Members for `member_sets.compare`: networks, and the views whose mean is taken; clips without a face are out.

    The halves of the people are the folds, and a member costs its passes over a video's crops, measured here.
    """
    members = {name: frame_scores(run, clips, config, n_frames, views) for name, (run, views) in networks.items()}
    costs = {
        name: {name: sum(_pass_ms(run, clips, config, n_frames, view) for view in views)}
        for name, (run, views) in networks.items()
    }
    return as_evidence(member_tracks(members, clips, config.ensemble), clips, costs)


def as_evidence(tracks: Tracks, clips: Clips, costs_ms: Mapping[str, Mapping[str, float]]) -> Evidence:
    """Evidence of the clips' tracks; clips without a face are out, and the halves of the people are the folds."""
    own = places(tracks, clips)
    people = np.array(clips.people, object)[own].tolist()
    return Evidence(tracks, clips.labels[own], clips.halves[own], people, costs_ms)


def mean_over_each(
    run: Path, views: Mapping[str, CropView], clips: Clips, config: Config, n_frames: int
) -> dict[str, dict[str, Measure]]:
    """What the mean over the views of every frame, as a detector takes it, gains over each of them alone.

    Measures by the views' names, calibrated on the other half of the people, over shared resamples of people.
    """
    members = {name: frame_scores(run, clips, config, n_frames, [view]) for name, view in views.items()}
    mean = {"mean": frame_scores(run, clips, config, n_frames, list(views.values()))}
    tracks = member_tracks(mean | members, clips, config.ensemble)
    seen = np.sort(places(tracks, clips))
    p = [cross_fitted(tracks.of_members([name]), clips, config.ensemble)[seen] for name in tracks.members]
    people = np.array(clips.people)[seen]
    fixed = (people, config.validation, config.ensemble.clip_p)
    return {
        name: bootstrap.measure_difference(clips.labels[seen], p[0], alone, *fixed)
        for name, alone in zip(members, p[1:], strict=True)
    }


def _pass_ms(checkpoint: Path, clips: Clips, config: Config, n_frames: int, view: CropView, n_videos: int = 8) -> float:
    faces = some_frames(clips.faces, n_frames)
    some = sorted(faces["video_id"].unique())[:n_videos]
    faces = faces[faces["video_id"].isin(some)].reset_index(drop=True)
    scorer = open_scorer(checkpoint, config.predict, faces, clips.cache_dir).seeing(view)
    start = time.perf_counter()
    score_faces(scorer, faces, clips.cache_dir)
    return 1000 * (time.perf_counter() - start) / max(len(some), 1)


def minutes_of(checkpoint: Path) -> str:
    """Minutes of training noted in a network's log, of a snapshot those up to its step; a dash without a log."""
    snapshot = checkpoint.name.startswith(SNAPSHOT)
    path = (checkpoint.parent if snapshot else checkpoint) / LOG
    last = int(checkpoint.name.removeprefix(SNAPSHOT)) if snapshot else math.inf
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        seconds = sum(float(line["seconds"]) for line in lines if line["step"] < last)
    except (OSError, ValueError, KeyError):
        return "-"
    return f"{seconds / 60:.0f}"
