"""Clips kept for confirmation: each asking writes its row into the log itself, before it tells anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake.ensemble.calibration import inconclusive_band
from deepfake.ensemble.pooling import Tracks, video_logits
from deepfake.ensemble.stack import Stack, fit_stack
from deepfake.errors import UserError
from deepfake.files import write_whole
from deepfake.settings import Ensemble
from lab.cross_validation import family_scores

TITLE = "## Asked of clips kept for confirmation"
FAMILIES = ("swap", "reenactment", "lipsync", "talking_head", "all")
HEADER = (
    "| asking | date | candidate | why | " + " | ".join(FAMILIES) + " | log loss | decided | wrong of these |\n"
    "|" + "---|" * (7 + len(FAMILIES))
)
ABOUT = (
    "A candidate that won by cross-validation is asked once. `python -m lab confirm` writes the rows, never a hand;\n"
    "AUC of a family's fakes against all reals, probabilities fitted on the other clips."
)


@dataclass(frozen=True)
class Confirmed:
    """What a candidate does on clips kept for confirmation."""

    aucs: Mapping[str, float]
    log_loss: float
    decided: float
    wrong: float

    def cells(self) -> list[str]:
        """As a row of the log shows it."""
        aucs = [f"{self.aucs[name]:.2f}" if np.isfinite(self.aucs.get(name, np.nan)) else "-" for name in FAMILIES]
        wrong = "-" if np.isnan(self.wrong) else f"{self.wrong:.0%}"
        return [*aucs, f"{self.log_loss:.3f}", f"{self.decided:.0%}", wrong]


def confirm(
    known: pd.DataFrame, known_tracks: Tracks, fresh: pd.DataFrame, fresh_tracks: Tracks, settings: Ensemble
) -> Confirmed:
    """Weights, calibration and band of the known clips, applied to the fresh ones."""
    labels = known["label"].to_numpy()
    stack = fit_stack(known_tracks, labels, settings)
    band = inconclusive_band(stack.p_fake(known_tracks), labels, settings.error_rate)
    return confirm_stack(fresh, fresh_tracks, replace(stack, band=band), settings)


def confirm_stack(fresh: pd.DataFrame, fresh_tracks: Tracks, stack: Stack, settings: Ensemble) -> Confirmed:
    """A stack with its calibration and band, applied to the fresh clips."""
    low, high = stack.band
    p = stack.p_fake(fresh_tracks)
    p = np.clip(p, settings.clip_p, 1 - settings.clip_p)
    told = fresh["label"].to_numpy()
    sure = (p < low) | (p > high) | (low >= high)
    wrong = (p[sure] > high).astype(int) != told[sure]
    loss = float(np.mean(-np.log(np.where(told == 1, p, 1 - p))))
    logits = video_logits(fresh_tracks.of_members(stack.members), stack.line)[0]
    scores = family_scores(fresh, logits, np.zeros(len(fresh), int))
    share = float(wrong.mean()) if len(wrong) else float("nan")
    return Confirmed({name: found.pooled for name, found in scores.items()}, loss, float(sure.mean()), share)


def askings(log: Path) -> list[str]:
    """Rows of earlier askings in a log, the oldest first."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    rows = text.partition(TITLE)[2].split("\n## ")[0].splitlines()
    return [row for row in rows if row.startswith("| ") and row.split("|")[1].strip().isdecimal()]


def refuse_unasked(log: Path, is_meant: bool) -> None:
    """Say how often the clips have been asked, unless it is meant to ask them again."""
    if is_meant:
        return
    earlier = askings(log)
    last = (
        f", the last time by {earlier[-1].split('|')[3].strip()} on {earlier[-1].split('|')[2].strip()}"
        if earlier
        else ""
    )
    times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
    raise UserError(
        f"the clips kept for confirmation have been asked {times}{last}. Each asking wears them out and is logged in "
        f"{log.name}; with --ask-fresh WHY they are asked again"
    )


def append_asking(log: Path, date: str, candidate: str, why: str, found: Confirmed) -> str:
    """Write the row of an asking into the log and return it; the section is made where it lacks."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    plain = [cell.replace("|", "/").replace("\n", " ").strip() for cell in (date, candidate, why)]
    row = "| " + " | ".join([str(len(askings(log)) + 1), *plain, *found.cells()]) + " |"
    if TITLE not in text:
        text = f"{text.rstrip()}\n\n{TITLE}\n\n{ABOUT}\n\n{HEADER}\n".lstrip()
    before, title, rest = text.partition(TITLE)
    section, other, later = rest.partition("\n## ")
    write_whole(log, f"{before}{title}{section.rstrip()}\n{row}\n{other}{later}".encode())
    return row
