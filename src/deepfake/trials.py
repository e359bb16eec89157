"""A network measured on labelled clips it never learnt from: what to choose, to calibrate and to log by.

Whatever is fitted to the clips' labels is fitted on one half of their people and told of the other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from deepfake import evaluation, metrics, tables
from deepfake.aggregate import draw_to_prior, heard_tracks, track_logits, video_logits
from deepfake.arrays import map_array, write_array
from deepfake.calibration import inconclusive_band
from deepfake.checkpoints import read_card
from deepfake.config import Config, CropView, Ensemble, Extract, UserError, Validation, digest
from deepfake.datasets import content_digest
from deepfake.detector import readable_videos
from deepfake.ensemble import Stack, fit_stack
from deepfake.ensemble_table import Evidence
from deepfake.evaluation import Labelled, Matched
from deepfake.extraction import extract_videos
from deepfake.index import find_videos, video_id_of
from deepfake.metrics import Measure
from deepfake.scoring import PLACES, open_scorer, score_faces
from deepfake.training import LOG, SNAPSHOT

log = logging.getLogger(__name__)
HALVES = 2


@dataclass(frozen=True)
class Clips:
    """Labelled clips with the faces found in them; `cache_dir` holds the crops."""

    faces: pd.DataFrame
    labelled: list[Labelled]
    video_ids: list[str]
    cache_dir: Path

    @property
    def labels(self) -> np.ndarray:
        """1 for fake, in the order of `video_ids`."""
        return np.array([video.label for video in self.labelled])

    @property
    def people(self) -> list[str]:
        """Whom each clip shows, or the clip's own name where nobody says."""
        return [video.columns.get("identity", "").strip() or video.name for video in self.labelled]

    @property
    def halves(self) -> np.ndarray:
        """0 or 1 for each clip: people are dealt to halves by turns, family by family, and never parted."""
        return self.quarters % HALVES

    @property
    def quarters(self) -> np.ndarray:
        """0 to 3 for each clip: the halves, each of them halved alike; modulo 2 it is the half."""
        people = self.people
        family: dict[str, str] = {}
        for person, video in zip(people, self.labelled, strict=True):
            family[person] = max(family.get(person, ""), f"{video.label} {video.columns.get('family', '')}")
        order = sorted(family, key=lambda person: (family[person], hashlib.sha256(person.encode()).hexdigest()))
        quarter = {person: place % HALVES**2 for place, person in enumerate(order)}
        return np.array([quarter[person] for person in people])


def read_clips(folder: Path, labels_csv: Path, extract: Extract, cache_dir: Path, limit: int | None = None) -> Clips:
    """Find the faces of every video below a folder that has a label; crops found before are read back.

    `limit` takes so many videos, by label and family in turn.
    """
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    pairs, _ = evaluation.pair(paths, evaluation.read_labels(labels_csv))
    chosen = {video.name for video in evaluation.spread([video for video, _ in pairs], limit)}
    pairs = [(video, video_id) for video, video_id in pairs if video.name in chosen]
    paths = {video_id: paths[video_id] for video_id in sorted(video_id for _, video_id in pairs)}
    _, videos = readable_videos(paths, cache_dir)
    found: list[dict[str, Any]] = []
    for _, faces in tqdm(extract_videos(videos, cache_dir, extract), total=len(videos), desc="faces", disable=None):
        found += faces
    if not found:
        raise UserError(f"clips {str(folder)!r}: no face in any of {len(paths)} videos, so there is nothing to measure")
    table = pd.DataFrame(found, columns=tables.FACES.schema.names)
    table = table.sort_values(["video_id", "track", "frame_index"], kind="stable").reset_index(drop=True)
    return Clips(table, [video for video, _ in pairs], [video_id for _, video_id in pairs], cache_dir)


def some_frames(faces: pd.DataFrame, n_frames: int) -> pd.DataFrame:
    """At most `n_frames` rows of each track, spread over its length."""
    kept: list[int] = []
    for _, part in faces.groupby(["video_id", "track"], sort=True):
        kept += part.index[np.unique(np.linspace(0, len(part) - 1, n_frames).round().astype(int))].tolist()
    return faces.loc[sorted(kept)].reset_index(drop=True)


def frame_scores(
    checkpoint: Path, clips: Clips, config: Config, n_frames: int, views: Sequence[CropView] = (CropView(),)
) -> pd.DataFrame:
    """FRAME_SCORES of a finished network or snapshot, the mean over the views; each view's are kept beside it."""
    faces = some_frames(clips.faces, n_frames)
    card = read_card(checkpoint)
    made_of = [card.weights_sha256, card.settings, config.predict.precision, content_digest(faces[PLACES])]
    opened = cache(lambda: open_scorer(checkpoint, config.predict, faces, clips.cache_dir))
    logits: list[np.ndarray] = []
    for view in views:
        path = checkpoint / "scored" / f"trial-{digest([*made_of, view.model_dump()])[:24]}.npy"
        known = map_array(path, len(faces))
        if known is None:
            known = score_faces(opened().seeing(view), faces, clips.cache_dir).logits_N
            write_array(path, known)
        logits.append(known)
    scores = faces[["video_id", "track", "frame_index"]].assign(model="frames")
    return scores.assign(logit=np.mean(logits, axis=0))


def member_logits(members: Mapping[str, pd.DataFrame], clips: Clips, settings: Ensemble) -> np.ndarray:
    """Video logits (n, members) in the order of the clips; a clip without a face gets NaN."""
    return pooled_tracks(
        {name: track_logits(members[name].assign(model=name), settings) for name in members}, clips, settings
    )


def pooled_tracks(members: Mapping[str, pd.DataFrame], clips: Clips, settings: Ensemble) -> np.ndarray:
    """`member_logits` from rows of TRACK_SCORES, in each of which the model is the member's name."""
    columns = []
    for rows in members.values():
        tracks = draw_to_prior(heard_tracks(rows, settings), clips.faces, settings)
        videos = video_logits(tracks, settings).set_index("video_id")["logit"]
        columns.append(videos.reindex(clips.video_ids).to_numpy(np.float64))
    return np.stack(columns, axis=1)


def cross_fitted(logits: np.ndarray, clips: Clips, names: Sequence[str], settings: Ensemble) -> np.ndarray:
    """p_fake (n,) of each clip by a stack and a calibration fitted on the other half; the prior where NaN.

    Members that do not pay there drop out.
    """
    has_face, labels = np.isfinite(logits).all(axis=1), clips.labels
    p = np.full(len(logits), settings.fake_share or float(labels.mean()))
    for half in range(HALVES):
        told = (clips.halves == half) & has_face
        others = (clips.halves != half) & has_face
        if len(np.unique(labels[others])) < 2:
            raise UserError(
                f"clips: half {1 - half} of the people has {int(labels[others].sum())} fakes of {int(others.sum())} "
                "clips; both kinds are wanted in both halves. Give more clips, or an identity column"
            )
        inner = clips.quarters[others] // HALVES
        p[told] = fit_stack(logits[others], labels[others], names, settings, inner).p_fake(logits[told])
    return np.asarray(np.clip(p, settings.clip_p, 1 - settings.clip_p))


def cross_banded(p: np.ndarray, clips: Clips, error_rate: float) -> np.ndarray:
    """Which clips (n,) are inconclusive by a band found on the other half's cross-fitted p."""
    unclear = np.zeros(len(p), bool)
    for half in range(HALVES):
        others = clips.halves != half
        low, high = inconclusive_band(p[others], clips.labels[others], error_rate)
        unclear[~others] = (p[~others] >= low) & (p[~others] <= high) & (low < high)
    return unclear


def evidence(
    looks: Mapping[str, tuple[Path, Sequence[CropView]]], clips: Clips, config: Config, n_frames: int
) -> Evidence:
    """Members for `ensemble_table.compare`: networks, and the views whose mean is taken; clips without a face are out.

    The halves of the people are the folds, and a member costs its looks at a video's crops, measured here.
    """
    members = {name: frame_scores(run, clips, config, n_frames, views) for name, (run, views) in looks.items()}
    costs = {
        name: {name: sum(_pass_ms(run, clips, config, n_frames, view) for view in views)}
        for name, (run, views) in looks.items()
    }
    return as_evidence(tuple(members), member_logits(members, clips, config.ensemble), clips, costs)


def as_evidence(
    members: tuple[str, ...], logits: np.ndarray, clips: Clips, costs_ms: Mapping[str, Mapping[str, float]]
) -> Evidence:
    """Evidence of video logits (n, members) in the order of the clips; clips without a face are out.

    The halves of the people are the folds.
    """
    seen = np.flatnonzero(np.isfinite(logits).all(axis=1))
    people = np.array(clips.people, object)[seen].tolist()
    return Evidence(
        members=members,
        logits_NM=logits[seen],
        labels=clips.labels[seen],
        folds=clips.halves[seen],
        groups=people,
        costs_ms=costs_ms,
    )


def mean_over_each(
    run: Path, views: Mapping[str, CropView], clips: Clips, config: Config, n_frames: int
) -> dict[str, dict[str, Measure]]:
    """What the mean over the views of every frame, as a detector takes it, gains over each of them alone.

    Measures by the views' names, calibrated on the other half of the people, over shared resamples of people.
    """
    members = {way: frame_scores(run, clips, config, n_frames, [view]) for way, view in views.items()}
    mean = {"mean": frame_scores(run, clips, config, n_frames, list(views.values()))}
    logits = member_logits(mean | members, clips, config.ensemble)
    seen = np.isfinite(logits).all(axis=1)
    p = [cross_fitted(column[:, None], clips, ["frames"], config.ensemble)[seen] for column in logits.T]
    people = np.array(clips.people)[seen]
    fixed = (people, config.validation, config.ensemble.clip_p)
    return {
        way: metrics.measure_difference(clips.labels[seen], p[0], alone, *fixed)
        for way, alone in zip(members, p[1:], strict=True)
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


@dataclass(frozen=True)
class Trial:
    """What a member or an ensemble does on the clips."""

    ranked: dict[str, Any]
    probable: dict[str, Any]
    unclear_share: float
    p: np.ndarray

    def row(self, what: str, minutes: str) -> str:
        """A line of submissions/ablations.md."""
        by_family = {row["value"]: row["metrics"]["roc_auc"] for row in self.ranked["groups"].get("family", [])}
        families = [evaluation.show(by_family[name], 2) if name in by_family else "-" for name in FAMILIES]
        overall = evaluation.show(self.ranked["metrics"]["roc_auc"], 2)
        loss, ece = (self.probable["metrics"][name]["value"] for name in ("log_loss", "ece"))
        cells = [what, minutes, *families, overall, f"{loss:.3f}", f"{ece:.2f}", f"{100 * self.unclear_share:.0f} %"]
        return "| " + " | ".join(cells) + " |"


FAMILIES = ("swap", "reenactment", "lipsync", "talking_head")
HEADER = (
    "| what | minutes | swap | reenactment | lip-sync | talking head | all | log loss | ECE | inconclusive |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def measure(logits: np.ndarray, clips: Clips, names: Sequence[str], settings: Ensemble) -> Trial:
    """AUC of the equally weighted logits, and log loss, ECE and band share of the cross-fitted p."""
    group_columns = [name for name in ("family",) if name in clips.labelled[0].columns]
    mean = np.nan_to_num(logits.mean(axis=1))
    p = cross_fitted(logits, clips, names, settings)
    ranked_p = np.asarray(expit(np.clip(mean, -30, 30)))
    ranked, probable = (
        evaluation.evaluate(Matched(clips.labelled, q, [], []), group_columns, Validation(), settings.clip_p)
        for q in (ranked_p, p)
    )
    return Trial(ranked, probable, float(cross_banded(p, clips, settings.error_rate).mean()), p)


def final_stack(logits: np.ndarray, clips: Clips, names: Sequence[str], trial: Trial, settings: Ensemble) -> Stack:
    """The stack to ship: weights and calibration of all clips, the band of the cross-fitted p.

    Members that do not pay drop out.
    """
    has_face = np.isfinite(logits).all(axis=1)
    stack = fit_stack(logits[has_face], clips.labels[has_face], names, settings, clips.halves[has_face])
    return replace(stack, band=inconclusive_band(trial.p[has_face], clips.labels[has_face], settings.error_rate))
