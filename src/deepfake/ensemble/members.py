"""What is known of members: their logits, labels, folds and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deepfake.ensemble.pooling import Tracks


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
