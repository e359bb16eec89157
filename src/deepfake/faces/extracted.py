"""The extraction of one video, as values: its faces, and all that is known of how they were made.

A shard keeps these as plain rows beside the crops (`shard_rows`, `read_extraction`). Worker processes import this
module, so it imports no pandas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop, read_rows
from deepfake.files import write_whole

Status = Literal["ok", "no_face", "failed"]
Turn = Literal[0, 90, 180, 270]


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
class Extraction:
    """What was sampled of a video, its shots and faces, and the shard where the crops lie (below the work folder).

    `failure`: why the video could not be read; then nothing else is known. `is_damaged`: the undamaged frames showed
    no face, so that the `n_damaged` damaged ones, else left out, are among those sampled. `turned`: turned clockwise by
    so many degrees against what players show there are faces; boxes are in the picture turned so. `sampled_s` and
    `cuts_s` are empty and None in shards of older versions, which do not hold them.
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

    @property
    def status(self) -> Status:
        """ok, no_face or failed."""
        return "failed" if self.failure is not None else "ok" if self.faces else "no_face"

    @property
    def reason(self) -> str | None:
        """Why not ok."""
        if self.status != "no_face":
            return self.failure
        which = "of these" if self.is_damaged else "and left out"
        return f"no face in {self.n_sampled} frames{f'; damaged {which}: {self.n_damaged}' if self.n_damaged else ''}"

    @property
    def tracks(self) -> list[tuple[StoredFace, ...]]:
        """The faces track by track, in the order of the tracks' numbers and of time."""
        return by_track(self.faces)

    @property
    def times_s(self) -> list[float]:
        """When its frames were sampled; where a shard does not hold that, when its faces were detected."""
        return sorted(self.sampled_s or {face.time_s for face in self.faces})


def by_track(faces: Sequence[StoredFace]) -> list[tuple[StoredFace, ...]]:
    """Faces of one video track by track, in the order of the tracks' numbers and of time."""
    ordered = sorted(faces, key=lambda face: (face.track, face.frame_index))
    return [tuple(own) for _, own in groupby(ordered, key=lambda face: face.track)]


def stored_crop(work_dir: Path, face: StoredFace) -> np.ndarray:
    """The crop of a face as HWC uint8 RGB."""
    return read_crop(work_dir, face.shard, face.offset, face.size)


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
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"shard {work_dir / shard}: rows of another version ({error}); run 02_extract_faces with --force"
        ) from None


_COLUMNS = tuple(field.name for field in fields(StoredFace) if field.name not in ("landmarks", "shard"))


def _face(row: Mapping[str, Any], shard: str) -> StoredFace:
    return StoredFace(**{name: row[name] for name in _COLUMNS}, landmarks=tuple(row["landmarks"]), shard=shard)


def failure_note(shard_path: Path) -> Path:
    """Where it is noted that a video cannot be extracted."""
    return shard_path.with_suffix(".failed.json")


def note_failure(shard_path: Path, reason: str) -> None:
    """Keep beside the shard why there is none, so that it is not tried again."""
    write_whole(failure_note(shard_path), json.dumps({"reason": reason}).encode())


def kept_extraction(work_dir: Path, shard: str, video_id: str) -> Extraction | None:
    """What an earlier run made of a video; None where there was none."""
    note = failure_note(work_dir / shard)
    if note.is_file():
        return Extraction(video_id, failure=str(json.loads(note.read_text())["reason"]))
    return read_extraction(work_dir, shard, video_id) if (work_dir / shard).is_file() else None
