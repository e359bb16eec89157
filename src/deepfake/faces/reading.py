"""One video -> all that is known before it is scored: hashed once, demuxed once, extracted once, in one process.

What was read is kept in a cache: of the file a note, found by its state (`files.probe_note`); of its faces a shard,
found by content and settings. What the file itself is not the cause of is not noted: it may pass.
Worker processes import this module, so it imports no pandas; and the process that hands out the jobs, so that the
extractor with its detector of faces is imported by the first job that needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from deepfake.faces.extracted import Extraction, Job, kept_extraction, shard_name
from deepfake.files import State, probe_note, state_of, write_whole
from deepfake.media.demux import Demuxed, LostFileError, require_file
from deepfake.media.file_facts import READ_BY, VideoFile, lost_file, read_file, unread
from deepfake.settings import Extract


@dataclass(frozen=True)
class Reading:
    """A file and its extraction."""

    file: VideoFile
    extraction: Extraction

    @property
    def video_id(self) -> str:
        """What the video is called."""
        return self.extraction.video_id

    def named(self, video_id: str) -> Reading:
        """The same under another name."""
        return replace(self, extraction=replace(self.extraction, video_id=video_id))


@dataclass(frozen=True)
class ReadJob:
    """A video, the cache, and how to extract; `every`, `hand_on`: see `faces.extracted.Job`."""

    video_id: str
    path: Path
    cache_dir: Path
    settings: Extract
    every: int = 1
    hand_on: bool = False


def read(job: ReadJob, extract: Callable[[Job, Demuxed], Extraction] | None = None) -> Reading:
    """Read one video into the cache; crops that lie there already are not made again, others by `extract`."""
    try:
        require_file(job.path)
        state, note = state_of(job.path), probe_note(job.path, job.cache_dir)
    except (LostFileError, OSError) as error:
        reason = str(error) if isinstance(error, LostFileError) else unread(job.path, error)
        file = lost_file(job.path, reason)
        return Reading(file, Extraction(job.video_id, failure=file.reason))
    file, demuxed = read_file(job.path)
    try:
        return _read(job, file, demuxed, (state, note), extract or extract_job)
    finally:
        if demuxed is not None and demuxed.source is not None:
            demuxed.source.close()


def _read(
    job: ReadJob,
    file: VideoFile,
    demuxed: Demuxed | None,
    noted: tuple[State, Path],
    extract: Callable[[Job, Demuxed], Extraction],
) -> Reading:
    state, note = noted
    if file.sha256 is None:
        return Reading(file, Extraction(job.video_id, failure=file.reason))
    write_whole(note, json.dumps({"read_by": READ_BY, **json.loads(file.to_json())}).encode())
    if demuxed is None:
        return Reading(file, Extraction(job.video_id, failure=file.reason))
    shard = shard_name(file.sha256, job.settings, job.every)
    known = kept_extraction(job.cache_dir, shard, job.video_id)
    whole = Job(job.video_id, job.path, job.cache_dir, shard, job.settings, job.every, state=state, hand_on=job.hand_on)
    return Reading(file, known or extract(whole, demuxed))


def extract_job(job: Job, demuxed: Demuxed | None = None) -> Extraction:
    """`faces.extractor.extract`, which is imported here."""
    from deepfake.faces.extractor import extract

    if job.video is not None or job.shards is not None:
        from deepfake.faces.far import extract_far

        return extract_far(job, extract)
    return extract(job, demuxed)


def read_note(path: Path, cache_dir: Path) -> VideoFile | None:
    """What an earlier run noted of the file as it is now; None where nothing, or by another version."""
    try:
        data = probe_note(path, cache_dir).read_bytes()
        return VideoFile.from_json(data, path) if json.loads(data).get("read_by") == READ_BY else None
    except (OSError, ValueError, AttributeError):  # of the file, too: reading it will say why
        return None
