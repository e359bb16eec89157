"""One video -> its face tracks: sampled frames, MTCNN on a stride, boxes carried between, crops.

Frames are read once and in order; only those between two runs of the detector are held, so
memory does not grow with the length of a video. This module runs in worker processes and so
imports no pandas and no numba: they would cost each process 110 MB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from deepfake.faces import copy_hashes
from deepfake.faces.crop_store import write_shard
from deepfake.faces.crops import square_around
from deepfake.faces.extracted import (
    Extraction,
    Face,
    FurtherStream,
    Turn,
    failure_note,
    note_failure,
    shard_rows,
    stored,
)
from deepfake.faces.extracted import (
    Job as Job,
)
from deepfake.faces.extracted import shard_name as shard_name
from deepfake.faces.linker import Linker, overlap
from deepfake.faces.mtcnn import FaceDetector, Faces
from deepfake.faces.passes import Frames, LivePasses, Pass, Passes, Search
from deepfake.faces.search import search
from deepfake.faces.sight import Frame, Picture, Sight, UnreadyError, looked_at
from deepfake.files import sha256_of, state_of
from deepfake.media.demux import Demuxed, LostFileError, VideoError, scan
from deepfake.media.file_facts import change_of, unread
from deepfake.media.long_sampling import weightiest_in_time
from deepfake.media.needs import allow_for, stride_within
from deepfake.media.pixels import turn
from deepfake.settings import Extract
from deepfake.workers import hand_on

log = logging.getLogger(__name__)
HASHED_FRAMES = 8
SECOND_LOOKS = 3  # a shot
SECOND_LOOK_SIDE_PX = 1600
CARRY_S = 2.0  # detections further apart say nothing of the frames between, which are searched themselves
CARRY_OVERLAP = 0.5  # below it a face moved too far for its box to be carried between two detections
# False alarms (hands, shadows, a stuffed bird) come and go and are unsure. Among 256 tracks of 174 labelled clips
# and the demo these bounds dropped 6 of the 7 that were no face of a person, and one of the faces, a profile.
MIN_SEARCHED = 4  # in a shot, before their share says anything
RARE_SHARE = 0.3
SURE_SCORE = 0.99
NEAR_S = 2.0  # of a long shot only so much around a track's frames says whether it comes and goes
TURNS: tuple[Turn, ...] = (180, 90, 270)  # clockwise degrees; upside down is the likeliest
LOOKED_AT_TURNED = 6  # pictures at most
# MTCNN takes many an upside-down face for one, but is less sure. Of 18 real clips the median of a picture's best score
# was 0.9955 and more upright, 0.993 and less upside down.
UPRIGHT_SCORE, TURNED_GAIN = 0.99, 0.003


@dataclass(frozen=True)
class Way:
    """How a video is looked at: turned clockwise against what players show, and with its damaged frames or without."""

    turned: Turn = 0
    with_damaged: bool = False


@dataclass
class SampledFrame:
    """A sampled frame and the faces in it, in full-frame pixels."""

    frame: Frame
    faces: Faces | None = None  # None: the detector has not run
    tracks: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """A picture the detector saw, and the score of its surest face, 0 without one."""

    picture_HWC: Picture
    score: float


@dataclass
class VideoFaces:
    """Everything kept of a video."""

    faces: list[Face] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    sampled_s: list[float] = field(default_factory=list)
    n_damaged: int = 0
    n_shots: int = 0
    n_searched: dict[int, int] = field(default_factory=dict)  # frames the detector ran on, by shot
    searched_s: dict[int, list[float]] = field(default_factory=dict)  # when these are shown
    looks: list[Look] = field(default_factory=list)  # some of those, spread over the video

    @property
    def n_sampled(self) -> int:
        """Frames sampled."""
        return len(self.sampled_s)


class Extractor:
    """State of one video's extraction; `found`: what a search of a long one found, whose every frame is detected on.

    `on_kept` is called with the pictures of crops as they are kept; not all of them stay.
    """

    def __init__(
        self,
        settings: Extract,
        sight: Sight,
        found: Search | None = None,
        with_damaged: bool = False,
        on_kept: Callable[[list[bytes]], None] | None = None,
    ) -> None:
        self.settings = settings
        self.found = found
        self.stride = settings.detection_stride if found is None else 1
        self.sight = sight
        self.with_damaged = with_damaged
        self.on_kept, self.n_handed_on = on_kept, 0
        self.look_step, self.n_looks = 1, 0
        self.linker = Linker(settings.max_gap_s)
        self.kept = VideoFaces()
        self.second_looks = 0
        self.shot_has_face = False
        self.side_px = settings.detection_side_px
        n_frames = settings.frames_per_video if found is None else len(found.places)
        self.hash_every = max(n_frames // HASHED_FRAMES, 1)

    def run(self, frames: Iterator[Frame]) -> VideoFaces:
        """Read all frames and return the faces kept."""
        self.read(frames)
        self._drop_false_alarms()
        return self.kept

    def read(self, frames: Iterator[Frame]) -> VideoFaces:
        """Read all frames and return all faces, false alarms among them."""
        held: list[SampledFrame] = []
        for frame in frames:
            if frame.is_suspect:  # smeared by a damaged packet: it would look forged
                self.kept.n_damaged += 1
                if not self.with_damaged:
                    continue
            if self.kept.n_sampled % self.hash_every == 0 and len(self.kept.hashes) < HASHED_FRAMES:
                self.kept.hashes.append(self.sight.hash(frame))
            self.kept.sampled_s.append(frame.time_s)
            new_shot = not held or held[-1].frame.shot != frame.shot
            if new_shot and held:
                self._detect(held[-1])
                held = self._settle(held)
            if new_shot:
                self._start_shot()
            held.append(SampledFrame(frame))
            is_far = frame.time_s - held[0].frame.time_s > CARRY_S
            if new_shot or is_far or len(held) > self.stride:
                self._detect(held[-1])
                held = self._settle(held)
        if held:
            self._detect(held[-1])
            self._settle(held)
            self._keep(held[-1])
            self._hand_on()
        return self.kept

    def _start_shot(self) -> None:
        self.kept.n_shots += 1
        self.second_looks, self.shot_has_face = 0, False
        self.side_px = self.settings.detection_side_px

    def _detect(self, sampled: SampledFrame) -> None:
        if sampled.faces is not None:
            return
        faces = self.sight.faces(sampled.frame, self.side_px)
        full_side = max(sampled.frame.width_px, sampled.frame.height_px)
        may_look_again = self.settings.second_look and not self.shot_has_face and self.second_looks < SECOND_LOOKS
        if not len(faces) and may_look_again and full_side > 1.2 * self.side_px:
            self.second_looks += 1
            closer_px = min(full_side, SECOND_LOOK_SIDE_PX)
            faces = self.sight.faces(sampled.frame, closer_px)
            if len(faces):
                self.side_px = closer_px
        self.shot_has_face |= len(faces) > 0
        self.kept.n_searched[sampled.frame.shot] = self.kept.n_searched.get(sampled.frame.shot, 0) + 1
        self.kept.searched_s.setdefault(sampled.frame.shot, []).append(sampled.frame.time_s)
        sampled.faces = faces
        self._keep_look(sampled.frame, faces)

    def _keep_look(self, frame: Frame, faces: Faces) -> None:
        """Keep every n-th picture; n doubles whenever there are too many."""
        if self.n_looks % self.look_step == 0:
            picture_HWC = self.sight.picture(frame)
            self.kept.looks.append(Look(picture_HWC, float(faces.scores.max()) if len(faces) else 0.0))
        self.n_looks += 1
        if len(self.kept.looks) > LOOKED_AT_TURNED:
            del self.kept.looks[1::2]
            self.look_step *= 2

    def _settle(self, held: list[SampledFrame]) -> list[SampledFrame]:
        """Fill the frames between two detections, keep all but the last, return the last to start the next stretch."""
        first, last = held[0], held[-1]
        if first is last:
            if not first.tracks:
                self._link(first)
            return held
        self._fill(held)
        for sampled in held[1:]:
            self._link(sampled)
        for sampled in held[:-1]:
            self._keep(sampled)
        self._hand_on()
        return [last]

    def _hand_on(self) -> None:
        if self.on_kept is not None and len(self.kept.pictures) > self.n_handed_on:
            self.on_kept(self.kept.pictures[self.n_handed_on :])
        self.n_handed_on = len(self.kept.pictures)

    def _fill(self, held: list[SampledFrame]) -> None:
        """Carry boxes between two detections where each face is near in both; else detect in the middle frame, too."""
        first, last = held[0], held[-1]
        if len(held) < 3:
            return
        assert first.faces is not None and last.faces is not None
        pairs = _same_faces(first.faces, last.faces)
        if pairs is None:
            middle = len(held) // 2
            self._detect(held[middle])
            self._fill(held[: middle + 1])
            self._fill(held[middle:])
            return
        start_s, step_s = first.frame.time_s, last.frame.time_s - first.frame.time_s
        for sampled in held[1:-1]:
            sampled.faces = _between(
                first.faces, last.faces, pairs, (sampled.frame.time_s - start_s) / max(step_s, 1e-9)
            )

    def _link(self, sampled: SampledFrame) -> None:
        assert sampled.faces is not None
        frame = sampled.frame
        part = 0 if self.found is None else self.found.part_of(frame.index)
        # A shot and a part of it count as a shot here.
        sampled.tracks = self.linker.update(frame.index, frame.time_s, frame.shot + part, sampled.faces)

    def _keep(self, sampled: SampledFrame) -> None:
        assert sampled.faces is not None
        for number, track in enumerate(sampled.tracks):
            box, landmarks = sampled.faces.boxes[number], sampled.faces.landmarks[number]
            square = square_around(box, self.settings.margin_ratio)
            crop = self.sight.crop(sampled.frame, square)
            x0_px, y0_px, x1_px, y1_px = map(float, box)
            face = Face(
                shot=sampled.frame.shot,
                track=track,
                frame_index=sampled.frame.index,
                time_s=sampled.frame.time_s,
                x0_px=x0_px,
                y0_px=y0_px,
                x1_px=x1_px,
                y1_px=y1_px,
                score=float(sampled.faces.scores[number]),
                is_detected=not isinstance(sampled.faces, CarriedFaces),
                landmarks=tuple(float(value) for value in landmarks.ravel()),
                crop_x0_px=square.x0_px,
                crop_y0_px=square.y0_px,
                crop_side_px=square.side_px,
                sharpness=crop.sharpness,
            )
            self.kept.faces.append(face)
            self.kept.pictures.append(crop.data)

    def _drop_false_alarms(self) -> None:
        """Keep the longest and largest credible tracks, numbered by their first appearance."""
        most, searched_s = self.settings.max_tracks, None
        if self.found is not None:
            most, searched_s = max(most, self.settings.max_appearances), self.kept.searched_s
        keep = credible_tracks(self.kept.faces, self.kept.n_searched, most, searched_s)
        numbers = {old: new for new, old in enumerate(keep)}
        kept = [
            (replace(face, track=numbers[face.track]), picture)
            for face, picture in zip(self.kept.faces, self.kept.pictures, strict=True)
            if face.track in numbers
        ]
        kept.sort(key=lambda item: (item[0].track, item[0].frame_index))
        self.kept.faces = [face for face, _ in kept]
        self.kept.pictures = [picture for _, picture in kept]


class CarriedFaces(Faces):
    """Faces whose boxes were carried between two detections."""


def _same_faces(first: Faces, last: Faces) -> list[tuple[int, int]] | None:
    """Pairs of all faces of two frames, or None where one is missing or moved too far."""
    if len(first) != len(last):
        return None
    shared = overlap(first.boxes, last.boxes)
    pairs = [(i, int(shared[i].argmax())) for i in range(len(first))]
    close = all(shared[i, j] >= CARRY_OVERLAP for i, j in pairs)
    return pairs if close and len({j for _, j in pairs}) == len(pairs) else None


def _between(first: Faces, last: Faces, pairs: list[tuple[int, int]], ratio: float) -> Faces:
    a, b = [i for i, _ in pairs], [j for _, j in pairs]
    mix = np.float32(ratio)
    return CarriedFaces(
        first.boxes[a] * (1 - mix) + last.boxes[b] * mix,
        np.minimum(first.scores[a], last.scores[b]),
        first.landmarks[a] * (1 - mix) + last.landmarks[b] * mix,
    )


def credible_tracks(
    faces: Sequence[Face],
    n_searched: Mapping[int, int],
    max_tracks: int,
    searched_s: Mapping[int, Sequence[float]] | None = None,
) -> list[int]:
    """Numbers of the tracks to keep, by first appearance; `n_searched`: frames the detector ran on, by shot.

    Of a long video `searched_s` says when these are shown: a track is compared with those near it alone, and those kept
    are spread over the video, so that nobody's length hides another.
    """
    by_track: dict[int, list[Face]] = {}
    for face in faces:
        by_track.setdefault(face.track, []).append(face)
    weights: dict[int, float] = {}
    for track, own in by_track.items():
        seen = [face for face in own if face.is_detected]
        of_shot = n_searched.get(own[0].shot, 0)
        if searched_s is not None:
            first_s, last_s = own[0].time_s - NEAR_S, own[-1].time_s + NEAR_S
            of_shot = sum(first_s <= time_s <= last_s for time_s in searched_s[own[0].shot])
        rarely_seen = of_shot >= MIN_SEARCHED and len(seen) < max(RARE_SHARE * of_shot, 2)
        if rarely_seen and np.mean([face.score for face in seen or own]) < SURE_SCORE:
            continue
        side = np.median([max(face.x1_px - face.x0_px, face.y1_px - face.y0_px) for face in own])
        weights[track] = float(len(own) * side)
    start = {t: (by_track[t][0].frame_index, by_track[t][0].x0_px, t) for t in weights}
    if searched_s is not None:
        ordered = sorted(weights, key=lambda track: start[track])
        return [ordered[i] for i in weightiest_in_time([weights[track] for track in ordered], max_tracks)]
    best = sorted(weights, key=lambda track: (-weights[track], track))[:max_tracks]
    return sorted(best, key=lambda track: start[track])


@lru_cache(maxsize=2)
def _detector(min_face_ratio: float, min_score: float, device: str) -> FaceDetector:
    cv2.setNumThreads(1)
    return FaceDetector(min_face_ratio, min_score, device)


def detector_of(settings: Extract) -> FaceDetector:
    """The detector of faces that this process keeps."""
    return _detector(settings.min_face_ratio, settings.min_score, "cpu")


def extract(job: Job, demuxed: Demuxed | None = None, passes: Passes | None = None) -> Extraction:
    """Extract one video into its shard; where the content cannot be read, a note beside it and the result say why.

    What is no fault of the content is in the result alone. `demuxed`: see `media.video.sample`. `passes`: where frames
    come from; they may raise UnreadyError, and nothing else of it is raised.
    """
    detector = detector_of(job.settings)
    passes = passes or LivePasses(job, detector)
    reason: str | None = None
    try:
        state = job.state or state_of(job.path)
        if job.state is None and job.sha256 is not None and sha256_of(job.path) != job.sha256:
            return _lost(job, f"video {job.path.name!r}: it holds other bytes than when it was indexed; index it again")
        demuxed = demuxed or scan(job.path)
        allow_for(job.path.stat().st_size, demuxed.probe)
        looks = [_look(job, passes, stream, stream is demuxed) for stream in (demuxed, *demuxed.further)]
    except UnreadyError:
        raise
    except LostFileError as error:
        return _lost(job, str(error))
    except VideoError as error:
        looks, reason = [], str(error)
    except OSError as error:
        return _lost(job, unread(job.path, error))
    except Exception as error:
        return _lost(job, _unexpected(job, error))
    change = change_of(job.path, state)
    if change is not None:
        return _lost(job, change)
    # A stream that cannot be read is named beside one that can; alone it is the file that cannot.
    done = [look for look in looks if look.failure is None]
    if not done:
        is_lost = any(look.is_lost for look in looks)
        return (_lost if is_lost else _failed)(job, str(reason or looks[0].failure))
    failed = [look for look in looks if look.failure is not None]
    return _keep(job, done, failed, _copy_hashes(demuxed, passes))


def _copy_hashes(demuxed: Demuxed | None, passes: Passes) -> Mapping[str, object] | None:
    """What copies of the video are found by, where its first pass saw all of that undamaged."""
    first = passes.first
    if demuxed is None or first is None or first.n_corrupt or first.n_bad_packets:
        return None
    settings = copy_hashes.Settings()
    hashed = copy_hashes.hashed_in_passing(demuxed, first.thumbs, settings)
    return None if hashed is None else copy_hashes.as_row(hashed, settings)


@dataclass(frozen=True)
class _Look:
    """One video stream, read through: what was sampled and kept, or why it could not be read.

    `is_lost`: the reason is no fault of the content, as far as is known.
    """

    stream: int
    frames: Frames | None = None
    kept: VideoFaces = field(default_factory=VideoFaces)
    found: Search | None = None
    way: Way = field(default_factory=Way)
    failure: str | None = None
    is_lost: bool = False

    @property
    def cuts_s(self) -> tuple[float, ...]:
        """When its second and later shots begin."""
        return tuple(round(cut.time_s, 4) for cut in self.frames.cuts) if self.frames else ()

    @property
    def sampled_s(self) -> tuple[float, ...]:
        """When its frames were sampled."""
        return tuple(round(time_s, 4) for time_s in self.kept.sampled_s)


def _look(job: Job, passes: Passes, demuxed: Demuxed, is_main: bool) -> _Look:
    """Look at a stream; only the main one is turned or looked at in its damaged frames where it shows no face."""
    number = demuxed.probe.stream
    try:
        (frames, kept, found), way = (
            _find_way(job, passes, demuxed) if is_main else (_read_through(job, passes, demuxed, Way()), Way())
        )
    except (LostFileError, OSError, UnreadyError):
        raise
    except VideoError as error:
        return _Look(number, failure=str(error))
    except Exception as error:  # whatever a library makes of one odd file, the other videos go on
        return _Look(number, failure=_unexpected(job, error), is_lost=True)
    if not kept.n_sampled:
        failure = f"video {job.path.name!r}: all {kept.n_damaged} sampled frames are damaged; fetch it again"
        return _Look(number, failure=failure)
    return _Look(number, frames, kept, found, way)


def _unexpected(job: Job, error: Exception) -> str:
    log.warning("video %r: unexpected error", job.video_id, exc_info=True)
    return f"unexpected {type(error).__name__}: {error}"


Read = tuple[Frames, VideoFaces, "Search | None"]


def _find_way(job: Job, passes: Passes, demuxed: Demuxed) -> tuple[Read, Way]:
    """Look at a video as it is; where that shows no face, at its damaged frames, too; where none is sure, turned."""
    way = Way()
    read = _read_through(job, passes, demuxed, way)
    frames, kept, _ = read
    is_spoilt = kept.n_damaged or frames.n_corrupt or frames.n_bad_packets or not kept.n_sampled
    if not kept.faces and is_spoilt:
        damaged = replace(way, with_damaged=True)
        with_them = _read_through(job, passes, demuxed, damaged)
        if with_them[1].faces or not kept.n_sampled:
            read, way = with_them, damaged
    turned = turn_of_faces(read[1].looks, detector_of(job.settings), job.settings)
    if turned:
        sideways = replace(way, turned=turned)
        turned_read = _read_through(job, passes, demuxed, sideways)
        if turned_read[1].faces:
            return turned_read, sideways
    return read, way


def _read_through(job: Job, passes: Passes, demuxed: Demuxed, way: Way) -> Read:
    settings = job.settings
    found = search(demuxed, settings, passes)
    with_faces = found if found is not None and len(found.places) > 0 else None
    places = None if with_faces is None else with_faces.places
    one = Pass("sample", demuxed.probe.stream, settings.sampling, places, way.with_damaged, way.turned, with_faces)
    with passes.open(demuxed, one) as (frames, sight):
        extractor = extractor_for(settings, demuxed, sight, with_faces, way.with_damaged)
        extractor.on_kept = hand_on if job.hand_on else None
        try:
            return frames, extractor.run(iter(frames)), found
        except LostFileError:
            raise
        except VideoError:
            if way.with_damaged:
                raise
            return frames, extractor.kept, found  # not one frame came: all of them may be damaged


def extractor_for(
    settings: Extract, demuxed: Demuxed, sight: Sight, found: Search | None, with_damaged: bool = False
) -> Extractor:
    """One for a pass over a stream; `found`: see `Extractor`."""
    stride = stride_within(settings.detection_stride, demuxed.probe)
    return Extractor(settings.model_copy(update={"detection_stride": stride}), sight, found, with_damaged)


def _lost(job: Job, reason: str) -> Extraction:
    return Extraction(job.video_id, failure=reason)


def turn_of_faces(looks: Sequence[Look], detector: FaceDetector, settings: Extract) -> Turn:
    """By how many degrees, clockwise, pictures have to be turned for their faces to stand upright; 0 as a rule.

    Where sure faces were found upright, nothing is searched. One false alarm among several pictures turns no video.
    """
    found = [look.score for look in looks if look.score]
    if not looks or (found and np.median(found) > 1 - TURNED_GAIN):
        return 0
    pictures = looked_at([look.picture_HWC for look in looks])
    scores = {0: [look.score for look in looks]}
    for turned in TURNS:
        scores[turned] = [_best_score(turn(picture_HWC, turned), detector, settings) for picture_HWC in pictures]
    shows_face = np.array(list(scores.values())).any(axis=0)
    if shows_face.sum() < min(2, len(looks)):
        return 0
    medians = {turned: float(np.median(np.array(of_turn)[shows_face])) for turned, of_turn in scores.items()}
    best = max(TURNS, key=medians.__getitem__)
    return best if medians[best] >= max(UPRIGHT_SCORE, medians[0] + TURNED_GAIN) else 0


def _best_score(picture_HWC: np.ndarray, detector: FaceDetector, settings: Extract) -> float:
    (faces,) = detector.detect([picture_HWC], round(settings.min_face_ratio * max(picture_HWC.shape[:2])))
    return float(faces.scores.max()) if len(faces) else 0.0


def _failed(job: Job, reason: str) -> Extraction:
    note_failure(job.shard_path, reason)
    return Extraction(job.video_id, failure=reason)


def _keep(job: Job, looks: Sequence[_Look], failed: Sequence[_Look], hashes: Mapping[str, object] | None) -> Extraction:
    """Write the shard of the streams that were read; the first stands for the file."""
    first, kept, way = looks[0], looks[0].kept, looks[0].way
    assert first.frames is not None, "it was read"
    are_in = "among them" if way.with_damaged else "left out"
    left_out = f"; {kept.n_damaged} damaged frames {are_in}" if kept.n_damaged else ""
    turned = f"; turned by {way.turned} degrees, as only so there are faces" if way.turned else ""
    further, faces = _numbered_on(looks)
    extraction = Extraction(
        video_id=job.video_id,
        shard=job.shard,
        decoder=first.frames.decoder,
        decoder_reason=f"{first.frames.decoder_reason}{left_out}{turned}",
        n_sampled=kept.n_sampled,
        sampled_s=first.sampled_s,
        n_damaged=kept.n_damaged,
        is_damaged=way.with_damaged,
        turned=way.turned,
        n_shots=kept.n_shots,
        cuts_s=first.cuts_s,
        frame_hashes=tuple(number for look in looks for number in look.kept.hashes),
        stream=first.stream,
        further=(*further, *(FurtherStream(look.stream, failure=look.failure) for look in failed)),
        searched=first.found.about if first.found else None,
    )
    extension = "jpg" if job.settings.image_format == "jpeg" else "png"
    names = [f"{face.track:03d}.{face.frame_index:07d}.{extension}" for face in faces]
    pictures = list(zip(names, [picture for look in looks for picture in look.kept.pictures], strict=True))
    failure_note(job.shard_path).unlink(missing_ok=True)  # of another version
    rows = {**shard_rows(extraction, faces), "copy_hashes": hashes}
    places = write_shard(job.shard_path, pictures, rows)
    return replace(
        extraction, faces=tuple(stored(face, job.shard, *place) for face, place in zip(faces, places, strict=True))
    )


def _numbered_on(looks: Sequence[_Look]) -> tuple[list[FurtherStream], list[Face]]:
    """All streams but the first, and the faces of all, with shots and tracks that go on from the stream before."""
    faces = list(looks[0].kept.faces)
    first_shot, further = len(looks[0].cuts_s) + 1, []
    for look in looks[1:]:
        first_track = max((face.track for face in faces), default=-1) + 1
        faces += [
            replace(face, shot=face.shot + first_shot, track=face.track + first_track) for face in look.kept.faces
        ]
        further.append(
            FurtherStream(
                stream=look.stream,
                first_shot=first_shot,
                n_sampled=look.kept.n_sampled,
                sampled_s=look.sampled_s,
                n_damaged=look.kept.n_damaged,
                n_shots=look.kept.n_shots,
                cuts_s=look.cuts_s,
            )
        )
        first_shot += len(look.cuts_s) + 1
    return further, faces
