"""What the Transformers do with one video or one chunk of it, in a process of its own: plain values in, rows out.

Frames are chosen once for the whole video, by the settings that travel with a chunk; shots are found once from what
all chunks saw. Faces of short videos are those that stage 02 finds. Of long ones every frame that a search would look
at is sampled, which needs no pass before.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from deepfake.detector.header import Networks, read_detector
from deepfake.detector.judged import judge
from deepfake.errors import UserError
from deepfake.faces.chunk_tasks import Part
from deepfake.faces.chunked import cuts_of, noted_pass
from deepfake.faces.crop_store import write_shard
from deepfake.faces.crops import square_around
from deepfake.faces.detections import Faces
from deepfake.faces.extracted import Extraction, Face, Job, shard_rows, stored
from deepfake.faces.extractor import Extractor, credible_tracks, detector_of
from deepfake.faces.linker import Linker
from deepfake.faces.passes import Pass, open_pass
from deepfake.faces.search import long_timeline, search_plan
from deepfake.faces.sight import LiveSight, NotedFrame
from deepfake.media.chunks import Chunk, cut, why_unequal, why_whole
from deepfake.media.demux import Demuxed, VideoError, scan
from deepfake.media.needs import allow_for, stride_within
from deepfake.media.video import Frame, Sampled
from deepfake.models.detector_file import shipped_weights
from deepfake.probabilities import expit
from deepfake.settings import Extract, Predict

Row = dict[str, Any]
OF_PROBE = ("container", "codec", "width_px", "height_px", "fps", "duration_s", "n_frames", "is_vfr")


def local_path(path: str) -> Path:
    """The file of a path as Spark names it (`file:/a/b.mp4`) or people do."""
    parts = urlsplit(path)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if "://" in path:
        raise UserError(f"{path!r}: wanted a path that this executor sees; mount the storage, or fetch the file first")
    return Path(path)


def index(path: str) -> Row:
    """The `video` of a file."""
    local = local_path(path)
    probe = scan(local).probe
    return {"size_bytes": local.stat().st_size, **{name: getattr(probe, name) for name in OF_PROBE}}


@dataclass(frozen=True)
class Plan:
    """How a video is read: the pass over all of it and its chunks."""

    one: Pass
    chunks: list[Chunk]
    is_long: bool
    uncut: str | None = None


@dataclass
class Opened:
    """A video, demuxed, and how it is read."""

    job: Job
    demuxed: Demuxed
    plan: Plan
    places: np.ndarray

    def frames(self, number: int | None, **how: Any) -> Sampled:
        """A pass over a chunk, or over all of it (None)."""
        return open_pass(
            self.job, self.demuxed, self.plan.one, None if number is None else self.plan.chunks[number], **how
        )


def open_video(path: str, settings: Extract) -> Opened:
    """Demux a video and choose its frames."""
    local = local_path(path)
    demuxed = scan(local)
    allow_for(local.stat().st_size, demuxed.probe)
    job = Job(local.name, local, local.parent, "", settings)
    searched = long_timeline(demuxed, settings)
    one = Pass("sample", demuxed.probe.stream, settings.sampling, None)
    if searched is not None:
        plan = search_plan(demuxed, searched, settings)
        one = replace(one, sampling="keyframe" if plan.keyframes_only else "reference", places=plan.places)
    places = open_pass(job, demuxed, one).positions
    uncut = why_whole(demuxed.packets) if demuxed.packets.length_s > settings.chunk_from_s else None
    is_cut = demuxed.packets.length_s > settings.chunk_from_s and uncut is None
    chunks = cut(demuxed.packets, places, settings.chunk_s if is_cut else np.inf)
    return Opened(job, demuxed, Plan(one, chunks, searched is not None, uncut), places)


def plan(path: str, settings: Extract, values: str) -> list[Row]:
    """The chunks of a video, each a `chunk`; `values` are the settings as JSON."""
    video = open_video(path, settings)
    packets, chunks = video.demuxed.packets, video.plan.chunks
    begins = [packets.time_s(float(packets.keys[0])), *(packets.time_s(chunk.from_key) for chunk in chunks[1:])]
    ends = [*begins[1:], begins[0] + video.demuxed.probe.duration_s]
    return [
        {
            "number": chunk.number,
            "n_chunks": len(chunks),
            "from_s": begins[chunk.number],
            "to_s": ends[chunk.number],
            "frames": video.places[chunk.first : chunk.last + 1].tolist(),
            "is_long": video.plan.is_long,
            "uncut": video.plan.uncut,
            "plan": values,
        }
        for chunk in chunks
    ]


def settings_of(chunk: Mapping[str, Any] | None, settings: Extract) -> Extract:
    """The settings with those that a chunk's frames were chosen by."""
    return settings if chunk is None else settings.model_copy(update=json.loads(chunk["plan"]))


def _number(chunk: Mapping[str, Any] | None) -> int | None:
    return None if chunk is None or chunk["n_chunks"] == 1 else int(chunk["number"])


def changes(path: str, chunk: Mapping[str, Any] | None, settings: Extract) -> bytes:
    """How the frames of a chunk change, packed: what `shots` finds shots by."""
    video, number = open_video(path, settings_of(chunk, settings)), _number(chunk)
    whole = Chunk(0, 0, len(video.places) - 1, -np.inf, np.inf, 0.0)
    part = noted_pass(
        "shots",
        lambda cuts, note: video.frames(number, cuts=cuts, on_frame=note),
        video.demuxed.packets,
        whole if number is None else video.plan.chunks[number],
        _drained,
    )
    # One pass over a damaged video is as it is: nothing gives more of it.
    return pickle.dumps(part if number is not None else replace(part, problem=None))


def _drained(frames: Iterator[Frame]) -> None:
    for _ in frames:
        pass


@dataclass(frozen=True)
class Shots:
    """Where the second and later shots of a video begin; `uncut`: why its chunks are read as one."""

    cuts: list[Row]
    uncut: str | None = None


def shots(parts: Sequence[bytes]) -> Shots:
    """Find shots from what all chunks of a video saw."""
    noted: list[Part] = sorted((pickle.loads(part) for part in parts), key=lambda part: part.number)  # noqa: S301  ours
    problem = next((part.problem for part in noted if part.problem), None)
    problem = problem or why_unequal([part.decoded for part in noted if part.decoded is not None])
    if problem is not None:
        return Shots([], problem)
    return Shots([{"frame_index": cut.index, "time_s": cut.time_s} for cut in cuts_of(noted)])


def faces(path: str, chunk: Mapping[str, Any] | None, cuts: Sequence[Row] | None, settings: Extract) -> list[Row]:
    """All faces of the sampled frames of a chunk: a `frame` and its `faces` each."""
    settings = settings_of(chunk, settings)
    video, number = open_video(path, settings), _number(chunk)
    if number is not None and cuts is None:
        raise UserError("a video that is cut has no column of cuts; put a ShotDetector before the FaceDetector")
    stride = 1 if video.plan.is_long else stride_within(settings.detection_stride, video.demuxed.probe)
    sight = LiveSight(settings, detector_of(settings))
    extractor = Extractor(settings.model_copy(update={"detection_stride": stride}), sight)
    frames = video.frames(number)
    begins = np.array([cut["frame_index"] for cut in cuts or ()], np.int64)
    listed: list[NotedFrame] = []

    def of_shots() -> Iterator[Frame]:
        for frame in frames:
            if cuts is not None:
                frame.shot = int(np.searchsorted(begins, frame.index, side="right"))
            if not frame.is_suspect:  # the extractor leaves it out
                listed.append(NotedFrame(frame.index, frame.time_s, frame.width_px, frame.height_px, frame.shot))
            yield frame

    found = extractor.read(of_shots())
    searched = {(shot, time_s) for shot, times_s in found.searched_s.items() for time_s in times_s}
    own: dict[int, list[Face]] = {}
    for face in found.faces:
        own.setdefault(face.frame_index, []).append(face)
    return [
        {
            "frame": {
                "frame_index": frame.index,
                "time_s": frame.time_s,
                "shot": frame.shot,
                "is_searched": (frame.shot, frame.time_s) in searched,
                "is_long": video.plan.is_long,
            },
            "faces": [_face_row(face) for face in own.get(frame.index, [])],
        }
        for frame in listed
    ]


_BOX = ("x0_px", "y0_px", "x1_px", "y1_px")


def _face_row(face: Face) -> Row:
    named = {name: getattr(face, name) for name in (*_BOX, "score", "is_detected")}
    return {**named, "landmarks": list(face.landmarks)}


def link(rows: Sequence[Row], settings: Extract) -> list[Row]:
    """Tracks of a video, by the frames of all its chunks: each a `track`, in the order of their numbers."""
    ordered = sorted(rows, key=lambda row: row["frame"]["frame_index"])
    linker, all_faces = Linker(settings.max_gap_s), list[Face]()
    searched_s: dict[int, list[float]] = {}
    for row in ordered:
        frame, own = row["frame"], row["faces"] or []
        numbers = linker.update(frame["frame_index"], frame["time_s"], frame["shot"], _as_faces(own))
        if frame["is_searched"]:
            searched_s.setdefault(frame["shot"], []).append(frame["time_s"])
        all_faces += [_as_face(face, frame, number) for face, number in zip(own, numbers, strict=True)]
    is_long = any(row["frame"]["is_long"] for row in ordered)
    most = max(settings.max_tracks, settings.max_appearances) if is_long else settings.max_tracks
    n_searched = {shot: len(times_s) for shot, times_s in searched_s.items()}
    keep = credible_tracks(all_faces, n_searched, most, searched_s if is_long else None)
    return [_track_row(new, [face for face in all_faces if face.track == old]) for new, old in enumerate(keep)]


def _as_faces(rows: Sequence[Row]) -> Faces:
    boxes = np.array([[row[name] for name in _BOX] for row in rows], np.float32).reshape(-1, 4)
    landmarks = np.array([row["landmarks"] for row in rows], np.float32).reshape(-1, 5, 2)
    return Faces(boxes, np.array([row["score"] for row in rows], np.float32), landmarks)


def _as_face(row: Row, frame: Row, track: int) -> Face:
    named: Row = {name: row[name] for name in (*_BOX, "score", "is_detected")}
    place: Row = {"shot": frame["shot"], "frame_index": frame["frame_index"], "time_s": frame["time_s"]}
    # Nothing is cut out yet.
    unknown: Row = dict.fromkeys(("crop_x0_px", "crop_y0_px", "crop_side_px", "sharpness"), 0.0)
    return Face(**named, **place, **unknown, track=track, landmarks=tuple(row["landmarks"]))


def _track_row(number: int, own: Sequence[Face]) -> Row:
    return {
        "number": number,
        "shot": own[0].shot,
        "from_s": own[0].time_s,
        "to_s": own[-1].time_s,
        "faces": [{"frame_index": face.frame_index, "time_s": face.time_s, **_face_row(face)} for face in own],
    }


def score(path: str, tracks: Sequence[Row], weights: str) -> Row:
    """Score a video by its tracks: crops are cut out of the frames they name, and the networks see them."""
    networks = _networks(weights)
    settings = networks.rules.extract
    with tempfile.TemporaryDirectory(prefix="deepfake-") as folder:
        extraction = with_crops(local_path(path), tracks, settings, Path(folder))
        scores = networks.scorer.score(Path(folder), extraction.faces)
    judged = judge(scores, networks.rules.stack, networks.rules.ensemble)
    p_fake = float(expit(np.array([judged.logit]))[0])
    return {"p_fake": p_fake, "n_faces": len(extraction.faces), "n_tracks": len(tracks), "fallback": None}


def prior(weights: str) -> float:
    """What a video without a score gets."""
    return float(_networks(weights).rules.stack.prior)


@lru_cache(maxsize=1)
def _networks(weights: str) -> Networks:
    return Networks(read_detector(Path(weights) if weights else shipped_weights()), Predict())


def with_crops(path: Path, tracks: Sequence[Row], settings: Extract, folder: Path) -> Extraction:
    """What stage 02 would have kept of these faces, in a folder of the caller's."""
    wanted: dict[int, list[Face]] = {}
    for track in tracks:
        for row in track["faces"]:
            wanted.setdefault(row["frame_index"], []).append(
                _as_face(row, {**row, "shot": track["shot"]}, track["number"])
            )
    job = Job(path.name, path, folder, "crops.tar", settings)
    # Any frame may be wanted: none is left out of what is decoded.
    one = Pass("sample", (demuxed := scan(path)).probe.stream, "uniform", np.array(sorted(wanted), np.int64))
    sight = LiveSight(settings, detector_of(settings))
    made: list[tuple[Face, bytes]] = []
    for frame in open_pass(job, demuxed, one):
        for face in wanted.pop(frame.index, []):
            square = square_around(np.array(face.box, np.float32), settings.margin_ratio)
            crop = sight.crop(frame, square)
            place: Row = {"crop_x0_px": square.x0_px, "crop_y0_px": square.y0_px, "crop_side_px": square.side_px}
            made.append((replace(face, **place, sharpness=crop.sharpness), crop.data))
    if wanted:
        raise VideoError(f"video {path.name!r}: frame {min(wanted)} did not come again; was the file changed?")
    made.sort(key=lambda item: (item[0].track, item[0].frame_index))
    extraction = Extraction(path.name, shard="crops.tar", n_sampled=len(made))
    rows = [face for face, _ in made]
    names = [f"{face.track:03d}.{face.frame_index:07d}" for face in rows]
    places = write_shard(
        folder / "crops.tar", list(zip(names, [data for _, data in made], strict=True)), shard_rows(extraction, rows)
    )
    return replace(
        extraction, faces=tuple(stored(face, "crops.tar", *place) for face, place in zip(rows, places, strict=True))
    )
