"""The extraction of videos that lie in a store, and of those whose crops go into one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from deepfake.engines.storage import Folder
from deepfake.faces.extracted import Extraction, Job, failure_note, kept_extraction
from deepfake.files import write_whole
from deepfake.media.demux import LostFileError
from deepfake.media.needs import allow_for
from deepfake.media.remote import fetched, scratch_folder


def extract_far(job: Job, extract: Callable[[Job], Extraction]) -> Extraction:
    """Extract a video on this machine's disk, by `extract`, and store its shard, or the note why there is none."""
    with ExitStack() as places:
        work_dir = job.work_dir if job.shards is None else places.enter_context(scratch_folder())
        near = replace(job, work_dir=work_dir, video=None, shards=None)
        store = None if job.shards is None else Folder(job.shards)
        names = [job.shard, str(failure_note(Path(job.shard)))]
        if store is not None and not job.is_forced:
            for name in names:
                if store.has(name):
                    write_whole(work_dir / name, store.read(name))
            kept = kept_extraction(work_dir, job.shard, job.video_id)
            if kept is not None:
                return kept
        try:
            if job.video is not None:
                allow_for(job.video.size_bytes)
                near = replace(near, path=places.enter_context(fetched(job.video)))
            made = extract(near)
        except LostFileError as error:
            return Extraction(job.video_id, failure=str(error))
        if store is not None:
            for name in names:
                if (work_dir / name).is_file():
                    store.write(name, [(work_dir / name).read_bytes()])
                elif store.has(name):
                    store.remove(name)
        return made
