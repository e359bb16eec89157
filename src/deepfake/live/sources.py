"""A stream that is always drained: of what comes only the newest frame is held, the rest is dropped and counted.

A thread reads, decodes and reconnects; whoever watches asks for the newest frame (`next`) and for what happened
(`events`). Every frame is decoded, for others refer to it: leaving one out spoils those up to the next keyframe. Where
decoding is too slow, frames that no other refers to are left out, then all up to the next keyframe.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from deepfake.live.addresses import is_paced
from deepfake.live.clock import StreamClock
from deepfake.media.live_streams import LiveStream, Opening, StreamError, Unit
from deepfake.media.remux import Recorder
from deepfake.media.shots import CutDetector, CutFinder
from deepfake.media.video import Frame

log = logging.getLogger(__name__)
OLDEST_S = 1.0  # no older frame is ever handed out
GAP_S = 1.5  # so long nothing, and a row says so
TELL_AFTER_S = 3.0  # of nothing, or of packets that bring no picture
HUNG_S = 10.0  # beyond its own deadline; a library that holds a thread for so long is left alone
MOST_HUNG = 3
LATE_S, VERY_LATE_S, ON_TIME_S = 0.3, 1.0, 0.1  # a decoder leaves out what nobody needs, then all it can; none again
LOST_S = 5.0  # packets that bring no picture any more: the coding changed, or its beginning was missed
BACKOFF_S, MOST_BACKOFF_S, JITTER = 0.5, 8.0, 0.25
# A packet that had to be waited for lay in no buffer of ours: if it is late all the same, nothing here can mend that.
WAITED_S, WAITED_PACKETS = 0.01, 3
INTRA_AFTER = 12  # packets, all of them keyframes: then any of them may be left out
CLOSED = "the sender closed it"

Kind = Literal["gap", "notice", "end"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a stream, as a row says it; `seconds` of a gap."""

    kind: Kind
    time_s: float
    reason: str
    seconds: float | None = None


@dataclass(frozen=True)
class Arrived:
    """A frame, and when it was there to be looked at, by the clock of the machine."""

    frame: Frame
    due_s: float

    def age_s(self, now_s: float) -> float:
        """How old it is."""
        return max(now_s - self.due_s, 0.0)


class Source(Protocol):
    """Frames to watch."""

    @property
    def n_dropped(self) -> int:
        """Frames that came and were not handed out."""
        ...

    def next(self, timeout_s: float) -> Arrived | None:
        """The newest frame that was not handed out yet; None where none came in that time."""
        ...

    def events(self) -> list[Event]:
        """What happened since this was asked last; the last one of a source is its end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@dataclass
class _State:
    """What the thread that reads knows of the frames so far."""

    clock: StreamClock = field(default_factory=StreamClock)
    size: tuple[int, int] = (0, 0)
    codec: str | None = None
    shot: int = 0
    n_decoded: int = 0
    late_s: float = 0.0
    is_skipping: bool = False
    is_suspect: bool = False
    n_units: int = 0
    has_inter: bool = False
    n_waited: int = 0  # packets in a row that had to be waited for


class LiveSource:
    """A source that a thread drains, from `start` on; `give_up_s` without a frame, and it has ended."""

    def __init__(
        self,
        opening: Opening,
        recorder: Recorder | None = None,
        give_up_s: float = 60.0,
        now: Callable[[], float] = time.monotonic,
        connect: Callable[[Opening, bool], LiveStream] = LiveStream,
        cuts: CutDetector | None = None,
    ) -> None:
        self.opening, self.recorder, self.give_up_s = opening, recorder, give_up_s
        self._now, self._connect = now, connect
        self._cuts: CutDetector = cuts or CutFinder()
        self._is_paced = is_paced(opening)
        self._changed = threading.Condition()
        self._newest: Arrived | None = None
        self._events: deque[Event] = deque(maxlen=1000)
        self._closed = threading.Event()
        self._state = _State()
        self._n_dropped = self._n_hung = 0
        self._token = object()
        self._thread: threading.Thread | None = None
        self._beat_s, self._allowed_s = now(), opening.open_s
        self._frame_s: float | None = None  # wall clock of the newest frame, or of the beginning
        self._packet_s = self._handled_s = now()  # of the newest packet, and when the last useful one was dealt with
        self._is_told = False
        self._is_ended = False
        self._jitter = random.Random()

    def start(self) -> None:
        """Begin to read. StreamError where that can never be."""
        is_here = self.opening.kind in ("file", "camera")
        first = self._connect(self.opening, self.recorder is not None) if is_here else None
        self._frame_s = self._handled_s = self._now()
        self._begin(first)

    def _begin(self, first: LiveStream | None = None) -> None:
        self._token = token = object()
        self._beat(self.opening.open_s)
        self._thread = threading.Thread(target=self._run, args=(token, first), name="drain", daemon=True)
        self._thread.start()

    # What the watch calls.

    @property
    def n_dropped(self) -> int:
        """Frames that came and were not handed out."""
        with self._changed:
            return self._n_dropped

    def next(self, timeout_s: float) -> Arrived | None:
        """The newest frame that was not handed out yet, never one older than a second; None where none came."""
        until_s = self._now() + timeout_s
        while True:
            self._guard()
            with self._changed:
                left_s = until_s - self._now()
                if self._newest is None and left_s > 0 and not self._is_ended:
                    self._changed.wait(min(left_s, 0.5))
                newest, self._newest = self._newest, None
                if newest is not None and newest.age_s(self._now()) <= OLDEST_S:
                    return newest
                if newest is not None:
                    self._n_dropped += 1
                if self._is_ended or self._now() >= until_s:
                    return None

    def events(self) -> list[Event]:
        """What happened since this was asked last."""
        with self._changed:
            found = list(self._events)
            self._events.clear()
            return found

    def close(self) -> None:
        """Stop reading; what is recorded is finished."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            thread.join(self.opening.read_s + 1)
            if thread.is_alive():
                log.warning("%s: its reader hangs and is left alone", self.opening.name)
                return
        if self.recorder is not None:
            self.recorder.close()

    # What watches over the thread.

    def _guard(self) -> None:
        """Tell of a stall; leave alone a thread that hangs in a library and start another one."""
        now_s = self._now()
        with self._changed:
            silent_s = now_s - (self._frame_s if self._frame_s is not None else now_s)
            if silent_s > TELL_AFTER_S and not self._is_told and not self._is_ended:
                self._is_told = True
                has_data = self._packet_s - (now_s - silent_s) > silent_s / 2
                what = "data came, but no keyframe and so no picture," if has_data else "nothing came"
                self._events.append(Event("notice", self._time_s, f"{what} for {silent_s:.0f} s; waiting"))
            if self._is_ended or self._closed.is_set() or now_s - self._beat_s <= self._allowed_s + HUNG_S:
                return
            self._n_hung += 1
            if self._n_hung > MOST_HUNG:
                self._end("reading it hung too often")
                return
            reason = f"reading it hung for {now_s - self._beat_s:.0f} s; opened anew"
            self._events.append(Event("notice", self._time_s, reason))
            self._state.clock.reconnect()
        self._begin()

    @property
    def _time_s(self) -> float:
        """The watch's time of now: it goes on while no frame comes."""
        since_s = self._now() - self._frame_s if self._frame_s is not None and self._state.n_decoded else 0.0
        return max(self._state.clock.last_s, 0.0) + (max(since_s, 0.0) if self.opening.kind != "file" else 0.0)

    def _tell(self, kind: Kind, reason: str, seconds: float | None = None) -> None:
        with self._changed:
            self._events.append(Event(kind, self._time_s, reason, seconds))
            self._changed.notify_all()

    def _end(self, reason: str) -> None:
        with self._changed:
            if not self._is_ended:
                self._is_ended = True
                self._events.append(Event("end", self._time_s, reason))
                self._changed.notify_all()

    def _beat(self, allowed_s: float) -> None:
        self._beat_s, self._allowed_s = self._now(), allowed_s

    def _is_over(self, token: object) -> bool:
        return self._closed.is_set() or token is not self._token

    # The thread.

    def _run(self, token: object, first: LiveStream | None) -> None:
        try:
            self._read(token, first)
        except Exception as error:  # whatever a library makes of one stream, the watch ends with a row
            log.warning("%s: unexpected error", self.opening.name, exc_info=True)
            self._end(f"unexpected {type(error).__name__}: {error}")

    def _read(self, token: object, first: LiveStream | None) -> None:
        n_tries, stream = 0, first
        while not self._is_over(token):
            n_before = self._state.n_decoded
            try:
                if stream is None:
                    self._beat(self.opening.open_s)
                    stream = self._connect(self.opening, self.recorder is not None)
                with stream:
                    self._connected(stream)
                    self._drain(stream, token)
                    is_end, reason = stream.is_whole or self.opening.kind == "pipe", CLOSED
            except StreamError as error:
                is_end, reason = error.is_final and not self._state.n_decoded, str(error)
            stream = None
            if self._is_over(token):
                return
            if is_end or self.opening.kind in ("file", "pipe"):
                self._end("its end" if reason == CLOSED else reason)
                return
            n_tries = 0 if self._state.n_decoded > n_before else n_tries + 1
            if not self._wait(n_tries, reason, token):
                return

    def _wait(self, n_tries: int, reason: str, token: object) -> bool:
        """Wait before the next try, ever longer; False where it is of no use any more."""
        since_s = self._now() - (self._frame_s or 0.0)
        if since_s > self.give_up_s:
            self._end(f"{reason}; not a frame for {since_s:.0f} s")
            return False
        delay_s = min(BACKOFF_S * 2**n_tries, MOST_BACKOFF_S) * self._jitter.uniform(1 - JITTER, 1 + JITTER)
        self._tell("notice", f"{reason}; trying again in {delay_s:.1f} s")
        self._beat(delay_s)
        self._closed.wait(delay_s)
        return not self._is_over(token)

    def _connected(self, stream: LiveStream) -> None:
        state = self._state
        if state.codec not in (None, stream.codec):
            self._tell("notice", f"now coded as {stream.codec}, before as {state.codec}")
        state.codec = stream.codec
        state.is_skipping = state.has_inter = False
        state.n_units, state.late_s = 0, 0.0
        state.clock.reconnect()
        self._with_recorder(lambda recorder: recorder.connect(stream))

    def _drain(self, stream: LiveStream, token: object) -> None:
        frame_s, n_before = self._now(), self._state.n_decoded
        self._beat(self.opening.read_s)
        dealt_s = self._now()
        for unit in stream.units():
            if self._is_over(token):
                return
            now_s = self._now()
            self._beat(self.opening.read_s)
            if unit.is_video:
                self._packet_s = now_s
                self._state.n_waited = self._state.n_waited + 1 if now_s - dealt_s > WAITED_S else 0
                if self._state.clock.take(unit.stamp_s, unit.shown_s, now_s):
                    self._tell("notice", "the stream's clock jumped; times go on")
                if self._take(stream, unit, token):
                    frame_s = self._handled_s = self._now()
                elif now_s - frame_s > LOST_S and self._state.n_decoded > n_before:
                    raise StreamError(f"{self.opening.name}: its packets bring no picture any more")
            self._record(unit)
            dealt_s = self._now()
        for frame, shown_s in stream.flush():
            self._offer(frame, shown_s, token)

    def _record(self, unit: Unit) -> None:
        offset_s = self._state.clock.offset_s
        self._with_recorder(lambda recorder: recorder.take(unit, offset_s))

    def _with_recorder(self, do: Callable[[Recorder], None]) -> None:
        """Whatever becomes of the recording, the watch goes on."""
        recorder = self.recorder
        if recorder is None:
            return
        try:
            do(recorder)
        except Exception as error:
            self.recorder = None
            self._tell("notice", f"the recording stopped: {getattr(error, 'strerror', None) or error}")
            try:
                recorder.close()
            except Exception as again:
                log.warning("%s: %s", recorder.path, again)

    def _take(self, stream: LiveStream, unit: Unit, token: object) -> bool:
        """Decode a packet and hold its newest frame; whether it brought one."""
        state = self._state
        state.n_units += 1
        state.has_inter |= not unit.is_keyframe
        if state.is_skipping:
            if not unit.is_keyframe or (self._is_intra and self._packet_late_s(unit) > LATE_S):
                self._drop()
                return True
            stream.restart()
            state.is_skipping = False
        n_bad = stream.n_bad_packets
        frames = stream.decode(unit)
        state.is_suspect |= stream.n_bad_packets > n_bad
        for frame, shown_s in frames:
            self._offer(frame, shown_s, token)
        if frames and not state.n_waited:
            state.is_skipping = state.late_s > VERY_LATE_S
            if state.late_s > LATE_S:
                stream.allow("NONREF")
        if frames and state.late_s < ON_TIME_S:
            stream.allow("DEFAULT")
        return bool(frames)

    @property
    def _is_intra(self) -> bool:
        return self._state.n_units > INTRA_AFTER and not self._state.has_inter

    def _packet_late_s(self, unit: Unit) -> float:
        clock = self._state.clock
        if unit.stamp_s is None or clock.early_s is None:
            return 0.0
        return self._now() - clock.early_s - (unit.stamp_s + clock.offset_s)

    def _drop(self) -> None:
        with self._changed:
            self._n_dropped += 1

    def _offer(self, frame: Frame, shown_s: float | None, token: object) -> None:
        state, now_s = self._state, self._now()
        frame.index, frame.time_s = state.n_decoded, state.clock.time_of(shown_s, now_s)
        state.n_decoded += 1
        self._is_told = False
        if now_s - self._handled_s > GAP_S and state.n_decoded > 1:
            with self._changed:
                self._events.append(Event("gap", frame.time_s, "nothing came", now_s - self._handled_s))
        self._handled_s = now_s
        if self._is_paced:
            self._pace(frame.time_s)
        now_s = self._now()
        state.clock.drift(now_s - (self._frame_s or now_s))
        self._frame_s = now_s
        state.late_s = state.clock.late_s(frame.time_s, now_s)
        if state.late_s > LATE_S and state.n_waited >= (1 if self._is_paced else WAITED_PACKETS):
            state.clock.anchor(frame.time_s, now_s)
            state.late_s = 0.0
        self._note_shot(frame)
        state.is_suspect = (state.is_suspect and not frame.is_keyframe) or frame.is_suspect
        with self._changed:
            if token is not self._token:
                return
            if state.is_suspect or self._newest is not None:
                self._n_dropped += 1  # of two frames the older one, or one that is smeared
            if not state.is_suspect:
                self._newest = Arrived(frame, now_s - state.late_s)
                self._changed.notify_all()

    def _pace(self, time_s: float) -> None:
        """Wait until a frame is due, as a player does."""
        clock = self._state.clock
        now_s = self._now()
        if clock.early_s is None:
            clock.anchor(time_s, now_s)
        assert clock.early_s is not None
        ahead_s = clock.early_s + time_s - now_s
        while ahead_s > 0 and not self._closed.is_set():
            self._beat(ahead_s)
            self._closed.wait(min(ahead_s, 1.0))
            ahead_s = clock.early_s + time_s - self._now()

    def _note_shot(self, frame: Frame) -> None:
        """Which shot a frame lies in: a picture of another size begins one, too."""
        state, size = self._state, (frame.width_px, frame.height_px)
        is_cut = self._cuts.feed(frame.luma_thumb(), frame.time_s)
        is_other = state.size not in ((0, 0), size)
        if is_other:
            before = "{}x{}".format(*state.size)
            self._tell("notice", f"the picture has now {size[0]}x{size[1]} px, before {before}")
        state.size = size
        state.shot += is_cut or is_other
        frame.shot = state.shot
