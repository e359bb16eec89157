"""The table of a robustness run: one row a kind and level, as CSV, JSON, Markdown and a plot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfake import evaluation
from deepfake.distortions import ALWAYS, KINDS
from deepfake.files import write_whole
from deepfake.report.plots import robustness_plot
from deepfake.robustness import SHOWN
from deepfake.submission import csv_bytes


def write_table(cells: Sequence[Mapping[str, Any]], about: Mapping[str, Any], out: Path) -> str:
    """Write the three files; return the table and what had no score, as text."""
    text = json.dumps({**about, "cells": cells}, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out / "robustness.json", f"{text}\n".encode())
    write_whole(out / "robustness.csv", as_csv(cells))
    write_whole(out / "robustness.svg", as_svg(cells).encode())
    reasons = Counter(
        (row["fallback"] or "").partition(":")[0]
        for cell in cells
        for row in cell["videos"].values()
        if row["fallback"]
    )
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
    first = next((f"; the first reason: {r}" for cell in cells for r in _not_distorted(cell)), "")
    return f"{as_markdown(cells)}\n\nwithout a score: {told}{first}\n  -> {out / 'robustness.csv'}, .json, .svg"


def _not_distorted(cell: Mapping[str, Any]) -> list[str]:
    return [row["fallback"] for row in cell["videos"].values() if (row["fallback"] or "").startswith("not distorted")]


def as_csv(cells: Sequence[Mapping[str, Any]]) -> bytes:
    """One line a cell; an empty place where there is no number."""
    families = _families(cells)
    counts = ("kind", "level", "n_videos", "n_real", "n_fake", "n_without_score", "share_without_score")
    header = [*counts, *SHOWN, "roc_auc_low", "roc_auc_high", "roc_auc_lost", *(f"roc_auc_{name}" for name in families)]
    lines: list[list[object]] = [list(header)]
    for cell in cells:
        auc = cell["metrics"]["roc_auc"]
        numbers = [
            *(cell["metrics"][name]["value"] for name in SHOWN),
            *(auc["low"], auc["high"], _lost(cell, cells)),
            *(cell["families"].get(name, {}).get("roc_auc", {}).get("value") for name in families),
        ]
        start = [cell[name] for name in counts]
        lines.append(["" if x is None else round(x, 6) if isinstance(x, float) else x for x in [*start, *numbers]])
    return csv_bytes(lines)


def as_markdown(cells: Sequence[Mapping[str, Any]]) -> str:
    """The table for people: AUC with its interval, what it lost, AUC by family, losses, videos without a score."""
    families = _families(cells)
    counts = {name: cell["families"][name]["n_fake"] for name in families for cell in cells if name in cell["families"]}
    titles = [
        "damage",
        "level",
        "AUC [95 %]",
        "lost",
        *(f"{name} ({counts[name]})".replace("|", "/") for name in families),
    ]
    titles += ["log loss", "no score", "mean p: reals", "fakes"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for cell in cells:
        lost = _lost(cell, cells)
        texts = [
            cell["kind"],
            "" if cell["level"] is None else f"{cell['level']:g}",
            evaluation.show(cell["metrics"]["roc_auc"]),
            "-" if lost is None else f"{lost:.3f}",
            *(_number(cell["families"].get(name, {}).get("roc_auc")) for name in families),
            _number(cell["metrics"]["log_loss_clipped"]),
            f"{cell['share_without_score']:.0%}",
            *(_number(cell["metrics"][name], 2) for name in ("mean_p_real", "mean_p_fake")),
        ]
        lines.append(f"| {' | '.join(texts)} |")
    kinds = dict.fromkeys(cell["kind"] for cell in cells)
    told = "; ".join(f"{kind}: {KINDS[kind].meaning}" for kind in kinds)
    return "\n".join(
        [*lines, "", f"{told}. AUC of a family: its fakes against all reals. ~: few groups, a rough guess."]
    )


def as_svg(cells: Sequence[Mapping[str, Any]]) -> str:
    """AUC over the steps of each kind."""
    lines: dict[str, list[tuple[str, float]]] = {}
    for cell in cells:
        value = cell["metrics"]["roc_auc"]["value"]
        if cell["kind"] not in ALWAYS and value is not None:
            lines.setdefault(cell["kind"], []).append((f"{cell['level']:g}", value))
    return robustness_plot(lines, _undamaged(cells))


def _families(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({name for cell in cells for name in cell["families"]})


def _undamaged(cells: Sequence[Mapping[str, Any]]) -> float | None:
    return next((cell["metrics"]["roc_auc"]["value"] for cell in cells if cell["kind"] == "none"), None)


def _lost(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> float | None:
    """What the AUC lost against the same beginnings without damage."""
    start, value = _undamaged(cells), cell["metrics"]["roc_auc"]["value"]
    return None if start is None or value is None or cell["kind"] in ALWAYS else start - value


def _number(measure: Mapping[str, Any] | None, digits: int = 3) -> str:
    return "-" if measure is None or measure["value"] is None else f"{measure['value']:.{digits}f}"
