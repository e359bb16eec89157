"""Measuring by left-out sources: labelled clips of several collections, folded by publisher, person and generator.

A table of CLIPS columns in, values out; no network, no files. To choose by, since a choice made on one set of clips
teaches that set. Letters: N clips, M members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deepfake.detector.fitting import EQUAL_SHARES, uncalibrated
from deepfake.ensemble.calibration import inconclusive_band
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.stack import Stack, fit_stack
from deepfake.errors import UserError
from deepfake.evaluation.ranking import rank_auc
from deepfake.settings import Ensemble
from deepfake.training.source_groups import CLIPS, source_groups

LEAST = 3  # reals and fakes of a family that a fold needs to say something of it


def describe_groups(clips: pd.DataFrame, folds: np.ndarray) -> str:
    """Counts of clips, groups and folds in a sentence; the largest group is named, for it can be most of a fold."""
    group = source_groups(clips)
    sizes = pd.Series(group).value_counts()
    largest = clips[group == sizes.index[0]]
    per_fold = ", ".join(f"{int((part == 0).sum())}+{int(part.sum())}" for _, part in clips["label"].groupby(folds))
    return (
        f"{len(clips)} clips ({int(clips['label'].sum())} forged) of {clips['source'].nunique()} publishers in "
        f"{len(sizes)} groups, the largest of {len(largest)} clips and {largest['source'].nunique()} publishers; folds "
        f"of real+forged clips: {per_fold}"
    )


def unseen(clips: pd.DataFrame, learnt_reals: Sequence[str], learnt_fakes: Sequence[str]) -> np.ndarray:
    """Which clips (N,) a network has not learnt from, by the splits whose reals and whose fakes it was shown."""
    learnt = np.where(
        clips["label"] == 1, clips["split"].isin(set(learnt_fakes)), clips["split"].isin(set(learnt_reals))
    )
    return np.asarray(~learnt.astype(bool))


@dataclass(frozen=True)
class Spread:
    """A value over some parts: mean, standard deviation (NaN of one), how many."""

    mean: float
    deviation: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of values, those that are no number left out."""
        known = np.array([value for value in values if np.isfinite(value)])
        deviation = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
        return cls(float(known.mean()) if len(known) else float("nan"), deviation, len(known))

    def __str__(self) -> str:
        """As a table shows it."""
        if not self.n:
            return "-"
        return f"{self.mean:.2f}" + (f" ± {self.deviation:.2f}" if self.n > 1 else "") + f" ({self.n})"


@dataclass(frozen=True)
class FamilyScores:
    """How a family's fakes rank above reals: in all, within folds, across sources, within a source."""

    n_fakes: int
    pooled: float
    folds: Spread
    cross: Spread
    within: Spread


@dataclass(frozen=True)
class Report:
    """What cross-validation says of a candidate; `wrong` and `log_loss` are of probabilities fitted on other folds."""

    n_reals: int
    families: Mapping[str, FamilyScores]
    log_loss: float
    decided: float
    wrong: float
    worst: Sequence[tuple[str, int, float]]
    collections: Mapping[str, float]


def cross_auc(clips: pd.DataFrame, logits: np.ndarray) -> Spread:
    """AUC of the reals of each source against the fakes of each other source: the mean over such pairs."""
    return _over_sources(clips, logits, lambda real, fake: real != fake)


def within_auc(clips: pd.DataFrame, logits: np.ndarray) -> Spread:
    """AUC of fakes against the reals of their own source: the mean over sources that have both."""
    return _over_sources(clips, logits, lambda real, fake: real == fake)


def _over_sources(clips: pd.DataFrame, logits: np.ndarray, counts: Callable[[str, str], bool]) -> Spread:
    reals, fakes = (_by_source(clips, logits, label) for label in (0, 1))
    return Spread.of([rank_auc(reals[r], fakes[f]) for r in sorted(reals) for f in sorted(fakes) if counts(r, f)])


def _by_source(clips: pd.DataFrame, logits: np.ndarray, label: int) -> dict[str, np.ndarray]:
    sources = clips["source"].astype(str).to_numpy()
    of_label = (clips["label"] == label).to_numpy()
    return {source: logits[of_label & (sources == source)] for source in sorted(set(sources[of_label]))}


def fold_aucs(clips: pd.DataFrame, logits: np.ndarray, folds: np.ndarray) -> list[float]:
    """AUC within each fold that has LEAST reals and fakes."""
    labels = clips["label"].to_numpy()
    found = []
    for fold in sorted(set(folds.tolist())):
        reals, fakes = (logits[(folds == fold) & (labels == label)] for label in (0, 1))
        if min(len(reals), len(fakes)) >= LEAST:
            found.append(rank_auc(reals, fakes))
    return found


def family_scores(clips: pd.DataFrame, logits: np.ndarray, folds: np.ndarray) -> dict[str, FamilyScores]:
    """Scores of each family against all reals, and of `all`; of one member's or an ensemble's logits (N,)."""
    is_fake = (clips["label"] == 1).to_numpy()
    families = clips["family"].to_numpy()
    chosen = {name: ~is_fake | (families == name) for name in sorted(set(families[is_fake]))}
    found = {}
    for name, rows in {**chosen, "all": np.ones(len(clips), bool)}.items():
        part, z = clips[rows].reset_index(drop=True), logits[rows]
        fakes = (part["label"] == 1).to_numpy()
        found[name] = FamilyScores(
            int(fakes.sum()),
            rank_auc(z[~fakes], z[fakes]),
            Spread.of(fold_aucs(part, z, folds[rows])),
            cross_auc(part, z),
            within_auc(part, z),
        )
    return found


def left_out_p(tracks: Tracks, labels: np.ndarray, folds: np.ndarray, settings: Ensemble) -> np.ndarray:
    """p_fake (N,) of each clip by weights and calibration fitted on the other folds."""
    p = np.empty(len(labels))
    for held, stack in _left_out_stacks(tracks, labels, folds, settings):
        p[held] = stack.p_fake(tracks.of_videos(held))
    return np.asarray(np.clip(p, settings.clip_p, 1 - settings.clip_p))


def ranking(tracks: Tracks, labels: np.ndarray, folds: np.ndarray, settings: Ensemble) -> np.ndarray:
    """Logit (N,) of each clip by equal shares of the members, before calibration: what to rank by.

    What is not trusted is drawn to the logit that the other folds calibrate to the prior.
    """
    logits, n = np.empty(len(labels)), len(tracks.members)
    for held, stack in _left_out_stacks(tracks, labels, folds, settings.model_copy(update={"stack_l2": EQUAL_SHARES})):
        logits[held] = uncalibrated(tracks.of_videos(held), replace(stack.line, weights=(1 / n,) * n))
    return logits


def _left_out_stacks(
    tracks: Tracks, labels: np.ndarray, folds: np.ndarray, settings: Ensemble
) -> Iterator[tuple[np.ndarray, Stack]]:
    """Each fold's clips as a mask (N,), and the stack fitted on the others."""
    for fold in sorted(set(folds.tolist())):
        others = folds != fold
        if len(set(labels[others].tolist())) < 2:
            raise UserError(f"fold {fold}: the other folds have clips of one label only; take fewer folds")
        yield ~others, fit_stack(tracks.of_videos(others), labels[others], settings)


def left_out_decisions(tracks: Tracks, labels: np.ndarray, folds: np.ndarray, settings: Ensemble) -> np.ndarray:
    """1 likely forged, 0 likely real, -1 inconclusive (N,): by weights, calibration and band of the other folds.

    A band is found on what its own calibration says of the other folds. Left-out p of several calibrations are never
    laid on one scale: which clips a calibration lacks moves it, and so would tell their labels.
    """
    decided = np.full(len(labels), -1)
    for held, stack in _left_out_stacks(tracks, labels, folds, settings):
        low, high = inconclusive_band(stack.p_fake(tracks.of_videos(~held)), labels[~held], settings.error_rate)
        p = stack.p_fake(tracks.of_videos(held))
        unclear = (p >= low) & (p <= high) & (low < high)
        decided[held] = np.where(unclear, -1, (p > high).astype(int))
    return decided


def collection_aucs(clips: pd.DataFrame, logits: np.ndarray) -> dict[str, float]:
    """AUC of all fakes against all reals of each split that has LEAST of both.

    What is told by how clips were gathered holds on left-out sources of one collection, and not on the next one.
    """
    labels, splits = clips["label"].to_numpy(), clips["split"].astype(str).to_numpy()
    found = {}
    for name in sorted(set(splits.tolist())):
        reals, fakes = (logits[(splits == name) & (labels == label)] for label in (0, 1))
        if min(len(reals), len(fakes)) >= LEAST:
            found[name] = rank_auc(reals, fakes)
    return found


def cross_validate(clips: pd.DataFrame, tracks: Tracks, folds: np.ndarray, settings: Ensemble) -> Report:
    """Everything of one candidate, whose tracks are those of the clips, in their order."""
    missing = [name for name in CLIPS if name not in clips]
    if missing or not len(clips) == len(tracks) == len(folds):
        raise ValueError(f"{len(clips)} clips without {missing}, {len(tracks)} videos with tracks, {len(folds)} folds")
    labels = clips["label"].to_numpy()
    p = left_out_p(tracks, labels, folds, settings)
    logits = ranking(tracks, labels, folds, settings)
    decided = left_out_decisions(tracks, labels, folds, settings)
    sure = decided >= 0
    wrong = decided[sure] != labels[sure]
    loss = float(np.mean(-np.log(np.where(labels == 1, p, 1 - p))))
    return Report(
        int((labels == 0).sum()),
        family_scores(clips, logits, folds),
        loss,
        float(sure.mean()),
        float(wrong.mean()) if len(wrong) else float("nan"),
        _worst(clips, decided),
        collection_aucs(clips, logits),
    )


def _worst(clips: pd.DataFrame, decided: np.ndarray, n: int = 5) -> list[tuple[str, int, float]]:
    """Families and sources in which most is decided wrongly: name, decided clips, share of them that is wrong."""
    sure = decided >= 0
    part = clips[sure].assign(wrong=decided[sure] != clips["label"].to_numpy()[sure])
    rows = [
        (f"{column} {name}", len(group), float(group["wrong"].mean()))
        for column in ("family", "source")
        for name, group in part.groupby(column)
        if len(group) >= LEAST
    ]
    return sorted(rows, key=lambda row: (-row[2], -row[1], row[0]))[:n]


HEADER = "| candidate | family | fakes | pooled | folds | other sources | own source |\n|---|---|---|---|---|---|---|"


def as_markdown(name: str, report: Report) -> str:
    """A candidate's rows under HEADER."""
    return "\n".join(
        f"| {name} | {family} | {found.n_fakes} | {_auc(found.pooled)} | {found.folds} | {found.cross} "
        f"| {found.within} |"
        for family, found in report.families.items()
    )


def decisions_line(name: str, report: Report) -> str:
    """A sentence on a candidate's probabilities and decisions."""
    worst = "; ".join(f"{what}: {wrong:.0%} of {n}" for what, n, wrong in report.worst)
    wrong = "-" if np.isnan(report.wrong) else f"{report.wrong:.0%}"
    collections = ", ".join(f"{split} {_auc(auc)}" for split, auc in report.collections.items()) or "none has both"
    return (
        f"{name}, {report.n_reals} reals: log loss {report.log_loss:.3f}, {report.decided:.0%} decided, {wrong} of "
        f"these wrong. Most wrong: {worst or 'nothing decided'}. "
        f"AUC by collection: {collections}"
    )


def _auc(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"
