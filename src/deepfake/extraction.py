"""Many videos -> extractions, faces and failures tables, in worker processes, resumable by the video."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from deepfake.config import Extract
from deepfake.files import write_whole
from deepfake.index import path_of
from deepfake.shards import read_rows
from deepfake.tables import EXTRACTIONS, FACES, FAILURES, LANDMARKS, empty
from deepfake.video_faces import Job, extract, shard_name
from deepfake.workers import Failed, Limits, run_each


def extraction_rows(video_id: str, shard: str, rows: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The extractions row and the faces rows of a video, from its shard's rows."""
    faces = [
        {"video_id": video_id, **face, **dict(zip(LANDMARKS, face["landmarks"], strict=True)), "shard": shard}
        for face in rows["faces"]
    ]
    summary = {
        "video_id": video_id,
        "status": "ok" if faces else "no_face",
        "reason": None if faces else f"no face in {rows['n_sampled']} frames",
        "n_tracks": len({face["track"] for face in faces}),
        "n_faces": len(faces),
        **{key: rows[key] for key in ("decoder", "decoder_reason", "n_sampled", "n_shots", "frame_hashes")},
    }
    return summary, faces


def failed_row(video_id: str, reason: str) -> dict[str, Any]:
    """The extractions row of a video that could not be read."""
    counts = {"n_sampled": 0, "n_shots": 0, "n_tracks": 0, "n_faces": 0}
    return {"video_id": video_id, "status": "failed", "reason": reason, **counts, "frame_hashes": []}


@dataclass(frozen=True)
class Video:
    """What extraction needs to know of a video."""

    video_id: str
    path: Path
    sha256: str


def extract_videos(
    videos: list[Video], work_dir: Path, settings: Extract, force: bool = False, every: int = 1
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield the extractions row and the faces rows of each video as it is done; `every`: see `video_faces.Job`.

    A video whose shard is there already is not read again; two files of equal bytes share one.
    A file that cannot be read is noted beside the shard and not tried again until `force`. One that was stopped or
    crashed is tried again the next time: the machine may have been busy.
    """
    jobs: dict[str, Job] = {}
    same: dict[str, list[str]] = {}
    for video in videos:
        shard = shard_name(video.sha256, settings, every)
        same.setdefault(shard, []).append(video.video_id)
        if force:
            _failure_note(work_dir / shard).unlink(missing_ok=True)
        elif (work_dir / shard).is_file() or _failure_note(work_dir / shard).is_file():
            continue
        jobs.setdefault(shard, Job(video.video_id, video.path, work_dir / shard, settings, every))
    for shard in same.keys() - jobs.keys():
        yield from _told(work_dir, shard, same[shard])
    shard_of = {job.video_id: shard for shard, job in jobs.items()}
    limits = Limits(settings.workers, settings.deadline_s, settings.memory_mb)
    for job, outcome in run_each(extract, jobs.values(), limits):
        shard = shard_of[job.video_id]
        if isinstance(outcome, Failed):
            yield from ((failed_row(video_id, outcome.reason), []) for video_id in same[shard])
            continue
        if outcome is not None:
            write_whole(_failure_note(work_dir / shard), json.dumps({"reason": outcome}).encode())
        yield from _told(work_dir, shard, same[shard])


def _failure_note(shard_path: Path) -> Path:
    return shard_path.with_suffix(".failed.json")


def _told(work_dir: Path, shard: str, video_ids: list[str]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    note = _failure_note(work_dir / shard)
    if note.is_file():
        reason = str(json.loads(note.read_text())["reason"])
        yield from ((failed_row(video_id, reason), []) for video_id in video_ids)
        return
    rows = read_rows(work_dir / shard)
    yield from (extraction_rows(video_id, shard, rows) for video_id in video_ids)


@dataclass(frozen=True)
class ExtractedTables:
    """The three tables of stage 02."""

    extractions: pd.DataFrame
    faces: pd.DataFrame
    failures: pd.DataFrame


def extract_table(
    videos: pd.DataFrame, root: Path, work_dir: Path, settings: Extract, force: bool = False
) -> ExtractedTables:
    """Extract every readable video of a videos table, with a progress bar."""
    readable = videos[videos["status"] == "ok"]
    todo = [Video(v, path_of(root, v), s) for v, s in zip(readable["video_id"], readable["sha256"], strict=True)]
    bad = videos[videos["status"] != "ok"]
    summaries = [failed_row(v, r) for v, r in zip(bad["video_id"], bad["reason"], strict=True)]
    failures = [{"stage": "01_index_videos", "video_id": s["video_id"], "reason": s["reason"]} for s in summaries]
    faces: list[dict[str, Any]] = []
    with tqdm(total=len(todo), desc="faces", unit="video", disable=None) as bar:
        for summary, rows in extract_videos(todo, work_dir, settings, force):
            summaries.append(summary)
            faces += rows
            if summary["status"] == "failed":
                failures.append({"stage": "02_extract_faces", **{k: summary[k] for k in ("video_id", "reason")}})
            bar.update()
    return ExtractedTables(
        pd.DataFrame(summaries).reindex(columns=list(empty(EXTRACTIONS).columns)),
        pd.DataFrame(faces)[list(empty(FACES).columns)] if faces else empty(FACES),
        pd.DataFrame(failures) if failures else empty(FAILURES),
    )
