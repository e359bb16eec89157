"""Calibration and inconclusive band by left-out groups of sources, so that what they promise is about other sources.

For each fold of groups, calibration and band come from the others; what is then decided of the fold is right or wrong.
A verdict may be given only where its share of wrong ones, with a confidence bound, keeps the promised rate. Arrays in,
values out. Letters: N videos, G groups. A verdict is the label that it claims: 1 forged, 0 real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.promise import Broken, Promise, Tested
from deepfake.ensemble.stack import Stack, calibrated_anew, class_weights
from deepfake.errors import UserError
from deepfake.settings import Ensemble

CONFIDENCE = 0.95
# Bands are tried that keep these shares of the promised rate on the groups they are found on, the widest verdict first.
# The confidence is divided among them, as the first that passes is taken.
STRICTNESS = (1.0, 0.75, 0.5, 0.25, 0.0)
LEAST_GROUPS = 5  # that a verdict's videos come from; of fewer, one source's ways would pass for all sources'
LEAST_NAMED = 3  # decided videos of a family or group before it is said to break the promise
RESAMPLES = 2000


@dataclass(frozen=True)
class Known:
    """Labels (N,), groups of sources (N,) and the share of forged videos by which both labels are weighed."""

    labels: np.ndarray
    groups: np.ndarray
    fake_share: float | None

    @property
    def weights(self) -> np.ndarray:
        """Weights (N,), mean 1, under which `fake_share` of the videos is forged."""
        return class_weights(self.labels, self.fake_share)


def wrong_share(known: Known, decided: np.ndarray, verdict: int) -> float:
    """The share of wrong ones among the videos (a mask) that got a verdict; NaN of none."""
    weights = known.weights[decided]
    return float(np.average(known.labels[decided] != verdict, weights=weights)) if len(weights) else float("nan")


def upper_bound(known: Known, decided: np.ndarray, verdict: int, confidence: float) -> float:
    """An upper confidence bound of `wrong_share`; 1 of none.

    The larger of two. Clopper and Pearson's, of so many videos as the weighted ones are worth: it knows that 0 wrong
    of 5 says little. And the percentile of a bootstrap over groups: it knows that videos of one source err together.
    """
    return max(_of_videos(known, decided, verdict, confidence), _of_groups(known, decided, verdict, confidence))


def _of_videos(known: Known, decided: np.ndarray, verdict: int, confidence: float) -> float:
    from scipy.special import betaincinv

    weights = known.weights[decided]
    if not len(weights):
        return 1.0
    n = float(weights.sum() ** 2 / (weights**2).sum())
    n_wrong = wrong_share(known, decided, verdict) * n
    return float(betaincinv(n_wrong + 1, n - n_wrong, confidence)) if n - n_wrong > 1e-9 else 1.0


def _of_groups(known: Known, decided: np.ndarray, verdict: int, confidence: float) -> float:
    names, place_N = np.unique(known.groups, return_inverse=True)
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)

    def sums(mask: np.ndarray) -> np.ndarray:
        return np.asarray(drawn @ np.bincount(place_N, mask, minlength=len(names)), np.float64)

    is_wrong = known.labels != verdict
    wrong, right = sums(decided & is_wrong), sums(decided & ~is_wrong)
    if known.fake_share is not None:  # each resample weighed to the same share of forged videos
        shares = (1 - known.fake_share, known.fake_share)
        with np.errstate(divide="ignore", invalid="ignore"):
            wrong *= shares[1 - verdict] / sums(is_wrong)
            right *= shares[verdict] / sums(~is_wrong)
    with np.errstate(invalid="ignore"):
        found = wrong / (wrong + right)
    found = found[np.isfinite(found)]
    return float(np.quantile(found, confidence, method="higher")) if len(found) else 1.0


def edge(p: np.ndarray, known: Known, verdict: int, rate: float) -> float | None:
    """The p_fake beyond which most videos lie of whom at most a share `rate` is wrong; None where there is none.

    Beyond it, not on it: above for forged, below for real. It lies in the middle between the last of them and the next.
    """
    towards = p if verdict == 1 else -p
    order = np.argsort(-towards, kind="stable")
    sorted_p, weights = towards[order], known.weights[order]
    shares = np.cumsum(weights * (known.labels[order] != verdict)) / np.cumsum(weights)
    is_last = np.append(np.diff(sorted_p) != 0, True)  # of equal scores, all are decided alike
    kept = np.flatnonzero((shares <= rate + 1e-12) & is_last)
    if not len(kept):
        return None
    last = int(kept[-1])
    if last + 1 == len(sorted_p):
        return float(np.clip(abs(np.nextafter(sorted_p[last], -np.inf)), 0, 1))
    return float(abs(sorted_p[last] + sorted_p[last + 1]) / 2)


def beyond(p: np.ndarray, bound: float | None, verdict: int) -> np.ndarray:
    """Which p_fake get a verdict (a mask), by its bound or None for never."""
    if bound is None:
        return np.zeros(len(p), bool)
    return np.asarray(p > bound if verdict == 1 else p < bound, bool)


@dataclass(frozen=True)
class LeftOut:
    """p_fake (N,) of each video by the calibration of the other folds, and `others[fold]`: theirs by the same one.

    Scores of two calibrations are never laid on one scale: which videos a calibration lacks moves it, so that a pooled
    score would tell a left-out group's label.
    """

    folds: np.ndarray
    p: np.ndarray
    others: dict[int, np.ndarray]

    def decided(self, known: Known, verdict: int, rate: float) -> np.ndarray:
        """Which videos (a mask) get a verdict by bounds found on the other folds."""
        mask = np.zeros(len(self.p), bool)
        for fold, p_others in self.others.items():
            held = self.folds == fold
            others = Known(known.labels[~held], known.groups[~held], known.fake_share)
            mask[held] = beyond(self.p[held], edge(p_others, others, verdict, rate), verdict)
        return mask


def left_out(tracks: Tracks, known: Known, folds: np.ndarray, stack: Stack, settings: Ensemble) -> LeftOut:
    """Calibrate by left-out folds (N,), two or more; the weights of the members stay those of the stack."""
    labels = known.labels
    names = sorted(set(folds.tolist()))
    if len(names) < 2:
        raise UserError(
            "all videos are of one group of sources, so that none is left to find bounds on. Give videos of further "
            "publishers, people and generators"
        )
    p, others = np.empty(len(labels)), {}
    for fold in names:
        held = folds == fold
        if len(set(labels[~held].tolist())) < 2:
            raise UserError(
                f"without one of {len(names)} folds of source groups {int((~held).sum())} videos are left, none of "
                "them real or none forged; give real and forged videos of more sources"
            )
        anew = calibrated_anew(stack, tracks.of_videos(~held), labels[~held], settings, known.groups[~held])
        p[held] = anew.p_fake(tracks.of_videos(held))
        others[fold] = anew.p_fake(tracks.of_videos(~held))
    return LeftOut(folds, p, others)


@dataclass(frozen=True)
class Found:
    """A stack with calibration and band, what it promises, and the left-out p_fake (N,) and decisions (N,) behind it.

    A decision is 1 likely forged, 0 likely real, -1 inconclusive.
    """

    stack: Stack
    promise: Promise
    p: np.ndarray
    decisions: np.ndarray


def find(
    tracks: Tracks,
    known: Known,
    folds: np.ndarray,
    stack: Stack,
    settings: Ensemble,
    kinds: Sequence[tuple[str, Sequence[str]]] = (),
) -> Found:
    """Calibrate a stack and find its band by left-out folds (N,), in which groups are never divided.

    `kinds` are columns (N,) by which broken promises are named: ("family", ...), ("sources", ...).
    """
    parts = left_out(tracks, known, folds, stack, settings)
    anew = calibrated_anew(stack, tracks, known.labels, settings, known.groups)
    p = anew.p_fake(tracks)
    tests = {verdict: _test(parts, known, verdict, settings.error_rate) for verdict in (1, 0)}
    edges = {
        verdict: None if strictness is None else edge(p, known, verdict, strictness * settings.error_rate)
        for verdict, (_, _, strictness) in tests.items()
    }
    decisions = np.full(len(known.labels), -1)
    for verdict, (tested, mask, _) in tests.items():
        if tested.is_given:
            decisions[mask & (decisions == -1)] = verdict
    promise = Promise(
        n_videos=len(known.labels),
        n_forged=int(known.labels.sum()),
        n_groups=len(set(known.groups.tolist())),
        confidence=CONFIDENCE,
        forged=tests[1][0],
        real=tests[0][0],
        broken=tuple(broken(decisions, known.labels, kinds, settings.error_rate)),
    )
    return Found(replace(anew, band=_band(edges[0], edges[1])), promise, parts.p, decisions)


def _test(parts: LeftOut, known: Known, verdict: int, rate: float) -> tuple[Tested, np.ndarray, float | None]:
    """The least strict way to find a verdict's bound that keeps its promise, what it decides, and how strict it is.

    Where none does: the way of the lowest upper bound, and None.
    """
    confidence = 1 - (1 - CONFIDENCE) / len(STRICTNESS)
    tried: list[tuple[Tested, np.ndarray]] = []
    for strictness in STRICTNESS:
        mask = parts.decided(known, verdict, strictness * rate)
        n_groups = len(set(known.groups[mask].tolist()))
        bound = upper_bound(known, mask, verdict, confidence)
        tested = Tested(
            is_given=bool(bound <= rate and n_groups >= LEAST_GROUPS),
            n_decided=int(mask.sum()),
            n_wrong=int((known.labels[mask] != verdict).sum()),
            n_groups=n_groups,
            wrong_share=wrong_share(known, mask, verdict) if mask.any() else None,
            bound=bound if mask.any() else None,
        )
        if tested.is_given:
            return tested, mask, strictness
        tried.append((tested, mask))
    best = min(tried, key=lambda one: (2.0 if one[0].bound is None else one[0].bound, -one[0].n_decided))
    return *best, None


def _band(low: float | None, high: float | None) -> tuple[float, float]:
    """The band between two bounds, a missing one out of reach; where they overlap, the point in both nearest to 0.5."""
    bounds = 0.0 if low is None else low, 1.0 if high is None else high
    if bounds[0] <= bounds[1]:
        return bounds
    point = min(max(0.5, bounds[1]), bounds[0])
    return point, point


def broken(
    decisions: np.ndarray, labels: np.ndarray, kinds: Sequence[tuple[str, Sequence[str]]], rate: float
) -> list[Broken]:
    """Of which families or sources more than a share `rate` of the decided videos is wrong; the worst first."""
    sure = decisions >= 0
    found = []
    for kind, names in kinds:
        column = np.array(names, object)
        for name in sorted(set(column[sure].tolist())):
            rows = sure & (column == name)
            n_decided, n_wrong = int(rows.sum()), int((decisions[rows] != labels[rows]).sum())
            if n_decided >= LEAST_NAMED and n_wrong > rate * n_decided:
                found.append(
                    Broken.model_validate({"kind": kind, "name": name, "n_decided": n_decided, "n_wrong": n_wrong})
                )
    return sorted(found, key=lambda one: (-one.n_wrong / one.n_decided, -one.n_decided, one.kind, one.name))
