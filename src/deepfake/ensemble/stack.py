"""Stack the members and calibrate: one p_fake a video, fitted out of fold.

A member's weight is a share, cannot be negative and is pulled towards an equal one, so that few videos do
not turn a worse member into a correction of a better one. A member that does not pay gets none.

How much each track of a video has to say in its score depends on the weights and on the calibration, and these are
fitted to videos' labels. So they are found by turns: share each video among its tracks that count by the fit so far
(`ensemble.pooling.shares`), fit weights and calibration on these mixtures, share anew, and so on until the scores
stay. Where they never do, the turn counts whose scores, as served, have the lowest log loss. Videos of one track need
one turn. Fitted like this a score is what serving makes of the same tracks: both go through
`ensemble.pooling.video_logits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake.ensemble.calibration import Calibration, fit
from deepfake.ensemble.pooling import Line, Mixtures, Tracks, mixtures, video_logits
from deepfake.probabilities import expit, logit
from deepfake.settings import Ensemble

if TYPE_CHECKING:  # half a second of import, which serving does without; as long as SciPy, which only fits need
    import pandas as pd

MOST_TURNS = 50
STILL = 1e-7  # logits: scores that move less from one turn to the next stay
SURE = 1e-6  # nearer to 0 or 1 no prior is taken, so that its logit is finite
ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Stack:
    """A track's p_fake is calibration(sum of weight * member logit), drawn to `prior` as far as it is not trusted.

    A video's is by the odds of its credible tracks (`ensemble.pooling.of_crowd`), and `prior` that of one without a
    score.
    Inside `band` (low, high) a p_fake says too little for a verdict. `dropped` names the members
    that got weight 0 because they do not pay, each with the reason.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    calibration: Calibration
    prior: float
    band: tuple[float, float] = (0.0, 1.0)
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def line(self) -> Line:
        """What makes a calibrated logit of a track's member logits and its trust."""
        return Line(self.weights, self.calibration.slope, self.calibration.intercept, neutral_logit(self.prior))

    def p_fake(self, tracks: Tracks) -> np.ndarray:
        """Calibrated probabilities (N,) of videos."""
        return np.asarray(expit(video_logits(tracks.of_members(self.members), self.line)[0]))

    @property
    def band_logits(self) -> tuple[float, float]:
        """The band's bounds as calibrated logits; infinite where a side cannot be reached."""
        low, high = logit(np.array(self.band))
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


def neutral_logit(prior: float) -> float:
    """The calibrated logit at which p_fake is the prior."""
    return float(logit(np.clip(prior, SURE, 1 - SURE)))


def class_weights(labels: np.ndarray, fake_share: float | None, counts: np.ndarray | None = None) -> np.ndarray:
    """Weights (n,), mean 1, under which the share of fakes is `fake_share`; None: as it is.

    Beside that a video weighs as much as `counts` (n,) says, all alike unless given.
    """
    labels = np.asarray(labels)
    counts = np.ones(len(labels)) if counts is None else counts / counts.mean()
    share = float(np.average(labels, weights=counts))
    if fake_share is None or share in (0, 1):
        return np.asarray(counts, np.float64)
    return np.asarray(counts * np.where(labels == 1, fake_share / share, (1 - fake_share) / (1 - share)), np.float64)


def group_counts(groups: np.ndarray) -> np.ndarray:
    """How much a video (n,) counts, so that its group counts by the root of its videos."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1 / np.sqrt(sizes[place]), np.float64)


def fit_stack(tracks: Tracks, labels: np.ndarray, settings: Ensemble, folds: np.ndarray | None = None) -> Stack:
    """Fit weights and calibration on videos (N) that no member was trained on.

    Two or more `folds` (N,) let members that do not pay drop out, see `Ensemble.drop_margin`.
    """
    kept, dropped = _paying(tracks, labels, settings, folds)
    prior = settings.fake_share if settings.fake_share is not None else float(np.mean(labels))
    shares, calibration = _fit(tracks.of_members(kept), labels, settings, prior)
    weight_of = dict(zip(kept, shares, strict=True))
    weights = tuple(weight_of.get(name, 0.0) for name in tracks.members)
    return Stack(tracks.members, weights, calibration, prior, dropped=dropped)


def calibrated_anew(
    stack: Stack, tracks: Tracks, labels: np.ndarray, settings: Ensemble, groups: np.ndarray | None = None
) -> Stack:
    """The stack with its calibration fitted on videos (N) that no member was trained on; weights and band stay.

    Given `groups` (N,) of sources, each counts by the root of its videos: what is asked is how sure scores are of clips
    from elsewhere, and a hundred clips of one publisher do not tell that a hundred times.
    """
    prior = settings.fake_share if settings.fake_share is not None else float(np.mean(labels))
    counts = None if groups is None else group_counts(groups)
    members = tracks.of_members(stack.members)
    _, calibration = _fit(members, labels, settings, prior, np.array(stack.weights), counts)
    return replace(stack, calibration=calibration, prior=prior)


def _fit(
    tracks: Tracks,
    labels: np.ndarray,
    settings: Ensemble,
    prior: float,
    fixed: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> tuple[list[float], Calibration]:
    """Weights and calibration under which the videos' own scores have the lowest log loss; `fixed` weights stay.

    `counts` (N,): how much each video counts, see `class_weights`.
    """
    from scipy.special import log_expit

    weigh, neutral = class_weights(labels, settings.fake_share, counts), neutral_logit(prior)
    equal = np.full(len(tracks.members), 1 / len(tracks.members)) if fixed is None else fixed
    line = Line(tuple(equal.tolist()), neutral=neutral)
    served, least = video_logits(tracks, line)[0], np.inf
    best = line, Calibration("none")
    sign = np.where(labels == 1, 1.0, -1.0)
    for _ in range(MOST_TURNS):
        mixed = mixtures(tracks, line)
        weights = equal
        if fixed is None and len(equal) > 1:
            weights = _weights(mixed, labels, weigh, equal, settings.stack_l2, neutral)
        calibration = fit(
            mixed.logits_NM @ weights,
            labels,
            settings.calibration,
            weigh,
            trust=mixed.trust_N,
            neutral=neutral,
            shift=mixed.shift_N,
        )
        line = Line(tuple(weights.tolist()), calibration.slope, calibration.intercept, neutral)
        before, served = served, video_logits(tracks, line)[0]
        loss = float(-weigh @ log_expit(sign * served))
        if loss < least:
            best, least = (line, calibration), loss
        if not mixed.is_mixed or np.abs(served - before).max() < STILL:
            break
    return list(best[0].weights), best[1]


def _paying(
    tracks: Tracks, labels: np.ndarray, settings: Ensemble, folds: np.ndarray | None
) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Which members stay, and the others with the reason: the cheapest to lose goes first; of equals the last."""
    kept, dropped = list(tracks.members), []
    margin = settings.drop_margin
    if folds is None or margin is None or len(np.unique(folds)) < 2:
        return kept, ()
    shares = class_weights(labels, settings.fake_share)
    losses = _held_out_losses(tracks, labels, settings, folds)
    while len(kept) > 1:
        rests = [[name for name in kept if name != one] for one in kept]
        without = [_held_out_losses(tracks.of_members(rest), labels, settings, folds) for rest in rests]
        costs = [float(np.average(other - losses, weights=shares)) for other in without]
        least = min(range(len(kept)), key=lambda i: (round(costs[i], 6), -i))
        error = float(np.std(shares * (without[least] - losses), ddof=1) / np.sqrt(len(labels)))
        if costs[least] > max(margin, error):
            break
        without_it, with_it = (float(np.average(column, weights=shares)) for column in (without[least], losses))
        why = (
            f"out-of-fold log loss {without_it:.4f} without it, {with_it:.4f} with it; to stay, a difference of more "
            f"than {margin:g} and its standard error {error:.4f} is wanted"
        )
        dropped.append((kept[least], why))
        kept, losses = rests[least], without[least]
    return kept, tuple(dropped)


def _held_out_losses(tracks: Tracks, labels: np.ndarray, settings: Ensemble, folds: np.ndarray) -> np.ndarray:
    """Log loss (n,) of each video, each fold stacked and calibrated on the others."""
    p = held_out(tracks, labels, folds, settings)
    kept = np.clip(p, settings.clip_p, 1 - settings.clip_p)
    return np.asarray(np.where(labels == 1, -np.log(kept), -np.log1p(-kept)), np.float64)


def _weights(
    mixed: Mixtures, labels: np.ndarray, weights: np.ndarray, equal: np.ndarray, l2: float, neutral: float
) -> np.ndarray:
    """Shares of lowest log loss + l2 / 2 * distance² to equal ones, none negative, beside a free intercept."""
    from scipy.optimize import minimize
    from scipy.special import expit as expit_of_many
    from scipy.special import log_expit

    sign = np.where(labels == 1, 1.0, -1.0)
    design = mixed.trust_N[:, None] * np.column_stack([mixed.logits_NM, np.ones(len(labels))])
    offset = (1 - mixed.trust_N) * neutral + mixed.shift_N

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        z = design @ line + offset
        slope = -weights * sign * expit_of_many(-sign * z)
        off = np.append(line[:-1] - equal, 0.0)
        return float(-weights @ log_expit(sign * z) + l2 / 2 * off @ off), design.T @ slope + l2 * off

    start = np.append(equal, 0.0)
    bounds = [(0.0, None)] * len(equal) + [(None, None)]
    solution = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    line: np.ndarray = solution.x[:-1]
    # Shares: how large logits should be is the calibration's to say, or two copies would beat one by that freedom.
    return line / line.sum() if line.sum() > 1e-6 else equal


def held_out(
    tracks: Tracks, labels: np.ndarray, folds: np.ndarray, settings: Ensemble, may_drop: bool = False
) -> np.ndarray:
    """p_fake (N,) of videos, each fold stacked and calibrated on the others.

    `may_drop`: members that do not pay in these others drop out, where they are two folds or more.
    """
    p = np.empty(len(tracks))
    for fold in np.unique(folds):
        held = folds == fold
        inner = folds[~held] if may_drop else None
        p[held] = fit_stack(tracks.of_videos(~held), labels[~held], settings, inner).p_fake(tracks.of_videos(held))
    return p


def out_of_fold(tracks: Tracks, labels: np.ndarray, folds: np.ndarray, settings: Ensemble) -> dict[str, np.ndarray]:
    """p_fake (N,) of the ensemble and of each member alone, each fold stacked and calibrated on the others."""
    alone = {name: held_out(tracks.of_members([name]), labels, folds, settings) for name in tracks.members}
    return {ENSEMBLE: held_out(tracks, labels, folds, settings, may_drop=True), **alone}


def score_rows(
    model: str, p_fake: pd.Series, counts: pd.DataFrame, fallbacks: Mapping[str, str], prior: float
) -> pd.DataFrame:
    """Rows of video_scores: scored videos (`p_fake` by video_id) and those that get the prior, with the reason."""
    import pandas as pd

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
