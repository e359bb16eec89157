"""A detector but for its networks: what its file's header says, which is all that a kept answer needs.

Reading it takes a hundredth of a second; the networks, and the library that runs them, come with `load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deepfake.ensemble.promise import Promise, read_promise
from deepfake.ensemble.stack import Stack
from deepfake.models.detector_file import extract_settings, read_header
from deepfake.settings import Ensemble, Extract, Predict

if TYPE_CHECKING:  # networks cost seconds
    from deepfake.detector.file import TrainedDetector
    from deepfake.detector.video_scorer import VideoScorer


class Rules(Protocol):
    """What a detector goes by beside its networks: a `DetectorHeader` or a `TrainedDetector`."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def stack(self) -> Stack:
        """Weights of the members, calibration, band."""

    @property
    def extract(self) -> Extract:
        """How faces are extracted."""

    @property
    def ensemble(self) -> Ensemble:
        """How frames and tracks are pooled, and what a verdict needs."""

    @property
    def about(self) -> dict[str, Any]:
        """What its file says of its making."""

    @property
    def promise(self) -> Promise | None:
        """What its verdicts were worth on sources it never learnt from; None where that was never tested."""


@dataclass(frozen=True)
class DetectorHeader:
    """A detector's file whose networks were not loaded."""

    path: Path
    name: str
    stack: Stack
    extract: Extract
    ensemble: Ensemble
    about: dict[str, Any]
    promise: Promise | None = None

    def within(self, limits: Mapping[str, float]) -> DetectorHeader:
        """The same with other limits on reading a video: `deadline_s`, `memory_mb`."""
        return replace(self, extract=self.extract.model_copy(update=limits))

    def load(self, predict: Predict) -> TrainedDetector:
        """The whole detector, ready to score, with these settings."""
        from deepfake.detector import file

        return replace(file.open_detector(self.path, predict), extract=self.extract, ensemble=self.ensemble)


def read_detector(path: Path) -> DetectorHeader:
    """The header of a detector's file; UserError where it is none, or contradicts itself."""
    header = read_header(path)
    try:
        return DetectorHeader(
            path=path,
            name=str(header["name"]),
            stack=Stack.from_dict(header["stack"]),
            extract=extract_settings(header),
            ensemble=Ensemble.model_validate(header["ensemble"]),
            about=dict(header["about"]),
            promise=read_promise(header),
        )
    except (KeyError, TypeError, ValueError) as error:
        from deepfake.models.detector_file import does_not_fit

        raise does_not_fit(path, error) from None


DEVICES = ("cuda", "cpu")  # on which scores may have been made where the settings leave it open


class Networks:
    """A detector's networks, ready to score from the moment they are first asked for; `rules` are its own."""

    def __init__(self, rules: DetectorHeader | TrainedDetector, predict: Predict) -> None:
        self.rules, self.predict = rules, predict
        self._scorer: VideoScorer | None = None

    @property
    def detector(self) -> TrainedDetector:
        """The detector, loaded once."""
        return self.scorer.detector

    @property
    def scorer(self) -> VideoScorer:
        """The detector on its device, loaded once."""
        if self._scorer is None:
            from deepfake.detector.video_scorer import VideoScorer

            loaded = self.rules.load(self.predict) if isinstance(self.rules, DetectorHeader) else self.rules
            self._scorer = VideoScorer(loaded, self.predict)
        return self._scorer

    @property
    def possible_keys(self) -> Iterator[list[str]]:
        """Each `VideoScorer.networks_key` these settings may come to, so that no library is asked what there is."""
        asked = self.predict.device.partition(":")[0]
        precisions = {"fp32": ("fp32",), "bf16": ("bf16",), "auto": ("bf16", "fp32")}[self.predict.precision]
        for device in DEVICES if asked == "auto" else (asked,):
            yield from (sorted([device, precision]) for precision in precisions)
