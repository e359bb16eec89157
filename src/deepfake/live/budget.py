"""What fits into one update: which crops are shown to which networks, by the measured pace. Pure, the clock is others'.

Views of a crop fall first, then the networks take turns, then crops are left out; as in `kaggle.budget`, more than
before is done only where there is room to spare.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

RECENT = 16  # measurements that a pace is made of: the machine's other work changes
SURE_SHARE = 0.9  # so many of them were no slower
RISE_MARGIN = 1.2
EASED = 0.9  # a pace twice too slow is tried again after seven updates
KEPT_FREE = 0.1  # of a budget, for what is not measured: rows, pictures, other threads
LEAST_STEP_S = 0.1  # a face that has waited too long already is no reason to do nothing else
FIRST_GUESS_MS = {"detect": 60.0, "crop": 6.0, "embed": 40.0}
GUESSED_VIEW_MS = 40.0

Views = Mapping[str, int]  # of each network, in how many views it sees a crop


@dataclass(frozen=True)
class Budget:
    """What an update may take, from the frame's arrival to its row; None: whatever it takes.

    `first_verdict_s` from the first frame of a face until enough of it was seen for a verdict; `every_s` between two
    updates, unless a face waits for its first verdict.
    """

    update_ms: float | None = 300.0
    first_verdict_s: float = 3.0
    every_s: float = 0.25

    def every(self, waits_s: float, n_missing: int) -> float:
        """Seconds between two updates: so few that a face that has waited so long gets so many more crops in time."""
        if not n_missing:
            return self.every_s
        left_s = self.first_verdict_s * (1 - KEPT_FREE) - waits_s
        return min(self.every_s, max(left_s / n_missing, LEAST_STEP_S))

    def left_ms(self, age_s: float) -> float:
        """What is left for a frame of this age."""
        return float("inf") if self.update_ms is None else self.update_ms * (1 - KEPT_FREE) - 1000 * age_s


class Paces:
    """How long things took lately: `detect`, `crop`, `embed`, and a view of each network by its name."""

    def __init__(self) -> None:
        self._ms: dict[str, deque[float]] = {}

    def add(self, what: str, ms: float, times: int = 1) -> None:
        """It was done so many times in this time."""
        self._ms.setdefault(what, deque(maxlen=RECENT)).append(ms / max(times, 1))

    def ms(self, what: str) -> float:
        """What it will take, or less, nine times of ten."""
        known = sorted(self._ms.get(what, ()))
        if not known:
            return FIRST_GUESS_MS.get(what, GUESSED_VIEW_MS)
        return known[min(int(SURE_SHARE * len(known)), len(known) - 1)]

    def ease(self, names: Iterable[str]) -> None:
        """These were not done because they took too long when they were: they may not any more, and will be tried."""
        for name in names:
            known = self._ms.get(name)
            if known:
                self._ms[name] = deque((EASED * ms for ms in known), maxlen=RECENT)

    def forget(self) -> None:
        """What was measured says nothing any more."""
        self._ms.clear()

    def look_ms(self, views: Views) -> float:
        """What a crop in these views will take."""
        return self.ms("crop") + sum(n * self.ms(name) for name, n in views.items())


@dataclass(frozen=True)
class Wish:
    """A face that may be looked at: `since_s` ago it was looked at last, None never; `seen_by` each network so often.

    `sharpness` is that of its crop as a share of the sharpest of this person's, `waits_s` how long it has been waiting
    for its first verdict, 0 where it has one. A network of `strides` sees one of so many crops of a face.
    """

    key: int
    since_s: float | None
    seen_by: Views
    sharpness: float = 1.0
    waits_s: float = 0.0
    is_carried: bool = False
    strides: Mapping[str, int] = field(default_factory=dict)

    @property
    def worth(self) -> tuple[float, float, int]:
        """What looking at it adds, to sort by: new faces, then those long unseen and sharp, then by number."""
        is_new = self.since_s is None or not all(self.seen_by.values())
        share = self.sharpness * (0.5 if self.is_carried else 1.0)
        return 2.0 * is_new + (self.waits_s > 0), (self.since_s or 0.0) * share, -self.key

    def views_at(self, level: Views | None) -> Views:
        """In which views it is looked at: those of a level, or, in turns (None), by the network that saw it least.

        A network that never saw it does in any case, for a score wants them all.
        """
        if level is not None:
            return {name: n for name, n in level.items() if self._is_due(name)}
        new = {name: 1 for name, n in self.seen_by.items() if not n}
        return new or {min(self.seen_by, key=self._worth_of_crops): 1}

    def _worth_of_crops(self, name: str) -> int:
        return self.seen_by[name] * self.strides.get(name, 1)

    def _is_due(self, name: str) -> bool:
        """Whether a network of a stride has fallen behind those that see every crop, or the most of them."""
        least = min(self.strides.get(other, 1) for other in self.seen_by)
        if self.strides.get(name, 1) == least:
            return True
        others = [self._worth_of_crops(other) for other in self.seen_by if self.strides.get(other, 1) == least]
        return self._worth_of_crops(name) <= max(others)


def ladder(members: Views) -> tuple[Views | None, ...]:
    """Levels of looking at a crop, falling: in all views, in one view by each network, in turns (None)."""
    one_each = dict.fromkeys(members, 1)
    levels: list[Views | None] = [dict(members)]
    if one_each != members:
        levels.append(one_each)
    return (*levels, None) if len(members) > 1 else tuple(levels)


@dataclass(frozen=True)
class Plan:
    """What is done in an update: crops by their keys, in this order, and at which level of the ladder."""

    looks: tuple[tuple[int, Views], ...]
    level: int


def plan(
    wishes: Sequence[Wish],
    left_ms: float,
    levels: Sequence[Views | None],
    paces: Paces,
    last_level: int,
    budget: Budget,
    may_overrun: bool = True,
) -> Plan:
    """The most that fits: all faces at the richest level they fit at, else, at the last one, those that add most.

    Who would else wait for longer than the budget's `first_verdict_s` is looked at whatever is left, if that
    `may_overrun`.
    """
    ordered = sorted(wishes, key=lambda wish: wish.worth, reverse=True)
    for number, level in enumerate(levels):
        looks = [(wish.key, wish.views_at(level)) for wish in ordered]
        margin = RISE_MARGIN if number < last_level else 1.0
        if margin * _cost_ms(looks, paces) <= left_ms:
            return Plan(tuple(looks), number)
    kept: list[tuple[int, Views]] = []
    for wish in ordered:
        views = wish.views_at(levels[-1])
        is_urgent = may_overrun and not kept and wish.waits_s > budget.first_verdict_s / 2
        if is_urgent or _cost_ms([*kept, (wish.key, views)], paces) <= left_ms:
            kept.append((wish.key, views))
    return Plan(tuple(kept), len(levels) - 1)


def _cost_ms(looks: Iterable[tuple[int, Views]], paces: Paces) -> float:
    return sum(paces.look_ms(views) for _, views in looks)
