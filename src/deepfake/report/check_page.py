"""The page of one checked video, and the index of several: one file each, nothing fetched.

Takes a `Check` and the pictures of `evidence`; draws the timelines as SVG in percent, so that
they fit any width. Style and script are constant files beside this one; the page's policy names their hashes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import cv2
import numpy as np
from markupsafe import Markup

from deepfake.detector.check import (
    FORGED,
    INCONCLUSIVE,
    REAL,
    SPAN_GAP_S,
    STANDS_FOR_S,
    Band,
    Check,
    CheckedTrack,
    FrameScore,
    SecondScore,
    Shot,
    Span,
    level_of,
)
from deepfake.detector.verdict import GRAVEST_FIRST
from deepfake.ensemble.promise import Rule, of_verdict, sentences
from deepfake.files import current_commit, printable
from deepfake.report.lanes import evidence_lanes
from deepfake.report.strips import data_url, page_environment, source_hash

if TYPE_CHECKING:
    from deepfake.evidence.crops import SalientCrop
    from deepfake.evidence.signs import Found

HERE = Path(__file__).parent
LEVELS: Mapping[str, str] = {FORGED: "forged", REAL: "real", INCONCLUSIVE: "unsure"}
PICTURE_PX = 160
PICTURE_QUALITY = 82
TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
MAX_TICKS = 8
PLOT_PX = 76  # height of a timeline's plot


@dataclass(frozen=True)
class Stretch:
    """A part of the timeline, in percent of its length."""

    x: float
    width: float


@dataclass(frozen=True)
class Axis:
    """The time that the timelines cover, in the file's own seconds; never of no length."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Seconds from its start to its end."""
        return self.end_s - self.start_s

    def percent(self, time_s: float) -> float:
        """Where a time lies, in percent of the length."""
        return min(max(100 * (time_s - self.start_s) / self.length_s, 0), 100)

    def stretch(self, start_s: float, end_s: float) -> Stretch:
        """Where a part lies; one that would be too thin to be seen is made wider."""
        start, end = self.percent(start_s), self.percent(end_s)
        return Stretch(round(start, 3), round(max(end - start, 0.15), 3))


@dataclass(frozen=True)
class Bar:
    """The column of one second; heights are pixels of the plot."""

    place: Stretch
    y: float
    height: float
    level: str
    score: SecondScore


@dataclass(frozen=True)
class Lane:
    """What is drawn of one track."""

    shot: Shot
    track: CheckedTrack
    word: str
    level: str
    bars: Sequence[Bar]
    best: SecondScore
    best_time_s: float
    band_y: float
    band_height: float
    unseen: Sequence[Stretch]
    spans: Sequence[tuple[Stretch, Span]]
    cuts: Sequence[float]
    others: Sequence[tuple[Stretch, int]]


@dataclass(frozen=True)
class PersonLanes:
    """One person and the timelines of the tracks that show it; without a title where it has but one."""

    title: str | None
    lanes: Sequence[Lane]

    @property
    def worst(self) -> Lane:
        """The most suspicious one; of those that count, where any does."""
        return max(self.lanes, key=lambda lane: (lane.track.counts, lane.track.p_fake))


@dataclass(frozen=True)
class Tick:
    """A time below the plot."""

    x: float
    text: str


@dataclass(frozen=True)
class Crop:
    """A crop of high score and its heat map, as they stand in the page."""

    track: int
    frame: FrameScore
    url: str
    heat_url: str | None
    heat_max: float | None


def page(check: Check, crops: Sequence[Crop], page_path: Path, found: Found | None = None) -> bytes:
    """The page of one video as UTF-8; it names the video relative to the folder of `page_path`.

    `found` has the curves of the check's evidence, where that was asked for.
    """
    axis = _axis(check)
    band = check.inconclusive_band
    lanes = [_lane(shot, track, check, axis) for shot, track in check.tracks]
    pictures = evidence_lanes(found, axis.percent) if found and check.video else []
    return _render(
        "check.html.jinja",
        "check.js",
        check=check,
        name=printable(check.file.name),
        level=LEVELS.get(check.verdict, "none"),
        source=_source(Path(check.file.path), page_path),
        lanes=lanes,
        seen=_seen(lanes),
        names={lane.track.track: face_name(lane.track) for lane in lanes},
        ticks=ticks(axis),
        crops=crops,
        has_heat=any(crop.heat_url is not None for crop in crops),
        data=_script_json({**_page_data(check, axis), "lanes": [picture.data for picture in pictures]}),
        pictures=pictures,
        low=band.low,
        high=band.high,
        worth=_worth(check),
        promise=sentences(check.detector.promise, _rule(check)),
        most=max((track.p_fake for _, track in check.tracks if track.decides), default=None),
        axis=axis,
        sizes={one.stream: f"{one.width_px} × {one.height_px}" for one in check.streams},
        n_looked_at=sum(one.is_looked_at for one in check.streams),
        plot_px=PLOT_PX,
    )


def _rule(check: Check) -> Rule:
    return Rule(check.detector.error_rate, check.detector.fake_share)


def _worth(check: Check) -> str | None:
    """What this verdict was worth on other sources, or why there is none on any video; None where nothing is known."""
    promise = check.detector.promise
    if promise is None or check.verdict not in (FORGED, REAL):
        return None
    return of_verdict(promise, check.verdict, _rule(check))


def index_page(checks: Sequence[tuple[Check, str]]) -> bytes:
    """The index of several videos: each one's check and the file name of its page beside it."""
    counts = {verdict: sum(check.verdict == verdict for check, _ in checks) for verdict in GRAVEST_FIRST}
    rows = [
        {
            "check": check,
            "name": printable(check.file.name),
            "level": LEVELS.get(check.verdict, "none"),
            "href": quote(os.fsencode(page_name)),
            "n_tracks": len(check.tracks),
            "n_looked_at": sum(one.is_looked_at for one in check.streams),
        }
        for check, page_name in checks
    ]
    return _render("check_index.html.jinja", None, rows=rows, counts={k: n for k, n in counts.items() if n})


def _render(template: str, script_name: str | None, **values: object) -> bytes:
    environment = page_environment()
    environment.filters |= {"clock": clock, "visible": printable}
    environment.globals |= {"LEVELS": LEVELS, "level_of": level_of}
    style, script = _asset("check.css"), _asset(script_name) if script_name else ""
    ours = {"style": Markup(style), "script": Markup(script), "policy": _policy(style, script)}  # noqa: S704 - ours
    text = environment.get_template(template).render(**values, **ours, commit=current_commit())
    return text.encode("utf-8", "backslashreplace")


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy: this very style and script run, and nothing is fetched but the video."""
    script_source = f"'sha256-{source_hash(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; img-src data:; media-src 'self' file:; style-src 'sha256-{source_hash(style)}'; "
        f"script-src {script_source}; base-uri 'none'; form-action 'none'"
    )


def _source(video: Path, page_path: Path) -> str:
    """The URL of a video relative to its page; a file URL where they share no root (two drives)."""
    video, folder = video.resolve(), page_path.resolve().parent
    try:
        return quote(os.fsencode(Path(os.path.relpath(video, folder)).as_posix()))
    except ValueError:
        return video.as_uri()


def _script_json(value: object) -> Markup:
    """JSON that can stand in a script element: no character there can end it or open a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped right above


def _page_data(check: Check, axis: Axis) -> Mapping[str, object]:
    """What the script needs to draw boxes and to write scores; `streams` may be what the browser shows."""
    facts, band = check.video, check.inconclusive_band
    return {
        "start": axis.start_s,
        "end": axis.end_s,
        "width": facts.width_px if facts else 1,
        "height": facts.height_px if facts else 1,
        "streams": [[one.stream, one.width_px, one.height_px] for one in check.streams],
        "low": band.low,
        "high": band.high,
        "reach": STANDS_FOR_S,
        "bridge": SPAN_GAP_S,
        "step": min(1.0, axis.length_s / 20),
        "tracks": [
            {
                "track": track.track,
                "name": face_name(track).lower(),
                "stream": shot.stream,
                "frames": [[frame.time_s, *frame.box_px, round(frame.score, 4)] for frame in track.frames],
                "marks": [span.from_s for span in track.suspicious],
            }
            for shot, track in check.tracks
        ],
    }


def _axis(check: Check) -> Axis:
    """From the file's first sound or picture to the end of its last picture."""
    facts = check.video
    start_s = facts.timeline_start_s if facts else 0.0
    end_s = facts.first_frame_s + facts.duration_s if facts else 0.0
    ends_s = [*(one.to_s for one in check.streams), *(track.to_s for _, track in check.tracks)]
    return Axis(start_s, max(end_s, *ends_s, start_s + 0.04))


def _lane(shot: Shot, track: CheckedTrack, check: Check, axis: Axis) -> Lane:
    band = check.inconclusive_band
    unseen = next((one.unseen_s for one in check.streams if one.stream == shot.stream), None)
    if unseen is None:
        unseen = check.looked_at.unseen_s if check.looked_at else ()
    best = max(track.seconds, key=lambda second: (second.p_fake, -second.second))
    word = band.level_of(track.p_fake)
    return Lane(
        shot=shot,
        track=track,
        word=word,
        level=LEVELS[word],
        bars=[_bar(second, track, band, axis) for second in track.seconds],
        best=best,
        best_time_s=_first_frame_of(track, best.second),
        band_y=round(PLOT_PX * (1 - band.high), 2),
        band_height=round(PLOT_PX * (band.high - band.low), 2),
        unseen=[axis.stretch(*part) for part in unseen],
        spans=[(axis.stretch(span.from_s - 0.1, span.to_s + 0.1), span) for span in track.suspicious],
        cuts=[axis.stretch(cut.from_s, cut.from_s).x for cut in _of_stream(check.shots, shot.stream)[1:]],
        others=[
            (axis.stretch(other.from_s, other.to_s), other.track)
            for of_shot, other in check.tracks
            if other.track != track.track and of_shot.stream == shot.stream
        ],
    )


def face_name(track: CheckedTrack) -> str:
    """How the page calls a face: by its person, where faces were compared."""
    return f"Face {track.track}" if track.person is None else f"Person {track.person}"


def _seen(lanes: Sequence[Lane]) -> list[PersonLanes]:
    """The timelines person by person, by first appearance; track by track where faces were not compared."""
    if any(lane.track.person is None for lane in lanes):
        return [PersonLanes(None, [lane]) for lane in lanes]
    people: dict[int | None, list[Lane]] = {}
    for lane in lanes:
        people.setdefault(lane.track.person, []).append(lane)
    return [PersonLanes(face_name(own[0].track) if len(own) > 1 else None, own) for own in people.values()]


def _of_stream(shots: Sequence[Shot], stream: int) -> list[Shot]:
    return [shot for shot in shots if shot.stream == stream]


def _bar(second: SecondScore, track: CheckedTrack, band: Band, axis: Axis) -> Bar:
    start_s, end_s = max(second.second, track.from_s - STANDS_FOR_S), min(second.second + 1, axis.end_s)
    return Bar(
        place=axis.stretch(start_s, end_s),
        y=round(PLOT_PX * (1 - second.p_fake), 2),
        height=round(max(PLOT_PX * second.p_fake, 1), 2),
        level=LEVELS[band.level_of(second.p_fake)],
        score=second,
    )


def _first_frame_of(track: CheckedTrack, second: int) -> float:
    """Time of a second's first frame."""
    return next(frame.time_s for frame in track.frames if int(frame.time_s) >= second)


def ticks(axis: Axis) -> list[Tick]:
    """Times below a plot, at most `MAX_TICKS` steps."""
    length_s = axis.length_s
    step = next((step for step in TICK_STEPS_S if length_s / step <= MAX_TICKS), length_s / MAX_TICKS)
    first = math.ceil(axis.start_s / step - 1e-9)
    times = [i * step for i in range(first, int(axis.end_s / step + 1e-9) + 1)]
    return [
        Tick(round(axis.percent(t), 3), clock(t) if step >= 1 else f"{t:.1f}") for t in times if axis.percent(t) <= 97
    ]


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def shown(picture: SalientCrop) -> Crop:
    """A crop as it stands in the page."""
    heat = None if picture.heat_HW is None else heated(picture.picture_HWC, picture.heat_HW)
    return Crop(
        track=picture.track,
        frame=picture.frame,
        url=data_url(picture.picture_HWC, PICTURE_PX, PICTURE_QUALITY),
        heat_url=None if heat is None else data_url(heat, PICTURE_PX, PICTURE_QUALITY),
        heat_max=None if picture.heat_HW is None else float(picture.heat_HW.max()),
    )


def heated(picture_HWC: np.ndarray, heat_HW: np.ndarray) -> np.ndarray:
    """A grey picture with its heat laid over: nothing up to 0.1, yellow from there on, red at 1."""
    grey = cv2.cvtColor(cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    heat = np.clip(heat_HW, 0, 1)[..., None].astype(np.float32)
    colour = np.concatenate([np.full_like(heat, 240), 210 * (1 - heat), np.full_like(heat, 30)], axis=-1)
    alpha = 0.8 * np.clip((heat - 0.1) / 0.4, 0, 1)
    return np.asarray((grey * (1 - alpha) + colour * alpha).round(), np.uint8)
