"""One or several trainings from a pack within a time, and the table of what came of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepfake.packs.file import read_pack
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import Plan, parse_settings, read_plan, with_overrides
from deepfake.packs.training import Place, default_workers, train

SHOWN = ("pairs", "elapsed_s", "pairs_per_s", "waits_for_pairs")


def train_within(
    pack_path: Path,
    minutes: float,
    out: Path,
    plan_path: Path | None = None,
    name: str = "pack",
    overrides: Sequence[str] = (),
    workers: int | None = None,
    device: str = "auto",
) -> str:
    """Train what is asked for within `minutes`; return a table of the results.

    Each training of a plan gets an even share of the time that is left, so what one does not need is the others'.
    """
    began = time.monotonic()
    plan = _plan(plan_path, name, overrides)
    pack = read_pack(pack_path)
    n_workers = default_workers(device) if workers is None else workers
    # Before anything touches a GPU: its driver does not survive a fork.
    pictures = Pictures(pack, range(len(pack.faces)), len(os.sched_getaffinity(0)))
    place = Place(out, name, device, n_workers)
    results = []
    for k, (trial, settings) in enumerate(plan.trials.items()):
        left = 60 * minutes - (time.monotonic() - began)
        results.append(
            train(pack, pictures, settings, max(left / (len(plan.trials) - k), 1.0), replace(place, name=trial))
        )
    return "\n".join([pack.describe(), table(results)])


def _plan(path: Path | None, name: str, overrides: Sequence[str]) -> Plan:
    if path is not None:
        return read_plan(path, overrides)
    return Plan({name: parse_settings(with_overrides({}, overrides), "--set")})


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown rows of trainings: pairs, seconds, speed, AUC by family."""
    scores = list(dict.fromkeys(key for result in results for key in result if key.startswith("auc_")))
    columns = ["name", *SHOWN, *scores]
    lines = ["| " + " | ".join(name.removeprefix("auc_") for name in columns) + " |", "|" + "---|" * len(columns)]
    for result in results:
        cells = [_cell(result.get(column)) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) and abs(value) < 10 else f"{value}"
