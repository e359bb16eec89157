"""What was sampled of each video stream of a file, by whichever version: between extraction and check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepfake.detector.check import STANDS_FOR_S
from deepfake.media.streams import VideoStream

if TYPE_CHECKING:
    from deepfake.detector.judged import TrackScore
    from deepfake.faces.extracted import Extraction
    from deepfake.media.demux import VideoProbe


@dataclass(frozen=True)
class Look:
    """What was sampled of one video stream, or why it was `left_out`.

    `cuts_s` is None where a shard of an older version has no cuts.
    """

    stream: VideoStream
    first_shot: int = 0
    n_sampled: int = 0
    times_s: tuple[float, ...] = ()
    cuts_s: tuple[float, ...] | None = ()
    left_out: str | None = None

    @property
    def end_s(self) -> float:
        """When its last frame ends."""
        return self.stream.first_frame_s + self.stream.duration_s

    @property
    def unseen_s(self) -> list[tuple[float, float]]:
        """Stretches (from, to) that no sampled frame stands for; none where it was left out."""
        if self.left_out is not None:
            return []
        edges = [(t - STANDS_FOR_S, t + STANDS_FOR_S) for t in self.times_s]
        starts = [self.stream.first_frame_s, *(end for _, end in edges)]
        ends = [*(start for start, _ in edges), self.end_s]
        return [(round(a, 3), round(b, 3)) for a, b in zip(starts, ends, strict=True) if b - a > 1e-3]

    def shots(self, scores: Sequence[TrackScore]) -> list[tuple[int, float, float]]:
        """Number, beginning and end of each of its shots; `scores` are of its own tracks."""
        starts = [] if self.left_out is not None else self._shot_starts(scores)
        ends = [*starts[1:], self.end_s][: len(starts)]
        return [(self.first_shot + i, *part) for i, part in enumerate(zip(starts, ends, strict=True))]

    def _shot_starts(self, scores: Sequence[TrackScore]) -> list[float]:
        """When each shot begins; from its faces where a shard of an older version has no cuts."""
        start_s, last = self.stream.first_frame_s, max((score.shot for score in scores), default=0)
        if self.cuts_s is not None and self.first_shot + len(self.cuts_s) >= last:
            return [start_s, *self.cuts_s]
        first = [
            min((float(score.times_s[0]) for score in scores if score.shot == shot), default=start_s)
            for shot in range(1, last + 1)
        ]
        return [start_s, *np.maximum.accumulate(first).tolist()]


def looks_of(extraction: Extraction, probe: VideoProbe) -> list[Look]:
    """All video streams of a file: the one that stands for it, the others that were looked at, those left out."""
    by_number = {one.stream: one for one in probe.streams}
    number = probe.stream if extraction.stream is None else extraction.stream
    looks = [
        Look(by_number[number], 0, extraction.n_sampled, tuple(extraction.times_s), extraction.cuts_s),
        *(
            Look(
                by_number[other.stream], other.first_shot, other.n_sampled, other.sampled_s, other.cuts_s, other.failure
            )
            for other in extraction.further
        ),
    ]
    known = {look.stream.stream for look in looks}
    # A shard that names no stream is of an older version, which looked at one alone.
    return looks + [
        Look(one, left_out=one.left_out or "not looked at by the version that extracted the faces")
        for one in probe.streams
        if one.stream not in known
    ]
