"""Logits to probabilities and back, number by number: bit for bit what SciPy gives, whose import costs 0.2 s.

For as many numbers as a video has tracks and frames; fits, which ask a thousand times for all videos, use SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

EVEN_FROM, EVEN_TO = 0.3, 0.65  # between them the difference of two log1p loses fewer digits than one log


def expit(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) of logits of any shape."""
    return _each(_expit, logits)


def logit(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of probabilities of any shape; infinite at 0 and 1."""
    return _each(_logit, p)


def _each(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    given = np.asarray(values, np.float64)
    return np.array([function(value) for value in given.ravel().tolist()], np.float64).reshape(given.shape)


def _expit(x: float) -> float:
    # NumPy's own exp is not the C library's: it may differ from it, and so from SciPy's, in the last bit.
    try:
        return 1 / (1 + math.exp(-x))
    except OverflowError:
        return 0.0


def _logit(p: float) -> float:
    if not 0 < p < 1:
        return {0.0: -math.inf, 1.0: math.inf}.get(p, math.nan)
    if EVEN_FROM <= p <= EVEN_TO:
        away = 2 * (p - 0.5)
        return math.log1p(away) - math.log1p(-away)
    return math.log(p / (1 - p))
