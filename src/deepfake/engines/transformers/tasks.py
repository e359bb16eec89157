"""What Spark's Python workers run for the Transformers: batches in, batches out, each video in a process of its own.

A video that hangs, eats the memory or crashes costs itself: its row gets the reason. Instances travel to the workers,
so they hold plain values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import pyarrow as pa

from deepfake import registry
from deepfake.engines.spark import task_threads
from deepfake.engines.transformers.columns import batch_of
from deepfake.errors import UserError
from deepfake.media.demux import VideoError
from deepfake.media.needs import limits_of
from deepfake.settings import Extract, People
from deepfake.workers import Failed, Kept, run_each

Row = dict[str, Any]
OF_ARCHIVE = dict.fromkeys(("embed", "describe"), "archive")  # the module of functions that are not of `videos`
_children: Kept = []  # of this Python worker: they have their networks loaded


@dataclass(frozen=True)
class Work:
    """A piece of work on a video in a child process: a function of `videos` or `archive`, and what it is given."""

    place: int
    function: str
    values: tuple[Any, ...]


def do(work: Work) -> tuple[Any, str | None]:
    """Its result, or None and the reason: for what is wrong with the file."""
    module = import_module(f"deepfake.engines.transformers.{OF_ARCHIVE.get(work.function, 'videos')}")
    try:
        return getattr(module, work.function)(*work.values), None
    except (VideoError, UserError, OSError) as error:
        return None, str(error)


def in_children(function: str, calls: Sequence[tuple[Any, ...]], settings: Extract) -> list[tuple[Any, str | None]]:
    """(result, None) or (None, reason) of each call, in their order; one after the other, within limits."""
    if not calls:
        return []
    limits = replace(limits_of(settings), workers=1, options=("the param deadlineS", "the param memoryMb"))
    works = [Work(place, function, values) for place, values in enumerate(calls)]
    done: list[tuple[Any, str | None]] = [(None, None)] * len(works)
    for work, outcome in run_each(do, works, limits, task_threads(), kept=_children):
        done[work.place] = (None, outcome.reason) if isinstance(outcome, Failed) else outcome
    return done


@dataclass(frozen=True)
class Task:
    """A function over batches of rows; `schema` is that of what comes out."""

    schema: pa.Schema
    settings: Extract
    plugins: tuple[str, ...] = ()
    path: str = "path"

    function: ClassVar[str]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches in, batches out."""
        registry.use_plugins(self.plugins)
        for batch in batches:
            rows = batch.to_pylist()
            good = [row for row in rows if row.get("reason") is None]
            results = iter(in_children(self.function, [self.values(row) for row in good], self.settings))
            made: list[Row] = []
            for row in rows:
                made += [row] if row.get("reason") is not None else self.rows(row, *next(results))
            yield batch_of([{name: row.get(name) for name in self.schema.names} for row in made], self.schema)

    def values(self, row: Row) -> tuple[Any, ...]:
        """What the function is given of a row."""
        raise NotImplementedError

    def rows(self, row: Row, result: Any, reason: str | None) -> list[Row]:
        """What becomes of a row."""
        raise NotImplementedError


class IndexTask(Task):
    """Adds `video`."""

    function = "index"

    def values(self, row: Row) -> tuple[Any, ...]:
        """The path."""
        return (row[self.path],)

    def rows(self, row: Row, result: Any, reason: str | None) -> list[Row]:
        """The same row with more columns."""
        return [{**row, "video": result, "reason": reason}]


class PlanTask(Task):
    """A row for each chunk, with `chunk`."""

    function = "plan"

    def values(self, row: Row) -> tuple[Any, ...]:
        """The path and the settings that frames are chosen by."""
        names = {"sampling", "frames_per_video", "sample_fps", "long_from_s", "search_every_s", "search_frames"}
        names |= {"search_mpx", "chunk_from_s", "chunk_s", "backend"}
        return row[self.path], self.settings, self.settings.model_dump_json(include=names)

    def rows(self, row: Row, result: Any, reason: str | None) -> list[Row]:
        """The row once for each chunk."""
        return [{**row, "chunk": chunk} for chunk in result] if result else [{**row, "reason": reason}]


class ChangesTask(Task):
    """Adds `noted`, what shots are found by."""

    function = "changes"

    def values(self, row: Row) -> tuple[Any, ...]:
        """The path and the chunk."""
        return row[self.path], row.get("chunk"), self.settings

    def rows(self, row: Row, result: Any, reason: str | None) -> list[Row]:
        """A row for the chunk, or for the reason."""
        return [{**row, "noted": result, "reason": reason}]


class FacesTask(Task):
    """A row for each sampled frame, with `frame` and `faces`."""

    function = "faces"

    def values(self, row: Row) -> tuple[Any, ...]:
        """The path, the chunk and where shots begin."""
        return row[self.path], row.get("chunk"), row.get("cuts"), self.settings

    def rows(self, row: Row, result: Any, reason: str | None) -> list[Row]:
        """The row once for each frame."""
        if reason is None and not result:
            reason = "no frame could be decoded undamaged"
        return [{**row, **frame} for frame in result] if result else [{**row, "reason": reason}]


@dataclass(frozen=True)
class JoinShots:
    """All chunks of a video -> the same rows with its `cuts`; where they cannot be joined, one row of all of it."""

    schema: pa.Schema
    settings: Extract
    plugins: tuple[str, ...]
    path: str

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows of a video in and out."""
        from deepfake.engines.transformers.videos import shots

        registry.use_plugins(self.plugins)
        rows: list[Row] = table.to_pylist()
        reason = next((row["reason"] for row in rows if row["reason"] is not None), None)
        cuts = None
        if reason is None:
            found = shots([row["noted"] for row in rows])
            cuts = found.cuts
            if found.uncut is not None:
                rows, cuts, reason = self._as_one(rows, found.uncut)
        made = [{**row, "cuts": cuts, "reason": reason} for row in (rows if reason is None else rows[:1])]
        return pa.Table.from_pylist([{name: row.get(name) for name in self.schema.names} for row in made], self.schema)

    def _as_one(self, rows: Sequence[Row], why: str) -> tuple[list[Row], Any, str | None]:
        from deepfake.engines.transformers.videos import shots

        ordered = sorted((row["chunk"] for row in rows), key=lambda chunk: chunk["number"])
        frames = [frame for chunk in ordered for frame in chunk["frames"]]
        whole = {**ordered[0], "n_chunks": 1, "to_s": ordered[-1]["to_s"], "frames": frames, "uncut": why}
        ((noted, reason),) = in_children("changes", [(rows[0][self.path], whole, self.settings)], self.settings)
        return [{**rows[0], "chunk": whole}], None if noted is None else shots([noted]).cuts, reason


@dataclass(frozen=True)
class LinkFaces:
    """All frames of a video -> a row for each track."""

    schema: pa.Schema
    settings: Extract

    def __call__(self, table: pa.Table) -> pa.Table:
        """Frames in, tracks out."""
        from deepfake.engines.transformers.videos import link

        rows: list[Row] = table.to_pylist()
        kept = {name: rows[0][name] for name in self.schema.names if name in rows[0]}
        reason = next((row["reason"] for row in rows if row["reason"] is not None), None)
        tracks = [] if reason is not None else link(rows, self.settings)
        made = [{**kept, "track": track, "reason": None} for track in tracks]
        made = made or [{**kept, "track": None, "reason": reason or "no_face"}]
        return pa.Table.from_pylist(made, self.schema)


@dataclass(frozen=True)
class ScoreTracks:
    """All tracks of a video -> its row of scores."""

    schema: pa.Schema
    settings: Extract
    weights: str
    path: str

    def __call__(self, table: pa.Table) -> pa.Table:
        """Tracks in, a score out."""
        rows: list[Row] = table.to_pylist()
        tracks = sorted((row["track"] for row in rows if row["track"] is not None), key=lambda track: track["number"])
        kept = {name: rows[0][name] for name in self.schema.names if name in rows[0]}
        result, reason = None, next((row["reason"] for row in rows if row["reason"] is not None), None)
        if tracks:
            ((result, reason),) = in_children("score", [(rows[0][self.path], tracks, self.weights)], self.settings)
        if result is None:
            fallback = "no_face" if reason == "no_face" else f"unreadable: {reason}"
            ((prior, failure),) = in_children("prior", [(self.weights,)], self.settings)
            if failure is not None:
                raise UserError(failure)
            result = {"p_fake": prior, "n_faces": 0, "n_tracks": 0, "fallback": fallback}
        return pa.Table.from_pylist([{**kept, **result}], self.schema)


@dataclass(frozen=True)
class EmbedTracks:
    """All tracks of a video -> the same rows with an `embedding`: its frames are decoded once."""

    schema: pa.Schema
    settings: Extract
    people: People
    path: str

    def __call__(self, table: pa.Table) -> pa.Table:
        """Tracks in and out."""
        _require_network()
        rows: list[Row] = table.to_pylist()
        good = [row for row in rows if row["track"] is not None and row["reason"] is None]
        if good:
            values = (good[0][self.path], [row["track"] for row in good], self.settings, self.people)
            ((made, reason),) = in_children("embed", [values], self.settings)
            for row, one in zip(good, made or [{"reason": reason}] * len(good), strict=True):
                row.update(one)
        return pa.Table.from_pylist([{name: row.get(name) for name in self.schema.names} for row in rows], self.schema)


@cache
def _require_network() -> None:
    """Raise UserError where an executor lacks the network: no video is the cause of that."""
    from deepfake.catalog.embeddings import network_file

    network_file()


class DescribeTask(Task):
    """Adds `pictures`."""

    function = "describe"

    def values(self, row: Row) -> tuple[Any, ...]:
        """The path."""
        return (row[self.path],)

    def rows(self, row: Row, result: Any, reason: str | None) -> list[Row]:
        """The same row with one more column."""
        return [{**row, "pictures": result, "reason": reason}]


@dataclass(frozen=True)
class BandsOf:
    """Rows of `pictures` -> the bands of their hashes, each once a video: `what` is hashes or asked."""

    what: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches in, batches out."""
        from deepfake.engines.transformers.archive import bands

        for batch in batches:
            for video_id, pictures in zip(*(batch[name].to_pylist() for name in ("video_id", "pictures")), strict=True):
                own = bands(pictures[self.what])
                names = pa.array([video_id] * len(own), pa.string())
                yield pa.RecordBatch.from_arrays([names, pa.array(own, pa.int64())], names=["video_id", "band"])


@dataclass(frozen=True)
class AlignCopies:
    """A video, and those that share a band with it -> which seconds of it are which of theirs."""

    schema: pa.Schema

    def __call__(self, others: pa.Table, videos: pa.Table) -> pa.Table:
        """Candidates and the video in, pairs of ranges out."""
        from deepfake.engines.transformers.archive import copies

        made: list[Row] = []
        for row in videos.to_pylist():
            known = dict(zip(others["other_id"].to_pylist(), others["other"].to_pylist(), strict=True))
            made += copies(row["video_id"], row["pictures"], known)
        return pa.Table.from_pylist(made, self.schema)
