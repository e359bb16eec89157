"""List the videos of a data set and their labels: DFDC parts, or any folders with or without a CSV.

Every file with a video's extension becomes a row, whatever state it is in. A label comes from
metadata.json or the CSV, never from a guess.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from tqdm import tqdm

from deepfake import labels
from deepfake.errors import UserError
from deepfake.files import visible_files
from deepfake.media.file_facts import VideoFile, lost_file, probe_file
from deepfake.settings import Index
from deepfake.tables import VIDEOS, empty
from deepfake.workers import Failed, Limits, run_each

log = logging.getLogger(__name__)
EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("mp4", "mov", "m4v", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts"),
        *("wmv", "flv", "3gp", "ogv", "h264", "264", "hevc", "265"),
    )
)


PROBE_S = 60.0  # of a file that is not large


@dataclass(frozen=True)
class Note:
    """What a metadata.json or a CSV says of one video."""

    label: int | None = None
    original: str | None = None
    identity: str | None = None
    manipulation: str | None = None


def video_id_of(path: Path, root: Path) -> str:
    """The path below the root with forward slashes; bytes that are not UTF-8 become escapes."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def find_videos(root: Path) -> list[Path]:
    """All video files below a folder, sorted by their id; hidden files and folders are left out."""
    if not root.exists():
        raise UserError(
            f"folder {str(root)!r} does not exist; give the folder of your videos (in the stages: set index.root to it)"
        )
    if not root.is_dir():
        raise UserError(f"{str(root)!r} is a file; wanted a folder of videos")
    paths = [path for path in visible_files(root) if path.suffix.lower() in EXTENSIONS]
    if not paths:
        wanted = " ".join(sorted(EXTENSIONS))
        raise UserError(f"folder {str(root)!r} holds no video: no file ends in one of {wanted}")
    return sorted(paths, key=lambda path: video_id_of(path, root))


def _label(value: Any, where: str) -> int | None:
    if value is None or value == "" or (isinstance(value, float) and value != value):
        return None
    word = str(value).strip().lower()
    if word not in labels.WORDS:
        raise UserError(f"{where}: label {value!r}; wanted REAL, FAKE, 0, 1 or nothing")
    return labels.WORDS[word]


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _inside(folder: str, name: Any, where: str) -> str:
    """`name` below `folder` as a video_id; refuses whatever would leave the folder."""
    path = PurePosixPath(str(name))
    if not isinstance(name, str) or not name or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise UserError(f"{where}: {name!r} is no file name inside its folder; mend that entry")
    return str(PurePosixPath(folder) / path)


def read_metadata(path: Path, folder: str) -> dict[str, Note]:
    """The notes of a DFDC metadata.json by video_id; `folder` is its folder below the root."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); fetch it again") from None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise UserError(f"{path}: wanted an object of objects, one a video, as DFDC has it")
    notes = {}
    for name, entry in entries.items():
        where = f"{path}: entry {name!r}"
        original = entry.get("original")
        notes[_inside(folder, name, where)] = Note(
            label=_label(entry.get("label"), where),
            original=_inside(folder, original, where) if original else None,
            identity=_text(entry.get("identity")),
            manipulation=_text(entry.get("manipulation")),
        )
    return notes


def read_labels(path: Path) -> dict[str, Note]:
    """The notes of a labels file (`labels.read_labels`) by video_id; other columns it may have are notes, too."""
    notes: dict[str, Note] = {}
    for entry in labels.read_labels(path):
        cells, where = entry.row.cells, f"{path} line {entry.row.line}"
        original = cells.get("original")
        notes[_inside("", entry.name, where)] = Note(
            label=entry.label,
            original=_inside("", labels.name_of(original, where), where) if original else None,
            identity=_text(cells.get("identity")),
            manipulation=_text(cells.get("manipulation") or cells.get("family")),
        )
    return notes


def collect_notes(root: Path, video_ids: set[str], labels_csv: Path | None) -> dict[str, Note]:
    """The notes of every metadata.json below the root, then of the CSV; unknown files in the CSV are an error."""
    notes: dict[str, Note] = {}
    absent: list[str] = []
    for path in sorted(path for path in visible_files(root) if path.name == "metadata.json"):
        read = read_metadata(path, _folder_of(path, root))
        absent += [name for name in read if name not in video_ids]
        notes.update({name: note for name, note in read.items() if name in video_ids})
    if absent:  # usual for somebody with a part of the parts
        log.warning("%d videos of metadata.json are not on disk, the first %r", len(absent), sorted(absent)[0])
    if labels_csv is not None:
        read = read_labels(labels_csv)
        unknown = sorted(name for name in read if name not in video_ids)
        if unknown:
            raise UserError(
                f"labels {str(labels_csv)!r}: {len(unknown)} of {len(read)} files are not below {str(root)!r}, "
                f"the first {unknown[0]!r}; name them as paths below that folder, like {sorted(video_ids)[0]!r}"
            )
        notes.update(read)
    return notes


def _folder_of(path: Path, root: Path) -> str:
    folder = video_id_of(path.parent, root)
    return "" if folder == "." else folder


def probe_files(paths: Mapping[str, Path], limits: Limits) -> Iterator[tuple[str, VideoFile]]:
    """Files by video_id as they are done; one that hangs or crashes its process has that as its reason."""
    ids = {path: video_id for video_id, path in paths.items()}
    for path, outcome in run_each(probe_file, paths.values(), limits):
        yield ids[path], lost_file(path, outcome.reason) if isinstance(outcome, Failed) else outcome


def _measured(file: VideoFile) -> Mapping[str, object]:
    """The columns of the videos table that are measured; what cannot be read has status bad."""
    known = {"size_bytes": file.size_bytes, "sha256": file.sha256, "n_frames": 0, "reason": file.reason}
    if file.probe is None:
        return {**known, "status": "bad"}
    return {**known, **{name: getattr(file.probe, name) for name in _OF_PROBE}, "status": "ok"}


_OF_PROBE = ("n_frames", "fps", "duration_s", "width_px", "height_px", "rotation", "codec", "is_vfr")


def index_videos(root: Path, settings: Index, labels_csv: Path | None = None, limit: int | None = None) -> pd.DataFrame:
    """The videos table of a folder; `limit` takes so many videos, evenly from all folders."""
    paths = {video_id_of(path, root): path for path in find_videos(root)}
    unknown = sorted(set(settings.skip) - set(paths))
    if unknown:
        raise UserError(f"index.skip: {unknown[0]!r} is not below {str(root)!r}")
    for folder in settings.test_folders:
        _inside("", folder, "index.test_folders")
    notes = collect_notes(root, set(paths), labels_csv)
    wanted = [video_id for video_id in paths if video_id not in settings.skip]
    if limit is not None and limit < len(wanted):
        wanted = [wanted[i * len(wanted) // limit] for i in range(limit)]
    is_open = settings.deadline_s is None
    limits = Limits(settings.workers, settings.deadline_s or PROBE_S, grow=(is_open, False)).of_section("index")
    bar = tqdm(total=len(wanted), desc="probe", unit="video", disable=None)
    rows = []
    for video_id, file in probe_files({v: paths[v] for v in wanted}, limits):
        labelled = _labelled(video_id, notes.get(video_id, Note()), settings.test_folders)
        rows.append({"video_id": video_id, **_measured(file), **labelled})
        bar.update()
    bar.close()
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=list(empty(VIDEOS).columns))


def _labelled(video_id: str, note: Note, test_folders: tuple[str, ...]) -> Mapping[str, object]:
    part = str(PurePosixPath(video_id).parent)
    is_test = any(part == folder or part.startswith(f"{folder}/") for folder in test_folders)
    return {
        "part": part,
        "split": "test" if is_test else "train",
        "label": note.label,
        "original": note.original,
        "identity": note.identity,
        "manipulation": note.manipulation,
    }


def path_of(root: Path, video_id: str) -> Path:
    """Where a video lies; undoes `video_id_of`."""
    path = root / video_id
    if path.exists() or "\\x" not in video_id:
        return path
    for candidate in find_videos(root):
        if video_id_of(candidate, root) == video_id:
            return candidate
    return path
