"""What a detector's verdicts were worth on videos from sources it never learnt from, as its file keeps it.

Made by `ensemble.left_out`, shown by pages, JSON and the command line; no fit is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from deepfake.values import Probability, Value

KEY = "promise"  # the header's key in a detector's file
FORGED, REAL = "likely forged", "likely real"  # as `detector.check` says them


class Tested(Value):
    """What became of one verdict on left-out sources; of one that is never given, what it came to at its best."""

    is_given: bool = Field(description="Whether it may be given: false where it could not be shown to be right enough.")
    n_decided: int = Field(ge=0, description="So many videos got it.")
    n_wrong: int = Field(ge=0, description="So many of these were wrong.")
    n_groups: int = Field(ge=0, description="So many groups of sources these videos came from.")
    wrong_share: Probability | None = Field(
        description="Share of it that is wrong where the detector's fake_share of all videos is forged; null of none."
    )
    bound: Probability | None = Field(description="Upper confidence bound of that share; null of none.")


class Broken(Value):
    """A family or a group of sources of whose decided videos more were wrong than is promised."""

    kind: Literal["family", "sources"]
    name: str
    n_decided: int = Field(ge=1)
    n_wrong: int = Field(ge=1)


class Promise(Value):
    """How the verdicts of a detector were tested: each group of sources by calibration and bounds of the others."""

    n_videos: int = Field(ge=1, description="Labelled videos with a face, of sources the detector never learnt from.")
    n_forged: int = Field(ge=1)
    n_groups: int = Field(
        ge=2, description="Groups of sources; two groups share no publisher, no person and no way of forging."
    )
    confidence: Probability = Field(description="Of the bounds.")
    forged: Tested
    real: Tested
    broken: tuple[Broken, ...] = Field(description="Where more was wrong than is promised; the worst first.")

    @property
    def gives_any(self) -> bool:
        """Whether any verdict but "inconclusive" may be given."""
        return self.forged.is_given or self.real.is_given

    def refuse_band(self, low: float, high: float) -> None:
        """Raise ValueError where a verdict that is never given lies outside a band all the same."""
        for name, tested, is_shut in (("forged", self.forged, high >= 1), ("real", self.real, low <= 0)):
            if not tested.is_given and not is_shut:
                raise ValueError(f"the band from {low} to {high} gives the verdict {name}, which was not promised")


def read_promise(header: Mapping[str, Any]) -> Promise | None:
    """What the header of a detector's file says of it; None where its verdicts were never tested so."""
    if KEY not in header:
        return None
    promise = Promise.model_validate(header[KEY])
    promise.refuse_band(*header["stack"]["band"])
    return promise


UNTESTED = (
    "How often its verdicts are wrong was never tested on videos from sources that it did not know. Of videos from "
    "elsewhere it may get many more wrong than its bounds allow."
)


@dataclass(frozen=True)
class Rule:
    """What a detector allows and expects: its `error_rate` and `fake_share`."""

    error_rate: float
    fake_share: float | None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def of_verdict(promise: Promise, verdict: str, rule: Rule) -> str:
    """What a verdict (FORGED or REAL) was worth on left-out sources, or why it is never given, in a sentence."""
    tested = promise.forged if verdict == FORGED else promise.real
    if tested.bound is None:
        return f"It never says “{verdict}”: no bound was found beyond which few enough were wrong."
    where = "" if rule.fake_share is None else f" where {_percent(rule.fake_share)} of all videos are forged"
    groups = f"{tested.n_groups} group{'s' * (tested.n_groups != 1)}"
    counts = f"{tested.n_wrong} of {tested.n_decided} times (videos of {groups})"
    at_most = f"up to {_percent(tested.bound)} at {_percent(promise.confidence)} confidence"
    share = f"{_percent(tested.wrong_share or 0)}{where}, {at_most}"
    if tested.is_given:
        return f"“{verdict.capitalize()}” was wrong {counts}: {share}."
    allowed = f"{_percent(rule.error_rate)} is allowed"
    return f"It never says “{verdict}”: at its best that was wrong {counts}: {share}, and {allowed}."


def sentences(promise: Promise | None, rule: Rule) -> list[str]:
    """What a person should know of a detector's verdicts, in words."""
    if promise is None:
        return [UNTESTED]
    said = [
        f"Its verdicts were tested on {promise.n_videos} videos ({promise.n_forged} forged) of {promise.n_groups} "
        "groups of sources that it never learnt from, each group by bounds found on the others.",
        of_verdict(promise, FORGED, rule),
        of_verdict(promise, REAL, rule),
    ]
    if promise.broken:
        parts = [f"{one.name} ({one.n_wrong} of {one.n_decided})" for one in promise.broken]
        said.append(f"More than {_percent(rule.error_rate)} of its verdicts were wrong for: {', '.join(parts)}.")
    return said


def short_words(promise: Promise | None, verdict: str) -> str:
    """The same of one verdict for a line; empty where there is nothing to be said, as of most that decide nothing."""
    if verdict not in (FORGED, REAL):
        is_closed = promise is not None and not promise.gives_any
        return "this detector can promise no verdict on other sources" if is_closed else ""
    if promise is None:
        return "never tested on other sources"
    tested = promise.forged if verdict == FORGED else promise.real
    return f"on other sources {tested.n_wrong} of {tested.n_decided} such verdicts were wrong"
