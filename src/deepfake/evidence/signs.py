"""What is looked for beside the score: the groups of signs, what each is given, and what it gives back.

A group is a module with `find(examined) -> Found`. It says nothing where there is nothing to say, and one sign of
strength 0 where what it needs is missing (a file without sound).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake.detector.check import Check, Sign
from deepfake.faces.extracted import Extraction

# By the first word of a sign's kind, in the order of the page: the module whose `find` looks for them.
GROUPS: Mapping[str, str] = {
    "sound": "deepfake.evidence.sound",
    "origin": "deepfake.evidence.provenance",
    "coding": "deepfake.evidence.coding",
}


@dataclass(frozen=True)
class Examined:
    """One video: the file, its check without evidence, and what was read of it; crops lie below `work_dir`.

    `trust_list` is a file of certificates (PEM): whom the user trusts to certify those who sign Content Credentials.
    """

    path: Path
    check: Check
    extraction: Extraction
    work_dir: Path
    trust_list: Path | None = None


@dataclass(frozen=True)
class Curve:
    """Values (N,) over rising times in seconds (N,), as the page draws them; NaN where there is nothing to draw.

    `lane` names the small picture that it is drawn in; curves of one lane share an axis from `low` to `high`.
    """

    lane: str
    name: str
    times_s: np.ndarray
    values: np.ndarray
    low: float
    high: float


@dataclass(frozen=True)
class Part:
    """A stretch of a lane that the page marks, with what it says of it."""

    lane: str
    from_s: float
    to_s: float
    title: str


@dataclass(frozen=True)
class Found:
    """What one group found: signs for JSON and page, curves and parts for the page alone."""

    signs: tuple[Sign, ...] = ()
    curves: tuple[Curve, ...] = ()
    parts: tuple[Part, ...] = ()


Finder = Callable[[Examined], Found]
