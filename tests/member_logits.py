"""Invented logits of members, as tables of tracks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfake.ensemble import stack as ensemble_stack
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.stack import (
    Stack,
)
from deepfake.settings import Ensemble

RNG = np.random.default_rng(0)


LABELS = np.arange(80) % 2


GOOD = np.where(LABELS == 1, 1.5, -1.5) + RNG.normal(0, 1, 80)


USELESS = RNG.normal(0, 2, 80)


def columns(*members: np.ndarray) -> np.ndarray:
    return np.column_stack(members)


def table(*members: np.ndarray) -> Tracks:
    """Videos of one track each, of members m0, m1, ..."""
    return Tracks.one_each(columns(*members), [f"m{i}" for i in range(len(members))])


def fit_stack(
    logits: np.ndarray, labels: np.ndarray, members: Sequence[str], settings: Ensemble, folds: np.ndarray | None = None
) -> Stack:
    return ensemble_stack.fit_stack(Tracks.one_each(logits, members), labels, settings, folds)
