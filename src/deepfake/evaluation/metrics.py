"""How good scores are: arrays of labels and p_fake in, numbers with group-bootstrap intervals out.

A number that cannot be computed is None with a reason. To add a metric, give it a line in `METRICS` and,
if it is a mean over videos, a column in `_columns`; if it rests on the ranking, a place in `_rank`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numba import njit

THRESHOLD = 0.5  # p_fake above it is called fake; 0.5 itself is not
# DFDC's weighted precision (arXiv 1910.08854) counts a false alarm 100 times: real videos are that much more common.
FALSE_ALARM_WEIGHT = 100.0
RECALLS = (0.1, 0.5, 0.9)
FEW_GROUPS = 20  # below, a percentile interval of the bootstrap is too narrow to be trusted

Over = Literal["all", "real", "fake", "both"]


@dataclass(frozen=True)
class Metric:
    """One metric: its name, title, meaning, the videos it rests on and which direction is better."""

    name: str
    title: str
    meaning: str
    over: Over
    better: Literal["low", "high", "none"]


METRICS = (
    Metric("log_loss", "Log loss", "no clipping; one sure wrong answer makes it infinite", "all", "low"),
    Metric("log_loss_clipped", "Log loss, clipped", "p_fake clipped as in the submission", "all", "low"),
    Metric("balanced_log_loss", "Balanced log loss", "mean of the clipped losses on reals and on fakes", "both", "low"),
    Metric("roc_auc", "ROC AUC", "chance that a fake scores above a real; a tie counts half", "both", "high"),
    Metric("pr_auc", "PR AUC", "average precision; a random score gives the share of fakes", "both", "high"),
    Metric("eer", "EER", "rate at which as many reals as fakes are mistaken, on the interpolated ROC", "both", "low"),
    Metric("brier", "Brier score", "mean squared distance of p_fake from the label", "all", "low"),
    Metric("ece", "ECE", "distance of p_fake from the share of fakes, bins of equal count", "all", "low"),
    Metric("accuracy", "Accuracy", "at 0.5", "all", "high"),
    Metric("balanced_accuracy", "Balanced accuracy", "mean of the accuracies on reals and on fakes", "both", "high"),
    Metric("false_alarm_rate", "False alarms", "share of reals above 0.5", "real", "low"),
    Metric("recall", "Fakes found", "share of fakes above 0.5", "fake", "high"),
    Metric("log_wp_10", "log wP at recall 0.1", "natural log of TP / (TP + 100 FP), after DFDC", "both", "high"),
    Metric("log_wp_50", "log wP at recall 0.5", "the same where half of the fakes are found", "both", "high"),
    Metric("log_wp_90", "log wP at recall 0.9", "the same where nine of ten are found", "both", "high"),
    Metric("mean_p_real", "Mean p_fake of reals", "", "real", "none"),
    Metric("mean_p_fake", "Mean p_fake of fakes", "", "fake", "none"),
)
BY_NAME = {metric.name: metric for metric in METRICS}
_RANKED = ("roc_auc", "pr_auc", "eer", "log_wp_10", "log_wp_50", "log_wp_90")


class UncomputableError(ValueError):
    """These videos do not carry this number; says why."""


@dataclass(frozen=True)
class Measure:
    """A metric's value with its interval; what is None has a reason.

    `n_groups` counts the groups the interval rests on: of reals and of fakes, the fewer.
    """

    value: float | None
    reason: str | None = None
    low: float | None = None
    high: float | None = None
    n_groups: int | None = None
    interval_reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; an infinite value becomes None, with its reason."""
        values = asdict(self)
        finite = self.value is not None and math.isfinite(self.value)
        return values | {"value": self.value if finite else None}


@dataclass(frozen=True)
class ReliabilityBin:
    """Videos of similar p_fake: what was said and what was true."""

    low: float
    high: float
    n: int
    mean_p: float
    share_fake: float


def check(labels: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as booleans and scores as floats; ValueError for what cannot be either."""
    labels, p = np.asarray(labels), np.asarray(p, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != p.shape:
        raise ValueError(f"labels {labels.shape} and scores {p.shape}: wanted two vectors of one length")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"labels: found {sorted(set(labels.tolist()) - {0, 1})[:3]}, wanted 0 (real) and 1 (fake)")
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        raise ValueError(f"scores: {wrong.sum()} lie outside 0..1, the first is {p[wrong][0]} at {wrong.argmax()}")
    return labels.astype(bool), p


def log_loss(labels: np.ndarray, p: np.ndarray, clip_p: float = 0.0) -> float:
    """Mean negative log likelihood of p_fake kept in [clip_p, 1 - clip_p].

    Without clipping a video with p_fake 0 or 1 and the other label makes it infinite.
    """
    labels, p = _checked(labels, p, "all")
    return float(_losses(labels, p, clip_p).mean())


def balanced_log_loss(labels: np.ndarray, p: np.ndarray, clip_p: float = 0.0) -> float:
    """Mean of the log loss on reals and the log loss on fakes."""
    labels, p = _checked(labels, p, "both")
    losses = _losses(labels, p, clip_p)
    return float((losses[labels].mean() + losses[~labels].mean()) / 2)


def brier(labels: np.ndarray, p: np.ndarray) -> float:
    """Mean squared distance of p_fake from the label."""
    labels, p = _checked(labels, p, "all")
    return float(((p - labels) ** 2).mean())


def roc_auc(labels: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Chance that a fake scores above a real; a tie counts half."""
    return _ranked(labels, p, weights)["roc_auc"]


def pr_auc(labels: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Average precision: precision at each step of recall, without interpolation."""
    return _ranked(labels, p, weights)["pr_auc"]


def equal_error_rate(labels: np.ndarray, p: np.ndarray) -> float:
    """Where the false alarm rate equals the miss rate on the ROC's line segments."""
    return _ranked(labels, p, None)["eer"]


def log_weighted_precision(labels: np.ndarray, p: np.ndarray) -> dict[float, float]:
    """Natural log of wP = TP / (TP + 100 FP) at the highest threshold that reaches each recall of `RECALLS`."""
    ranked = _ranked(labels, p, None)
    return {recall: ranked[f"log_wp_{round(100 * recall)}"] for recall in RECALLS}


def reliability(labels: np.ndarray, p: np.ndarray, n_bins: int) -> list[ReliabilityBin]:
    """Bins of equal count in rising p_fake; equal scores share a bin, so there may be fewer bins."""
    labels, p = _checked(labels, p, "all")
    order = np.argsort(p, kind="stable")
    labels, p = labels[order], p[order]
    wanted = np.linspace(0, len(p), min(n_bins, len(p)) + 1).round().astype(int)[1:]
    ends = np.unique(np.searchsorted(p, p[wanted - 1], side="right"))
    starts = np.concatenate([[0], ends[:-1]])
    return [
        ReliabilityBin(float(p[a]), float(p[b - 1]), int(b - a), float(p[a:b].mean()), float(labels[a:b].mean()))
        for a, b in zip(starts, ends, strict=True)
    ]


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Mean distance of mean p_fake from the share of fakes, weighted by the bins' counts."""
    return sum(b.n * abs(b.mean_p - b.share_fake) for b in bins) / sum(b.n for b in bins)


def roc_curve(labels: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False alarm rate and recall at every distinct threshold, from (0, 0) to (1, 1)."""
    labels, p = _checked(labels, p, "both")
    order = np.argsort(-p, kind="stable")
    ends = _block_ends(p[order])
    hits, alarms = np.cumsum(labels[order])[ends], np.cumsum(~labels[order])[ends]
    return np.concatenate([[0.0], alarms / alarms[-1]]), np.concatenate([[0.0], hits / hits[-1]])


def pr_curve(labels: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at every distinct threshold, in rising recall."""
    labels, p = _checked(labels, p, "fake")
    order = np.argsort(-p, kind="stable")
    ends = _block_ends(p[order])
    hits = np.cumsum(labels[order])[ends]
    return hits / hits[-1], hits / (ends + 1)


def _class_reason(labels: np.ndarray, over: Over) -> str | None:
    if not len(labels):
        return "no videos"
    if over in ("real", "both") and labels.all():
        return f"no real among {len(labels)} videos"
    if over in ("fake", "both") and not labels.any():
        return f"no fake among {len(labels)} videos"
    return None


def _checked(labels: np.ndarray, p: np.ndarray, over: Over) -> tuple[np.ndarray, np.ndarray]:
    labels, p = check(labels, p)
    reason = _class_reason(labels, over)
    if reason:
        raise UncomputableError(reason)
    return labels, p


def _losses(labels: np.ndarray, p: np.ndarray, clip_p: float) -> np.ndarray:
    kept = np.clip(p, clip_p, 1 - clip_p)
    with np.errstate(divide="ignore"):
        losses: np.ndarray = np.where(labels, -np.log(kept), -np.log1p(-kept))
    return losses


def _columns(labels: np.ndarray, p: np.ndarray, clip_p: float) -> dict[str, np.ndarray]:
    """The metrics that are means over videos: what each video adds."""
    called_fake = p > THRESHOLD
    clipped = _losses(labels, p, clip_p)
    right = (called_fake == labels).astype(float)
    return {
        "log_loss": _losses(labels, p, 0.0),
        "log_loss_clipped": clipped,
        "balanced_log_loss": clipped,
        "brier": (p - labels) ** 2,
        "accuracy": right,
        "balanced_accuracy": right,
        "false_alarm_rate": called_fake.astype(float),
        "recall": called_fake.astype(float),
        "mean_p_real": p,
        "mean_p_fake": p,
    }


def _mean(over: Over, sum_real: Any, sum_fake: Any, n_real: Any, n_fake: Any) -> Any:
    """The mean a metric asks for, of sums by label; scalars or one entry a resample."""
    if over == "all":
        return (sum_real + sum_fake) / (n_real + n_fake)
    if over == "real":
        return sum_real / n_real
    if over == "fake":
        return sum_fake / n_fake
    return (sum_real / n_real + sum_fake / n_fake) / 2


def _points(labels: np.ndarray, p: np.ndarray, n_bins: int, clip_p: float) -> dict[str, Measure]:
    columns = _columns(labels, p, clip_p)
    ranked = _ranked(labels, p, None) if _class_reason(labels, "both") is None else {}
    points = {}
    for metric in METRICS:
        reason = _class_reason(labels, metric.over)
        if reason:
            points[metric.name] = Measure(None, reason)
            continue
        if metric.name == "ece":
            value = expected_calibration_error(reliability(labels, p, n_bins))
        elif metric.name in ranked:
            value = ranked[metric.name]
        else:
            column, n_fake = columns[metric.name], int(labels.sum())
            sums = float(column[~labels].sum()), float(column[labels].sum())
            value = float(_mean(metric.over, *sums, len(labels) - n_fake, n_fake))
        points[metric.name] = Measure(value, None if math.isfinite(value) else _infinite_reason(columns["log_loss"]))
    return points


def _infinite_reason(losses: np.ndarray) -> str:
    return f"infinite: {int(np.isinf(losses).sum())} videos have p_fake 0 or 1 and the other label"


def _is_block_end(sorted_p: np.ndarray) -> np.ndarray:
    return np.append(sorted_p[1:] != sorted_p[:-1], True)


def _block_ends(sorted_p: np.ndarray) -> np.ndarray:
    return np.flatnonzero(_is_block_end(sorted_p))


def _ranked(labels: np.ndarray, p: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
    labels, p = _checked(labels, p, "both")
    order = np.argsort(-p, kind="stable")
    weights = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    values = np.empty(len(_RANKED))
    _rank(labels[order], _is_block_end(p[order]), weights[order], np.array(RECALLS), values)
    return dict(zip(_RANKED, values.tolist(), strict=True))


@njit(nogil=True)
def _rank(
    is_fake: np.ndarray, is_block_end: np.ndarray, weights: np.ndarray, recalls: np.ndarray, values: np.ndarray
) -> None:
    """Fill `values` (as `_RANKED`) in one walk down the scores; videos of equal score are counted together."""
    all_fake = 0.0
    all_real = 0.0
    for i in range(len(is_fake)):
        if is_fake[i]:
            all_fake += weights[i]
        else:
            all_real += weights[i]
    values[:] = np.nan
    if all_fake == 0.0 or all_real == 0.0:
        return
    values[0] = 0.0
    values[1] = 0.0
    hits = alarms = hits_before = alarms_before = 0.0
    next_recall = 0
    for i in range(len(is_fake)):
        if is_fake[i]:
            hits += weights[i]
        else:
            alarms += weights[i]
        if not is_block_end[i]:
            continue
        values[0] += (alarms - alarms_before) * (hits + hits_before) / (2 * all_real * all_fake)
        if hits > 0:
            values[1] += (hits - hits_before) / all_fake * hits / (hits + alarms)
        before = alarms_before / all_real + hits_before / all_fake - 1
        after = alarms / all_real + hits / all_fake - 1
        if np.isnan(values[2]) and after >= 0:
            share = before / (before - after)
            values[2] = (alarms_before + share * (alarms - alarms_before)) / all_real
        while next_recall < len(recalls) and hits >= recalls[next_recall] * all_fake * (1 - 1e-12):
            values[3 + next_recall] = np.log(hits / (hits + FALSE_ALARM_WEIGHT * alarms))
            next_recall += 1
        hits_before = hits
        alarms_before = alarms
