"""The time of a watch: from a stream's own stamps, which jump and start anew, to seconds that only rise. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BACK_S, JUMP_S = 0.5, 10.0  # a clock that goes back by more, or ahead without the wall clock, is another one
LEAST_STEP_S = 0.001
# A sender's crystal may be slow by so much a second: without it an hour would look like a delay of 0.2 s.
DRIFT = 5e-5
HELD_BACK = 32  # frames that a decoder gives after a jump may be of packets from before it


@dataclass
class StreamClock:
    """Times are seconds; `wall_s` is a clock of this machine that only rises.

    `offset_s` is what to add to a stamp for the watch's time. `early_s` is the wall clock's reading at time 0, as it
    was for the frame that came soonest: how much later another one comes is how late it is.
    """

    offset_s: float = 0.0
    last_s: float = -LEAST_STEP_S
    early_s: float | None = None
    _stamp_s: float | None = None
    _stamp_wall_s: float = 0.0
    _is_new: bool = True
    _before_s: float | None = None
    _n_held: int = 0

    def reconnect(self) -> None:
        """The next stamp is of another clock."""
        self._is_new = True

    def take(self, stamp_s: float | None, shown_s: float | None, wall_s: float) -> bool:
        """Take a packet's stamps; whether the stream's clock is another one than before, or jumped."""
        if stamp_s is None:
            stamp_s = shown_s = wall_s
        is_first = self._stamp_s is None
        passed_s = wall_s - self._stamp_wall_s
        step_s = stamp_s - (self._stamp_s or 0.0)
        is_jump = not is_first and not self._is_new and (step_s < -BACK_S or step_s - passed_s > JUMP_S)
        if self._is_new or is_jump:
            at_s = 0.0 if is_first else self.last_s + max(passed_s, LEAST_STEP_S)
            self._before_s, self._n_held = (self.offset_s, HELD_BACK) if is_jump else (None, 0)
            self.offset_s = at_s - (stamp_s if shown_s is None else shown_s)
            self._is_new = False
        self._stamp_s, self._stamp_wall_s = stamp_s, wall_s
        return is_jump

    def time_of(self, shown_s: float | None, wall_s: float) -> float:
        """The watch's time of a frame, later than that of the one before."""
        stamp_s = wall_s if shown_s is None else shown_s
        found = stamp_s + self.offset_s
        if self._n_held and self._before_s is not None:
            self._n_held -= 1
            found = min(found, stamp_s + self._before_s, key=lambda time_s: abs(time_s - self.last_s))
        self.last_s = max(found, self.last_s + LEAST_STEP_S, 0.0)
        return self.last_s

    def late_s(self, time_s: float, wall_s: float) -> float:
        """How much later a frame came than the soonest one did."""
        at_zero = wall_s - time_s
        if self.early_s is None:
            self.early_s = at_zero
        self.early_s = min(at_zero, self.early_s)
        return at_zero - self.early_s

    def drift(self, seconds: float) -> None:
        """So much time has passed: what came soonest long ago says less about now."""
        if self.early_s is not None:
            self.early_s += DRIFT * seconds

    def anchor(self, time_s: float, wall_s: float) -> None:
        """A frame of this time is on time now."""
        self.early_s = wall_s - time_s
