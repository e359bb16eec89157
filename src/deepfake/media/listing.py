"""List the videos of a data set and their labels: DFDC parts, or any folders with or without a CSV.

Every file with a video's extension becomes a row, whatever state it is in; what is passed over is counted. A label
comes from metadata.json or the CSV, never from a guess.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from deepfake import labels
from deepfake.engines import Runner
from deepfake.engines.storage import Folder
from deepfake.errors import UserError
from deepfake.files import files_below, printable, visible_files, write_whole
from deepfake.media.file_facts import VideoFile, lost_file, probe_file
from deepfake.media.remote import RemoteListing, RemoteVideo, list_remote, probe_remote
from deepfake.settings import Index, WorkEngine
from deepfake.workers import Failed, Limits, run_each

if TYPE_CHECKING:  # half a second of import, and listing a folder takes no table
    import pandas as pd

log = logging.getLogger(__name__)
# Of the containers that `demux.open_video` reads; sound and still pictures are none of them.
EXTENSIONS = frozenset(
    f".{name}"
    for names in (
        "mp4 m4v mov qt f4v 3gp 3gpp 3g2 3gp2 mj2 ismv insv lrv",
        "mkv mk3d webm avi divx flv wmv asf dvr-ms wtv",
        "mpg mpeg mpe m1v m2v vob vro evo mod ts mts m2ts m2t tod trp",
        "ogv ogg ogm ogx mxf gxf nut rm rmvb dv dif gif swf mjpg mjpeg apng y4m",
        "h264 264 avc h26l hevc 265 h265 obu ivf vc1",
    )
    for name in names.split()
)
MOST_NAMED = 8  # endings and folders in a summary


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


@dataclass(frozen=True)
class Listing:
    """The video files below a folder, sorted by their id, and how many others there are of each kind.

    `closed` are folders that could not be listed, with the reason.
    """

    videos: list[Path]
    passed_over: Mapping[str, int]
    closed: tuple[str, ...]

    def summary_lines(self) -> list[str]:
        """What was not taken, for a person who may miss something; none where all was."""
        kinds = sorted(self.passed_over.items(), key=lambda kind: (-kind[1], kind[0]))
        counts = [f"{count} {kind}" for kind, count in kinds[:MOST_NAMED]]
        others = sum(count for _, count in kinds[MOST_NAMED:])
        lines = [f"passed over: {', '.join(counts)}{f', {others} others' if others else ''}"] if counts else []
        lines += [f"not listed: {folder}" for folder in self.closed[:MOST_NAMED]]
        more = len(self.closed) - MOST_NAMED
        return lines + ([f"not listed: {more} more folders"] if more > 0 else [])


def find_videos(root: Path) -> list[Path]:
    """All video files below a folder, sorted by their id; hidden files and folders are left out."""
    return list_folder(root).videos


def list_folder(root: Path) -> Listing:
    """The same, and what was passed over; UserError where there is no video."""
    if not root.exists():
        raise UserError(
            f"folder {str(root)!r} does not exist; give the folder of your videos (in the stages: set index.root to it)"
        )
    if not root.is_dir():
        raise UserError(f"{str(root)!r} is a file; wanted a folder of videos")
    closed: list[str] = []
    passed_over: Counter[str] = Counter()
    videos = []
    for path in files_below(root, lambda error: closed.append(f"{error.filename!r} ({error.strerror})")):
        kind = _kind_passed_over(path)
        if kind is None:
            videos.append(path)
        elif kind:
            passed_over[kind] += 1
    videos.sort(key=lambda path: video_id_of(path, root))
    listing = Listing(videos, passed_over, tuple(sorted(closed)))
    if not videos:
        found = "".join(f"; {line}" for line in listing.summary_lines())
        wanted = " ".join(sorted(EXTENSIONS))
        raise UserError(f"folder {str(root)!r} holds no video: no file ends in one of {wanted}{found}")
    return listing


def _kind_passed_over(path: Path) -> str | None:
    """What a summary calls a file that is not taken; "" for one that nobody misses, None for a video."""
    ending = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden" if ending in EXTENSIONS else ""
    if ending in EXTENSIONS:
        return None
    return printable(ending) if ending else "without an ending"


def _text(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _inside(folder: str, name: Any, where: str) -> str:
    """`name` below `folder` as a video_id; refuses whatever would leave the folder."""
    path = PurePosixPath(str(name).replace("\\", "/"))
    if not isinstance(name, str) or not name or path.is_absolute() or ".." in path.parts:
        raise UserError(f"{where}: {name!r} is no file name inside its folder; mend that entry")
    return str(PurePosixPath(folder) / path)


def read_metadata(path: Path, folder: str) -> dict[str, Note]:
    """The notes of a DFDC metadata.json by video_id; `folder` is its folder below the root.

    Labels are named and spelt as in a CSV of labels (`labels.label_of`).
    """
    if not path.is_file():
        raise UserError(f"{path}: is no regular file, or a link to nothing; mend or remove it")
    try:
        entries = json.loads(path.read_bytes(), object_pairs_hook=_once_each)  # UTF-8 or UTF-16, with a mark or without
    except _Repeated as error:
        raise UserError(f"{path}: {str(error)!r} stands there twice in one place; keep one") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); fetch it again") from None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise UserError(f"{path}: wanted an object of objects, one a video, as DFDC has it")
    notes: dict[str, Note] = {}
    has_labels = False
    for name, entry in entries.items():
        where = f"{path}: entry {name!r}"
        video_id = _inside(folder, name, where)
        if video_id in notes:
            raise UserError(f"{where} stands there twice, spelt in two ways; keep one")
        headings = labels.headings_of(entry, where)
        heading = next((heading for heading in labels.LABEL_HEADINGS if heading in headings), None)
        has_labels = has_labels or heading is not None
        original = entry.get("original")
        notes[video_id] = Note(
            label=None if heading is None else labels.label_of(entry[headings[heading]], heading, where),
            original=_inside(folder, original, where) if original else None,
            identity=_text(entry.get("identity")),
            manipulation=_text(entry.get("manipulation")),
        )
    if notes and not has_labels:
        log.warning("%s: no entry says %s, so its videos are unlabelled", path, " or ".join(labels.LABEL_HEADINGS))
    return notes


class _Repeated(Exception):
    """A name that a JSON object holds twice; the earlier value would be lost."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise _Repeated(name)
        entries[name] = value
    return entries


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
        read = _as_on_disk(read_metadata(path, _folder_of(path, root)), video_ids)
        absent += [name for name in read if name not in video_ids]
        notes.update({name: note for name, note in read.items() if name in video_ids})
    if absent:  # usual for somebody with a part of the parts
        log.warning("%d videos of metadata.json are not on disk, the first %r", len(absent), sorted(absent)[0])
    if labels_csv is not None:
        read = _as_on_disk(read_labels(labels_csv), video_ids)
        unknown = sorted(name for name in read if name not in video_ids)
        if unknown:
            raise UserError(
                f"labels {str(labels_csv)!r}: {len(unknown)} of {len(read)} files are not below {str(root)!r}, "
                f"the first {unknown[0]!r}; name them as paths below that folder, like {sorted(video_ids)[0]!r}"
                + ("" if unknown[0].isascii() else ", and save the file as UTF-8")
            )
        notes.update(read)
    return notes


def _as_on_disk(notes: Mapping[str, Note], video_ids: set[str]) -> dict[str, Note]:
    """Notes by the names that files have: a Mac writes `ü` in two characters, others in one."""
    forms: dict[str, list[str]] = {}
    for video_id in video_ids:
        forms.setdefault(unicodedata.normalize("NFC", video_id), []).append(video_id)
    renamed: dict[str, Note] = {}
    for name, note in notes.items():
        alike = forms.get(unicodedata.normalize("NFC", name), [])
        found = alike[0] if name not in video_ids and len(alike) == 1 else name
        if found in renamed:
            raise UserError(f"labels: {found!r} stands there twice, spelt in two ways; keep one")
        renamed[found] = note
    return renamed


def _folder_of(path: Path, root: Path) -> str:
    folder = video_id_of(path.parent, root)
    return "" if folder == "." else folder


def probe_remote_files(
    videos: Mapping[str, RemoteVideo], limits: Limits, run: Runner | None = None
) -> Iterator[tuple[str, VideoFile]]:
    """`probe_files` of videos in a store."""
    for video, outcome in (run or run_each)(probe_remote, list(videos.values()), limits):
        path = Path(video.name)
        yield video.name, lost_file(path, outcome.reason) if isinstance(outcome, Failed) else outcome


def probe_files(
    paths: Mapping[str, Path], limits: Limits, run: Runner | None = None
) -> Iterator[tuple[str, VideoFile]]:
    """Files by video_id as they are done; one that hangs or crashes its process has that as its reason."""
    ids = {path.absolute(): video_id for video_id, path in paths.items()}  # executors work in folders of their own
    for path, outcome in (run or run_each)(probe_file, list(ids), limits):
        yield ids[path], lost_file(path, outcome.reason) if isinstance(outcome, Failed) else outcome


def _measured(file: VideoFile) -> Mapping[str, object]:
    """The columns of the videos table that are measured; what cannot be read has status bad."""
    known = {"size_bytes": file.size_bytes, "sha256": file.sha256, "n_frames": 0, "reason": file.reason}
    if file.probe is None:
        return {**known, "status": "bad"}
    return {**known, **{name: getattr(file.probe, name) for name in _OF_PROBE}, "status": "ok"}


_OF_PROBE = ("n_frames", "fps", "duration_s", "width_px", "height_px", "rotation", "codec", "is_vfr")


def index_videos(
    root: Path, settings: Index, labels_csv: Path | None = None, limit: int | None = None, run: Runner | None = None
) -> pd.DataFrame:
    """The videos table of a folder; `limit` takes so many videos, evenly from all folders."""
    import pandas as pd

    from deepfake.tables import VIDEOS, empty

    rows = list(video_rows(root, settings, labels_csv, limit, run))
    return pd.DataFrame(rows).reindex(columns=list(empty(VIDEOS).columns))


def listed_store(engine: WorkEngine) -> RemoteListing | None:
    """The videos of the store that the settings name; None where they name none."""
    return None if engine.videos is None else list_remote(engine.videos, EXTENSIONS, engine.max_video_mb)


def labels_of(store: RemoteListing, url: str, folder: Path) -> Path:
    """Fetch a store's metadata.json files into a folder, below which they lie as in the store."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name in store.labels:
        write_whole(folder / name, Folder(url).read(name))
    return folder


def video_rows(
    root: Path,
    settings: Index,
    labels_csv: Path | None = None,
    limit: int | None = None,
    run: Runner | None = None,
    store: RemoteListing | None = None,
) -> Iterator[Mapping[str, object]]:
    """The rows of `index_videos` as they are done; of a `store`'s videos `root` holds the labels."""
    from tqdm import tqdm

    paths = {} if store else {video_id_of(path, root): path for path in find_videos(root)}
    videos = store.videos if store else {}
    unknown = sorted(set(settings.skip) - {*paths, *videos})
    if unknown:
        raise UserError(f"index.skip: {unknown[0]!r} is not below {str(root)!r}")
    for folder in settings.test_folders:
        _inside("", folder, "index.test_folders")
    notes = collect_notes(root, {*paths, *videos}, labels_csv)
    wanted = [video_id for video_id in (*paths, *videos) if video_id not in settings.skip]
    if limit is not None and limit < len(wanted):
        wanted = [wanted[i * len(wanted) // limit] for i in range(limit)]
    is_open = settings.deadline_s is None
    limits = Limits(settings.workers, settings.deadline_s or PROBE_S, grow=(is_open, False)).of_section("index")
    bar = tqdm(total=len(wanted), desc="probe", unit="video", disable=None)
    probed = (
        probe_remote_files({v: videos[v] for v in wanted}, limits, run)
        if store
        else probe_files({v: paths[v] for v in wanted}, limits, run)
    )
    for video_id, file in probed:
        labelled = _labelled(video_id, notes.get(video_id, Note()), settings.test_folders)
        yield {"video_id": video_id, **_measured(file), **labelled}
        bar.update()
    bar.close()


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
