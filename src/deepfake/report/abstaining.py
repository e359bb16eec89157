"""When to say nothing: what withholding a verdict buys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from deepfake.ensemble.calibration import inconclusive_band
from deepfake.evaluation.metrics import THRESHOLD

BAND_ERROR_RATES = (0.01, 0.05, 0.1, 0.2)
CURVE_POINTS = 100


def bands(scored: pd.DataFrame) -> list[dict[str, Any]]:
    """For each promised error rate: the band fitted on all, and what it did to folds it was not fitted on.

    Rests on the videos with a score of their own; the others are inconclusive anyway.
    """
    own = scored[scored["fallback"].isna()]
    labels, p = own["label"].to_numpy(), own["p_fake"].to_numpy()
    rows = []
    for rate in BAND_ERROR_RATES:
        low, high = inconclusive_band(p, labels, rate)
        share = float(((p >= low) & (p <= high)).mean()) if len(p) else 1.0
        row: dict[str, Any] = {"error_rate": rate, "low": low, "high": high, "inconclusive": share}
        rows.append(row | _held_out(labels, p, own["fold"].astype(float).to_numpy(), rate))
    return rows


def _held_out(labels: np.ndarray, p: np.ndarray, folds: np.ndarray, rate: float) -> dict[str, float | None]:
    """Shares of inconclusive videos, of reals above and of fakes below, each fold judged by the others' band."""
    above, below = np.zeros(len(p), bool), np.zeros(len(p), bool)
    names = np.unique(folds[~np.isnan(folds)])
    if len(names) < 2:
        return dict.fromkeys(("held_out_inconclusive", "held_out_false_alarms", "held_out_misses"))
    for name in names:
        held = folds == name
        low, high = inconclusive_band(p[~held], labels[~held], rate)
        above[held], below[held] = p[held] > high, p[held] < low
    return {
        "held_out_inconclusive": float((~above & ~below).mean()),
        "held_out_false_alarms": _share(above[labels == 0]),
        "held_out_misses": _share(below[labels == 1]),
    }


def _share(chosen: np.ndarray) -> float | None:
    return float(chosen.mean()) if len(chosen) else None


def risk_coverage(scored: pd.DataFrame) -> list[dict[str, float]]:
    """Points from the surest videos to all: share with a verdict, share of these that is wrong, smallest distance
    from 0.5 that still gets a verdict. Videos of equal distance come together; those without a score never come.
    """
    own = scored[scored["fallback"].isna()]
    distance = (own["p_fake"] - THRESHOLD).abs().to_numpy()
    wrong = ((own["p_fake"] > THRESHOLD) != (own["label"] == 1)).to_numpy()
    order = np.argsort(-distance, kind="stable")
    distance, wrong = distance[order], wrong[order]
    ends = np.flatnonzero(np.append(distance[1:] != distance[:-1], True)) if len(own) else np.zeros(0, int)
    if len(ends) > CURVE_POINTS:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, CURVE_POINTS).round().astype(int))]
    errors = np.cumsum(wrong)
    return [
        {
            "coverage": float((end + 1) / len(scored)),
            "error_rate": float(errors[end] / (end + 1)),
            "least_distance": float(distance[end]),
        }
        for end in ends
    ]
