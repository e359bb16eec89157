"""What changes that nobody would call damage do to the scores of videos.

Cells of `lab.robustness` in, rows out: a change's p_fake of each video beside that of the same video written without
a change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.detector.check import level_of
from deepfake.ensemble.submission import csv_bytes
from deepfake.errors import UserError
from deepfake.files import write_whole
from lab.distortions import Distortion

CHANGES = (
    Distortion("none"),
    Distortion("original"),
    Distortion("grey", 1),
    Distortion("gamma", 0.8),
    Distortion("gamma", 1.25),
    Distortion("mirror", 1),
    Distortion("crop", 0.02),
    Distortion("h264", 20),
    Distortion("scale", 0.95),
)
COLUMNS = ("change", "n", "without_score", "mean_move", "median_move", "largest_move", "mean_shift", "verdicts_changed")
Row = Mapping[str, Any]


def chosen(kinds: Sequence[str] | None) -> list[Distortion]:
    """The changes of these kinds (None: all), after `none`, which they are compared with."""
    known = list(dict.fromkeys(change.kind for change in CHANGES[1:]))
    unknown = [kind for kind in kinds or [] if kind not in known]
    if unknown:
        raise UserError(f"--changes: found {unknown[0]!r}, wanted of {', '.join(known)} (none always comes along)")
    return [change for change in CHANGES if kinds is None or change.kind in ("none", *kinds)]


def moves(cells: Sequence[Row], band: tuple[float, float]) -> list[dict[str, Any]]:
    """A row a change: how far p_fake moves from that of the cell `none`, and how many videos change sides of `band`.

    Videos that have no score in one of both are counted apart. `mean_shift` has a sign: above 0 looks more forged.
    """
    plain = next(cell for cell in cells if cell["kind"] == "none")["videos"]
    rows = []
    for cell in cells:
        if cell["kind"] == "none":
            continue
        both = [name for name, row in cell["videos"].items() if not row["fallback"] and not plain[name]["fallback"]]
        before, after = (np.array([videos[name]["p_fake"] for name in both]) for videos in (plain, cell["videos"]))
        sides = [[level_of(float(p), *band) for p in values] for values in (before, after)]
        moved = np.abs(after - before)
        rows.append(
            {
                "change": Distortion(cell["kind"], cell["level"]).name,
                "n": len(both),
                "without_score": len(cell["videos"]) - len(both),
                "mean_move": float(moved.mean()) if both else None,
                "median_move": float(np.median(moved)) if both else None,
                "largest_move": float(moved.max()) if both else None,
                "mean_shift": float((after - before).mean()) if both else None,
                "verdicts_changed": sum(one != other for one, other in zip(*sides, strict=True)),
            }
        )
    return rows


def write_moves(cells: Sequence[Row], about: Row, band: tuple[float, float], out: Path) -> str:
    """Write stability.csv and .json; return the table as Markdown."""
    rows = moves(cells, band)
    lines = [[_rounded(row[name]) for name in COLUMNS] for row in rows]
    write_whole(out / "stability.csv", csv_bytes([COLUMNS, *lines]))
    text = json.dumps({**about, "moves": rows, "cells": cells}, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out / "stability.json", f"{text}\n".encode())
    heading = "| " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |\n|" + "---|" * len(COLUMNS)
    table = ["| " + " | ".join(_shown(row[name]) for name in COLUMNS) + " |" for row in rows]
    return "\n".join([heading, *table, f"\n  -> {out / 'stability.csv'}, .json"])


def _rounded(value: object) -> object:
    return "" if value is None else round(value, 6) if isinstance(value, float) else value


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
