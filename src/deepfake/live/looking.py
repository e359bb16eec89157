"""Shows crops to a detector's image classifiers, one by one and in as many views as there is time for."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from deepfake.detector.video_scorer import VideoScorer
from deepfake.ensemble.pooling import counted
from deepfake.errors import UserError
from deepfake.live.budget import Paces, Views
from deepfake.scoring.frame_scorer import FrameScorer


class Looker:
    """The networks of a detector that count, by their names; what each view takes is measured."""

    def __init__(self, scorer: VideoScorer, paces: Paces) -> None:
        self.scorer, self.paces = scorer, paces
        self._networks: dict[str, list[FrameScorer]] = {}
        for name, network, heads in scorer.members:
            if heads:
                raise UserError(
                    f"detector {scorer.detector.name!r}: has networks over tracks ({', '.join(sorted(heads))}), which "
                    "judge whole tracks; a watch needs a detector of image classifiers alone"
                )
            self._networks.setdefault(name, []).append(network)
        views_of = scorer.detector.ensemble.views_of
        self._views = {name: views_of(name) for name in self._networks}
        self.strides = {name: scorer.detector.ensemble.stride_of(name) for name in self._networks}

    @property
    def members(self) -> Views:
        """In how many views each network sees a crop of a file."""
        return {name: len(views) for name, views in self._views.items()}

    def look(self, crop_HWC: np.ndarray, views: Views) -> dict[str, float]:
        """The logit of each of these networks; in fewer views than all it is the mean of the first ones."""
        return {name: self._logit(name, crop_HWC, n) for name, n in views.items() if n}

    def _logit(self, name: str, crop_HWC: np.ndarray, n_views: int) -> float:
        began_s = time.perf_counter()
        networks, views = self._networks[name], self._views[name][:n_views]
        logits = [float(network.in_views(views, [crop_HWC], False)[0][0]) for network in networks]
        self.paces.add(name, 1000 * (time.perf_counter() - began_s), len(views))
        return float(np.mean(logits))

    def p_fake(self, logits: Mapping[str, float]) -> float | None:
        """What a single crop comes to, as a check shows it; None before all networks saw the face."""
        stack, settings = self.scorer.detector.stack, self.scorer.detector.ensemble
        if not all(name in logits for name in self._networks if name in self.scorer.weights):
            return None
        stacked = sum(
            weight * float(counted(np.array(logits[name]), name, settings))
            for name, weight in self.scorer.weights.items()
        )
        return float(stack.calibration.apply(np.array([stacked]))[0])

    def warm_up(self) -> None:
        """Open every graph, so that the first face does not wait for it."""
        self.look(np.full((64, 64, 3), 127, np.uint8), self.members)
        self.paces.forget()
        self.look(np.full((64, 64, 3), 127, np.uint8), self.members)
