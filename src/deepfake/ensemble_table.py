"""What every member is worth: alone, in pairs, all together and each left out, out of fold, with its cost.

Arrays in, rows out; `as_markdown` lays them out. Letters: N videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from deepfake import metrics
from deepfake.aggregate import Tracks
from deepfake.config import Ensemble, Validation
from deepfake.ensemble import ENSEMBLE, held_out
from deepfake.evaluation import show
from deepfake.metrics import Measure


@dataclass(frozen=True)
class Evidence:
    """Out-of-fold logits of members, a row a track, with what is known of their videos.

    `folds` were held out together, `groups` are drawn together. `costs_ms` has, for members whose cost is
    known, milliseconds a video of each part they need, by the part's name: shared parts are paid once; `machine` is
    what they were measured on.
    """

    tracks: Tracks
    labels: np.ndarray
    folds: np.ndarray
    groups: Sequence[str]
    costs_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    machine: str = ""

    @property
    def members(self) -> tuple[str, ...]:
        """The members' names."""
        return self.tracks.members

    def cost_ms(self, names: Sequence[str]) -> float | None:
        """Milliseconds a video of some members; None where one's is unknown."""
        if any(name not in self.costs_ms for name in names):
            return None
        parts: dict[str, float] = {}
        for name in names:
            parts |= self.costs_ms[name]
        return sum(parts.values())


@dataclass(frozen=True)
class Row:
    """A set of members, stacked and calibrated out of fold.

    The gains are its AUC and log loss less those of the single member that is best by that number (for the
    log loss lower is better), over shared resamples.
    """

    what: str
    members: tuple[str, ...]
    roc_auc: Measure
    log_loss: Measure
    roc_auc_gain: Measure
    log_loss_gain: Measure
    cost_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        measures = {name: value.to_dict() for name, value in vars(self).items() if isinstance(value, Measure)}
        return {"what": self.what, "members": list(self.members), "cost_ms": self.cost_ms, **measures}


def sets_of(members: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of the sets to compare and their members: singles, pairs, all, each left out; none comes twice."""
    sets: dict[str, tuple[str, ...]] = {name: (name,) for name in members}
    sets |= {" + ".join(pair): pair for pair in combinations(members, 2)}
    if len(members) > 2:
        sets["all"] = tuple(members)
    if len(members) > 3:
        sets |= {f"all but {one}": tuple(name for name in members if name != one) for one in members}
    return sets


def compare(found: Evidence, ensemble: Ensemble, validation: Validation) -> list[Row]:
    """A row for every set of members, none of them dropped, and last the ensemble, where members may drop out."""
    sets = sets_of(found.members)
    p = {
        what: held_out(found.tracks.of_members(names), found.labels, found.folds, ensemble)
        for what, names in sets.items()
    }
    p[ENSEMBLE] = held_out(found.tracks, found.labels, found.folds, ensemble, may_drop=True)
    fixed = (found.groups, validation, ensemble.clip_p)
    measured = {what: metrics.measure(found.labels, scores, *fixed) for what, scores in p.items()}
    best = {name: _best(measured, found.members, name) for name in ("roc_auc", "log_loss_clipped")}
    rows = []
    for what, numbers in measured.items():
        gains = {name: metrics.measure_difference(found.labels, p[what], p[best[name]], *fixed)[name] for name in best}
        names = sets.get(what, found.members)
        rows.append(
            Row(
                what=what,
                members=names,
                roc_auc=numbers["roc_auc"],
                log_loss=numbers["log_loss_clipped"],
                roc_auc_gain=gains["roc_auc"],
                log_loss_gain=gains["log_loss_clipped"],
                cost_ms=None if what == ENSEMBLE else found.cost_ms(names),
            )
        )
    return rows


def _best(measured: Mapping[str, Mapping[str, Measure]], members: Sequence[str], name: str) -> str:
    """The single member of the best number; the first of equals."""
    sign = -1 if metrics.BY_NAME[name].better == "high" else 1
    values = {member: measured[member][name].value for member in members}
    return min(members, key=lambda member: (values[member] is None, sign * (values[member] or 0)))


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a table for people."""
    titles = ("members", "AUC [95 %]", "gain over the best single", "log loss [95 %]", "gain", "ms a video")
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in rows:
        measures = (row.roc_auc, row.roc_auc_gain, row.log_loss, row.log_loss_gain)
        cost = "-" if row.cost_ms is None else f"{row.cost_ms:.0f}"
        cells = [row.what.replace("|", "/"), *(show(measure.to_dict()) for measure in measures), cost]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
