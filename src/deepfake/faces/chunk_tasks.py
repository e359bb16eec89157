"""The pieces of work on long videos, and what comes of them: values that travel between processes.

Nothing here imports a detector of faces; `faces.chunk_queue` hands the work out, `faces.chunked` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from deepfake.faces.extracted import Extraction, Job
from deepfake.faces.reading import Reading, ReadJob
from deepfake.media.file_facts import VideoFile

if TYPE_CHECKING:
    from deepfake.faces.passes import Pass
    from deepfake.faces.sight import Answers, NotedFrame, Question
    from deepfake.media.chunks import Chunk, Decoded
    from deepfake.media.shots import Changes


@dataclass(frozen=True)
class Started:
    """A long video that was demuxed: its job, what was demuxed (packed), and the file as it was read, where it was."""

    job: Job
    packed: bytes
    file: VideoFile | None = None


@dataclass(frozen=True)
class ChunkTask:
    """A chunk to read in a pass, or only some questions to answer about its frames."""

    started: Started
    one: Pass
    chunk: Chunk
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True)
class Part:
    """What was noted of a chunk in a pass, by name and number; `problem`: why its frames may not be the right ones.

    `decoded`, `changes`, `frames` and `thumbs` are missing where only questions were answered.
    """

    name: str
    number: int
    answers: Answers
    decoded: Decoded | None = None
    changes: Changes | None = None
    frames: tuple[NotedFrame, ...] = ()
    thumbs: Mapping[int, np.ndarray] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Step:
    """All that is known of a long video so far; questions were asked so many times."""

    started: Started
    parts: tuple[Part, ...] = ()
    n_asked: int = 0


@dataclass(frozen=True)
class Next:
    """What is to be read before the next step."""

    tasks: tuple[ChunkTask, ...]
    is_asking: bool = False


@dataclass(frozen=True)
class Whole:
    """A long video is not cut, for this reason: its chunks would not give what one pass gives."""

    started: Started
    reason: str


@dataclass(frozen=True)
class Work:
    """A piece of work on the video of a number."""

    number: int
    what: Job | ReadJob | ChunkTask | Step | Whole


Outcome = Extraction | Reading | Started | Part | Next | Whole
