"""Looks for every group of signs in a checked video, each in a process that can be killed: deadline, memory, crash.

A group that fails costs its own signs alone: one sign of strength 0 says so, and the check goes on. To add a group,
give it a line in `signs.GROUPS` and one in `NAMES`.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepfake.detector.check import Check, Sign
from deepfake.errors import UserError
from deepfake.evidence.signs import GROUPS, Curve, Examined, Found
from deepfake.faces.extracted import Extraction
from deepfake.files import printable
from deepfake.media.demux import VideoError
from deepfake.workers import ONE_THREAD, Failed, Kept, Limits, run_each

log = logging.getLogger(__name__)
# What each group is called in a sentence.
NAMES = {"sound": "sound and mouth", "origin": "what the file says of its origin", "coding": "traces of editing"}
# For what hangs or grows without end: far above what a group needs.
DEADLINE_S, MEMORY_MB = 60.0, 1500
AT_ONCE = 2  # processes, where none is there that others have used: what groups import costs as much as what they do
# A hostile file may have whatever a group counts, without end.
MOST_SIGNS, MOST_PARTS, MOST_CURVES, MOST_POINTS, MOST_CHARACTERS = 40, 200, 12, 600, 600


@dataclass(frozen=True)
class Task:
    """One group over one video."""

    group: str
    module: str
    examined: Examined


class Gatherer:
    """Looks for all groups' signs in one video after the other, on a thread that hands the work to processes."""

    def __init__(self, limits: Limits | None, kept: Kept, trust_list: Path | None) -> None:
        self.limits, self.kept, self.trust_list = limits, kept, trust_list
        self._stopped = threading.Event()
        self._thread = ThreadPoolExecutor(1, "evidence")
        self._begun: dict[str, Future[Found]] = {}

    def begin(self, check: Check, extraction: Extraction, work_dir: Path) -> None:
        """Look while this process does other things; of the check, nothing is used that networks say."""
        if check.file.path not in self._begun:
            self._begun[check.file.path] = self._thread.submit(self._find, check, extraction, work_dir)

    def __call__(self, check: Check, extraction: Extraction, work_dir: Path) -> tuple[Check, Found]:
        """The check with its evidence, and what the page draws."""
        begun = self._begun.pop(check.file.path, None)
        found = (begun or self._thread.submit(self._find, check, extraction, work_dir)).result()
        return check.model_copy(update={"evidence": found.signs}), found

    def _find(self, check: Check, extraction: Extraction, work_dir: Path) -> Found:
        examined = Examined(Path(check.file.path), check, extraction, work_dir, self.trust_list)
        tasks = [Task(group, module, examined) for group, module in GROUPS.items()]
        most = self.limits or Limits(len(self.kept) or AT_ONCE, DEADLINE_S, MEMORY_MB)
        found: dict[str, Found] = {}
        for task, outcome in run_each(find, tasks, most, ONE_THREAD, self._stopped.is_set, kept=self.kept):
            if isinstance(outcome, Failed):
                outcome = _failed(task.group, outcome.reason.partition(";")[0])  # no option moves these limits
            found[task.group] = outcome
        return joined([found[task.group] for task in tasks if task.group in found])

    def end(self) -> None:
        """Stop what still runs; its processes end."""
        self._stopped.set()
        self._thread.shutdown(cancel_futures=True)
        for worker in self.kept:
            worker.end()


@contextmanager
def gathering(
    limits: Limits | None = None, kept: Kept | None = None, trust_list: Path | None = None
) -> Iterator[Gatherer]:
    """What adds all groups' signs to checks; its processes end with the block.

    `kept`: idle ones that have read videos, which costs less than starting others; `trust_list`: see `Examined`.
    """
    gatherer = Gatherer(limits, [] if kept is None else kept, trust_list)
    try:
        yield gatherer
    finally:
        gatherer.end()


def find(task: Task) -> Found:
    """What a group finds, no longer than a page can bear; whatever it raises is the reason why it found nothing."""
    try:
        return bounded(importlib.import_module(task.module).find(task.examined))
    except Exception as error:
        # A file may hold anything, and what is found beside the score must not cost the score.
        log.info("evidence %s of %s: %s", task.group, task.examined.path, error, exc_info=True)
        kind = "" if isinstance(error, UserError | VideoError) else f"{type(error).__name__}: "  # ours say it in words
        return _failed(task.group, " ".join(f"{kind}{error}".split()))


def joined(founds: Sequence[Found]) -> Found:
    """What several groups found, in their order."""
    return Found(
        tuple(sign for found in founds for sign in found.signs),
        tuple(curve for found in founds for curve in found.curves),
        tuple(part for found in founds for part in found.parts),
    )


def bounded(found: Found) -> Found:
    """The same within what JSON and page are to hold: the strongest signs, few points of a curve, short texts."""
    by_strength = sorted(range(len(found.signs)), key=lambda i: (-found.signs[i].strength, i))[:MOST_SIGNS]
    return Found(
        tuple(_short(found.signs[i]) for i in sorted(by_strength)),
        tuple(fewer_points(curve) for curve in found.curves[:MOST_CURVES]),
        tuple(replace(part, title=_cut(part.title)) for part in found.parts[:MOST_PARTS]),
    )


def fewer_points(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """A curve of at most so many points: the means of equal stretches of time; NaN where a stretch has no value."""
    times_s, values = np.asarray(curve.times_s, float), np.asarray(curve.values, float)
    if len(times_s) <= most:
        return replace(curve, times_s=times_s, values=values)
    edges = np.linspace(times_s[0], times_s[-1], most + 1)
    of = np.clip(np.searchsorted(edges, times_s, side="right") - 1, 0, most - 1)
    is_known = np.isfinite(values)
    sums = np.bincount(of[is_known], values[is_known], minlength=most)
    counts = np.bincount(of[is_known], minlength=most)
    means = np.divide(sums, counts, out=np.full(most, np.nan), where=counts > 0)
    return replace(curve, times_s=(edges[:-1] + edges[1:]) / 2, values=means)


def _short(sign: Sign) -> Sign:
    return sign.model_copy(update={"finding": _cut(sign.finding), "about": _cut(sign.about)})


def _cut(text: str) -> str:
    text = printable(text)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _failed(group: str, reason: str) -> Found:
    name = NAMES.get(group, group)
    sign = Sign(
        kind=f"{group}.not_examined",
        finding=_cut(f"{name[0].upper()}{name[1:]}: not examined ({reason})"),
        strength=0.0,
        from_s=None,
        to_s=None,
        about="Nothing is known of it: that says nothing for or against the video.",
    )
    return Found((sign,))
