"""What a network in training makes of forged clips it has never seen: AUC by family, against real clips held out.

Letters: N crops, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepfake.evaluation.ranking import rank_auc
from deepfake.packs.file import Pack
from deepfake.packs.folds import measured_rows
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import PackTraining

BATCH = 128


def chosen_rows(pack: Pack, rows: np.ndarray, n_clips: int) -> np.ndarray:
    """Of these rows those of the first `n_clips` clips of each family and of the reals; 0: all."""
    if not n_clips:
        return rows
    faces = pack.faces.iloc[rows]
    clips = faces.drop_duplicates("clip").groupby(["label", "family"], sort=True).head(n_clips)["clip"]
    return np.asarray(rows[faces["clip"].isin(set(clips)).to_numpy()])


class Validation:
    """Crops to measure on, ready for a network of one input size: of clips that the settings do not learn from."""

    def __init__(self, pack: Pack, pictures: Pictures, settings: PackTraining) -> None:
        input_px, view_ratio = settings.input_px, settings.view_ratio
        told = measured_rows(pack, settings.fold, settings.forged_share > 0, settings.folds)
        rows = chosen_rows(pack, told, settings.validation_clips)
        self.faces = pack.faces.iloc[rows].reset_index(drop=True)
        self.crops_NCHW = torch.from_numpy(pictures.seen(rows, view_ratio, input_px))

    def scores(self, score: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """AUC of the clips' mean logits by family, of all, of all within a source; `score` gives logits of crops."""
        if not len(self.faces):
            return {}
        logits = [score(part).float().cpu() for part in torch.split(self.crops_NCHW, BATCH)]
        return clip_aucs(self.faces.assign(logit=torch.cat(logits).numpy()))


def clip_aucs(faces: pd.DataFrame) -> dict[str, float]:
    """auc_<family>, auc_all, auc_families (the mean of the families), auc_within of a table of crops with logits.

    auc_within takes pairs of clips of one source only: the fairest, where a source has both.
    """
    clips = faces.groupby("clip", sort=True).agg(
        label=("label", "first"), family=("family", "first"), source=("source", "first"), logit=("logit", "mean")
    )
    reals, fakes = clips[clips["label"] == 0], clips[clips["label"] == 1]
    found = {
        f"auc_{family}": rank_auc(reals["logit"].to_numpy(), part["logit"].to_numpy())
        for family, part in fakes.groupby("family", sort=True)
    }
    within = [
        (len(part) * int((reals["source"] == source).sum()), source, part) for source, part in fakes.groupby("source")
    ]
    both = [
        (n, rank_auc(reals[reals["source"] == s]["logit"].to_numpy(), p["logit"].to_numpy())) for n, s, p in within if n
    ]
    means = {"auc_families": float(np.mean(list(found.values())))} if found else {}
    if both:
        means["auc_within"] = float(np.average([auc for _, auc in both], weights=[n for n, _ in both]))
    everything = rank_auc(reals["logit"].to_numpy(), fakes["logit"].to_numpy())
    return {**found, "auc_all": everything, **means}
