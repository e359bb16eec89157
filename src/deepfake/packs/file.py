"""The files of a pack: a table of faces, their points, their pictures as they were compressed, weights to start from.

A pack is NAME-00.pack, NAME-01.pack, ...: zip files of at most some megabytes, any of which can be learnt from alone,
though only the first holds weights. Letters: N faces, P points of a mesh.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake.errors import UserError
from deepfake.files import write_whole

FORMAT = 1
MEGABYTE = 1 << 20
LEARN, VALIDATE = "learn", "validate"
# role: learn or validate; kind: photo or clip; label: 1 forged; owner: the person or clip that a picture is of;
# clip: what validation scores are pooled over; face_px: longer side of the face in the stored picture.
COLUMNS = (
    "name",
    "role",
    "kind",
    "label",
    "owner",
    "clip",
    "source",
    "family",
    "generator",
    "face_px",
    "height_px",
    "width_px",
)
MESH_STEP = 64  # a mesh point is kept in so many parts of a pixel
UNKNOWN = np.iinfo(np.int16).min
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pack:
    """What was packed. `landmarks_N52` and `mesh_NP2` are in pixels of the stored picture; NaN: no mesh was found."""

    faces: pd.DataFrame
    landmarks_N52: np.ndarray
    mesh_NP2: np.ndarray
    encoded: Sequence[bytes]
    start: Mapping[str, bytes]
    digest: str

    def rows(self, role: str, kind: str | None = None) -> np.ndarray:
        """Row numbers of the faces of a role, and of a kind if one is named."""
        wanted = self.faces["role"] == role
        return np.flatnonzero(wanted if kind is None else wanted & (self.faces["kind"] == kind))

    def describe(self) -> str:
        """One sentence of counts."""
        learn, told = (self.faces[self.faces["role"] == role] for role in (LEARN, VALIDATE))
        clips = learn[learn["kind"] == "clip"]
        forged = told[told["label"] == 1]
        return (
            f"{len(learn) - len(clips)} photos, {len(clips)} frames of {clips['clip'].nunique()} real clips to learn "
            f"from; {forged['clip'].nunique()} forged and {told[told['label'] == 0]['clip'].nunique()} real clips to "
            "measure on"
        )


def part_path(folder: Path, name: str, part: int) -> Path:
    """Where a part of a pack lies."""
    return folder / f"{name}-{part:02d}.pack"


def pack_digest(faces: pd.DataFrame, encoded: Sequence[bytes]) -> str:
    """SHA-256 (64 hex digits) of all pictures and what is said of them."""
    hasher = hashlib.sha256(faces[list(COLUMNS)].to_csv(index=False).encode())
    for data in encoded:
        hasher.update(hashlib.sha256(data).digest())
    return hasher.hexdigest()


def write_pack(folder: Path, name: str, pack: Pack, most_mb: float = 60) -> list[Path]:
    """Write the parts of a pack, each of at most `most_mb` megabytes, in the order of its faces."""
    missing = [column for column in COLUMNS if column not in pack.faces]
    if missing:
        raise ValueError(f"pack {name!r}: its faces lack the columns {', '.join(missing)}")
    bounds = _bounds(pack, most_mb)
    about = {"format": FORMAT, "name": name, "parts": len(bounds), "pack": pack.digest}
    paths = []
    for part, (first, end) in enumerate(bounds):
        data = _part(pack, first, end, pack.start if part == 0 else {}, {**about, "part": part})
        paths.append(part_path(folder, name, part))
        write_whole(paths[-1], data)
    return paths


def _bounds(pack: Pack, most_mb: float) -> list[tuple[int, int]]:
    # A row of the tables and its points need some 700 bytes, and a part its lists.
    costs = [len(data) + 4 * pack.mesh_NP2.shape[1] + 300 for data in pack.encoded]
    room = most_mb * MEGABYTE - 4096
    used = float(sum(len(data) for data in pack.start.values()))
    bounds, first = [], 0
    for i, cost in enumerate(costs):
        if used + cost > room:
            if i == first:
                raise UserError(
                    f"pack: {most_mb} MB a part are too few for {pack.faces['name'].iloc[i]!r}, the weights to start "
                    "from, or both; allow more"
                )
            bounds.append((first, i))
            first, used = i, 0.0
        used += cost
    return [*bounds, (first, len(costs))]


def _part(pack: Pack, first: int, end: int, start: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    some = list(pack.encoded[first:end])
    mesh = pack.mesh_NP2[first:end] * MESH_STEP
    stored = np.where(np.isfinite(mesh), np.clip(np.round(mesh), UNKNOWN + 1, -UNKNOWN - 1), UNKNOWN).astype(np.int16)
    contents = {
        "part.json": json.dumps(about, sort_keys=True).encode(),
        "faces.csv": pack.faces[list(COLUMNS)].iloc[first:end].to_csv(index=False).encode(),
        "landmarks.npy": _npy(pack.landmarks_N52[first:end].astype(np.float32)),
        "mesh.npy": _npy(stored),
        "sizes.npy": _npy(np.array([len(data) for data in some], np.int64)),
        "pictures.bin": b"".join(some),
        **{f"start/{key}.safetensors": data for key, data in start.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key, data in contents.items():
            entry = zipfile.ZipInfo(key)  # without the time: equal packs are equal bytes
            entry.compress_type = zipfile.ZIP_DEFLATED if key in ("faces.csv", "mesh.npy") else zipfile.ZIP_STORED
            archive.writestr(entry, data)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Part:
    about: dict[str, Any]
    faces: pd.DataFrame
    landmarks_N52: np.ndarray
    mesh_NP2: np.ndarray
    encoded: list[bytes]
    start: dict[str, bytes]


def read_pack(path: Path) -> Pack:
    """The pack that `path`, one of its parts, belongs to, with all parts beside it; a warning names those missing."""
    match = re.fullmatch(r"(.+)-\d{2,}\.pack", path.name)
    if match is None or not path.is_file():
        have = ", ".join(sorted(p.name for p in path.parent.glob("*.pack"))[:6]) or "none"
        raise UserError(
            f"pack {str(path)!r}: {'not named NAME-00.pack' if path.is_file() else 'there is no such file'}; "
            f"parts of packs in {path.parent}: {have}. `deepfake pack` makes one"
        )
    beside = [p for p in path.parent.glob("*.pack") if p.name.rpartition("-")[0] == match[1]]
    parts = sorted((_read_part(p) for p in beside), key=lambda part: int(part.about["part"]))
    for part in parts:
        if part.about["pack"] != parts[0].about["pack"]:
            raise UserError(f"pack {str(path)!r}: its parts come from two packs; take away those of the older one")
    have_parts = {int(part.about["part"]) for part in parts}
    missing = [i for i in range(int(parts[0].about["parts"])) if i not in have_parts]
    if missing:
        names = ", ".join(part_path(path.parent, match[1], i).name for i in missing)
        log.warning("pack %s: %d of %d parts; without %s", match[1], len(parts), parts[0].about["parts"], names)
    return Pack(
        pd.concat([part.faces for part in parts], ignore_index=True),
        np.concatenate([part.landmarks_N52 for part in parts]),
        np.concatenate([part.mesh_NP2 for part in parts]),
        [data for part in parts for data in part.encoded],
        {key: data for part in parts for key, data in part.start.items()},
        hashlib.sha256(json.dumps([parts[0].about["pack"], sorted(have_parts)]).encode()).hexdigest(),
    )


def _read_part(path: Path) -> _Part:
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        about = json.loads(contents["part.json"])
        if about["format"] != FORMAT:
            raise UserError(f"pack {path}: format {about['format']}, this version reads {FORMAT}; make it again")
        faces = pd.read_csv(io.BytesIO(contents["faces.csv"]), dtype=_types(), keep_default_na=False)
        landmarks, mesh, sizes = (
            np.load(io.BytesIO(contents[f"{name}.npy"]), allow_pickle=False) for name in ("landmarks", "mesh", "sizes")
        )
        ends = np.concatenate([[0], np.cumsum(sizes)])
        pictures = contents["pictures.bin"]
        whole = len(faces) == len(landmarks) == len(mesh) == len(sizes) and ends[-1] == len(pictures)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"pack {path}: not a part of a pack, or cut short ({error}); fetch it again") from None
    if not whole:
        raise UserError(f"pack {path}: its tables and pictures do not fit together; make it again")
    encoded = [pictures[a:b] for a, b in pairwise(ends)]
    start = {name[6:-12]: data for name, data in contents.items() if name.startswith("start/")}
    points = np.where(mesh == UNKNOWN, np.nan, mesh.astype(np.float32) / MESH_STEP)
    return _Part(about, faces, landmarks, points.astype(np.float32), encoded, start)


def _types() -> dict[str, Any]:
    numbers = {"label": np.int64, "face_px": np.float64, "height_px": np.int64, "width_px": np.int64}
    return {column: numbers.get(column, str) for column in COLUMNS}
