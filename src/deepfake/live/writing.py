"""Where rows go beside the page: lines of JSON, captions beside a recording, a line on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from deepfake.files import printable
from deepfake.live.annotations import LivePerson, Row
from deepfake.media.remux import Recorder, aside_of

CUE_S = 1.0  # a caption stands for so long at most, so that its figures are those of what is seen
STATUS_S = 10.0  # between two lines where there is no terminal to write one line over and over


class JsonLines:
    """One line a row, written out at once: whoever follows the file sees it, and a crash loses none."""

    def __init__(self, out: TextIO, is_ours: bool = True) -> None:
        self._out, self._is_ours = out, is_ours

    def write(self, row: Row) -> None:
        """Write its line."""
        self._out.write(row.to_line() + "\n")
        self._out.flush()

    def close(self) -> None:
        """Close the file."""
        if self._is_ours:
            self._out.close()


def in_words(person: LivePerson) -> str:
    """A person in a line."""
    scores = [
        f"{name} {value:.2f}"
        for name, value in (("last 10 s", person.recent), ("all", person.overall))
        if value is not None
    ]
    alarm = f"; ALARM since {person.alarmed_since_s or 0:.1f} s" if person.is_alarmed else ""
    return f"person {person.person}: {person.verdict}{', ' * bool(scores)}{', '.join(scores)}{alarm}"


def vtt_time(time_s: float) -> str:
    """A time as WebVTT has it."""
    thousandths = max(round(time_s * 1000), 0)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


class Captions:
    """WebVTT beside a recording, in its time: who is in the picture and what is known of them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._out: TextIO | None = None
        self._path: Path | None = None
        self._zero_s = self._last_s = 0.0
        self._cue: tuple[float, str] | None = None

    def write(self, row: Row) -> None:
        """Begin a caption where what is to be said changed, or the one before stood for a second."""
        self._follow(row.time_s)
        if self._out is None:
            return
        text = self._text(row)
        at_s = row.time_s - self._zero_s
        self._last_s = max(self._last_s, at_s)
        if self._cue is not None and (self._cue[1] != text or at_s - self._cue[0] >= CUE_S):
            self._finish(at_s)
        if self._cue is None and text:
            self._cue = max(at_s, 0.0), text

    def _text(self, row: Row) -> str:
        if row.kind != "update":
            return _escaped(f"{row.kind}: {row.reason}{f' ({row.seconds:.1f} s)' if row.seconds else ''}")
        here = {face.person for face in row.faces}
        return "\n".join(_escaped(in_words(person)) for person in row.persons if person.person in here)

    def _follow(self, time_s: float) -> None:
        """Go along with the recorder, which may go on in another file."""
        zero_s, path = self.recorder.zero_s, self.recorder.current
        if zero_s is None or path == self._path:
            return
        self._close(time_s)
        self._path, self._zero_s, self._last_s = path, zero_s, 0.0
        self._out = aside_of(path.with_suffix(".vtt")).open("w", encoding="utf-8")
        self._out.write("WEBVTT\n\n")
        self._out.flush()

    def _finish(self, at_s: float) -> None:
        assert self._cue is not None and self._out is not None
        from_s, text = self._cue
        if at_s > from_s:
            self._out.write(f"{vtt_time(from_s)} --> {vtt_time(at_s)}\n{text}\n\n")
            self._out.flush()
        self._cue = None

    def _close(self, time_s: float) -> None:
        if self._out is None or self._path is None:
            return
        if self._cue is not None:
            self._finish(max(time_s - self._zero_s, self._cue[0] + 0.1))
        self._out.close()
        beside = self._path.with_suffix(".vtt")
        aside_of(beside).replace(beside)
        self._out = None

    def close(self) -> None:
        """Finish the last caption, and give the file its name."""
        self._close(self._zero_s + self._last_s)


def _escaped(text: str) -> str:
    one_line = " ".join(text.split()).replace("-->", "->")
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Status:
    """One line on a terminal that always says how things stand; elsewhere a line now and then, and what happens."""

    def __init__(self, out: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._is_terminal, self._now = self._out.isatty(), now
        self._told_s: float | None = None
        self._alarmed: set[int] = set()
        self._width = 0

    def write(self, row: Row) -> None:
        """Say what is new."""
        for person in row.persons:
            if person.is_alarmed != (person.person in self._alarmed):
                self._alarmed ^= {person.person}
                over = f"person {person.person}: alarm over"
                self._say(f"{row.time_s:8.1f} s  {in_words(person) if person.is_alarmed else over}")
        if row.kind in ("gap", "notice"):
            seconds = f" ({row.seconds:.1f} s)" if row.seconds else ""
            self._say(f"{row.time_s:8.1f} s  {row.kind}: {printable(row.reason)}{seconds}")
        elif row.kind == "update":
            self._status(row)

    def _status(self, row: Row) -> None:
        here = {face.person for face in row.faces}
        persons = "; ".join(in_words(person) for person in row.persons if person.person in here) or "no face"
        text = f"{row.time_s:8.1f} s  {row.latency_ms or 0:.0f} ms old, {row.n_dropped} not looked at  {persons}"
        now_s = self._now()
        if self._is_terminal:
            self._out.write("\r" + text[:160].ljust(self._width))
            self._width = min(len(text), 160)
        elif self._told_s is None or now_s - self._told_s >= STATUS_S:
            self._told_s = now_s
            self._out.write(text + "\n")
        self._out.flush()

    def _say(self, text: str) -> None:
        if self._is_terminal:
            self._out.write("\r" + " " * self._width + "\r")
            self._width = 0
        self._out.write(text + "\n")
        self._out.flush()

    def close(self) -> None:
        """Leave the line as it is."""
        if self._is_terminal and self._width:
            self._out.write("\n")
            self._out.flush()
