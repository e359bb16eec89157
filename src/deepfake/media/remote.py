"""Videos in a store (s3, hdfs, abfs, ...): listed by URL, and fetched one at a time to the disk of whoever reads them.

A fetched video is there as long as it is worked on; what a killed process left of one goes with the next fetch.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from deepfake.engines.storage import Folder
from deepfake.errors import UserError
from deepfake.media.demux import LostFileError
from deepfake.media.file_facts import VideoFile, lost_file, probe_file
from deepfake.media.needs import allow_for

_OURS = re.compile(r"deepfake-fetched-(?P<pid>[1-9][0-9]*)-.+")


@dataclass(frozen=True)
class RemoteVideo:
    """A video in a store: its folder's URL, its name below that, its size; more than `most_bytes` are not fetched."""

    store: str
    name: str
    size_bytes: int
    most_bytes: int


@dataclass(frozen=True)
class RemoteListing:
    """The files of a store's folder: videos by video_id, files of labels, and what changes when one of them changes."""

    videos: dict[str, RemoteVideo]
    labels: tuple[str, ...]
    state: tuple[tuple[str, int, str], ...]


def list_remote(url: str, endings: Collection[str], most_mb: int) -> RemoteListing:
    """The videos below a URL, sorted by video_id; hidden names are left out; UserError where there is none."""
    videos, labels, state = {}, [], []
    for name, size, changed in Folder(url).files():
        if any(part.startswith(".") for part in PurePosixPath(name).parts):
            continue
        if PurePosixPath(name).suffix.lower() in endings:
            videos[name] = RemoteVideo(url, name, size, most_mb << 20)
        elif PurePosixPath(name).name == "metadata.json":
            labels.append(name)
        else:
            continue
        state.append((name, size, changed))
    if not videos:
        raise UserError(f"{url!r} holds no video: no name below it ends in one of {' '.join(sorted(endings))}")
    return RemoteListing(dict(sorted(videos.items())), tuple(sorted(labels)), tuple(sorted(state)))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder on this machine's disk that goes afterwards; so do those of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob("deepfake-fetched-*"):
        match = _OURS.fullmatch(path.name)
        if match is not None and not psutil.pid_exists(int(match["pid"])):
            shutil.rmtree(path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"deepfake-fetched-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fetched(video: RemoteVideo) -> Iterator[Path]:
    """The video as a file of its name; LostFileError where it is too large, or cannot be fetched."""
    if video.size_bytes > video.most_bytes:
        raise LostFileError(
            f"video {video.name!r}: {video.size_bytes >> 20} MB, more than {video.most_bytes >> 20}; "
            "to have it fetched raise engine.max_video_mb, and see that executors have room"
        )
    with scratch_folder() as folder:
        path = folder / PurePosixPath(video.name).name
        try:
            Folder(video.store).fetch(video.name, path, video.most_bytes)
        except OSError as error:
            if error.filename == str(path):  # this machine's disk
                raise
            raise LostFileError(f"video {video.name!r} could not be fetched from {video.store}: {error}") from None
        yield path


def probe_remote(video: RemoteVideo) -> VideoFile:
    """`probe_file` of a fetched video; one that cannot be fetched says why."""
    try:
        allow_for(video.size_bytes)
        with fetched(video) as path:
            return probe_file(path)
    except LostFileError as error:
        return lost_file(Path(video.name), str(error))
