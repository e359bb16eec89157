"""How often a forged item scores above a real one."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def rank_auc(reals: np.ndarray, fakes: np.ndarray) -> float:
    """Share of all pairs (real, fake) in which the fake scores higher, ties half; NaN without a real or a fake."""
    if not len(reals) or not len(fakes):
        return float("nan")
    ranks = rankdata(np.concatenate([reals, fakes]))
    beaten = ranks[len(reals) :].sum() - len(fakes) * (len(fakes) + 1) / 2
    return float(beaten / (len(reals) * len(fakes)))
