"""Fit a detector's stack and calibration on labelled clips, and measure what it gives.

Whatever is fitted to the clips' labels is fitted on one half of their people and measured on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake.arrays import map_array, write_array
from deepfake.datasets.pairs import content_digest
from deepfake.detector.labelled_clips import HALVES, Clips, some_frames
from deepfake.ensemble.calibration import inconclusive_band
from deepfake.ensemble.pooling import Line, Tracks, pool, track_logits, video_logits
from deepfake.ensemble.stack import Stack, fit_stack
from deepfake.errors import UserError
from deepfake.evaluation import evaluate, text_tables
from deepfake.evaluation.labelled import Matched
from deepfake.files import digest
from deepfake.models.checkpoints import read_card
from deepfake.scoring.frame_scorer import PLACES, open_scorer
from deepfake.scoring.run_scores import score_faces
from deepfake.scoring.strides import rows_looked_at
from deepfake.settings import Config, CropView, Ensemble, Validation

EQUAL_SHARES = 1e6  # a pull of ensemble.stack_l2 that no sample moves


def frame_scores(
    checkpoint: Path,
    clips: Clips,
    config: Config,
    n_frames: int,
    views: Sequence[CropView] = (CropView(),),
    stride: int = 1,
) -> pd.DataFrame:
    """FRAME_SCORES of a finished network or snapshot, the mean over the views; each view's are kept beside it.

    Of each track it sees one of `stride` frames, see `scoring.strides`.
    """
    scored = some_frames(clips.faces, n_frames)
    seen, place = np.unique(rows_looked_at(scored, stride), return_inverse=True)
    faces = scored.iloc[seen]
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
    scores = scored[["video_id", "track", "frame_index"]].assign(model="frames")
    return scores.assign(logit=np.mean(logits, axis=0)[place])


def member_scores(checkpoint: Path, member: str, clips: Clips, config: Config, n_frames: int) -> pd.DataFrame:
    """`frame_scores` as a member of this name sees the clips by the settings: in its views, at its stride."""
    ensemble = config.ensemble
    return frame_scores(checkpoint, clips, config, n_frames, ensemble.views_of(member), ensemble.stride_of(member))


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
    fitted = []
    for half in range(HALVES):
        others = halves != half
        if len(np.unique(labels[others])) < 2:
            raise UserError(
                f"clips: half {1 - half} of the people has {int(labels[others].sum())} fakes of {int(others.sum())} "
                "clips; both kinds are wanted in both halves. Give more clips, or an identity column"
            )
        stack = fit_stack(tracks.of_videos(others), labels[others], settings, quarters[others] // HALVES)
        fitted.append(_Half(~others, tracks.of_videos(~others), stack))
    return fitted


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
        logits[own[part.held]] = uncalibrated(part.tracks, replace(part.stack.line, weights=(1 / n,) * n))
    return logits


def uncalibrated(tracks: Tracks, line: Line) -> np.ndarray:
    """Logits (N,) of videos on the scale of the members' own: pooled as calibrated ones, and the line undone."""
    return np.asarray((video_logits(tracks, line)[0] - line.intercept) / line.slope)


def cross_banded(p: np.ndarray, clips: Clips, error_rate: float) -> np.ndarray:
    """Which clips (n,) are inconclusive by a band found on the other half's cross-fitted p."""
    unclear = np.zeros(len(p), bool)
    for half in range(HALVES):
        others = clips.halves != half
        low, high = inconclusive_band(p[others], clips.labels[others], error_rate)
        unclear[~others] = (p[~others] >= low) & (p[~others] <= high) & (low < high)
    return unclear


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
        families = [text_tables.show(by_family[name], 2) if name in by_family else "-" for name in FAMILIES]
        overall = text_tables.show(self.ranked["metrics"]["roc_auc"], 2)
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
        evaluate.evaluate(Matched(clips.labelled, q, [], []), group_columns, Validation(), settings.clip_p)
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
