"""The extraction of one video, as values: its faces, and all that is known of how they were made.

A shard keeps these as plain rows beside the crops (`shard_rows`, `read_extraction`); `faces.extractor` makes one for a
`Job`. Worker processes import this module, and the process that hands out the jobs, which runs no detector of faces: so
it imports neither pandas nor the extractor.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop, read_picture, read_rows
from deepfake.files import State, digest, write_whole
from deepfake.media.file_facts import READ_BY
from deepfake.media.remote import RemoteVideo
from deepfake.settings import Extract, result_values

log = logging.getLogger(__name__)
FORMAT = 6  # raise it when the same settings give other crops or rows
Status = Literal["ok", "no_face", "failed"]
Turn = Literal[0, 90, 180, 270]


@dataclass(frozen=True, slots=True)  # a million of them wait in one process
class Job:
    """One video to extract: where it lies, and where its shard goes (a path below the work folder).

    `every` 2: of every second frame only of those the settings would sample. The shard is named by a content: `state`
    is the file's when that was read, where this process did; else the file is hashed, and must have that `sha256`.
    `hand_on`: crops are handed on as they are made (`workers.hand_on`), as lists of a shard's pictures; some of them
    may not come into the shard.
    `video`: it lies in a store, and `path` is but its name; `shards`: the URL of the store where the shard goes, and
    where one is looked for unless `is_forced`.
    """

    video_id: str
    path: Path
    work_dir: Path
    shard: str
    settings: Extract
    every: int = 1
    sha256: str | None = None
    state: State | None = None
    video: RemoteVideo | None = None
    shards: str | None = None
    is_forced: bool = False
    hand_on: bool = False

    @property
    def shard_path(self) -> Path:
        """Where the shard goes."""
        return self.work_dir / self.shard


def shard_name(sha256: str, settings: Extract, every: int = 1) -> str:
    """Path of a video's shard below the work folder: by content and settings, so runs never mix; `every`: see `Job`."""
    values = {**result_values(settings, "extract"), **({"every": every} if every > 1 else {})}
    key = digest({"content": sha256, "settings": values, "format": FORMAT})
    return f"crops/{digest({'settings': values, 'format': FORMAT})[:12]}/{key[:2]}/{key[:32]}.tar"


@dataclass(frozen=True)
class Face:
    """One face in one frame: columns of the faces table, in full-frame pixels; `landmarks` are five points, x y."""

    shot: int
    track: int
    frame_index: int
    time_s: float
    x0_px: float
    y0_px: float
    x1_px: float
    y1_px: float
    score: float
    is_detected: bool
    landmarks: tuple[float, ...]
    crop_x0_px: float
    crop_y0_px: float
    crop_side_px: float
    sharpness: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1."""
        return self.x0_px, self.y0_px, self.x1_px, self.y1_px


@dataclass(frozen=True)
class StoredFace(Face):
    """A face whose crop lies in a shard (a path below the work folder), at a byte offset."""

    shard: str
    offset: int
    size: int


@dataclass(frozen=True)
class FurtherStream:
    """What was sampled of another video stream of a file; its shots are numbered from `first_shot` on.

    `failure`: why its frames could not be read; then nothing else is known.
    """

    stream: int
    first_shot: int = 0
    n_sampled: int = 0
    sampled_s: tuple[float, ...] = ()
    n_damaged: int = 0
    n_shots: int = 0
    cuts_s: tuple[float, ...] = ()
    failure: str | None = None


@dataclass(frozen=True)
class Searched:
    """What a search of a long video saw: frames, the longest time between two of them, faces shot by shot.

    `n_judged` of these appearances got frames of their own.
    """

    n_frames: int
    gap_s: float
    n_appearances: int
    n_judged: int


@dataclass(frozen=True)
class Extraction:
    """What was sampled of a video, its shots and faces, and the shard where the crops lie (below the work folder).

    `failure`: why the video could not be read; then nothing else is known. `is_damaged`: the undamaged frames showed
    no face, so that the `n_damaged` damaged ones, else left out, are among those sampled. `turned`: turned clockwise by
    so many degrees against what players show there are faces; boxes are in the picture turned so. `sampled_s` and
    `cuts_s` are empty and None in shards of older versions, which do not hold them. `searched` is None where frames
    were spread evenly.

    What was sampled is of one video stream, `stream`. The others that were looked at are `further`: their shots and
    tracks are numbered on from those of the stream before, so that a file's tracks are those of all its streams.
    """

    video_id: str
    shard: str | None = None
    failure: str | None = None
    decoder: str | None = None
    decoder_reason: str | None = None
    n_sampled: int = 0
    sampled_s: tuple[float, ...] = ()
    n_damaged: int = 0
    is_damaged: bool = False
    turned: Turn = 0
    n_shots: int = 0
    cuts_s: tuple[float, ...] | None = None
    frame_hashes: tuple[str, ...] = ()
    faces: tuple[StoredFace, ...] = ()
    stream: int | None = None
    further: tuple[FurtherStream, ...] = ()
    searched: Searched | None = None

    @property
    def status(self) -> Status:
        """ok, no_face or failed."""
        return "failed" if self.failure is not None else "ok" if self.faces else "no_face"

    @property
    def reason(self) -> str | None:
        """Why not ok."""
        if self.status != "no_face":
            return self.failure
        n_frames = self.n_sampled_of_all + (self.searched.n_frames if self.searched else 0)
        which = "of these" if self.is_damaged else "and left out"
        return f"no face in {n_frames} frames{f'; damaged {which}: {self.n_damaged}' if self.n_damaged else ''}"

    @property
    def n_sampled_of_all(self) -> int:
        """Frames sampled of all streams."""
        return self.n_sampled + sum(other.n_sampled for other in self.further)

    def stream_of(self, shot: int) -> int | None:
        """The video stream that a shot is of; None where a shard of an older version does not hold it."""
        begun = [other for other in self.further if other.failure is None and shot >= other.first_shot]
        return begun[-1].stream if begun else self.stream

    @property
    def tracks(self) -> list[tuple[StoredFace, ...]]:
        """The faces track by track, in the order of the tracks' numbers and of time."""
        return by_track(self.faces)

    @property
    def crops(self) -> str:
        """A digest of what was seen of its faces: alike for copies of a video, whatever else differs in the files."""
        return digest([[getattr(face, name) for name in _SEEN] for face in self.faces])

    @property
    def times_s(self) -> list[float]:
        """When its frames were sampled; where a shard does not hold that, when its faces were detected."""
        return sorted(self.sampled_s or {face.time_s for face in self.faces})


_SEEN = ("frame_index", "track", "x0_px", "y0_px", "x1_px", "y1_px", "sharpness", "size")


def by_track(faces: Sequence[StoredFace]) -> list[tuple[StoredFace, ...]]:
    """Faces of one video track by track, in the order of the tracks' numbers and of time."""
    ordered = sorted(faces, key=lambda face: (face.track, face.frame_index))
    return [tuple(own) for _, own in groupby(ordered, key=lambda face: face.track)]


def stored_crop(work_dir: Path, face: StoredFace) -> np.ndarray:
    """The crop of a face as HWC uint8 RGB."""
    return read_crop(work_dir, face.shard, face.offset, face.size)


def stored_picture(work_dir: Path, face: StoredFace) -> bytes:
    """The crop of a face as it lies in the shard: JPEG or PNG."""
    return read_picture(work_dir, face.shard, face.offset, face.size)


def shard_rows(extraction: Extraction, faces: list[Face]) -> Mapping[str, object]:
    """What a shard keeps beside its pictures, one face a picture; `write_shard` adds their places."""
    return {
        "decoder": extraction.decoder,
        "decoder_reason": extraction.decoder_reason,
        "n_sampled": extraction.n_sampled,
        "sampled_s": extraction.sampled_s,
        "n_damaged": extraction.n_damaged,
        "is_damaged": extraction.is_damaged,
        "turned": extraction.turned,
        "n_shots": extraction.n_shots,
        "cuts_s": extraction.cuts_s,
        "frame_hashes": extraction.frame_hashes,
        "stream": extraction.stream,
        "further": [asdict(other) for other in extraction.further],
        "searched": extraction.searched and asdict(extraction.searched),
        "faces": [asdict(face) for face in faces],
    }


def stored(face: Face, shard: str, offset: int, size: int) -> StoredFace:
    """A face and the place of its crop."""
    return StoredFace(**vars(face), shard=shard, offset=offset, size=size)


def read_extraction(work_dir: Path, shard: str, video_id: str) -> Extraction:
    """Undo `shard_rows`."""
    rows = read_rows(work_dir / shard)
    try:
        return Extraction(
            video_id=video_id,
            shard=shard,
            decoder=rows["decoder"],
            decoder_reason=rows["decoder_reason"],
            n_sampled=rows["n_sampled"],
            sampled_s=tuple(rows.get("sampled_s") or ()),
            n_damaged=rows.get("n_damaged", 0),
            is_damaged=rows.get("is_damaged", False),
            turned=rows.get("turned", 0),
            n_shots=rows["n_shots"],
            cuts_s=None if rows.get("cuts_s") is None else tuple(rows["cuts_s"]),
            frame_hashes=tuple(rows["frame_hashes"]),
            faces=tuple(_face(face, shard) for face in rows["faces"]),
            stream=rows.get("stream"),
            further=tuple(_further(other) for other in rows.get("further", [])),
            searched=Searched(**rows["searched"]) if rows.get("searched") else None,
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"shard {work_dir / shard}: rows of another version ({error}); run 02_extract_faces with --force"
        ) from None


_COLUMNS = tuple(field.name for field in fields(StoredFace) if field.name not in ("landmarks", "shard"))


def _face(row: Mapping[str, Any], shard: str) -> StoredFace:
    return StoredFace(**{name: row[name] for name in _COLUMNS}, landmarks=tuple(row["landmarks"]), shard=shard)


def _further(row: Mapping[str, Any]) -> FurtherStream:
    return FurtherStream(**{**row, "sampled_s": tuple(row["sampled_s"]), "cuts_s": tuple(row["cuts_s"])})


def failure_note(shard_path: Path) -> Path:
    """Where it is noted that a video cannot be extracted."""
    return shard_path.with_suffix(".failed.json")


def note_failure(shard_path: Path, reason: str) -> None:
    """Keep beside the shard why there is none, so that this version does not try it again.

    For what the content itself is the cause of; a file that was away or busy may be read the next time.
    """
    write_whole(failure_note(shard_path), json.dumps({"reason": reason, "read_by": READ_BY}).encode())


def noted_failure(shard_path: Path) -> str | None:
    """Why this version could make no shard of that content; None where it has noted nothing."""
    try:
        note = json.loads(failure_note(shard_path).read_text())
        return str(note["reason"]) if note.get("read_by") == READ_BY else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def kept_extraction(work_dir: Path, shard: str, video_id: str) -> Extraction | None:
    """What an earlier run made of a video; None where there was none, or what is left of it cannot be read."""
    reason = noted_failure(work_dir / shard)
    if reason is not None:
        return Extraction(video_id, failure=reason)
    if not (work_dir / shard).is_file():
        return None
    try:
        return read_extraction(work_dir, shard, video_id)
    except UserError as error:
        log.info("%s: made again", error)
        return None
