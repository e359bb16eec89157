"""A long video read by its chunks: each is decoded and searched for faces alone, then all is put together once.

What is asked of a frame may depend on the frames before it (a closer look, how a shot goes on). A chunk does not know
them, so it asks what is likely; `step` runs search and extraction over the answers of all chunks, as if they were the
frames, so that shots, tracks and numbers are those of one pass. What it still has to know it asks for. This module is
imported in worker processes only.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from deepfake.faces.chunk_tasks import ChunkTask, Next, Outcome, Part, Started, Step, Whole
from deepfake.faces.extracted import Extraction, Job
from deepfake.faces.extractor import detector_of, extract, extractor_for
from deepfake.faces.passes import Frames, Opened, Pass, open_pass
from deepfake.faces.reading import Reading, ReadJob, extract_job, read
from deepfake.faces.search import Looking
from deepfake.faces.sight import (
    Answers,
    NotedFrame,
    NotedSight,
    NotingSight,
    Question,
    UnansweredError,
    UnreadyError,
    with_hashes,
)
from deepfake.files import sha256_of, state_of
from deepfake.media.chunks import Chunk, Decoded, cut, why_incomplete, why_unequal, why_whole
from deepfake.media.demux import Demuxed, Packets, VideoError, VideoProbe, scan
from deepfake.media.needs import allow_for
from deepfake.media.sampling import MODES
from deepfake.media.shots import ChangeLog, Changes, CutDetector, CutFinder, change_between
from deepfake.media.video import Cut, Frame, Sampled
from deepfake.settings import Extract

MOST_ASKED = 6  # times; beyond it the answers change what is asked again and again


def do(what: Job | ReadJob | ChunkTask | Step | Whole) -> Outcome:
    """One piece of work of `faces.chunk_queue`."""
    match what:
        case Job():
            return begin(what)
        case ReadJob():
            return begin_reading(what)
        case ChunkTask():
            return read_chunk(what)
        case Step():
            return step(what)
        case Whole():
            return extract(_seen_here(what.started.job), _unpacked(what.started.packed))


def begin(job: Job) -> Extraction | Started:
    """Extract a short video, or one out of a store; of a long one return what its chunks need."""
    if job.video is not None or job.shards is not None:
        return extract_job(job)
    try:
        state = job.state or state_of(job.path)
        if job.state is None and job.sha256 is not None and sha256_of(job.path) != job.sha256:
            return extract(job)  # which says so
        demuxed = scan(job.path)
    except (VideoError, OSError):
        return extract(job)
    known = replace(job, state=state)
    return Started(known, _packed(demuxed)) if is_cut(demuxed, job.settings) else extract(known, demuxed)


def begin_reading(job: ReadJob) -> Reading | Started:
    """The same for a video of which nothing is known."""
    begun: list[Started] = []

    def begin_extraction(whole: Job, demuxed: Demuxed) -> Extraction:
        if not is_cut(demuxed, whole.settings):
            return extract(whole, demuxed)
        begun.append(Started(whole, _packed(demuxed)))
        return Extraction(whole.video_id)

    reading = read(job, begin_extraction)
    return replace(begun[0], file=reading.file) if begun else reading


def _seen_here(job: Job) -> Job:
    """The job with its file's state as this machine sees it: a shared disk has another number on each."""
    try:
        here = state_of(job.path)
    except OSError:
        return job
    return replace(job, state=here) if job.state is not None and here[1:] == job.state[1:] else job


def is_cut(demuxed: Demuxed, settings: Extract) -> bool:
    """Whether a video is long enough to be cut, and may be."""
    is_long = demuxed.packets.length_s > settings.chunk_from_s
    is_ours = settings.shot_detector == "luma" and settings.backend != "decord"
    return is_long and is_ours


def _packed(demuxed: Demuxed) -> bytes:
    further = tuple(replace(other, source=None) for other in demuxed.further)
    return zlib.compress(pickle.dumps(replace(demuxed, source=None, further=further)), 1)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Demuxed:
    demuxed: Demuxed = pickle.loads(zlib.decompress(packed))  # noqa: S301  a process of this run packed it
    return demuxed


def _stream(demuxed: Demuxed, number: int) -> Demuxed:
    return next(one for one in (demuxed, *demuxed.further) if one.probe.stream == number)


def read_chunk(task: ChunkTask) -> Part:
    """Read a chunk and note what search or extraction is likely to ask of it; or answer what they did ask."""
    job, one = task.started.job, task.one
    demuxed = _unpacked(task.started.packed)
    allow_for(job.path.stat().st_size, demuxed.probe)
    stream = _stream(demuxed, one.stream)
    sight = NotingSight(job.settings, detector_of(job.settings))
    try:
        if task.questions:
            return _answered(task, stream, sight)
        return _noted(task, stream, sight)
    except VideoError as error:
        return Part(one.name, task.chunk.number, Answers(), problem=str(error))


def _answered(task: ChunkTask, stream: Demuxed, sight: NotingSight) -> Part:
    asked: dict[int, list[Question]] = {}
    for question in task.questions:
        asked.setdefault(question.index, []).append(question)
    places = np.array(sorted(asked), np.int64)
    frames = open_pass(replace(task.started.job, every=1), stream, replace(task.one, places=places))
    for frame in frames:
        for question in asked.pop(frame.index, []):
            sight.answer(frame, question)
    problem = f"frame {min(asked)} did not come again" if asked else None
    return Part(task.one.name, task.chunk.number, sight.answers, problem=problem)


def _noted(task: ChunkTask, stream: Demuxed, sight: NotingSight) -> Part:
    job, one = task.started.job, task.one

    def opened(cuts: CutDetector, on_frame: Callable[[Frame], None]) -> Sampled:
        return open_pass(job, stream, one, task.chunk, cuts, on_frame)

    def read(frames: Iterator[Frame]) -> None:
        if one.kind == "search":
            looking = Looking(job.settings, sight)
            for frame in frames:
                looking.faces(frame)
        else:
            extractor_for(job.settings, stream, sight, one.found).run(with_hashes(frames, sight))

    part = noted_pass(one.name, opened, stream.packets, task.chunk, read)
    problem = part.problem and f"video {job.path.name!r}: {part.problem}"
    return replace(part, answers=sight.answers, problem=problem)


def noted_pass(
    name: str,
    opened: Callable[[CutDetector, Callable[[Frame], None]], Sampled],
    packets: Packets,
    chunk: Chunk,
    read: Callable[[Iterator[Frame]], None],
) -> Part:
    """Have the frames of a chunk read, and note how they and those decoded between them change; without answers.

    `opened` opens the pass with a detector of cuts and a function that sees every decoded frame.
    """
    changes = ChangeLog()
    decoded: list[tuple[int, int, float, int, int]] = []

    def note(frame: Frame) -> None:
        decoded.append((frame.index, frame.stretch, frame.time_s, frame.width_px, frame.height_px))

    frames = opened(changes, note)
    seen: list[NotedFrame] = []
    read(_listed(frames, seen))
    all_decoded = _as_decoded(frames, decoded, seen)
    return Part(
        name=name,
        number=chunk.number,
        answers=Answers(),
        decoded=all_decoded,
        changes=changes.changes(),
        frames=tuple(seen),
        thumbs=frames.thumbs,
        problem=why_incomplete(packets, frames.allowed, chunk, all_decoded),
    )


def _listed(frames: Sampled, seen: list[NotedFrame]) -> Iterator[Frame]:
    for frame in frames:
        seen.append(NotedFrame(frame.index, frame.time_s, frame.width_px, frame.height_px))
        yield frame


def _as_decoded(frames: Sampled, decoded: list[tuple[int, int, float, int, int]], seen: list[NotedFrame]) -> Decoded:
    numbers = np.array([row[:2] for row in decoded], np.int64).reshape(-1, 2)
    progress = frames.progress
    n_lost = frames.n_wanted - len(seen)
    return Decoded(
        indices=numbers[:, 0],
        stretches=numbers[:, 1],
        times_s=np.array([row[2] for row in decoded]),
        sides_px=np.array([row[3:] for row in decoded], np.int32).reshape(-1, 2),
        last_stretch=progress.n_skips,
        reorder_depths=frozenset(progress.reorder_depths),
        has_ended=progress.has_ended,
        n_spoilt=progress.n_corrupt + progress.n_bad_packets + n_lost,
    )


class UnreadPassError(UnreadyError):
    """A pass whose chunks are to be read first."""

    def __init__(self, one: Pass, chunks: list[Chunk]) -> None:
        super().__init__(one.name)
        self.one, self.chunks = one, chunks


class UncutError(UnreadyError):
    """A pass that cannot be cut."""


@dataclass
class _Joined:
    """The frames of a pass, put together of its chunks (`faces.passes.Frames`)."""

    probe: VideoProbe
    cuts: list[Cut]
    decoder: str
    decoder_reason: str
    frames: list[NotedFrame]
    thumbs: dict[int, np.ndarray]
    n_corrupt: int = 0
    n_bad_packets: int = 0

    def __iter__(self) -> Iterator[NotedFrame]:
        return iter(self.frames)


class NotedPasses:
    """Passes put together of what was noted of the chunks (`faces.passes.Passes`)."""

    def __init__(self, job: Job, parts: Mapping[str, list[Part]]) -> None:
        self.job = job
        self.parts = parts
        self.opened: dict[str, tuple[Pass, list[Chunk]]] = {}
        self.first: Frames | None = None

    @contextmanager
    def open(self, demuxed: Demuxed, one: Pass) -> Iterator[Opened]:
        """Raise what is missing: here of the frames, at the end of the answers."""
        one = replace(one, keeps_thumbs=self.first is None)
        frames, chunks = self._cut(demuxed, one)
        own = self.parts.get(one.name, [])
        read = sorted((part for part in own if part.decoded is not None), key=lambda part: part.number)
        if len(read) < len(chunks):
            raise UnreadPassError(one, chunks)
        reason = why_unequal([part.decoded for part in read if part.decoded is not None])
        if reason is not None:
            raise UncutError(reason)
        answers = Answers()
        for part in own:
            answers.add(part.answers)
        sight = NotedSight(one.name, answers)
        joined = _joined(frames, read)
        self.first = self.first or joined
        yield joined, sight
        sight.require_answers()

    def _cut(self, demuxed: Demuxed, one: Pass) -> tuple[Sampled, list[Chunk]]:
        settings, reason = self.job.settings, why_whole(demuxed.packets)
        if one.with_damaged:
            reason = "its damaged frames are looked at"
        if one.places is None and MODES[one.sampling].first_pass:
            reason = f"sampling {one.sampling!r} reads all of it twice"
        if reason is not None:
            raise UncutError(reason)
        frames = open_pass(self.job, demuxed, one)
        chunks = cut(demuxed.packets, frames.positions, settings.chunk_s)
        self.opened[one.name] = one, chunks
        return frames, chunks


def _joined(frames: Sampled, parts: list[Part]) -> _Joined:
    """Shots found over all decoded frames, and the sampled ones with the shot of each."""
    cuts = cuts_of(parts)
    first_of_shot = np.array([cut.index for cut in cuts], np.int64)
    noted = [frame for part in parts for frame in part.frames]
    shots = np.searchsorted(first_of_shot, [frame.index for frame in noted], side="right")
    return _Joined(
        probe=frames.probe,
        cuts=cuts,
        decoder=frames.decoder,
        decoder_reason=frames.decoder_reason,
        frames=[frame.of_shot(int(shot)) for frame, shot in zip(noted, shots, strict=True)],
        thumbs={place: thumb for part in parts for place, thumb in part.thumbs.items()},
    )


def cuts_of(parts: Sequence[Part]) -> list[Cut]:
    """Where shots begin in a video, by what was noted of all its chunks, in their order."""
    finder, cuts = CutFinder(), list[Cut]()
    before: Changes | None = None
    sides_px: tuple[int, int] | None = None
    for part in parts:
        decoded, changes = part.decoded, part.changes
        assert decoded is not None and changes is not None, "the chunk was read"
        joint = change_between(before, changes)
        before = changes if changes.last is not None else before
        for index, time_s, change, sides in zip(
            decoded.indices.tolist(),
            decoded.times_s.tolist(),
            changes.values.tolist(),
            decoded.sides_px.tolist(),
            strict=True,
        ):
            is_cut = False
            if change == changes.FIRST:
                is_cut = finder.judge(joint, time_s)
            elif not np.isnan(change):
                is_cut = finder.judge(change, time_s)
            if is_cut or (sides_px is not None and sides_px != tuple(sides)):
                cuts.append(Cut(index, time_s))
            sides_px = tuple(sides)
    return cuts


def step(known: Step) -> Extraction | Next | Whole:
    """Extract a video by what is noted of its chunks, as far as that goes."""
    started = known.started
    parts: dict[str, list[Part]] = {}
    for part in known.parts:
        parts.setdefault(part.name, []).append(part)
    job = _seen_here(started.job)
    passes = NotedPasses(job, parts)
    try:
        return extract(job, _unpacked(started.packed), passes)
    except UnreadPassError as error:
        return Next(tuple(ChunkTask(started, error.one, chunk) for chunk in error.chunks))
    except UnansweredError as error:
        if known.n_asked >= MOST_ASKED:
            return Whole(started, f"what its frames show was asked {known.n_asked} times and still more is to be known")
        one, chunks = passes.opened[error.name]
        return Next(_asking(started, one, chunks, error.questions), is_asking=True)
    except UncutError as error:
        return Whole(started, str(error))


def _asking(started: Started, one: Pass, chunks: list[Chunk], questions: tuple[Question, ...]) -> tuple[ChunkTask, ...]:
    """The questions, by the chunks whose frames they are about."""
    keys = _stream(_unpacked(started.packed), one.stream).packets.keys
    bounds = [chunk.to_key for chunk in chunks]
    by_chunk: dict[int, list[Question]] = {}
    for question in questions:
        number = int(np.searchsorted(bounds, float(keys[question.index]), side="right"))
        by_chunk.setdefault(number, []).append(question)
    return tuple(ChunkTask(started, one, chunks[number], tuple(own)) for number, own in sorted(by_chunk.items()))
