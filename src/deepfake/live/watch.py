"""The loop of a watch: the newest frame, its faces, as many looks at them as the budget allows, a row.

`Watch.run` is given a source of frames and ends with it, or with Ctrl-C; every row goes to the hub and to the sinks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np

from deepfake.detector.check import NO_FACE, UNREADABLE, Verdict
from deepfake.detector.header import Rules
from deepfake.faces.crop_store import decode_crop
from deepfake.faces.crops import Square, points_in_square
from deepfake.faces.mtcnn import FaceDetector
from deepfake.live.annotations import Kind, LiveFace, LivePerson, Row
from deepfake.live.budget import Budget, Plan, Wish, ladder, plan
from deepfake.live.following import Follower, SeenFace
from deepfake.live.hub import Hub
from deepfake.live.looking import Looker
from deepfake.live.persons import Looked, Persons, Spread
from deepfake.live.sources import OLDEST_S, Arrived, Event, Source
from deepfake.media.video import Frame
from deepfake.settings import People

log = logging.getLogger(__name__)
PICTURE_PX = 1280  # longer side of the picture that is shown
EMBED_EVERY_S = 0.3  # crops of a track that are compared with those of others lie so far apart
WAIT_S = 0.25  # how soon an event is told, at the latest

Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of a crop and the five points in it


class Sink(Protocol):
    """Where rows go."""

    def write(self, row: Row) -> None:
        """Take a row."""
        ...

    def close(self) -> None:
        """There are no more."""
        ...


@dataclass(frozen=True)
class Settings:
    """How a stream is watched; without `embed` nobody who returns is known again."""

    budget: Budget = field(default_factory=Budget)
    people: People = field(default_factory=People)
    alarm_above: float | None = None
    embed: Embed | None = None
    with_pictures: bool = False


@dataclass(frozen=True)
class Summary:
    """What came of a watch: how it ended, who was seen, and how old frames were when their rows were known."""

    reason: str
    seconds: float
    n_frames: int
    n_updates: int
    n_dropped: int
    persons: tuple[LivePerson, ...]
    ages_ms: tuple[float, ...]

    @property
    def verdicts(self) -> list[Verdict]:
        """One a person, or the one that stands for nobody."""
        if not self.n_frames:
            return [UNREADABLE]
        return [person.verdict for person in self.persons] or [NO_FACE]


@dataclass
class _Track:
    """What the newest crops of a track got."""

    logits: dict[str, float] = field(default_factory=dict)
    seen_by: dict[str, int] = field(default_factory=dict)
    sharpness: float = 0.0
    embedded_s: float = -np.inf


class Watch:
    """Watches one stream; `now` is a clock that only rises, the one by which the source says how old a frame is."""

    def __init__(
        self,
        rules: Rules,
        looker: Looker,
        detector: FaceDetector,
        settings: Settings,
        hub: Hub,
        sinks: Sequence[Sink] = (),
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rules, self.looker, self.settings, self.hub = rules, looker, settings, hub
        self.sinks = list(sinks)
        self.paces = looker.paces
        self.follower = Follower(rules.extract, detector)
        self.persons = Persons(rules, settings.people.min_similarity, settings.alarm_above)
        self.levels = ladder(looker.members)
        self._now, self._sleep = now, sleep
        self._level, self._has_overrun = 0, False
        self._tracks: dict[int, _Track] = {}
        self._size, self._frame_index, self._time_s = (0, 0), 0, 0.0
        self._n_frames = self.n_updates = self._n_late = 0
        self._ages_ms: Spread[float] = Spread(4096)
        self._told: set[str] = set()
        self._source: Source | None = None

    # The loop.

    def run(self, source: Source) -> Summary:
        """Watch until the source ends or somebody presses Ctrl-C."""
        self._source = source
        reason = "stopped"
        try:
            reason = self._until_end(source)
        except KeyboardInterrupt:
            log.debug("stopped")
        finally:
            source.close()
        for event in source.events():
            if event.kind != "end":
                self._tell(event)
        return self.end(reason)

    def _until_end(self, source: Source) -> str:
        next_s = self._now()
        while True:
            wait_s = next_s - self._now()
            if wait_s > 0:
                self._sleep(min(wait_s, WAIT_S))
            arrived = source.next(WAIT_S) if wait_s <= WAIT_S else None
            for event in source.events():
                if event.kind == "end":
                    if arrived is not None:
                        self.update(arrived)
                    self._time_s = max(self._time_s, event.time_s)
                    return event.reason
                self._tell(event)
            if arrived is not None:
                began_s = self._now()
                self.update(arrived)
                next_s = began_s + self._step_s

    @property
    def _step_s(self) -> float:
        """Seconds from one update to the next: those that the face wants that waits for its first verdict."""
        steps = [self.settings.budget.every_s]
        for number in {self.persons.of_track[track] for track in self._tracks if track in self.persons.of_track}:
            n_missing = max(self.rules.ensemble.real_frames - self.persons.all[number].n_scored, 0)
            steps.append(self.settings.budget.every(self._waits_s(number), n_missing))
        return min(steps)

    def _waits_s(self, number: int) -> float:
        person = self.persons.all[number]
        if person.n_scored >= self.rules.ensemble.real_frames:
            return 0.0
        return max(self._time_s - person.first_seen_s, 1e-3)

    # One update.

    def update(self, arrived: Arrived) -> None:
        """Look at a frame, and publish what is known by then."""
        frame = arrived.frame
        self._n_frames = max(self._n_frames, frame.index + 1)
        self._size, self._frame_index, self._time_s = (frame.width_px, frame.height_px), frame.index, frame.time_s
        seen = [face for face in self._faces(arrived) if face.is_credible]
        visible = [face.track for face in seen]
        for face in seen:
            self.persons.see(face.track, frame.time_s)
            self._tracks.setdefault(face.track, _Track(seen_by=dict.fromkeys(self.looker.members, 0)))
        crops: dict[int, tuple[np.ndarray, Square]] = {}
        self._compare(arrived, seen, visible, crops)
        for track, views in self._plan(arrived, seen).looks:
            if self._left_ms(arrived) < 0 and self.persons.of(track).n_scored:
                break
            self._look(frame, next(face for face in seen if face.track == track), views, crops)
        self.persons.update(frame.time_s)
        self._has_overrun = self._left_ms(arrived) < 0  # then the next update has to be in time
        self._publish(arrived, seen)
        self._forget(seen)

    def _left_ms(self, arrived: Arrived) -> float:
        return self.settings.budget.left_ms(arrived.age_s(self._now()))

    def _faces(self, arrived: Arrived) -> list[SeenFace]:
        frame, began_s = arrived.frame, self._now()
        is_due = self.follower.is_due(frame)
        closer: list[float] = []

        def may_look_closer(ratio: float) -> bool:
            may = self._left_ms(arrived) >= ratio * self.paces.ms("detect")
            closer.extend([ratio] * may)
            return may

        seen = self.follower.see(frame, may_look_closer)
        if is_due:
            self.paces.add("detect", 1000 * (self._now() - began_s) / (1 + sum(closer)))
        return seen

    def _plan(self, arrived: Arrived, seen: Sequence[SeenFace]) -> Plan:
        left_ms, step_s = self._left_ms(arrived), self._step_s
        made = self._planned(seen, left_ms)
        if self.settings.budget.update_ms is not None and step_s < self.settings.budget.every_s:
            # With less of each face, if there is that, the next update comes in time.
            sooner = self._planned(seen, min(left_ms, 1000 * (step_s - arrived.age_s(self._now()))))
            made = sooner if len(sooner.looks) >= len(made.looks) else made
        self._level = made.level if seen else self._level
        if seen and not made.looks:
            self.paces.ease(["crop", *self.looker.members])
        return made

    def _planned(self, seen: Sequence[SeenFace], left_ms: float) -> Plan:
        return plan(
            [self._wish(face) for face in seen],
            left_ms,
            self.levels,
            self.paces,
            self._level,
            self.settings.budget,
            may_overrun=not self._has_overrun,
        )

    def _wish(self, face: SeenFace) -> Wish:
        track, person = self._tracks[face.track], self.persons.of(face.track)
        since_s = None if person.last_scored_s is None else self._time_s - person.last_scored_s
        share = track.sharpness / person.sharpest if track.sharpness and person.sharpest else 1.0
        waits_s = self._waits_s(person.number)
        strides = self.looker.strides
        return Wish(face.track, since_s, dict(track.seen_by), min(share, 1.0), waits_s, face.is_carried, strides)

    def _crop(
        self, frame: Frame, face: SeenFace, crops: dict[int, tuple[np.ndarray, Square]]
    ) -> tuple[np.ndarray, Square]:
        """A face's crop as a file's would lie in its shard, cut once a frame."""
        if face.track not in crops:
            crop, square = self.follower.crop(frame, face)
            self._tracks[face.track].sharpness = crop.sharpness
            crops[face.track] = decode_crop(crop.data, "cut just now"), square
        return crops[face.track]

    def _look(
        self, frame: Frame, face: SeenFace, views: Mapping[str, int], crops: dict[int, tuple[np.ndarray, Square]]
    ) -> None:
        began_s = self._now()
        picture_HWC, _ = self._crop(frame, face, crops)
        self.paces.add("crop", 1000 * (self._now() - began_s))
        logits = self.looker.look(picture_HWC, views)
        track = self._tracks[face.track]
        track.logits.update(logits)
        for name in logits:
            track.seen_by[name] += 1
        self.persons.of(face.track).add(Looked(frame.time_s, face.side_px, track.sharpness, logits))

    def _compare(
        self,
        arrived: Arrived,
        seen: Sequence[SeenFace],
        visible: Sequence[int],
        crops: dict[int, tuple[np.ndarray, Square]],
    ) -> None:
        """Compare one face with those of people who are not in the picture: one an update, a new one first."""
        people, embed = self.settings.people, self.settings.embed
        if embed is None:
            return
        may = [
            face
            for face in seen
            if not face.is_carried
            and face.side_px >= people.min_face_px
            and self.persons.n_embedded(face.track) < people.crops_per_track
            and self._time_s - self._tracks[face.track].embedded_s >= EMBED_EVERY_S
        ]
        if not may:
            return
        face = min(may, key=lambda one: (self.persons.n_embedded(one.track), one.track))
        is_new = not self.persons.n_embedded(face.track) and self.persons.may_be_known(face.track, visible)
        wanted_ms = self.paces.ms("embed") + (0.0 if is_new else self.paces.look_ms(self.looker.members))
        if self._left_ms(arrived) < wanted_ms:
            self.paces.ease(["embed"])
            return
        began_s = self._now()
        picture_HWC, square = self._crop(arrived.frame, face, crops)
        embedding = embed(picture_HWC, points_in_square(square, face.landmarks, len(picture_HWC)))
        self._tracks[face.track].embedded_s = self._time_s
        self.paces.add("embed", 1000 * (self._now() - began_s))
        same = self.persons.compare(face.track, embedding, [track for track in visible if track != face.track])
        if same is not None and self.persons.all[same[0]].n_scored:
            self.tell("notice", f"person {same[0]} is seen again (for a moment called person {same[1]})")

    def _forget(self, seen: Sequence[SeenFace]) -> None:
        going_on = {one.number for one in self.follower.linker.going_on(self._time_s, self.follower.shot)}
        going_on |= {face.track for face in seen}
        self._tracks = {track: known for track, known in self._tracks.items() if track in going_on}
        self.persons.leave(going_on)

    # Rows.

    def _publish(self, arrived: Arrived, seen: Sequence[SeenFace]) -> None:
        frame = arrived.frame
        picture_HWC = frame.small_rgb(PICTURE_PX) if self.settings.with_pictures else None
        age_s = arrived.age_s(self._now())
        if age_s > OLDEST_S and self.settings.budget.update_ms is not None:
            self._n_late += 1
            self._tell_once("this machine is too slow for the stream: frames are a second old before they are judged")
            return
        faces = tuple(self._face(face) for face in seen)
        self._ages_ms.add(1000 * age_s)
        self.n_updates += 1
        self.publish(self._row("update", faces=faces, latency_ms=round(1000 * age_s, 1)), picture_HWC)
        if any(person.is_thinned for person in self.persons.all.values()):
            self._tell_once(
                "of somebody more crops were judged than are kept: of more, every second, fourth, ... counts"
            )
        if self.persons.n_forgotten:
            self._tell_once("more people were seen than are kept: those not seen for longest are forgotten")

    def publish_update(
        self,
        frame_index: int,
        time_s: float,
        size: tuple[int, int],
        faces: tuple[LiveFace, ...],
        picture_HWC: np.ndarray | None,
    ) -> None:
        """Publish what is known of a frame that nobody waits for."""
        self._n_frames = max(self._n_frames, frame_index + 1)
        self._size, self._frame_index, self._time_s = size, frame_index, time_s
        self.n_updates += 1
        self.publish(self._row("update", faces=faces), picture_HWC)

    def _face(self, face: SeenFace) -> LiveFace:
        p_fake = self.looker.p_fake(self._tracks[face.track].logits)
        x0, y0, x1, y1 = (round(float(value), 1) for value in face.box)
        return LiveFace(
            person=self.persons.of_track[face.track],
            track=face.track,
            box_px=(x0, y0, x1, y1),
            is_carried=face.is_carried,
            score=None if p_fake is None else round(p_fake, 6),
        )

    def _row(
        self,
        kind: Kind,
        faces: tuple[LiveFace, ...] = (),
        latency_ms: float | None = None,
        seconds: float | None = None,
        reason: str | None = None,
    ) -> Row:
        at_s = self._time_s
        n_dropped = self._n_late + (self._source.n_dropped if self._source is not None else 0)
        return Row(
            kind=kind,
            time_s=round(at_s, 3),
            clock=datetime.now().astimezone().isoformat(timespec="milliseconds"),
            frame=self._frame_index,
            width_px=self._size[0],
            height_px=self._size[1],
            faces=faces,
            persons=self.persons.rows(at_s, everybody=kind == "end"),
            latency_ms=latency_ms,
            n_dropped=n_dropped,
            seconds=None if seconds is None else round(seconds, 3),
            reason=reason,
        )

    def publish(self, row: Row, picture_HWC: np.ndarray | None = None) -> None:
        """Give a row to all who want it; one that fails gets no more, and the watch goes on."""
        self.hub.publish(row, picture_HWC)
        for sink in list(self.sinks):
            try:
                sink.write(row)
            except OSError as error:
                self.sinks.remove(sink)
                self.tell(
                    "notice", f"{getattr(error, 'filename', None) or 'an output'}: {error.strerror}; not written on"
                )

    def tell(self, kind: Kind, reason: str, seconds: float | None = None) -> None:
        """Publish a row that says something in words."""
        self.publish(self._row(kind, seconds=seconds, reason=reason))

    def _tell(self, event: Event) -> None:
        self._time_s = max(event.time_s, self._time_s)
        self.tell(event.kind, event.reason, seconds=event.seconds)

    def _tell_once(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self.tell("notice", reason)

    def end(self, reason: str) -> Summary:
        """Publish the last row; what came of it all."""
        row = self._row("end", reason=reason)
        self.publish(row)
        for sink in self.sinks:
            try:
                sink.close()
            except OSError as error:
                log.warning("%s: %s", getattr(error, "filename", None) or "an output", error.strerror)
        persons = tuple(person for person in row.persons if person.n_scored)
        return Summary(
            reason, self._time_s, self._n_frames, self.n_updates, row.n_dropped, persons, tuple(self._ages_ms.values)
        )


def embedding_here() -> Embed | None:
    """How faces are compared here; None where what it takes is missing."""
    from deepfake.catalog.embeddings import aligned, face_embedder, is_available

    if not is_available():
        return None
    embedder = face_embedder()
    return lambda picture_HWC, points: embedder.embed([aligned(picture_HWC, points)])[0]
