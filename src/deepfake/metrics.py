"""How good scores are: arrays of labels and p_fake in, numbers with group-bootstrap intervals out.

A number that cannot be computed is None with a reason. To add a metric, give it a line in `METRICS` and,
if it is a mean over videos, a column in `_columns`; if it rests on the ranking, a place in `_rank`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numba import njit

from deepfake.config import Validation

THRESHOLD = 0.5  # p_fake above it is called fake; 0.5 itself is not
# DFDC's weighted precision (arXiv 1910.08854) counts a false alarm 100 times: real videos are that much more common.
FALSE_ALARM_WEIGHT = 100.0
RECALLS = (0.1, 0.5, 0.9)
CONFIDENCE = 0.95
MIN_COMPUTABLE = 0.9  # an interval from fewer resamples than this share would hide the luckless ones
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
    found, alarms = np.cumsum(labels[order])[ends], np.cumsum(~labels[order])[ends]
    return np.concatenate([[0.0], alarms / alarms[-1]]), np.concatenate([[0.0], found / found[-1]])


def pr_curve(labels: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at every distinct threshold, in rising recall."""
    labels, p = _checked(labels, p, "fake")
    order = np.argsort(-p, kind="stable")
    ends = _block_ends(p[order])
    found = np.cumsum(labels[order])[ends]
    return found / found[-1], found / (ends + 1)


def measure(
    labels: np.ndarray, p: np.ndarray, groups: Sequence[str] | np.ndarray, settings: Validation, clip_p: float
) -> dict[str, Measure]:
    """Every metric of `METRICS` with a 95 % interval from resampling whole groups.

    `groups[i]` names what video i must be drawn together with: its person or its original.
    ECE has no interval: resampling adds noise to each bin, so its interval would lie too high.
    """
    labels, p = check(labels, p)
    points = _points(labels, p, settings.ece_bins, clip_p)
    group_of, n_groups = _numbered(groups, labels)
    draws = _all_draws(labels, p, group_of, settings, clip_p)
    return {
        name: _with_interval(point, draws.get(name), n_groups[BY_NAME[name].over]) for name, point in points.items()
    }


def measure_difference(
    labels: np.ndarray,
    p: np.ndarray,
    other_p: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    settings: Validation,
    clip_p: float,
) -> dict[str, Measure]:
    """Every metric of `p` minus that of `other_p` on the same videos, with a 95 % interval from the same resamples."""
    labels, p = check(labels, p)
    _, other_p = check(labels, other_p)
    group_of, n_groups = _numbered(groups, labels)
    both = [_points(labels, scores, settings.ece_bins, clip_p) for scores in (p, other_p)]
    draws = [_all_draws(labels, scores, group_of, settings, clip_p) for scores in (p, other_p)]
    found = {}
    for name, point in both[0].items():
        a, b = point.value, both[1][name].value
        if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
            found[name] = Measure(None, point.reason or both[1][name].reason)
            continue
        paired = draws[0][name] - draws[1][name] if name in draws[0] else None
        found[name] = _with_interval(Measure(a - b), paired, n_groups[BY_NAME[name].over])
    return found


def _numbered(groups: Sequence[str] | np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """The number of each video's group (n,), and how many groups stand behind a metric by what it is `over`."""
    group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    if group_of.shape != labels.shape:
        raise ValueError(f"groups: found {group_of.shape}, wanted one for each of {len(labels)} videos")
    return group_of, {over: _count_groups(labels, group_of, over) for over in ("all", "real", "fake", "both")}


def _all_draws(
    labels: np.ndarray, p: np.ndarray, group_of: np.ndarray, settings: Validation, clip_p: float
) -> dict[str, np.ndarray]:
    """Each metric's value in each resample; none with fewer than two groups."""
    n_groups = int(group_of.max(initial=-1)) + 1
    if n_groups < 2:
        return {}
    counts = _draws(n_groups, settings.bootstrap, settings.seed)
    return _concatenate([_resampled(labels, p, group_of, chunk, clip_p) for chunk in counts])


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


def _count_groups(labels: np.ndarray, group_of: np.ndarray, over: Over) -> int:
    of_reals, of_fakes = len(np.unique(group_of[~labels])), len(np.unique(group_of[labels]))
    return {"all": len(np.unique(group_of)), "real": of_reals, "fake": of_fakes, "both": min(of_reals, of_fakes)}[over]


def _draws(n_groups: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is drawn, resample by resample, in chunks of at most about 32 MB."""
    generator = np.random.default_rng(seed)
    chunk = max(1, 4_000_000 // n_groups)
    for start in range(0, n_resamples, chunk):
        rows = [
            np.bincount(generator.integers(n_groups, size=n_groups), minlength=n_groups)
            for _ in range(min(chunk, n_resamples - start))
        ]
        yield np.array(rows, dtype=np.float64)


def _resampled(
    labels: np.ndarray, p: np.ndarray, group_of: np.ndarray, counts: np.ndarray, clip_p: float
) -> dict[str, np.ndarray]:
    """Each metric's value in each resample; nan where a class was not drawn. `counts` is (resamples, groups)."""
    n_groups = counts.shape[1]
    n_fake = counts @ np.bincount(group_of, weights=labels, minlength=n_groups)
    n_real = counts @ np.bincount(group_of, weights=~labels, minlength=n_groups)
    values = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, column in _columns(labels, p, clip_p).items():
            if not np.isfinite(column).all():
                continue
            sum_fake = counts @ np.bincount(group_of, weights=column * labels, minlength=n_groups)
            sum_real = counts @ np.bincount(group_of, weights=column * ~labels, minlength=n_groups)
            values[name] = _mean(BY_NAME[name].over, sum_real, sum_fake, n_real, n_fake)
    order = np.argsort(-p, kind="stable")
    ranked = _rank_resamples(labels[order], _is_block_end(p[order]), group_of[order], counts, np.array(RECALLS))
    return values | {name: ranked[:, i] for i, name in enumerate(_RANKED)}


def _concatenate(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _with_interval(point: Measure, draws: np.ndarray | None, n_groups: int) -> Measure:
    if point.value is None or not math.isfinite(point.value):
        return point
    if n_groups < 2:
        return Measure(point.value, None, n_groups=n_groups, interval_reason="no interval: it needs two groups or more")
    if draws is None:
        return Measure(point.value, None, n_groups=n_groups, interval_reason="no interval: resampling would bias it")
    known = draws[~np.isnan(draws)]
    if len(known) < MIN_COMPUTABLE * len(draws):
        why = f"no interval: {len(draws) - len(known)} of {len(draws)} resamples lack reals or fakes"
        return Measure(point.value, None, n_groups=n_groups, interval_reason=why)
    if np.ptp(known) < 1e-9:
        why = "no interval: all resamples agree and show no spread"
        return Measure(point.value, None, n_groups=n_groups, interval_reason=why)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Measure(point.value, None, float(low), float(high), n_groups)


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
    found = alarms = found_before = alarms_before = 0.0
    next_recall = 0
    for i in range(len(is_fake)):
        if is_fake[i]:
            found += weights[i]
        else:
            alarms += weights[i]
        if not is_block_end[i]:
            continue
        values[0] += (alarms - alarms_before) * (found + found_before) / (2 * all_real * all_fake)
        if found > 0:
            values[1] += (found - found_before) / all_fake * found / (found + alarms)
        before = alarms_before / all_real + found_before / all_fake - 1
        after = alarms / all_real + found / all_fake - 1
        if np.isnan(values[2]) and after >= 0:
            share = before / (before - after)
            values[2] = (alarms_before + share * (alarms - alarms_before)) / all_real
        while next_recall < len(recalls) and found >= recalls[next_recall] * all_fake * (1 - 1e-12):
            values[3 + next_recall] = np.log(found / (found + FALSE_ALARM_WEIGHT * alarms))
            next_recall += 1
        found_before = found
        alarms_before = alarms


@njit(nogil=True)
def _rank_resamples(
    is_fake: np.ndarray, is_block_end: np.ndarray, group_of: np.ndarray, counts: np.ndarray, recalls: np.ndarray
) -> np.ndarray:
    """`_rank` for each row of `counts`, how often each group was drawn; nothing is sorted again."""
    values = np.empty((len(counts), 3 + len(recalls)))
    weights = np.empty(len(is_fake))
    for row in range(len(counts)):
        for i in range(len(is_fake)):
            weights[i] = counts[row, group_of[i]]
        _rank(is_fake, is_block_end, weights, recalls, values[row])
    return values
