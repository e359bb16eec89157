"""Plots of the reports as SVG text to be set into a page: one style, no dates, no outside fonts.

A plot takes arrays and returns a whole `<svg>` element; equal arrays give equal text. Its colours are CSS
variables with a fallback, so a page may set them for a dark screen: --real, --fake, --ink, --pale, --grid.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from deepfake import metrics
from deepfake.metrics import ReliabilityBin

REAL, FAKE, INK, PALE, GRID = "#2b6c8f", "#c4502f", "#2a2e33", "#c9cdd2", "#eceef0"
VARIABLES = {REAL: "real", FAKE: "fake", INK: "ink", PALE: "pale", GRID: "grid"}
SIDE_IN = (3.7, 3.35)  # width, height
WIDE_IN = (4.4, 2.9)
STYLE: dict[Any, Any] = {  # matplotlib wants names it lists as literals
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page's font sets it
    "svg.hashsalt": "deepfake",
    "font.size": 9,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def reliability_plot(bins: Sequence[ReliabilityBin]) -> str:
    """Mean p_fake of each bin against its share of fakes; a dot's area follows its count."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
        said, true = [b.mean_p for b in bins], [b.share_fake for b in bins]
        most = max(b.n for b in bins)
        axes.plot(said, true, color=INK, linewidth=1.2)
        axes.scatter(said, true, s=[14 + 60 * b.n / most for b in bins], color=INK, zorder=3, clip_on=False)
        axes.set(xlabel="mean p_fake of the bin", ylabel="share of fakes in it", xlim=(0, 1), ylim=(0, 1))

    return _svg(draw)


def roc_plot(labels: np.ndarray, p: np.ndarray, eer: float) -> str:
    """Recall against false alarms, with the point of equal errors."""

    def draw(axes: Any) -> None:
        alarms, found = metrics.roc_curve(labels, p)
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.fill_between(alarms, found, color=FAKE, alpha=0.08, linewidth=0)
        axes.plot(alarms, found, color=FAKE, linewidth=1.8, clip_on=False)
        axes.plot([eer], [1 - eer], "o", color=INK, markersize=5, clip_on=False)
        axes.annotate(f"EER {eer:.3f}", (eer, 1 - eer), (9, -9), textcoords="offset points", color=INK, va="top")
        axes.set(xlabel="reals called fake", ylabel="fakes found", xlim=(0, 1), ylim=(0, 1))

    return _svg(draw)


def pr_plot(labels: np.ndarray, p: np.ndarray) -> str:
    """Share of real forgeries among what is called fake, against the share of fakes found."""

    def draw(axes: Any) -> None:
        recall, precision = metrics.pr_curve(labels, p)
        share = float(np.mean(labels))
        axes.plot([0, 1], [share, share], color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.step(recall, precision, where="pre", color=FAKE, linewidth=1.8, clip_on=False)
        axes.set(xlabel="fakes found", ylabel="fakes among those called fake", xlim=(0, 1), ylim=(0, 1.01))

    return _svg(draw)


def risk_coverage_plot(coverage: Sequence[float], error_rate: Sequence[float]) -> str:
    """Share of wrong verdicts against the share of videos that get one, the surest first."""

    def draw(axes: Any) -> None:
        axes.plot(coverage, error_rate, "o-", color=INK, markersize=2.5, linewidth=1.5, clip_on=False)
        axes.set(xlabel="videos that get a verdict", ylabel="wrong among them", xlim=(0, 1))
        axes.set_ylim(0, max(0.05, 1.08 * max(error_rate, default=0.0)))

    return _svg(draw, WIDE_IN)


def frames_plot(lines: Mapping[str, Sequence[tuple[int, float, float | None, float | None]]]) -> str:
    """ROC AUC by frames a video, a line a model through its (frames, AUC, low, high)."""

    def draw(axes: Any) -> None:
        axes.axhline(0.5, color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
        for (name, points), color in zip(lines.items(), itertools.cycle((FAKE, REAL, INK))):
            frames, values = [point[0] for point in points], [point[1] for point in points]
            for n, _, low, high in points:
                if low is not None and high is not None:
                    axes.plot([n, n], [low, high], color=color, linewidth=1.0, alpha=0.5)
            axes.plot(frames, values, "o-", color=color, markersize=4, linewidth=1.6, label=name)
        every = sorted({point[0] for points in lines.values() for point in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(every, [str(n) for n in every])
        axes.minorticks_off()
        axes.set(xlabel="frames of a video", ylabel="ROC AUC")
        if len(lines) > 1:
            axes.legend(loc="lower right")

    return _svg(draw, WIDE_IN)


def score_histogram(labels: np.ndarray, p: np.ndarray, unit: str = "videos") -> str:
    """How many reals and fakes got which p_fake; `unit` is what is counted."""

    def draw(axes: Any) -> None:
        edges = np.linspace(0, 1, 21)
        for name, color, chosen in (("real", REAL, labels == 0), ("fake", FAKE, labels == 1)):
            counts = np.histogram(p[chosen], edges)[0]
            axes.stairs(counts, edges, fill=True, color=color, alpha=0.28)
            axes.stairs(counts, edges, color=color, linewidth=1.6, label=f"{name} ({int(chosen.sum())})")
        axes.axvline(metrics.THRESHOLD, color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set(xlabel="p_fake", ylabel=unit, xlim=(0, 1))
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.13), handlelength=1.2)

    return _svg(draw)


def plain_histogram(p: np.ndarray) -> str:
    """How many videos got which p_fake, where nobody knows their labels."""

    def draw(axes: Any) -> None:
        edges = np.linspace(0, 1, 21)
        axes.stairs(np.histogram(p, edges)[0], edges, fill=True, color=REAL, alpha=0.28)
        axes.stairs(np.histogram(p, edges)[0], edges, color=REAL, linewidth=1.6)
        axes.set(xlabel="p_fake", ylabel="videos", xlim=(0, 1))
        axes.yaxis.get_major_locator().set_params(integer=True)

    return _svg(draw)


def over_time(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str, limits: tuple[float, float] | None = None
) -> str:
    """Values of each line by time in seconds; what is not a number leaves a gap."""

    def draw(axes: Any) -> None:
        colours = matplotlib.colormaps["tab10"]
        for number, (name, (times_s, values)) in enumerate(lines.items()):
            axes.plot(times_s, values, "o-", color=colours(number % 10), markersize=3, linewidth=1.4, label=name)
        axes.set(xlabel="s", ylabel=unit, ylim=limits)
        axes.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.2), handlelength=1.2)

    return _svg(draw, WIDE_IN)


def robustness_plot(lines: Mapping[str, Sequence[tuple[str, float]]], start: float | None) -> str:
    """ROC AUC by step of damage, a line a kind through its (level, AUC); `start`, without damage, is step 0."""

    def draw(axes: Any) -> None:
        axes.axhline(0.5, color=PALE, linewidth=1.2, linestyle=(0, (4, 3)))
        colours = matplotlib.colormaps["tab10"]
        for number, (kind, points) in enumerate(lines.items()):
            steps = list(range(1, len(points) + 1))
            values = [value for _, value in points]
            if start is not None:
                steps, values = [0, *steps], [start, *values]
            label = f"{kind}: {' '.join(level for level, _ in points)}"
            axes.plot(steps, values, "o-", color=colours(number % 10), markersize=3.5, linewidth=1.5, label=label)
        axes.set(xlabel="step of damage (0: none)", ylabel="ROC AUC", ylim=(None, 1.01))
        axes.xaxis.get_major_locator().set_params(integer=True)
        if lines:
            axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)

    return _svg(draw, (7.4, 3.6))


def _svg(draw: Any, sides_in: tuple[float, float] = SIDE_IN) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=sides_in, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2).strip()
    return _with_variables(_with_own_ids(text))


def _with_own_ids(svg: str) -> str:
    """Ids made the plot's own: two plots of one page must not share any."""
    mark = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'\bid="', f'id="p{mark}-', svg)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\1p{mark}-", svg)


def _with_variables(svg: str) -> str:
    for colour, name in VARIABLES.items():
        svg = svg.replace(f": {colour}", f": var(--{name}, {colour})")
    return svg
