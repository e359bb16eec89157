"""What is known of each person of a stream: a sliding score by the detector's own rules, a verdict, an alarm.

All crops of a person are judged as one track of a file is: the members' logits pooled, weighed and calibrated, drawn
to the prior by what there was to be seen, and no verdict from too little of it. Memory does not grow with the hours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from deepfake.detector.check import FORGED, INCONCLUSIVE, level_of
from deepfake.detector.header import Rules
from deepfake.detector.verdict import Seen
from deepfake.ensemble.pooling import counted, judged_length_trust, track_logit, trust
from deepfake.live.annotations import LivePerson
from deepfake.probabilities import expit, logit

T = TypeVar("T")
RECENT_S = 10.0
SHOWN_S = 60.0  # who was not seen for so long stands in no row but the last
MOST_KEPT = 1024  # of a person's crops, what the score over all is made of; of more every second, fourth, ... one
MOST_PERSONS = 256
MOST_EMBEDDINGS = 16  # of a person, one a track
ALARM_ON_S, ALARM_OFF_S = 1.0, 5.0  # above the threshold for so long, and below it
ALARM_RELEASE = 0.5  # logits below the threshold: a score that shakes about it raises and ends no alarms


class Spread(Generic[T]):
    """A list of bounded length whose values stay spread evenly over all that were added."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self.most, self.step, self.n_added = most, 1, 0
        self.values: list[T] = []

    def add(self, value: T) -> None:
        """Keep it, or not: every n-th is kept, and n doubles whenever there are too many."""
        if self.n_added % self.step == 0:
            self.values.append(value)
        self.n_added += 1
        if len(self.values) > self.most:
            del self.values[1::2]
            self.step *= 2


@dataclass(frozen=True)
class Looked:
    """A crop that networks were shown: its time, how well it is to be seen, and the logits of those that saw it."""

    time_s: float
    side_px: float
    sharpness: float
    logits: Mapping[str, float]


@dataclass
class Alarm:
    """On once the score was above the threshold for a second, off once it was well below it for five."""

    threshold: float | None
    since_s: float | None = None
    is_on: bool = False
    _below_s: float | None = None

    def update(self, time_s: float, p_fake: float | None, is_enough: bool) -> None:
        """Take the score of now; `is_enough`: it rests on enough to see."""
        if self.threshold is None:
            return
        if p_fake is not None and p_fake > self.threshold and is_enough:
            self._below_s = None
            self.since_s = time_s if self.since_s is None else self.since_s
            self.is_on = self.is_on or time_s - self.since_s >= ALARM_ON_S
            return
        if not self.is_on:
            self.since_s = None
            return
        if p_fake is not None and p_fake >= self._release:
            self._below_s = None
            return
        self._below_s = time_s if self._below_s is None else self._below_s
        if time_s - self._below_s >= ALARM_OFF_S:
            self.is_on, self.since_s, self._below_s = False, None, None

    @property
    def _release(self) -> float:
        threshold = min(max(self.threshold or 0.0, 1e-9), 1 - 1e-9)
        return float(expit(logit(np.array(threshold)) - ALARM_RELEASE))


def score_of(
    logits: Mapping[str, Sequence[float]],
    sides_px: Sequence[float],
    sharpness: Sequence[float],
    n_frames: int,
    rules: Rules,
) -> float | None:
    """p_fake of crops judged as one track; None where a network that counts saw none of them."""
    members, settings = rules.stack.members, rules.ensemble
    asked = [name for name, weight in zip(members, rules.stack.weights, strict=True) if weight]
    if not n_frames or not all(logits.get(name) for name in asked):
        return None
    pooled = [track_logit(np.array(logits[name]), settings) if name in asked else 0.0 for name in members]
    counted_M = [float(counted(np.array(value), name, settings)) for name, value in zip(members, pooled, strict=True)]
    seen_well = trust(np.array(sides_px), np.array(sharpness), settings)
    trusted = seen_well * judged_length_trust(np.array([n_frames]), settings)
    return float(expit(rules.stack.line.logits(np.array([counted_M]), trusted))[0])


@dataclass
class Person:
    """One person, by one or several tracks."""

    number: int
    first_seen_s: float
    alarm: Alarm
    last_seen_s: float = 0.0
    n_scored: int = 0
    sharpest: float = 0.0
    last_scored_s: float | None = None
    first_scored_s: float | None = None
    recent: deque[Looked] = field(default_factory=deque)
    newest: dict[str, float] = field(default_factory=dict)
    logits: dict[str, Spread[float]] = field(default_factory=dict)
    sides_px: Spread[float] = field(default_factory=Spread)
    sharpness: Spread[float] = field(default_factory=Spread)
    embeddings: list[np.ndarray] = field(default_factory=list)
    n_tracks: int = 1

    @property
    def is_thinned(self) -> bool:
        """Whether not all of its crops are kept any more."""
        return self.sides_px.step > 1

    def add(self, looked: Looked) -> None:
        """Take up what a crop got."""
        self.n_scored += 1
        self.last_scored_s = looked.time_s
        self.first_scored_s = looked.time_s if self.first_scored_s is None else self.first_scored_s
        self.sharpest = max(self.sharpest, looked.sharpness)
        self.recent.append(looked)
        self.newest.update(looked.logits)
        for name, value in looked.logits.items():
            self.logits.setdefault(name, Spread()).add(value)
        self.sides_px.add(looked.side_px)
        self.sharpness.add(looked.sharpness)

    def drop_old(self, time_s: float) -> None:
        """Let go of what is no more recent."""
        while self.recent and self.recent[0].time_s < time_s - RECENT_S:
            self.recent.popleft()

    def overall(self, rules: Rules) -> float | None:
        """p_fake of all that was seen."""
        logits = {name: spread.values for name, spread in self.logits.items()}
        return score_of(logits, self.sides_px.values, self.sharpness.values, self.n_scored, rules)

    def of_late(self, rules: Rules) -> float | None:
        """p_fake of the last ten seconds; a network that saw nothing in them counts with the last it saw."""
        if not self.recent:
            return None
        logits = {name: [value] for name, value in self.newest.items()}
        seen = {name: [one.logits[name] for one in self.recent if name in one.logits] for name in self.newest}
        logits |= {name: values for name, values in seen.items() if values}
        sides, sharp = [one.side_px for one in self.recent], [one.sharpness for one in self.recent]
        return score_of(logits, sides, sharp, len(self.recent), rules)

    def seen(self) -> Seen:
        """What there was to be seen of it in all."""
        seconds = (self.last_scored_s or 0.0) - (self.first_scored_s or 0.0)
        return Seen(self.n_scored, seconds, _median(self.sides_px.values), _median(self.sharpness.values))

    def seen_of_late(self) -> Seen:
        """The same of the last ten seconds."""
        sides, sharp = [one.side_px for one in self.recent], [one.sharpness for one in self.recent]
        seconds = self.recent[-1].time_s - self.recent[0].time_s if self.recent else 0.0
        return Seen(len(self.recent), seconds, _median(sides), _median(sharp))

    def absorb(self, other: Person) -> None:
        """Take up all that is known of somebody who is the same; `other` came later."""
        for looked in other.recent:
            self.recent.append(looked)
        self.newest.update(other.newest)
        for name, spread in other.logits.items():
            for value in spread.values:
                self.logits.setdefault(name, Spread()).add(value)
        for side_px, sharpness in zip(other.sides_px.values, other.sharpness.values, strict=True):
            self.sides_px.add(side_px)
            self.sharpness.add(sharpness)
        if other.alarm.is_on:
            self.alarm = other.alarm
        self.n_scored += other.n_scored
        self.n_tracks += other.n_tracks
        self.sharpest = max(self.sharpest, other.sharpest)
        self.last_seen_s = max(self.last_seen_s, other.last_seen_s)
        self.last_scored_s = other.last_scored_s if other.last_scored_s is not None else self.last_scored_s
        self.first_scored_s = other.first_scored_s if self.first_scored_s is None else self.first_scored_s


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else 0.0


class Persons:
    """All persons of a stream, and which of them each track is.

    `min_similarity`: how alike embeddings of one person are. `alarm_above`: instead of the band's upper bound.
    """

    def __init__(self, rules: Rules, min_similarity: float, alarm_above: float | None = None) -> None:
        self.rules, self.min_similarity = rules, min_similarity
        high = rules.stack.band[1]
        self.threshold = alarm_above if alarm_above is not None else (high if high < 1 else None)
        self.all: dict[int, Person] = {}
        self.of_track: dict[int, int] = {}
        self.n_made = self.n_forgotten = 0
        self._embedded: dict[int, tuple[np.ndarray, int]] = {}  # of tracks: the sum of their crops' embeddings

    def of(self, track: int) -> Person:
        """The person of a track that was seen."""
        return self.all[self.of_track[track]]

    def see(self, track: int, time_s: float) -> Person:
        """The person of a track that is seen now; of a new track a new one."""
        if track not in self.of_track:
            self.of_track[track] = self.n_made
            self.all[self.n_made] = Person(self.n_made, time_s, Alarm(self.threshold))
            self.n_made += 1
            self._bound()
        person = self.of(track)
        person.last_seen_s = time_s
        return person

    def n_embedded(self, track: int) -> int:
        """How many of a track's crops were compared."""
        return self._embedded.get(track, (0, 0))[1]

    def may_be_known(self, track: int, visible: Collection[int]) -> bool:
        """Whether somebody is known, and not in the picture, who this track may be."""
        here = {self.of_track.get(one) for one in visible}
        return any(person.embeddings and number not in here for number, person in self.all.items())

    def compare(self, track: int, embedding: np.ndarray, visible: Collection[int]) -> tuple[int, int] | None:
        """Take up what a track's face looks like; the numbers (known person, new one) where these proved to be one.

        Two faces of one frame, such as those of the `visible` tracks, are two persons.
        """
        total, n = self._embedded.get(track, (np.zeros_like(embedding), 0))
        self._embedded[track] = total + embedding, n + 1
        mean = _unit(total + embedding)
        own = self.of(track)
        here = {self.of_track[one] for one in visible if one in self.of_track}
        alike = {
            number: float(np.mean([known @ mean for known in person.embeddings]))
            for number, person in self.all.items()
            if person.embeddings and number not in here and person.last_seen_s <= own.first_seen_s
        }
        best = max(alike, key=lambda number: (alike[number], -number), default=None)
        if own.n_tracks == 1 and best is not None and alike[best] >= self.min_similarity:
            self._join(best, own.number)
            self._keep_embedding(self.all[best], mean, is_new=True)
            return best, own.number
        self._keep_embedding(own, mean, is_new=n == 0)
        return None

    def _keep_embedding(self, person: Person, mean: np.ndarray, is_new: bool) -> None:
        if is_new:
            person.embeddings.append(mean)
        elif person.embeddings:
            person.embeddings[-1] = mean
        del person.embeddings[:-MOST_EMBEDDINGS]

    def _join(self, known: int, new: int) -> None:
        self.all[known].absorb(self.all.pop(new))
        self.of_track = {track: known if number == new else number for track, number in self.of_track.items()}

    def leave(self, going_on: Collection[int]) -> None:
        """Forget which tracks there were but for these."""
        self.of_track = {track: number for track, number in self.of_track.items() if track in going_on}
        self._embedded = {track: kept for track, kept in self._embedded.items() if track in going_on}

    def _bound(self) -> None:
        here = set(self.of_track.values())
        while len(self.all) > MOST_PERSONS:
            gone = min((p for n, p in self.all.items() if n not in here), key=lambda p: p.last_seen_s, default=None)
            if gone is None:
                return
            del self.all[gone.number]
            self.n_forgotten += 1

    def update(self, time_s: float) -> None:
        """Let time pass: what was recent is old, alarms begin and end."""
        for person in self.all.values():
            if person.recent or person.alarm.is_on:
                person.drop_old(time_s)
                is_enough = not person.seen_of_late().lacks(FORGED, self.rules.ensemble)
                person.alarm.update(time_s, person.of_late(self.rules), is_enough)

    def rows(self, time_s: float, everybody: bool = False) -> tuple[LivePerson, ...]:
        """What is known of who was seen lately, or of everybody."""
        shown = [p for p in self.all.values() if everybody or p.last_seen_s >= time_s - SHOWN_S or p.alarm.is_on]
        return tuple(self._row(person) for person in sorted(shown, key=lambda p: p.number))

    def _row(self, person: Person) -> LivePerson:
        recent, overall = person.of_late(self.rules), person.overall(self.rules)
        verdict = INCONCLUSIVE if overall is None else level_of(overall, *self.rules.stack.band)
        lacking = [] if verdict == INCONCLUSIVE else person.seen().lacks(verdict, self.rules.ensemble)
        alarm = person.alarm
        return LivePerson(
            person=person.number,
            verdict=INCONCLUSIVE if lacking else verdict,
            recent=_rounded(recent),
            overall=_rounded(overall),
            is_alarmed=alarm.is_on,
            alarmed_since_s=round(alarm.since_s, 3) if alarm.is_on and alarm.since_s is not None else None,
            first_seen_s=round(person.first_seen_s, 3),
            last_seen_s=round(person.last_seen_s, 3),
            n_scored=person.n_scored,
            reason=f"too little to see: {'; '.join(lacking)}" if lacking else None,
        )


def _rounded(p_fake: float | None) -> float | None:
    return None if p_fake is None else round(p_fake, 6)


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))
