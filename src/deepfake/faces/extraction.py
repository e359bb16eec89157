"""Many videos -> the extraction of each, in worker processes, resumable by the video; and stage 02's tables of it.

`deepfake check` and `predict` take no table and run no detector of faces in their own process: pandas and the extractor
are imported by the functions that need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from deepfake.engines import Runner
from deepfake.faces.chunk_queue import Run, run_longest_first
from deepfake.faces.extracted import Extraction, Job, StoredFace, failure_note, kept_extraction, shard_name
from deepfake.faces.reading import Reading, ReadJob, read_note
from deepfake.media.file_facts import lost_file
from deepfake.media.needs import limits_of
from deepfake.media.remote import RemoteVideo
from deepfake.settings import Extract
from deepfake.workers import Failed, Limits, run_each

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Video:
    """What extraction needs to know of a video."""

    video_id: str
    path: Path
    sha256: str
    size_bytes: int = 0


@dataclass(frozen=True)
class Stores:
    """Where videos and shards lie that are not on this disk: see `settings.WorkEngine`."""

    videos: str | None = None
    shards: str | None = None
    max_video_mb: int = 0

    def video(self, video: Video) -> RemoteVideo | None:
        """The video in the store of videos, if there is one."""
        if self.videos is None:
            return None
        return RemoteVideo(self.videos, video.video_id, video.size_bytes, self.max_video_mb << 20)


def extract_videos(
    videos: list[Video],
    work_dir: Path,
    settings: Extract,
    force: bool = False,
    every: int = 1,
    limits: Limits | None = None,
    run: Runner | None = None,
    stores: Stores | None = None,
) -> Iterator[Extraction]:
    """Yield each video's extraction as it is done; `every`: see `faces.extracted.Job`; `limits`: by the settings.

    A video whose shard is there already is not read again; two files of equal bytes share one.
    A content that cannot be read is noted beside the shard and not tried again, until `force` or another version. A
    file that was away, busy or changing, and one that was stopped or crashed, is tried again the next time.
    """
    same: dict[str, list[Video]] = {}
    for video in videos:
        same.setdefault(shard_name(video.sha256, settings, every), []).append(video)
    to_make: list[str] = []
    for shard, owners in same.items():
        if force:
            failure_note(work_dir / shard).unlink(missing_ok=True)
        kept = None if force else kept_extraction(work_dir, shard, owners[0].video_id)
        if kept is None:
            to_make.append(shard)
        else:
            yield from (replace(kept, video_id=video.video_id) for video in owners)
    limits = limits or limits_of(settings).of_section("extract")

    def job_of(shard: str) -> Job:
        first = same[shard][0]
        far = (stores.video(first), stores.shards, force) if stores else (None, None, False)
        known = (shard, settings, every, first.sha256, None, *far)
        return Job(first.video_id, first.path.absolute(), work_dir.absolute(), *known)

    jobs, known = _Jobs(to_make, job_of), [same[shard][0].size_bytes for shard in to_make]
    sizes = known if all(known) else ()
    for job, outcome in run_longest_first(jobs, _within(limits, run), sizes=sizes):
        assert not isinstance(outcome, Reading), "a job was asked for, no reading"
        extraction = Extraction(job.video_id, failure=outcome.reason) if isinstance(outcome, Failed) else outcome
        yield from (replace(extraction, video_id=video.video_id) for video in same[job.shard])


def _within(limits: Limits, run: Runner | None) -> Run:
    runner = run or run_each
    return lambda function, items: runner(function, items, limits)


@dataclass(frozen=True)
class _Jobs(Sequence[Job]):
    """Jobs that are made when they are asked for: of a million there is no need to hold all."""

    shards: list[str]
    job_of: Callable[[str], Job]

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, place: int) -> Job: ...

    @overload
    def __getitem__(self, place: slice) -> list[Job]: ...

    def __getitem__(self, place: int | slice) -> Job | list[Job]:
        """The job of a place, or those of several."""
        if isinstance(place, slice):
            return [self.job_of(shard) for shard in self.shards[place]]
        return self.job_of(self.shards[place])


def read_videos(
    paths: Mapping[str, Path],
    cache_dir: Path,
    settings: Extract,
    every: int = 1,
    known: Mapping[Path, Reading] | None = None,
    run: Runner | None = None,
) -> Iterator[Reading]:
    """Yield all that is known of each video before it is scored, as it is done; `every`: see `faces.extracted.Job`.

    What an earlier run read is read back, by the file's state; `known` was read by this one.
    """
    readings = {video_id: known[path].named(video_id) for video_id, path in paths.items() if known and path in known}
    yield from readings.values()
    files = {video_id: read_note(path, cache_dir) for video_id, path in paths.items() if video_id not in readings}
    noted = {video_id: file for video_id, file in sorted(files.items()) if file is not None}
    bad = {video_id: file for video_id, file in noted.items() if file.probe is None}
    yield from (Reading(file, Extraction(video_id, failure=file.reason)) for video_id, file in bad.items())
    videos = [Video(v, file.path, file.sha256) for v, file in noted.items() if v not in bad and file.sha256]
    limits = limits_of(settings)
    for extraction in extract_videos(videos, cache_dir, settings, every=every, limits=limits, run=run):
        yield Reading(noted[extraction.video_id], extraction)
    new = [ReadJob(v, paths[v], cache_dir, settings, every) for v, file in sorted(files.items()) if file is None]
    for job, outcome in run_longest_first(new, _within(limits, run)):
        assert not isinstance(outcome, Extraction), "a reading was asked for"
        yield stopped(job, outcome.reason) if isinstance(outcome, Failed) else outcome


def stopped(job: ReadJob, reason: str) -> Reading:
    """What is left of a video whose process was stopped or crashed; a note of the file itself may lie there already."""
    file = read_note(job.path, job.cache_dir) or lost_file(job.path, reason)
    return Reading(file, Extraction(job.video_id, failure=reason))


def extraction_row(extraction: Extraction) -> Mapping[str, object]:
    """A video's row of the extractions table."""
    counts = {
        "n_sampled": extraction.n_sampled_of_all,
        "n_shots": extraction.n_shots + sum(other.n_shots for other in extraction.further),
        "n_tracks": len(extraction.tracks),
        "n_faces": len(extraction.faces),
    }
    known = {name: getattr(extraction, name) for name in (*_ROW_COLUMNS, "status", "reason")}
    return {**known, **counts, "frame_hashes": list(extraction.frame_hashes)}


_ROW_COLUMNS = ("video_id", "decoder", "decoder_reason")


def face_rows(video_id: str, faces: Sequence[StoredFace]) -> list[Mapping[str, object]]:
    """Rows of the faces table."""
    from deepfake.tables import LANDMARKS

    return [{**vars(face), "video_id": video_id, **dict(zip(LANDMARKS, face.landmarks, strict=True))} for face in faces]


def faces_table(video_id: str, faces: Sequence[StoredFace]) -> pd.DataFrame:
    """Faces of one video as a faces table."""
    import pandas as pd

    from deepfake.tables import FACES

    return pd.DataFrame(face_rows(video_id, faces), columns=FACES.schema.names)


def faces_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[StoredFace]:
    """Faces from rows of the faces table."""
    from deepfake.tables import LANDMARKS

    return [
        StoredFace(**{name: row[name] for name in _COLUMNS}, landmarks=tuple(row[name] for name in LANDMARKS))
        for row in rows
    ]


_COLUMNS = tuple(field.name for field in fields(StoredFace) if field.name != "landmarks")


@dataclass(frozen=True)
class ExtractedTables:
    """The three tables of stage 02."""

    extractions: pd.DataFrame
    faces: pd.DataFrame
    failures: pd.DataFrame


def extract_table(
    videos: pd.DataFrame,
    root: Path,
    work_dir: Path,
    settings: Extract,
    force: bool = False,
    run: Runner | None = None,
) -> ExtractedTables:
    """Extract every readable video of a videos table, with a progress bar."""
    import pandas as pd

    from deepfake.tables import EXTRACTIONS, FACES, FAILURES, empty

    made = list(extract_rows(videos, root, work_dir, settings, force, run))
    faces = [row for one in made for row in one.faces]
    failures = [row for one in made for row in one.failures]
    return ExtractedTables(
        pd.DataFrame([one.extraction for one in made]).reindex(columns=list(empty(EXTRACTIONS).columns)),
        pd.DataFrame(faces)[list(empty(FACES).columns)] if faces else empty(FACES),
        pd.DataFrame(failures) if failures else empty(FAILURES),
    )


@dataclass(frozen=True)
class ExtractedRows:
    """A video's rows of the three tables of stage 02."""

    extraction: Mapping[str, object]
    faces: Sequence[Mapping[str, object]]
    failures: Sequence[Mapping[str, object]]


def extract_rows(
    videos: pd.DataFrame,
    root: Path,
    work_dir: Path,
    settings: Extract,
    force: bool = False,
    run: Runner | None = None,
    stores: Stores | None = None,
) -> Iterator[ExtractedRows]:
    """The rows of `extract_table`, video by video as they are done."""
    from tqdm import tqdm

    from deepfake.media.listing import path_of

    bad = videos[videos["status"] != "ok"]
    for video_id, reason in zip(bad["video_id"], bad["reason"], strict=True):
        yield _rows_of("01_index_videos", Extraction(video_id, failure=reason))
    readable = videos[videos["status"] == "ok"]
    is_far = stores is not None and stores.videos is not None
    sizes = readable["size_bytes"] if is_far else repeat(0, len(readable))
    known = zip(readable["video_id"], readable["sha256"], sizes, strict=True)
    todo = [Video(v, Path(v) if is_far else path_of(root, v), s, int(size)) for v, s, size in known]
    with tqdm(total=len(todo), desc="faces", unit="video", disable=None) as bar:
        for one in extract_videos(todo, work_dir, settings, force, run=run, stores=stores):
            yield _rows_of("02_extract_faces", one)
            bar.update()


def write_tables(rows: Iterable[ExtractedRows], work_dir: Path) -> dict[str, int]:
    """Write the three tables of stage 02, whose rows never lie in memory together; returns what they count."""
    from deepfake.gathered import Gathered
    from deepfake.tables import EXTRACTIONS, FACES, FAILURES

    counts: Counter[Any] = Counter()
    with ExitStack() as open_ones:
        extractions, faces, failures = (
            open_ones.enter_context(Gathered(table, work_dir)) for table in (EXTRACTIONS, FACES, FAILURES)
        )
        for one in rows:
            faces.add(one.faces)
            failures.add(one.failures)
            extractions.add([one.extraction])
            counts[one.extraction["status"]] += 1
            counts["tracks"] += len({row["track"] for row in one.faces})
        for gathered in (faces, failures, extractions):
            gathered.write(work_dir / f"{gathered.table.name}.parquet")
    known = {"videos": extractions.n_rows, "tracks": counts["tracks"], "faces": faces.n_rows}
    return {**known, "without a face": counts["no_face"], "failed": counts["failed"]}


def _rows_of(stage: str, one: Extraction) -> ExtractedRows:
    failures = [] if one.failure is None else [{"stage": stage, "video_id": one.video_id, "reason": one.reason}]
    return ExtractedRows(extraction_row(one), face_rows(one.video_id, one.faces), failures)
