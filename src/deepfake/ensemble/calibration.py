"""Logits to probabilities that mean what they say, and the band in which no verdict is given.

Arrays in, values out. Fit on out-of-fold logits only. To add a kind, give it a branch in `_solve`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from deepfake.probabilities import expit

Kind = Literal["none", "temperature", "platt"]
KINDS: tuple[Kind, ...] = ("none", "temperature", "platt")
# A slope of 0 or below would say that the detector ranks by chance or upside down; calibration never re-ranks.
MIN_SLOPE = 0.01  # for logits of unit size or less; for larger ones, over their size
MAX_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """p_fake = sigmoid(slope * logit + intercept); `reason` says why it is the identity though more was asked."""

    kind: Kind
    slope: float = 1.0
    intercept: float = 0.0
    n_videos: int = 0
    reason: str | None = None

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated p_fake of each logit; the order of the scores never changes."""
        p: np.ndarray = expit(self.slope * np.asarray(logits, dtype=np.float64) + self.intercept)
        return p

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration a manifest holds; ValueError for one that no fit could have made."""
        line = cls(**values)
        if line.kind not in KINDS:
            raise ValueError(f"calibration kind {line.kind!r}: wanted one of {', '.join(KINDS)}")
        if not (math.isfinite(line.slope) and math.isfinite(line.intercept) and line.slope > 0):
            raise ValueError(f"calibration slope {line.slope}, intercept {line.intercept}: wanted a rising line")
        return line


def fit(
    logits: np.ndarray,
    labels: np.ndarray,
    kind: Kind,
    weights: np.ndarray | None = None,
    pull: float = 1.0,
    trust: np.ndarray | None = None,
    neutral: float = 0.0,
    shift: np.ndarray | None = None,
) -> Calibration:
    """Fit by Newton's method the line in logits that makes the log loss lowest.

    temperature: slope only; platt: slope and intercept. `pull` draws both towards the identity with the
    strength of about `pull` videos: it keeps separable and tiny samples finite and fades as samples grow.
    `trust` (n,), 0 to 1, says how far each logit counts once it is calibrated: the loss is that of
    neutral + trust * (slope * logit + intercept - neutral) + shift, `shift` (n,) being 0 unless given. Without trust
    all count in full.
    One label only or equal logits teach nothing: the identity comes back, with the reason.
    """
    logits, labels, weights = _checked(logits, labels, weights)
    trust = _checked_trust(trust, logits, neutral)
    if kind not in KINDS:
        raise ValueError(f"calibration kind {kind!r}: wanted one of {', '.join(KINDS)}")
    n = len(logits)
    if kind == "none":
        return Calibration(kind, n_videos=n)
    reason = _teaches_nothing(logits, labels, weights * (trust > 0))
    if reason:
        return Calibration(kind, n_videos=n, reason=reason)
    offset = (1 - trust) * neutral + (0 if shift is None else shift)
    slope, intercept = _solve(logits, labels, weights, kind == "platt", pull, trust, offset)
    return Calibration(kind, slope, intercept, n)


def out_of_fold_calibrated(
    logits: np.ndarray, labels: np.ndarray, folds: np.ndarray, kind: Kind
) -> tuple[np.ndarray, dict[int, Calibration]]:
    """p_fake of each video by a calibration fitted on the other folds, and each fold's calibration.

    These honest values are for reports and bands; a submission uses one `fit` over all videos.
    """
    logits, labels, _ = _checked(logits, labels, None)
    folds = np.asarray(folds)
    if folds.shape != logits.shape:
        raise ValueError(f"folds {folds.shape} and logits {logits.shape}: wanted two vectors of one length")
    names = np.unique(folds)
    if kind != "none" and len(names) < 2:
        raise ValueError(f"calibration: found {len(names)} fold, wanted two or more so that none calibrates itself")
    p = np.empty(len(logits))
    calibrations = {}
    for name in names.tolist():
        held_out = folds == name
        calibrations[int(name)] = fit(logits[~held_out], labels[~held_out], kind)
        p[held_out] = calibrations[int(name)].apply(logits[held_out])
    return p, calibrations


def inconclusive_band(p: np.ndarray, labels: np.ndarray, error_rate: float) -> tuple[float, float]:
    """The p_fake between which no verdict is given: below `low` say real, above `high` say fake.

    Split conformal, one label at a time: of new reals at most a share `error_rate` comes out above
    `high`, and of new fakes at most that share below `low`, on average over samples like this one.
    Too few videos of a label make its side unreachable (0 or 1). Where both promises leave a choice,
    the band shrinks to the point nearest 0.5.
    """
    p, labels, _ = _checked(p, labels, None)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("inconclusive band: wanted p_fake in 0..1")
    if not 0 < error_rate < 1:
        raise ValueError(f"error_rate {error_rate}: wanted above 0 and below 1")
    high = 1.0 - _lower_bound(1.0 - p[labels == 0], error_rate)
    low = _lower_bound(p[labels == 1], error_rate)
    if low > high:
        low = high = min(max(0.5, high), low)
    return low, high


def _lower_bound(values: np.ndarray, error_rate: float) -> float:
    """A bound that a further value falls below with probability `error_rate` at most; 0 if there are too few."""
    rank = math.floor((len(values) + 1) * error_rate + 1e-9)
    return float(np.sort(values)[rank - 1]) if rank >= 1 else 0.0


def _checked(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    weights = np.ones(len(logits)) if weights is None else np.asarray(weights, dtype=np.float64)
    if logits.ndim != 1 or not logits.shape == labels.shape == weights.shape:
        raise ValueError(
            f"calibration: logits {logits.shape}, labels {labels.shape}, weights {weights.shape}; "
            "wanted vectors of one length"
        )
    if not np.isfinite(logits).all():
        raise ValueError(f"calibration: {(~np.isfinite(logits)).sum()} of {len(logits)} logits are not finite")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("calibration: wanted labels 0 (real) and 1 (fake) only")
    if not ((weights >= 0) & np.isfinite(weights)).all():
        raise ValueError("calibration: wanted weights that are finite and not negative")
    return logits, labels.astype(np.float64), weights


def _checked_trust(trust: np.ndarray | None, logits: np.ndarray, neutral: float) -> np.ndarray:
    checked = np.ones(len(logits)) if trust is None else np.asarray(trust, dtype=np.float64)
    if checked.shape != logits.shape or not ((checked >= 0) & (checked <= 1)).all() or not math.isfinite(neutral):
        raise ValueError(
            f"calibration: trust {checked.shape} of logits {logits.shape}, neutral {neutral}; "
            "wanted a trust from 0 to 1 for each, and a finite neutral logit"
        )
    return checked


def _teaches_nothing(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> str | None:
    used = weights > 0
    if not used.any():
        return "no videos to calibrate on"
    if labels[used].min() == labels[used].max():
        return f"all {used.sum()} videos are {'fake' if labels[used][0] else 'real'}; a fit needs both labels"
    if np.ptp(logits[used]) == 0:
        return f"all {used.sum()} logits equal {logits[used][0]:g}; a fit needs scores that differ"
    return None


def _solve(
    logits: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    has_intercept: bool,
    pull: float,
    trust: np.ndarray,
    offset: np.ndarray,
) -> tuple[float, float]:
    """Slope and intercept of the lowest penalised loss; on logits of unit size, so any scale is as easy."""
    scale = float(np.sqrt(np.average(logits**2, weights=weights)))
    identity = np.array([scale, 0.0])
    design = trust[:, None] * np.stack([logits / scale, np.ones_like(logits)], axis=1)
    # An eighth of a squared shift is what one video at p_fake 0.5 loses by it; above unit size a share is the shift.
    stiffness = pull / 4 / np.array([max(1.0, scale) ** 2, 1.0])
    free = [0, 1] if has_intercept else [0]
    line = _newton(design, offset, labels, weights, identity, free, stiffness)
    floor = MIN_SLOPE * min(1.0, scale)
    if line[0] < floor:
        line = np.array([floor, 0.0])
        line = _newton(design, offset, labels, weights, line, free[1:], stiffness) if has_intercept else line
    return float(line[0] / scale), float(line[1])


def _newton(
    design: np.ndarray,
    offset: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray,
    free: list[int],
    stiffness: np.ndarray,
) -> np.ndarray:
    """The line of lowest weighted log loss + stiffness / 2 * (line - start)²; entries not `free` stay."""
    from scipy.special import expit as expit_of_many  # a second of import, which serving does without

    columns = design[:, free]

    def cost(line: np.ndarray) -> float:
        z = design @ line + offset
        return float(weights @ (np.logaddexp(0, z) - labels * z) + stiffness @ (line - start) ** 2 / 2)

    line = start.copy()
    for _ in range(MAX_STEPS):
        p = expit_of_many(design @ line + offset)
        gradient = columns.T @ (weights * (p - labels)) + (stiffness * (line - start))[free]
        curvature = (columns * (weights * p * (1 - p))[:, None]).T @ columns + np.diag(stiffness[free])
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature, gradient)
        if float(gradient @ step[free]) < 1e-11 * cost(line):  # so near to the end costs differ by rounding alone
            return np.asarray(line - step)
        share = 1.0
        while share > 1e-9 and cost(line - share * step) > cost(line) - 1e-4 * share * float(gradient @ step[free]):
            share /= 2
        line = line - share * step
        if float(np.abs(step).max()) < 1e-10:
            break
    return line
