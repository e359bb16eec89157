"""The curve of accuracy and cost against frames: measured for every sampling mode, as CSV, plot and table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deepfake.evaluation import show
from deepfake.files import write_whole
from deepfake.report.plain import as_csv, plain_rows
from deepfake.report.plots import INK, STYLE
from deepfake.sweep import Point, table

ON_TIME = "-"  # points of the curve itself, without early exit
COLOURS = matplotlib.colormaps["tab10"]


def write(points: Sequence[Point], out: Path) -> None:
    """frames.csv, frames.png and frames.svg."""
    frame = table(points)
    write_whole(out / "frames.csv", as_csv(list(frame.columns), plain_rows(frame)))
    for kind in ("png", "svg"):
        write_whole(out / f"frames.{kind}", plot(points, kind))


def as_markdown(points: Sequence[Point]) -> str:
    """The points for people; log loss is calibrated on the other half of the people."""
    titles = (
        "sampling",
        "frames",
        "early exit, skip gate",
        "crops seen",
        "saved",
        "AUC [95 %]",
        "difference",
        "log loss [95 %]",
        "difference",
        "p_fake moves by up to",
        "verdicts changed",
        "CPU s: extraction",
        "networks",
    )
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for point in points:
        measures = (point.roc_auc, point.roc_auc_difference, point.log_loss, point.log_loss_difference)
        cells = [
            point.sampling,
            str(point.n_frames),
            f"{point.early_exit} {f'({point.note})' if point.note else ''}".strip(),
            f"{point.frames_seen:.1f}",
            f"{100 * point.share_saved:.0f} %",
            *(show(measure.to_dict(), 4) for measure in measures),
            f"{point.largest_change:.3f}",
            f"{100 * point.verdicts_changed:.0f} %",
            f"{point.extraction_cpu_s:.2f}",
            f"{point.network_cpu_s:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(points: Sequence[Point], kind: str) -> bytes:
    """AUC, log loss and seconds over frames, a line a sampling mode, a star for early exit; `kind`: png or svg."""
    with matplotlib.rc_context({**STYLE, "axes.titlesize": 10}):
        figure = Figure(figsize=(11.5, 3.9), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 3)
        modes = list(dict.fromkeys(point.sampling for point in points))
        for number, mode in enumerate(modes):
            own = [point for point in points if point.sampling == mode]
            _line(panels, own, COLOURS(number % 10), 1.03 ** (number - (len(modes) - 1) / 2), mode)
        titles = ("ROC AUC", "log loss, calibrated on other people", "processor seconds a clip")
        every = sorted({point.n_frames for point in points})
        for axes, title in zip(panels, titles, strict=True):
            axes.set_xscale("log", base=2)
            axes.set_xticks(every, [str(n) for n in every])
            axes.minorticks_off()
            axes.set(xlabel="crops looked at, a clip", title=title)
        panels[2].set_ylim(bottom=0)
        panels[2].plot([], [], "*", color=INK, markersize=10, label="early exit")
        figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower center", ncols=len(modes) + 1)
        stream = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=130, metadata=metadata)
    return stream.getvalue()


def _line(panels: Sequence[Any], own: Sequence[Point], colour: Any, aside: float, mode: str) -> None:
    """One sampling mode in all panels; intervals stand a little `aside` of each other."""
    curve_points = [point for point in own if point.early_exit == ON_TIME]
    stops = [point for point in own if point.early_exit == "on"]
    for axes, name in ((panels[0], "roc_auc"), (panels[1], "log_loss")):
        known = [point for point in curve_points if getattr(point, name).value is not None]
        for point in (*known, *stops):
            measure = getattr(point, name)
            if measure.low is not None:
                place = point.frames_seen * aside
                axes.plot([place, place], [measure.low, measure.high], color=colour, alpha=0.3, linewidth=1.2)
        seen = [point.frames_seen * aside for point in known]
        axes.plot(seen, [getattr(point, name).value for point in known], "o-", color=colour, markersize=4)
        for point in stops:
            if getattr(point, name).value is not None:
                axes.plot(point.frames_seen * aside, getattr(point, name).value, **_star(colour))
    panels[2].plot(
        [p.frames_seen for p in curve_points],
        [p.cpu_s for p in curve_points],
        "o-",
        color=colour,
        markersize=4,
        label=mode,
    )
    for point in stops:
        panels[2].plot(point.frames_seen, point.cpu_s, **_star(colour))


def _star(colour: Any) -> dict[str, Any]:
    return {"marker": "*", "color": colour, "markersize": 12, "markeredgecolor": "white", "zorder": 4}
