"""Stack the members' video logits and calibrate: one p_fake a video, fitted out of fold.

A member's weight is a share, cannot be negative and is pulled towards an equal one, so that few videos do
not turn a worse member into a correction of a better one. A member that does not pay gets none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from deepfake.aggregate import video_logits
from deepfake.calibration import Calibration, fit
from deepfake.config import Ensemble, UserError

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Stack:
    """p_fake = calibration(sum of weight * member logit); `prior` is for videos without a score.

    Inside `band` (low, high) a p_fake says too little for a verdict. `dropped` names the members
    that got weight 0 because they do not pay, each with the reason.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    calibration: Calibration
    prior: float
    band: tuple[float, float] = (0.0, 1.0)
    dropped: tuple[tuple[str, str], ...] = ()

    def logits(self, member_logits: np.ndarray) -> np.ndarray:
        """Stacked logits (n,) of member logits (n, members)."""
        return np.asarray(member_logits @ np.array(self.weights))

    def p_fake(self, member_logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n,) of member logits (n, members)."""
        return np.asarray(self.calibration.apply(self.logits(member_logits)))

    @property
    def band_logits(self) -> tuple[float, float]:
        """The band's bounds as stacked logits; infinite where a side cannot be reached."""
        low, high = (logit(np.array(self.band)) - self.calibration.intercept) / self.calibration.slope
        return float(low), float(high)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        lists = {name: list(getattr(self, name)) for name in ("members", "weights", "band")}
        return {**asdict(self), **lists, "dropped": dict(self.dropped)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Stack:
        """The stack a manifest holds."""
        weights = tuple(float(w) for w in values["weights"])
        members = tuple(str(m) for m in values["members"])
        if len(weights) != len(members) or not np.isfinite(weights).all():
            raise ValueError(f"stack of members {members} with weights {weights}: wanted one finite weight each")
        low, high = (float(v) for v in values["band"])
        if not 0 <= low <= high <= 1:
            raise ValueError(f"stack with an inconclusive band from {low} to {high}: wanted 0 <= low <= high <= 1")
        calibration = Calibration.from_dict(values["calibration"])
        dropped = tuple((str(name), str(why)) for name, why in dict(values.get("dropped", {})).items())
        return cls(members, weights, calibration, float(values["prior"]), (low, high), dropped)


def class_weights(labels: np.ndarray, fake_share: float | None) -> np.ndarray:
    """Weights (n,), mean 1, under which the share of fakes is `fake_share`; None: all 1."""
    labels = np.asarray(labels)
    share = labels.mean()
    if fake_share is None or share in (0, 1):
        return np.ones(len(labels))
    return np.asarray(np.where(labels == 1, fake_share / share, (1 - fake_share) / (1 - share)), np.float64)


def fit_stack(
    member_logits: np.ndarray,
    labels: np.ndarray,
    members: Sequence[str],
    settings: Ensemble,
    folds: np.ndarray | None = None,
) -> Stack:
    """Fit weights, then calibration, on member logits (n, members) that no member was trained on.

    Two or more `folds` (n,) let members that do not pay drop out, see `Ensemble.drop_margin`.
    """
    weights = class_weights(labels, settings.fake_share)
    kept, dropped = _paying(member_logits, labels, members, settings, folds)
    equal = np.full(len(kept), 1 / len(kept))
    chosen = member_logits[:, kept]
    stacked = np.zeros(len(members))
    stacked[kept] = _weights(chosen, labels, weights, equal, settings.stack_l2) if len(kept) > 1 else equal
    calibration = fit(member_logits @ stacked, labels, settings.calibration, weights)
    prior = settings.fake_share if settings.fake_share is not None else float(np.mean(labels))
    return Stack(tuple(members), tuple(float(w) for w in stacked), calibration, prior, dropped=dropped)


def _paying(
    logits: np.ndarray, labels: np.ndarray, members: Sequence[str], settings: Ensemble, folds: np.ndarray | None
) -> tuple[list[int], tuple[tuple[str, str], ...]]:
    """Which members stay, and the others with the reason: the cheapest to lose goes first; of equals the last."""
    kept, dropped = list(range(len(members))), []
    margin = settings.drop_margin
    if folds is None or margin is None or len(np.unique(folds)) < 2:
        return kept, ()
    shares = class_weights(labels, settings.fake_share)
    losses = _held_out_losses(logits, labels, settings, folds)
    while len(kept) > 1:
        rests = [[i for i in kept if i != one] for one in kept]
        without = [_held_out_losses(logits[:, rest], labels, settings, folds) for rest in rests]
        costs = [float(np.average(other - losses, weights=shares)) for other in without]
        least = min(range(len(kept)), key=lambda i: (round(costs[i], 6), -i))
        error = float(np.std(shares * (without[least] - losses), ddof=1) / np.sqrt(len(labels)))
        if costs[least] > max(margin, error):
            break
        told = [float(np.average(column, weights=shares)) for column in (without[least], losses)]
        why = (
            f"out-of-fold log loss {told[0]:.4f} without it, {told[1]:.4f} with it; to stay, a difference of more than "
            f"{margin:g} and its standard error {error:.4f} is wanted"
        )
        dropped.append((members[kept[least]], why))
        kept, losses = rests[least], without[least]
    return kept, tuple(dropped)


def _held_out_losses(logits: np.ndarray, labels: np.ndarray, settings: Ensemble, folds: np.ndarray) -> np.ndarray:
    """Log loss (n,) of each video, each fold stacked and calibrated on the others."""
    p = held_out(logits, labels, folds, [""] * logits.shape[1], settings)
    kept = np.clip(p, settings.clip_p, 1 - settings.clip_p)
    return np.asarray(np.where(labels == 1, -np.log(kept), -np.log1p(-kept)), np.float64)


def _weights(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, equal: np.ndarray, l2: float) -> np.ndarray:
    """Shares of lowest log loss + l2 / 2 * distance² to equal ones, none negative, beside a free intercept."""
    sign = np.where(labels == 1, 1.0, -1.0)
    design = np.column_stack([logits, np.ones(len(logits))])

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        z = design @ line
        slope = -weights * sign * expit(-sign * z)
        off = np.append(line[:-1] - equal, 0.0)
        return float(-weights @ log_expit(sign * z) + l2 / 2 * off @ off), design.T @ slope + l2 * off

    start = np.append(equal, 0.0)
    bounds = [(0.0, None)] * len(equal) + [(None, None)]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    line: np.ndarray = found.x[:-1]
    # Shares: how large logits should be is the calibration's to say, or two copies would beat one by that freedom.
    return line / line.sum() if line.sum() > 1e-6 else equal


def member_table(track_scores: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Video logits with a column a member, indexed by video_id, and n_faces, n_tracks; every member has every video."""
    videos = video_logits(track_scores, settings)
    wide = videos.set_index(["video_id", "model"])["logit"].unstack().sort_index()  # noqa: PD010 - keys are unique
    missing = wide.isna().to_numpy()
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise UserError(
            f"member {wide.columns[column]!r} has no score of video {wide.index[row]!r}, others have: "
            "run the training and prediction stages again"
        )
    counts = videos.groupby("video_id")[["n_faces", "n_tracks"]].max()  # a member may say nothing of some tracks
    return wide.join(counts)


def held_out(
    logits: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    members: Sequence[str],
    settings: Ensemble,
    may_drop: bool = False,
) -> np.ndarray:
    """p_fake (n,) of member logits (n, members), each fold stacked and calibrated on the others.

    `may_drop`: members that do not pay in these others drop out, where they are two folds or more.
    """
    p = np.empty(len(logits))
    for fold in np.unique(folds):
        held = folds == fold
        inner = folds[~held] if may_drop else None
        p[held] = fit_stack(logits[~held], labels[~held], members, settings, inner).p_fake(logits[held])
    return p


def out_of_fold(
    table: pd.DataFrame, labels: np.ndarray, folds: np.ndarray, members: Sequence[str], settings: Ensemble
) -> dict[str, np.ndarray]:
    """p_fake (n,) of the ensemble and of each member alone, each fold stacked and calibrated on the others."""
    logits = table[list(members)].to_numpy(float)
    alone = {name: held_out(logits[:, [i]], labels, folds, [name], settings) for i, name in enumerate(members)}
    return {ENSEMBLE: held_out(logits, labels, folds, members, settings, may_drop=True), **alone}


def score_rows(
    model: str, p_fake: pd.Series, counts: pd.DataFrame, fallbacks: Mapping[str, str], prior: float
) -> pd.DataFrame:
    """Rows of video_scores: scored videos (`p_fake` by video_id) and those that get the prior, with the reason."""
    scored = counts.loc[p_fake.index, ["n_faces", "n_tracks"]].assign(p_fake=p_fake, fallback=None)
    rest = pd.DataFrame(
        {"n_faces": 0, "n_tracks": 0, "p_fake": prior, "fallback": pd.Series(dict(fallbacks), dtype=object)}
    )
    both = pd.concat([scored, rest[scored.columns]]) if len(rest) else scored
    return both.rename_axis("video_id").reset_index().assign(model=model)


def fallback_reasons(video_ids: Sequence[str], extractions: pd.DataFrame, scored: set[str]) -> dict[str, str]:
    """Why each video without a score has none: no_face, not_extracted, not_scored, or unreadable with the reason."""
    known = extractions.set_index("video_id")
    reasons = {}
    for video_id in video_ids:
        if video_id in scored:
            continue
        if video_id not in known.index:
            reasons[video_id] = "not_extracted"
        elif known.loc[video_id, "status"] == "no_face":
            reasons[video_id] = "no_face"
        elif known.loc[video_id, "status"] == "ok":
            reasons[video_id] = "not_scored"
        else:
            reasons[video_id] = f"unreadable: {known.loc[video_id, 'reason']}"
    return reasons
