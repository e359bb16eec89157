"""Rows of an invented watch: one person whose score rises, then a second one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from deepfake.detector.check import INCONCLUSIVE, Band, Verdict
from deepfake.live.annotations import LiveFace, LivePerson, Row

BAND = Band(low=0.3, high=0.7)
WIDTH_PX, HEIGHT_PX = 320, 180
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PICTURE = np.full((HEIGHT_PX, WIDTH_PX, 3), (200, 40, 40), np.uint8)


def person(number: int, time_s: float, p_fake: float | None, alarm_s: float | None = None) -> LivePerson:
    verdict: Verdict = INCONCLUSIVE if p_fake is None else BAND.level_of(p_fake)
    return LivePerson(
        person=number,
        verdict=verdict,
        recent=p_fake,
        overall=p_fake,
        is_alarmed=alarm_s is not None,
        alarmed_since_s=alarm_s,
        first_seen_s=0.0,
        last_seen_s=time_s,
        n_scored=4,
    )


def face(number: int, p_fake: float | None) -> LiveFace:
    x0 = 40.0 + 120 * number
    return LiveFace(person=number, track=number, box_px=(x0, 40, x0 + 80, 120), is_carried=False, score=p_fake)


def update(time_s: float, *scores: float | None, alarms: tuple[int, ...] = (), latency_ms: float = 100.0) -> Row:
    """An update with a score for each person; `alarms` are persons with one since 1 s."""
    return Row(
        kind="update",
        time_s=time_s,
        clock=(BEGIN + timedelta(seconds=time_s)).isoformat(),
        frame=round(25 * time_s),
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        faces=tuple(face(number, p_fake) for number, p_fake in enumerate(scores)),
        persons=tuple(
            person(number, time_s, p_fake, 1.0 if number in alarms else None) for number, p_fake in enumerate(scores)
        ),
        latency_ms=latency_ms,
        n_dropped=round(20 * time_s),
    )


def word(kind: str, time_s: float, reason: str | None = None, seconds: float | None = None) -> Row:
    """A gap, a notice or the end."""
    values = update(time_s).model_dump() | {"kind": kind, "latency_ms": None, "reason": reason, "seconds": seconds}
    return Row.model_validate(values)
