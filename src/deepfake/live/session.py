"""All that a watch's report needs, gathered row by row in a bounded space, however long the watch lasts.

Timelines have at most `MAX_COLUMNS` columns: when time grows beyond them, two become one. Of persons, alarms, gaps and
notices so many are kept; what is left out is counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pydantic import ValidationError

from deepfake.detector.check import FORGED, INCONCLUSIVE, NO_FACE, REAL, Verdict
from deepfake.errors import UserError
from deepfake.live.annotations import LiveFace, LivePerson, Row
from deepfake.live.hub import Hub

MAX_COLUMNS = 600
MAX_PERSONS = 40
MAX_ALARMS = 40  # of one person
MAX_EVENTS = 200  # the first half and the last half of them are kept
MAX_CROPS, CROP_PX, CROP_MARGIN_RATIO, APART_S = 3, 160, 0.3, 2.0
LATENCY_STEP_MS, LATENCY_STEPS = 5.0, 4000  # beyond 20 s all are alike


@dataclass(frozen=True)
class Column:
    """One part of a timeline: the highest score of ten seconds that was known in it, and whether an alarm was on."""

    p_fake: float
    is_alarmed: bool


@dataclass(frozen=True)
class Alarm:
    """When it began and ended (the last time it was seen on), and the highest score meanwhile."""

    from_s: float
    to_s: float
    p_fake: float


@dataclass(frozen=True)
class KeptCrop:
    """A face as it was seen (HWC uint8 RGB), with the score it had."""

    time_s: float
    score: float
    picture_HWC: np.ndarray


@dataclass
class Seen:
    """What is known of one person."""

    last: LivePerson
    columns: dict[int, Column] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)
    n_alarms: int = 0
    crops: list[KeptCrop] = field(default_factory=list)

    @property
    def p_highest(self) -> float | None:
        """The highest score of ten seconds."""
        return max((one.p_fake for one in self.columns.values()), default=None)


@dataclass
class Events:
    """Rows that are no updates: the first and the last of them, and how many lie between."""

    first: list[Row] = field(default_factory=list)
    last: list[Row] = field(default_factory=list)
    n_left_out: int = 0

    def add(self, row: Row) -> None:
        """Keep it; where there are too many, one from the middle goes."""
        if len(self.first) < MAX_EVENTS // 2:
            self.first.append(row)
            return
        self.last.append(row)
        if len(self.last) > MAX_EVENTS // 2:
            del self.last[0]
            self.n_left_out += 1


class Session:
    """A watch as it went, from its rows in their order."""

    def __init__(self) -> None:
        self.persons: dict[int, Seen] = {}
        self.n_persons_left_out = 0
        self.column_s = 1.0
        self.events = Events()
        self.n_updates = self.n_gaps = 0
        self.gaps_s = 0.0
        self.sizes: list[tuple[int, int]] = []
        self.first: Row | None = None
        self.last: Row | None = None
        self._latencies = np.zeros(LATENCY_STEPS, np.int64)

    def add(self, row: Row) -> None:
        """Take in the next row."""
        self.first, self.last = self.first or row, row
        self._scale_to(row.time_s)
        size = row.width_px, row.height_px
        if row.width_px and size not in self.sizes and len(self.sizes) < MAX_COLUMNS:
            self.sizes.append(size)
        if row.kind == "update":
            self.n_updates += 1
        else:
            self.events.add(row)
        if row.kind == "gap":
            self.n_gaps += 1
            self.gaps_s += row.seconds or 0.0
        if row.latency_ms is not None and row.kind == "update":
            self._latencies[min(int(row.latency_ms / LATENCY_STEP_MS), LATENCY_STEPS - 1)] += 1
        in_picture = {face.person for face in row.faces}
        for person in row.persons:
            self._add_person(row, person, person.person in in_picture)
        self._leave_out(in_picture)

    def look(self, row: Row, picture_HWC: np.ndarray) -> None:
        """Keep the crops of highest score that this row's picture shows."""
        for face in row.faces:
            seen = self.persons.get(face.person)
            if seen is not None and face.score is not None and not face.is_carried:
                _keep_crop(seen, face, row, picture_HWC)

    def latency_ms(self, share: float) -> float | None:
        """So large a share of the updates had frames of this age or less, to 5 ms; None without any."""
        n = int(self._latencies.sum())
        if not n:
            return None
        return float(np.searchsorted(np.cumsum(self._latencies), share * n) + 1) * LATENCY_STEP_MS

    @property
    def verdict(self) -> Verdict:
        """The gravest of all persons, over all that was seen of each."""
        verdicts = {seen.last.verdict for seen in self.persons.values()}
        return next((one for one in (FORGED, INCONCLUSIVE, REAL) if one in verdicts), NO_FACE)

    def _scale_to(self, time_s: float) -> None:
        while time_s / self.column_s >= MAX_COLUMNS:
            self.column_s *= 2
            for seen in self.persons.values():
                joined: dict[int, Column] = {}
                for place, column in seen.columns.items():
                    joined[place // 2] = _worse(joined.get(place // 2), column)
                seen.columns = joined

    def _add_person(self, row: Row, person: LivePerson, is_in_picture: bool) -> None:
        seen = self.persons.setdefault(person.person, Seen(person))
        seen.last = person
        if person.recent is not None and is_in_picture:
            place = int(row.time_s / self.column_s)
            seen.columns[place] = _worse(seen.columns.get(place), Column(person.recent, person.is_alarmed))
        if person.is_alarmed and person.alarmed_since_s is not None:
            _note_alarm(seen, row.time_s, person.alarmed_since_s, person.recent or 0.0)

    def _leave_out(self, in_picture: set[int]) -> None:
        while len(self.persons) > MAX_PERSONS:
            others = [number for number in self.persons if number not in in_picture] or list(self.persons)
            least = min(others, key=lambda number: _weight(self.persons[number]))
            del self.persons[least]
            self.n_persons_left_out += 1


def _weight(seen: Seen) -> tuple[int, float, int]:
    return seen.n_alarms, seen.p_highest or 0.0, seen.last.n_scored


def _worse(before: Column | None, now: Column) -> Column:
    if before is None:
        return now
    return Column(max(before.p_fake, now.p_fake), before.is_alarmed or now.is_alarmed)


def _note_alarm(seen: Seen, time_s: float, since_s: float, p_fake: float) -> None:
    if seen.alarms and seen.alarms[-1].from_s == since_s:
        seen.alarms[-1] = Alarm(since_s, time_s, max(p_fake, seen.alarms[-1].p_fake))
        return
    seen.n_alarms += 1
    seen.alarms.append(Alarm(since_s, time_s, p_fake))
    if len(seen.alarms) > MAX_ALARMS:
        del seen.alarms[0]


def _keep_crop(seen: Seen, face: LiveFace, row: Row, picture_HWC: np.ndarray) -> None:
    """Keep it where it beats one of its time, or the weakest."""
    assert face.score is not None
    near = [one for one in seen.crops if abs(one.time_s - row.time_s) < APART_S]
    if any(one.score >= face.score for one in near):
        return
    rest = [one for one in seen.crops if one not in near]
    if len(rest) >= MAX_CROPS and min(one.score for one in rest) >= face.score:
        return
    crop_HWC = _crop(face, row, picture_HWC)
    if crop_HWC is not None:
        kept = [*rest, KeptCrop(row.time_s, face.score, crop_HWC)]
        seen.crops = sorted(kept, key=lambda one: (-one.score, one.time_s))[:MAX_CROPS]


def _crop(face: LiveFace, row: Row, picture_HWC: np.ndarray) -> np.ndarray | None:
    height, width = picture_HWC.shape[:2]
    x0, y0, x1, y1 = (
        value * side / max(whole, 1)
        for value, side, whole in zip(face.box_px, (width, height) * 2, (row.width_px, row.height_px) * 2, strict=True)
    )
    half = (0.5 + CROP_MARGIN_RATIO) * max(x1 - x0, y1 - y0)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top, right, bottom = (round(value) for value in (x - half, y - half, x + half, y + half))
    part = picture_HWC[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if min(part.shape[:2]) < 2:
        return None
    beyond = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    whole_HWC = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.resize(whole_HWC, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA), np.uint8)


class SessionSink:
    """Takes every row of a watch, and the picture that the hub has of it."""

    def __init__(self, hub: Hub) -> None:
        self.session = Session()
        self._hub = hub

    def write(self, row: Row) -> None:
        """Take a row that was published just now."""
        self.session.add(row)
        newest, picture = self._hub.newest, self._hub.picture
        if newest is not None and picture is not None and newest.row is row and picture.number == newest.number:
            self.session.look(row, picture.picture_HWC)

    def close(self) -> None:
        """There are no more."""


def session_of(rows: Iterable[Row]) -> Session:
    """The session of rows that lie ready."""
    session = Session()
    for row in rows:
        session.add(row)
    return session


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file of JSON lines; a last line that was cut short is left out."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = Row.from_line(line)
            except (ValidationError, json.JSONDecodeError) as error:
                if not line.endswith("\n"):
                    return
                why = str(error).splitlines()[0]
                raise UserError(f"{path}, line {number}: is no row of `deepfake watch` ({why})") from error
            yield row
