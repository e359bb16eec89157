"""The page that a watch leaves: the timeline of each person, alarms, gaps, pace; one file, nothing fetched.

Its style is that of a check's page; what it holds is bounded by `Session`, not by how long the watch was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from deepfake.detector.check import Band, DetectorFacts
from deepfake.ensemble.promise import Rule, of_verdict, sentences
from deepfake.files import current_commit, printable
from deepfake.live.annotations import Row
from deepfake.live.session import Column, Seen, Session
from deepfake.report.check_page import LEVELS, PLOT_PX, Axis, Stretch, clock, ticks
from deepfake.report.strips import data_url, page_environment, source_hash

HERE = Path(__file__).parent
CROP_PX, CROP_QUALITY = 160, 82
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Bar:
    """A column of a timeline; heights are pixels of the plot."""

    place: Stretch
    y: float
    height: float
    level: str
    time_s: float
    column: Column


@dataclass(frozen=True)
class Lane:
    """What is drawn of one person."""

    number: int
    seen: Seen
    level: str
    bars: Sequence[Bar]
    alarms: Sequence[Stretch]
    crops: Sequence[tuple[str, float, float]]


def page(session: Session, name: str, band: Band, detector: DetectorFacts) -> bytes:
    """The page of a watch as UTF-8; `name` is what was watched."""
    end_s = session.last.time_s if session.last else 0.0
    axis = Axis(0.0, max(end_s, session.column_s, 1.0))
    events = [*session.events.first, *session.events.last]
    verdict = session.verdict
    rule = Rule(detector.error_rate, detector.fake_share)
    environment = page_environment()
    environment.filters |= {"clock": clock, "visible": printable}
    environment.globals |= {"LEVELS": LEVELS}
    style = (HERE / "check.css").read_text(encoding="utf-8")
    text = environment.get_template("session.html.jinja").render(
        session=session,
        name=printable(name),
        verdict=verdict,
        level=LEVELS.get(verdict, "none"),
        worth=of_verdict(detector.promise, verdict, rule) if detector.promise and verdict in LEVELS else None,
        promise=sentences(detector.promise, rule),
        lanes=[_lane(number, seen, session, band, axis) for number, seen in _gravest_first(session)],
        n_alarms=sum(seen.n_alarms for seen in session.persons.values()),
        gaps=[axis.stretch(event.time_s, event.time_s).x for event in events if event.kind == "gap"],
        events=[_event(event) for event in events],
        n_first=len(session.events.first),
        latencies=[(share, session.latency_ms(share)) for share in SHARES],
        n_frames=session.last.frame + 1 if session.last and session.last.width_px else 0,
        ticks=ticks(axis),
        low=band.low,
        high=band.high,
        d=detector,
        plot_px=PLOT_PX,
        style=Markup(style),  # noqa: S704 - ours
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{source_hash(style)}'; base-uri 'none'; "
        "form-action 'none'",
        commit=current_commit(),
    )
    return text.encode("utf-8", "backslashreplace")


def _gravest_first(session: Session) -> list[tuple[int, Seen]]:
    """Persons with a verdict of forgery, then those that had an alarm, then by number."""
    order = {verdict: place for place, verdict in enumerate(LEVELS)}
    return sorted(
        session.persons.items(),
        key=lambda one: (order.get(one[1].last.verdict, 9) > 0, one[1].n_alarms == 0, one[0]),
    )


def _lane(number: int, seen: Seen, session: Session, band: Band, axis: Axis) -> Lane:
    return Lane(
        number=number,
        seen=seen,
        level=LEVELS.get(seen.last.verdict, "none"),
        bars=[_bar(place, column, session.column_s, band, axis) for place, column in sorted(seen.columns.items())],
        alarms=[axis.stretch(alarm.from_s, alarm.to_s) for alarm in seen.alarms],
        crops=[(data_url(one.picture_HWC, CROP_PX, CROP_QUALITY), one.time_s, one.score) for one in seen.crops],
    )


def _bar(place: int, column: Column, column_s: float, band: Band, axis: Axis) -> Bar:
    start_s = place * column_s
    return Bar(
        place=axis.stretch(start_s, min(start_s + column_s, axis.end_s)),
        y=round(PLOT_PX * (1 - column.p_fake), 2),
        height=round(max(PLOT_PX * column.p_fake, 1), 2),
        level=LEVELS[band.level_of(column.p_fake)],
        time_s=start_s,
        column=column,
    )


def _event(row: Row) -> tuple[float, str, str]:
    """Its time, the clock's, and what happened."""
    what = {"gap": "Nothing came", "notice": "Notice", "end": "The end"}[row.kind]
    for_s = "" if row.seconds is None else f" for {row.seconds:.1f} s"
    reason = "" if row.reason in (None, what.lower()) else f": {printable(row.reason)}"
    return row.time_s, row.clock, f"{what}{for_s}{reason}"
