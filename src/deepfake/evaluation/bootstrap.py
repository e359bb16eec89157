"""Metrics with bootstrap intervals over groups, such as people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit

from deepfake.evaluation.metrics import (
    _RANKED,
    BY_NAME,
    RECALLS,
    Measure,
    Over,
    _columns,
    _is_block_end,
    _mean,
    _points,
    _rank,
    check,
)
from deepfake.settings import Validation

CONFIDENCE = 0.95


MIN_COMPUTABLE = 0.9  # an interval from fewer resamples than this share would hide the luckless ones


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
    differences = {}
    for name, point in both[0].items():
        a, b = point.value, both[1][name].value
        if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
            differences[name] = Measure(None, point.reason or both[1][name].reason)
            continue
        paired = draws[0][name] - draws[1][name] if name in draws[0] else None
        differences[name] = _with_interval(Measure(a - b), paired, n_groups[BY_NAME[name].over])
    return differences


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
