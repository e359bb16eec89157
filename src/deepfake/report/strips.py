"""Pieces of HTML for notebooks: a table of facts, a plot, and strips of crops with what is said of each.

They bring their own paper, so that they are readable on a notebook's dark pages too; names become text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from deepfake.report.templates import data_url

CROP_PX, JPEG_QUALITY = 104, 80
MOST_CROPS = 8


@dataclass(frozen=True)
class Strip:
    """Crops of one track (HWC uint8 RGB) with a caption each, below a title and a line that explains it."""

    title: str
    note: str
    crops: Sequence[np.ndarray]
    captions: Sequence[str]


def spread_places(n: int, most: int = MOST_CROPS) -> list[int]:
    """At most `most` of n places, evenly, the first and the last among them."""
    return sorted(set(np.linspace(0, n - 1, min(most, n)).round().astype(int).tolist()))


def facts_html(facts: Mapping[str, object], drawing: str = "") -> str:
    """A table of facts, and beside it a plot (`drawing`, an SVG element of `report.plots`)."""
    return _template().render(facts=facts, drawing=Markup(drawing), strips=())  # noqa: S704 - our own plot


def strips_html(strips: Iterable[Strip]) -> str:
    """Strips of crops below each other."""
    shown = [
        (
            s.title,
            s.note,
            [(data_url(crop, CROP_PX, JPEG_QUALITY), told) for crop, told in zip(s.crops, s.captions, strict=True)],
        )
        for s in strips
    ]
    return _template().render(facts={}, drawing="", strips=shown)


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("strips.html.jinja")
