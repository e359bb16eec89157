"""Which network of a training in folds did not learn from a clip, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from deepfake.packs.file import Pack
from deepfake.packs.folds import left_out


def folds_of(pack: Pack, n_folds: int, clips: Sequence[str]) -> dict[str, int]:
    """The fold of each of these clips that the pack has, whatever it has of it."""
    found: dict[str, int] = {}
    names = pack.faces["clip"].astype(str).to_numpy()
    for fold in range(n_folds):
        found |= dict.fromkeys(set(names[left_out(pack, fold, n_folds)].tolist()) & set(clips), fold)
    return found


def by_fold(scores: Sequence[pd.DataFrame], folds: Mapping[str, int]) -> pd.DataFrame:
    """Rows of FRAME_SCORES, all networks' alike: of each clip by the network of its fold, of others the mean."""
    fold_N = scores[0]["video_id"].map(folds).fillna(-1).to_numpy(int)
    logits_FN = np.stack([one["logit"].to_numpy(float) for one in scores])
    own = logits_FN[np.maximum(fold_N, 0), np.arange(len(fold_N))]
    return scores[0].assign(logit=np.where(fold_N < 0, logits_FN.mean(0), own))
