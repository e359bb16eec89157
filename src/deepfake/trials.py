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
from deepfake.aggregate import Line, Tracks, pool, track_logits, video_logits
from deepfake.arrays import map_array, write_array
from deepfake.calibration import inconclusive_band
from deepfake.checkpoints import read_card
from deepfake.config import Config, CropView, Ensemble, Extract, UserError, Validation, digest
from deepfake.datasets import content_digest
from deepfake.ensemble import Stack, fit_stack
from deepfake.ensemble_table import Evidence
from deepfake.evaluation import Labelled, Matched
from deepfake.extraction import face_rows, read_videos
from deepfake.index import find_videos, video_id_of
from deepfake.metrics import Measure
from deepfake.scoring import PLACES, open_scorer, score_faces
from deepfake.training import LOG, SNAPSHOT

log = logging.getLogger(__name__)
HALVES = 2
EQUAL_SHARES = 1e6  # a pull of ensemble.stack_l2 that no sample moves


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
    found: list[Mapping[str, object]] = []
    for one in tqdm(read_videos(paths, cache_dir, extract), total=len(paths), desc="faces", disable=None):
        found += face_rows(one.video_id, one.extraction.faces)
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


def member_tracks(members: Mapping[str, pd.DataFrame], clips: Clips, settings: Ensemble) -> Tracks:
    """The clips' tracks from each member's rows of FRAME_SCORES; clips without a face are not among them."""
    return pooled_tracks(
        {name: track_logits(rows.assign(model=name), settings) for name, rows in members.items()}, clips, settings
    )


def pooled_tracks(members: Mapping[str, pd.DataFrame], clips: Clips, settings: Ensemble) -> Tracks:
    """`member_tracks` from rows of TRACK_SCORES, in each of which the model is the member's name."""
    return pool(pd.concat(members.values(), ignore_index=True), clips.faces, settings, list(members))


def places(tracks: Tracks, clips: Clips) -> np.ndarray:
    """The place of each of the tracks' videos among the clips."""
    place = {video_id: i for i, video_id in enumerate(clips.video_ids)}
    return np.array([place[video_id] for video_id in tracks.video_ids], int)


@dataclass(frozen=True)
class _Half:
    """Some videos' tracks, by a mask, and the stack that was fitted without these videos' half of the people."""

    held: np.ndarray
    tracks: Tracks
    stack: Stack


def _halves(tracks: Tracks, clips: Clips, settings: Ensemble) -> list[_Half]:
    """Each half of the clips that have a face, and a stack fitted on the other; members that do not pay drop out."""
    own = places(tracks, clips)
    labels, halves, quarters = clips.labels[own], clips.halves[own], clips.quarters[own]
    found = []
    for half in range(HALVES):
        others = halves != half
        if len(np.unique(labels[others])) < 2:
            raise UserError(
                f"clips: half {1 - half} of the people has {int(labels[others].sum())} fakes of {int(others.sum())} "
                "clips; both kinds are wanted in both halves. Give more clips, or an identity column"
            )
        stack = fit_stack(tracks.of_videos(others), labels[others], settings, quarters[others] // HALVES)
        found.append(_Half(~others, tracks.of_videos(~others), stack))
    return found


def cross_fitted(tracks: Tracks, clips: Clips, settings: Ensemble) -> np.ndarray:
    """p_fake of each clip by a stack and a calibration fitted on the other half; the prior without a face.

    Members that do not pay there drop out.
    """
    p, own = np.full(len(clips.labels), settings.fake_share or float(clips.labels.mean())), places(tracks, clips)
    for part in _halves(tracks, clips, settings):
        p[own[part.held]] = part.stack.p_fake(part.tracks)
    return np.asarray(np.clip(p, settings.clip_p, 1 - settings.clip_p))


def ranking(tracks: Tracks, clips: Clips, settings: Ensemble) -> np.ndarray:
    """Logit of each clip by equal shares of the members, before calibration: what to rank by; 0 without a face.

    What is not trusted is drawn to the logit that the other half of the people calibrates to the prior.
    """
    logits, own = np.zeros(len(clips.labels)), places(tracks, clips)
    n = len(tracks.members)
    plain = settings.model_copy(update={"drop_margin": None, "stack_l2": EQUAL_SHARES})
    for part in _halves(tracks, clips, plain):
        line = part.stack.line
        neutral = (line.neutral - line.intercept) / line.slope
        logits[own[part.held]] = video_logits(part.tracks, Line((1 / n,) * n, neutral=neutral))[0]
    return logits


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
    members = {way: frame_scores(run, clips, config, n_frames, [view]) for way, view in views.items()}
    mean = {"mean": frame_scores(run, clips, config, n_frames, list(views.values()))}
    tracks = member_tracks(mean | members, clips, config.ensemble)
    seen = np.sort(places(tracks, clips))
    p = [cross_fitted(tracks.of_members([name]), clips, config.ensemble)[seen] for name in tracks.members]
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


def measure(tracks: Tracks, clips: Clips, settings: Ensemble) -> Trial:
    """AUC of the equally weighted logits, and log loss, ECE and band share of the cross-fitted p."""
    group_columns = [name for name in ("family",) if name in clips.labelled[0].columns]
    p = cross_fitted(tracks, clips, settings)
    ranked_p = np.asarray(expit(np.clip(ranking(tracks, clips, settings), -30, 30)))
    ranked, probable = (
        evaluation.evaluate(Matched(clips.labelled, q, [], []), group_columns, Validation(), settings.clip_p)
        for q in (ranked_p, p)
    )
    return Trial(ranked, probable, float(cross_banded(p, clips, settings.error_rate).mean()), p)


def final_stack(tracks: Tracks, clips: Clips, trial: Trial, settings: Ensemble) -> Stack:
    """The stack to ship: weights and calibration of all clips, the band of the cross-fitted p.

    Members that do not pay drop out.
    """
    own = places(tracks, clips)
    labels = clips.labels[own]
    stack = fit_stack(tracks, labels, settings, clips.halves[own])
    return replace(stack, band=inconclusive_band(trial.p[own], labels, settings.error_rate))
