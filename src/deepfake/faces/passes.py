"""The passes of an extraction over a video: frames in display order, and who answers what is asked of them.

`LivePasses` decodes them here and now; `faces.chunked` puts them together of what was noted of each chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from deepfake.faces.copy_hashes import Settings, grid_places, is_hashed_in_passing
from deepfake.faces.extracted import Job, Searched
from deepfake.faces.mtcnn import FaceDetector
from deepfake.faces.sight import Frame, LiveSight, Sight
from deepfake.media.chunks import Chunk
from deepfake.media.demux import Demuxed, VideoProbe
from deepfake.media.sampling import Ints
from deepfake.media.shots import CutDetector, cut_detector
from deepfake.media.video import Cut, Sampled, sample
from deepfake.media.video import Frame as Decoded


@dataclass(frozen=True)
class Search:
    """Frames to sample, by their places in display order (none where no face was found), and what was searched.

    No face goes on from before one of the `boundaries`, also places, to after it: between them it was not there.
    """

    places: Ints
    boundaries: Ints
    about: Searched

    def part_of(self, index: int) -> int:
        """Between which of the boundaries a frame lies."""
        return int(np.searchsorted(self.boundaries, index, side="right"))


@dataclass(frozen=True)
class Pass:
    """Which frames to read and how: those at `places`, or, without them, those that the mode chooses.

    `found`: what a search found, where these are its places. `keeps_thumbs`: small pictures are kept in passing, for
    hashes that copies are found by (`faces.copy_hashes`).
    """

    kind: Literal["search", "sample"]
    stream: int
    sampling: str
    places: Ints | None
    with_damaged: bool = False
    turned: int = 0
    found: Search | None = None
    keeps_thumbs: bool = False

    @property
    def name(self) -> str:
        """One of a kind among the passes of an extraction."""
        return f"{self.kind} {self.stream} {self.turned}{' damaged' if self.with_damaged else ''}"


class Frames(Protocol):
    """Frames to iterate over once, and what is known of them then (`media.video.Sampled`)."""

    probe: VideoProbe
    cuts: list[Cut]
    decoder: str
    decoder_reason: str
    n_corrupt: int
    n_bad_packets: int
    thumbs: dict[int, np.ndarray]

    def __iter__(self) -> Iterator[Frame]:
        """In display order."""
        ...


Opened = tuple[Frames, Sight]


class Passes(Protocol):
    """Whoever opens passes; the first is the one whose thumbs are kept."""

    first: Frames | None

    def open(self, demuxed: Demuxed, one: Pass) -> AbstractContextManager[Opened]:
        """The frames of a pass; what was asked of them is sure to be true once the context ended."""
        ...


class LivePasses:
    """Passes that decode."""

    def __init__(self, job: Job, detector: FaceDetector) -> None:
        self.job = job
        self.sight = LiveSight(job.settings, detector)
        self.first: Frames | None = None

    def open(self, demuxed: Demuxed, one: Pass) -> AbstractContextManager[Opened]:
        """Decoding begins with the first frame asked for."""
        frames = open_pass(self.job, demuxed, replace(one, keeps_thumbs=self.first is None))
        self.first = self.first or frames
        return nullcontext((frames, self.sight))


def open_pass(
    job: Job,
    demuxed: Demuxed,
    one: Pass,
    chunk: Chunk | None = None,
    cuts: CutDetector | None = None,
    on_frame: Callable[[Decoded], None] | None = None,
) -> Sampled:
    """A pass over a video or over a chunk of it, opened; `cuts` finds shots instead of the settings' detector."""
    settings = job.settings
    is_search = one.kind == "search"
    thumbs_at: frozenset[int] = frozenset()
    if one.keeps_thumbs and is_hashed_in_passing(demuxed):
        thumbs_at = frozenset(grid_places(demuxed, Settings().sample_fps).tolist())
    return sample(
        job.path,
        one.sampling,
        n_frames=settings.frames_per_video,
        sample_fps=settings.sample_fps,
        backend="auto" if is_search else settings.backend,
        on_frame=on_frame,
        cut_detector=cuts or cut_detector(settings.shot_detector),
        every=1 if is_search else job.every,
        demuxed=demuxed,
        places=one.places,
        with_damaged=one.with_damaged,
        turned=one.turned,
        chunk=chunk,
        thumbs_at=thumbs_at,
    )
