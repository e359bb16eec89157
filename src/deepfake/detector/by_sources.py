"""Calibration and band of a detector by left-out groups of sources, on labelled clips of several collections.

Its networks and the weights of its members stay. What is fitted where, and what is promised then:
`ensemble.left_out`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake.detector import recalibration
from deepfake.detector.file import TrainedDetector
from deepfake.detector.labelled_clips import Clips
from deepfake.detector.listed_crops import clips_table
from deepfake.ensemble.left_out import LEAST_NAMED, Found, Known, find
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.settings import Ensemble, Predict
from deepfake.training.source_groups import deal_folds, group_names, source_groups

MOST_FOLDS = 10  # of more groups, several share a fold: each fit is then made ten times, not hundreds
HEADER = (
    "| clips | real + forged | before: decided | of these wrong | after: decided | of these wrong |\n"
    "|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Measured:
    """Labelled clips with a face, columns CLIPS, and what the members make of them; clips and tracks in one order."""

    clips: pd.DataFrame
    tracks: Tracks

    @property
    def labels(self) -> np.ndarray:
        """1 for forged (N,)."""
        return np.asarray(self.clips["label"], int)


def measured(
    detector: TrainedDetector,
    networks: str,
    sets: Sequence[Clips],
    predict: Predict,
    left_out: pd.DataFrame | None = None,
) -> Measured:
    """What a detector's members make of several collections; `networks` and `left_out` as in `recalibration`."""
    tables, tracks = [], []
    for clips in sets:
        own = recalibration.member_tracks(detector, networks, clips, predict, left_out)
        tables.append(clips_table(clips).set_index("clip").loc[list(own.video_ids)].reset_index())
        tracks.append(own)
    table = pd.concat(tables, ignore_index=True)
    twice = table.loc[table["clip"].duplicated(), "clip"]
    if len(twice):
        raise UserError(f"{len(twice)} clips are in two collections, the first {twice.iloc[0]!r}; leave one out")
    return Measured(table, Tracks.joined(tracks))


@dataclass(frozen=True)
class BySources:
    """A stack before, and what was found by left-out sources."""

    measured: Measured
    before: Stack
    found: Found


def refit(before: Stack, known: Measured, settings: Ensemble) -> BySources:
    """Calibration and band by left-out sources; UserError where the labels do not say where clips come from."""
    _refuse_unnamed(known.clips)
    groups = source_groups(known.clips)
    folds = deal_folds(known.clips, min(MOST_FOLDS, len(set(groups.tolist()))))
    kinds = [("family", _families(known.clips)), ("sources", group_names(known.clips))]
    truth = Known(known.labels, groups, settings.fake_share)
    return BySources(known, before, find(known.tracks, truth, folds, before, settings, kinds))


def _refuse_unnamed(clips: pd.DataFrame) -> None:
    unnamed = clips[clips["source"].astype(str).str.strip() == ""]
    if len(unnamed):
        raise UserError(
            f"{len(unnamed)} of {len(clips)} clips have no source, the first {unnamed['clip'].iloc[0]!r}: without it "
            "nobody can tell which clips come from elsewhere. Fill the column source (publisher or data set), or "
            "calibrate by people (--by people), which promises nothing for other sources"
        )


def _families(clips: pd.DataFrame) -> list[str]:
    """The family of each clip; `real` of reals, whatever their column says."""
    pairs = zip(clips["label"], clips["family"], strict=True)
    return [str(family) if label == 1 else "real" for label, family in pairs]


def decisions_of(p: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """1 likely forged, 0 likely real, -1 inconclusive (N,)."""
    return np.where(p > band[1], 1, np.where(p < band[0], 0, -1))


def rows(known: Measured, before: np.ndarray, after: np.ndarray) -> list[str]:
    """Lines under HEADER: all decisions, each verdict, each family, each group of sources; of two sets of decisions.

    Groups of fewer than LEAST_NAMED clips share a line.
    """
    labels = known.labels
    said: Mapping[str, tuple[np.ndarray, np.ndarray]] = {
        "all": (before >= 0, after >= 0),
        "“likely forged”": (before == 1, after == 1),
        "“likely real”": (before == 0, after == 0),
    }
    everything = np.ones(len(labels), bool)
    lines = [_row(name, labels, everything, [(before, own[0]), (after, own[1])]) for name, own in said.items()]
    groups = pd.Series(group_names(known.clips))
    sizes = groups.map(groups.value_counts())
    small = f"{groups[sizes < LEAST_NAMED].nunique()} smaller groups"
    for column in (_families(known.clips), groups.where(sizes >= LEAST_NAMED, small).tolist()):
        names = np.array(column, object)
        for name in _by_size(names):
            part = names == name
            lines.append(_row(name, labels, part, [(before, part & (before >= 0)), (after, part & (after >= 0))]))
    return lines


def _by_size(names: np.ndarray) -> Iterator[str]:
    values, counts = np.unique(names.astype(str), return_counts=True)
    yield from (str(values[i]) for i in sorted(range(len(values)), key=lambda i: (-counts[i], values[i])))


def _row(name: str, labels: np.ndarray, part: np.ndarray, decided: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    cells = [name, f"{int((labels[part] == 0).sum())} + {int(labels[part].sum())}"]
    for decisions, mask in decided:
        n, n_wrong = int(mask.sum()), int((decisions[mask] != labels[mask]).sum())
        cells += [str(n), f"{n_wrong} ({n_wrong / n:.0%})" if n else "-"]
    return "| " + " | ".join(cells) + " |"


def compared(known: Measured, before: Stack, decisions: np.ndarray, p: np.ndarray, settings: Ensemble) -> str:
    """A table of decisions by the stack before and of those given (N,), and the log loss of both's p_fake."""
    p_before = before.p_fake(known.tracks)
    lines = [HEADER, *rows(known, decisions_of(p_before, before.band), decisions)]
    losses = [log_loss(one, known.labels, settings.clip_p) for one in (p_before, p)]
    return "\n".join([*lines, f"log loss before {losses[0]:.3f}, after {losses[1]:.3f} (0.693 says nothing)"])


def log_loss(p: np.ndarray, labels: np.ndarray, clip_p: float) -> float:
    """Mean log loss of p_fake, kept `clip_p` away from 0 and 1."""
    kept = np.clip(p, clip_p, 1 - clip_p)
    return float(np.mean(-np.log(np.where(labels == 1, kept, 1 - kept))))
