"""Small pictures of what was found beside the score: curves over time and marked parts, one lane each, as SVG.

A lane is as wide as the page's timelines and shares their axis, so that a click or a key moves the video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deepfake.evidence.signs import Curve, Found, Part

WIDTH, HEIGHT = 1000, 100  # units of the picture, which is stretched to the lane
STYLES = 3  # of lines: each has a colour and a dash of its own
Percent = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn: `path` in units of the lane's picture, `style` of its colour and dash."""

    curve: Curve
    path: str
    style: int


@dataclass(frozen=True)
class Marked:
    """A part of a lane, in percent of its length."""

    part: Part
    x: float
    width: float


@dataclass(frozen=True)
class EvidenceLane:
    """One small picture: its title, its lines, its marked parts."""

    title: str
    lines: Sequence[Line]
    parts: Sequence[Marked]

    @property
    def data(self) -> Mapping[str, object]:
        """What the script needs to say what is drawn at a time: values in percent of the lane's height."""
        return {
            "title": self.title,
            "curves": [[line.curve.name, _rounded(line.curve.times_s, 3), _shares(line.curve)] for line in self.lines],
            "parts": [[marked.part.from_s, marked.part.to_s, marked.part.title] for marked in self.parts],
        }


def evidence_lanes(found: Found, percent: Percent) -> list[EvidenceLane]:
    """The lanes of all curves and parts, in the order in which they are first named; `percent`: where a time lies."""
    titles = list(dict.fromkeys([*(curve.lane for curve in found.curves), *(part.lane for part in found.parts)]))
    return [
        EvidenceLane(
            title,
            [
                Line(curve, _path(curve, percent), i % STYLES)
                for i, curve in enumerate([curve for curve in found.curves if curve.lane == title])
            ],
            [_marked(part, percent) for part in found.parts if part.lane == title],
        )
        for title in titles
    ]


def _path(curve: Curve, percent: Percent) -> str:
    """An SVG path that is broken where there is no value."""
    words, is_drawn = [], False
    for time_s, share in zip(curve.times_s, _shares(curve), strict=True):
        if share is None:
            is_drawn = False
            continue
        x, y = WIDTH * percent(float(time_s)) / 100, HEIGHT - 96 * share / 100 - 2
        words.append(f"{'L' if is_drawn else 'M'}{x:.1f} {y:.1f}")
        is_drawn = True
    return "".join(words)


def _shares(curve: Curve) -> list[int | None]:
    """Values in whole percent of the way from the curve's low to its high."""
    way = max(curve.high - curve.low, 1e-12)
    return [
        None if not np.isfinite(value) else round(100 * min(max((value - curve.low) / way, 0.0), 1.0))
        for value in np.asarray(curve.values, float)
    ]


def _rounded(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def _marked(part: Part, percent: Percent) -> Marked:
    start, end = percent(part.from_s), percent(part.to_s)
    return Marked(part, round(start, 3), round(max(end - start, 0.15), 3))
