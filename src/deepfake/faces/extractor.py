"""One video -> its face tracks: sampled frames, MTCNN on a stride, boxes carried between, crops.

Frames are read once and in order; only those between two runs of the detector are held, so
memory does not grow with the length of a video. This module runs in worker processes and so
imports no pandas and no numba: they would cost each process 110 MB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from deepfake.faces.crop_store import encode_crop, write_shard
from deepfake.faces.crops import cut_square, sharpness, square_around
from deepfake.faces.extracted import Extraction, Face, Turn, note_failure, shard_rows, stored
from deepfake.faces.hashes import perceptual_hash
from deepfake.faces.linker import Linker, overlap
from deepfake.faces.mtcnn import FaceDetector, Faces
from deepfake.files import digest
from deepfake.media.demux import Demuxed, VideoError, scan
from deepfake.media.needs import allow_for, stride_within
from deepfake.media.pixels import turn
from deepfake.media.shots import cut_detector
from deepfake.media.video import Frame, Sampled, sample
from deepfake.settings import Extract, result_values

log = logging.getLogger(__name__)
FORMAT = 6  # raise it when the same settings give other crops or rows
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

    picture_HWC: np.ndarray
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
    looks: list[Look] = field(default_factory=list)  # some of those, spread over the video

    @property
    def n_sampled(self) -> int:
        """Frames sampled."""
        return len(self.sampled_s)


class Extractor:
    """State of one video's extraction."""

    def __init__(self, settings: Extract, detector: FaceDetector, with_damaged: bool = False) -> None:
        self.settings = settings
        self.detector = detector
        self.with_damaged = with_damaged
        self.look_step, self.n_looks = 1, 0
        self.linker = Linker(settings.max_gap_s)
        self.kept = VideoFaces()
        self.second_looks = 0
        self.shot_has_face = False
        self.side_px = settings.detection_side_px
        self.hash_every = max(settings.frames_per_video // HASHED_FRAMES, 1)

    def run(self, frames: Iterator[Frame]) -> VideoFaces:
        """Read all frames and return the faces kept."""
        held: list[SampledFrame] = []
        for frame in frames:
            if frame.is_suspect:  # smeared by a damaged packet: it would look forged
                self.kept.n_damaged += 1
                if not self.with_damaged:
                    continue
            if self.kept.n_sampled % self.hash_every == 0 and len(self.kept.hashes) < HASHED_FRAMES:
                self.kept.hashes.append(perceptual_hash(frame.luma_thumb()))
            self.kept.sampled_s.append(frame.time_s)
            new_shot = not held or held[-1].frame.shot != frame.shot
            if new_shot and held:
                self._detect(held[-1])
                held = self._settle(held)
            if new_shot:
                self._start_shot()
            held.append(SampledFrame(frame))
            is_far = frame.time_s - held[0].frame.time_s > CARRY_S
            if new_shot or is_far or len(held) > self.settings.detection_stride:
                self._detect(held[-1])
                held = self._settle(held)
        if held:
            self._detect(held[-1])
            self._settle(held)
            self._keep(held[-1])
        self._drop_false_alarms()
        return self.kept

    def _start_shot(self) -> None:
        self.kept.n_shots += 1
        self.second_looks, self.shot_has_face = 0, False
        self.side_px = self.settings.detection_side_px

    def _detect(self, sampled: SampledFrame) -> None:
        if sampled.faces is not None:
            return
        faces = self._run_detector(sampled.frame, self.side_px)
        full_side = max(sampled.frame.width_px, sampled.frame.height_px)
        may_look_again = self.settings.second_look and not self.shot_has_face and self.second_looks < SECOND_LOOKS
        if not len(faces) and may_look_again and full_side > 1.2 * self.side_px:
            self.second_looks += 1
            closer_px = min(full_side, SECOND_LOOK_SIDE_PX)
            faces = self._run_detector(sampled.frame, closer_px)
            if len(faces):
                self.side_px = closer_px
        self.shot_has_face |= len(faces) > 0
        self.kept.n_searched[sampled.frame.shot] = self.kept.n_searched.get(sampled.frame.shot, 0) + 1
        sampled.faces = faces
        self._keep_look(sampled.frame, faces)

    def _run_detector(self, frame: Frame, side_px: int) -> Faces:
        small = frame.small_rgb(side_px)
        # In pixels of the detection picture, so that a larger one shows smaller faces.
        usual_px = min(max(small.shape[:2]), self.settings.detection_side_px)
        faces = self.detector.detect([small], round(self.settings.min_face_ratio * usual_px))[0]
        most = 2 * self.settings.max_tracks
        if len(faces) > most:
            area = (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(1)
            faces = faces.keep(np.sort(np.lexsort((faces.boxes[:, 0], -area))[:most]))
        return faces.scaled(frame.width_px / small.shape[1], frame.height_px / small.shape[0])

    def _keep_look(self, frame: Frame, faces: Faces) -> None:
        """Keep every n-th picture; n doubles whenever there are too many."""
        if self.n_looks % self.look_step == 0:
            picture_HWC = frame.small_rgb(self.settings.detection_side_px)
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
        return [last]

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
        sampled.tracks = self.linker.update(
            sampled.frame.index, sampled.frame.time_s, sampled.frame.shot, sampled.faces
        )

    def _keep(self, sampled: SampledFrame) -> None:
        assert sampled.faces is not None
        for number, track in enumerate(sampled.tracks):
            box, landmarks = sampled.faces.boxes[number], sampled.faces.landmarks[number]
            square = square_around(box, self.settings.margin_ratio)
            crop = cut_square(sampled.frame, square, self.settings.crop_px)
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
                sharpness=sharpness(crop),
            )
            self.kept.faces.append(face)
            self.kept.pictures.append(encode_crop(crop, self.settings.image_format, self.settings.jpeg_quality))

    def _drop_false_alarms(self) -> None:
        """Keep the longest and largest credible tracks, numbered by their first appearance."""
        keep = credible_tracks(self.kept.faces, self.kept.n_searched, self.settings.max_tracks)
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


def credible_tracks(faces: Sequence[Face], n_searched: dict[int, int], max_tracks: int) -> list[int]:
    """Numbers of the tracks to keep, by first appearance; `n_searched`: frames the detector ran on, by shot."""
    by_track: dict[int, list[Face]] = {}
    for face in faces:
        by_track.setdefault(face.track, []).append(face)
    weights: dict[int, float] = {}
    for track, own in by_track.items():
        seen = [face for face in own if face.is_detected]
        of_shot = n_searched.get(own[0].shot, 0)
        rarely_seen = of_shot >= MIN_SEARCHED and len(seen) < max(RARE_SHARE * of_shot, 2)
        if rarely_seen and np.mean([face.score for face in seen or own]) < SURE_SCORE:
            continue
        side = np.median([max(face.x1_px - face.x0_px, face.y1_px - face.y0_px) for face in own])
        weights[track] = float(len(own) * side)
    best = sorted(weights, key=lambda track: (-weights[track], track))[:max_tracks]
    start = {t: (by_track[t][0].frame_index, by_track[t][0].x0_px, t) for t in best}
    return sorted(best, key=lambda track: start[track])


@dataclass(frozen=True)
class Job:
    """One video to extract: where it lies, and where its shard goes (a path below the work folder).

    `every` 2: of every second frame only of those the settings would sample.
    """

    video_id: str
    path: Path
    work_dir: Path
    shard: str
    settings: Extract
    every: int = 1

    @property
    def shard_path(self) -> Path:
        """Where the shard goes."""
        return self.work_dir / self.shard


@lru_cache(maxsize=2)
def _detector(min_face_ratio: float, min_score: float, device: str) -> FaceDetector:
    cv2.setNumThreads(1)
    return FaceDetector(min_face_ratio, min_score, device)


def shard_name(sha256: str, settings: Extract, every: int = 1) -> str:
    """Path of a video's shard below the work folder: by content and settings, so runs never mix; `every`: see `Job`."""
    values = {**result_values(settings, "extract"), **({"every": every} if every > 1 else {})}
    key = digest({"content": sha256, "settings": values, "format": FORMAT})
    return f"crops/{digest({'settings': values, 'format': FORMAT})[:12]}/{key[:2]}/{key[:32]}.tar"


def extract(job: Job, demuxed: Demuxed | None = None) -> Extraction:
    """Extract one video into its shard; where the file cannot be read, a note beside it and the result say why.

    `demuxed`: see `media.video.sample`.
    """
    detector = _detector(job.settings.min_face_ratio, job.settings.min_score, "cpu")
    try:
        demuxed = demuxed or scan(job.path)
        allow_for(job.path.stat().st_size, demuxed.probe)
        frames, kept, way = _find_way(job, detector, demuxed)
    except VideoError as error:
        return _failed(job, str(error))
    except Exception as error:  # whatever a library makes of one odd file, the other videos go on
        log.warning("video %r: unexpected error", job.video_id, exc_info=True)
        return _failed(job, f"unexpected {type(error).__name__}: {error}")
    if not kept.n_sampled:
        return _failed(job, f"video {job.path.name!r}: all {kept.n_damaged} sampled frames are damaged; fetch it again")
    return _keep(job, frames, kept, way)


def _find_way(job: Job, detector: FaceDetector, demuxed: Demuxed) -> tuple[Sampled, VideoFaces, Way]:
    """Look at a video as it is; where that shows no face, at its damaged frames, too; where none is sure, turned."""
    way = Way()
    frames, kept = _look(job, detector, demuxed, way)
    is_spoilt = kept.n_damaged or frames.n_corrupt or frames.n_bad_packets or not kept.n_sampled
    if not kept.faces and is_spoilt:
        damaged = replace(way, with_damaged=True)
        with_them, more = _look(job, detector, demuxed, damaged)
        if more.faces or not kept.n_sampled:
            frames, kept, way = with_them, more, damaged
    turned = turn_of_faces(kept.looks, detector, job.settings)
    if turned:
        sideways = replace(way, turned=turned)
        turned_frames, more = _look(job, detector, demuxed, sideways)
        if more.faces:
            return turned_frames, more, sideways
    return frames, kept, way


def _look(job: Job, detector: FaceDetector, demuxed: Demuxed, way: Way) -> tuple[Sampled, VideoFaces]:
    settings = job.settings
    frames = sample(
        job.path,
        settings.sampling,
        n_frames=settings.frames_per_video,
        sample_fps=settings.sample_fps,
        backend=settings.backend,
        cut_detector=cut_detector(settings.shot_detector),
        every=job.every,
        demuxed=demuxed,
        with_damaged=way.with_damaged,
        turned=way.turned,
    )
    stride = stride_within(settings.detection_stride, frames.probe)
    settings = settings.model_copy(update={"detection_stride": stride})
    extractor = Extractor(settings, detector, way.with_damaged)
    try:
        return frames, extractor.run(iter(frames))
    except VideoError:
        if way.with_damaged:
            raise
        return frames, extractor.kept  # not one frame came: all of them may be damaged


def turn_of_faces(looks: Sequence[Look], detector: FaceDetector, settings: Extract) -> Turn:
    """By how many degrees, clockwise, pictures have to be turned for their faces to stand upright; 0 as a rule.

    Where sure faces were found upright, nothing is searched. One false alarm among several pictures turns no video.
    """
    found = [look.score for look in looks if look.score]
    if not looks or (found and np.median(found) > 1 - TURNED_GAIN):
        return 0
    scores = {0: [look.score for look in looks]}
    for turned in TURNS:
        scores[turned] = [_best_score(turn(look.picture_HWC, turned), detector, settings) for look in looks]
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


def _keep(job: Job, frames: Sampled, kept: VideoFaces, way: Way) -> Extraction:
    are_in = "among them" if way.with_damaged else "left out"
    left_out = f"; {kept.n_damaged} damaged frames {are_in}" if kept.n_damaged else ""
    turned = f"; turned by {way.turned} degrees, as only so there are faces" if way.turned else ""
    extraction = Extraction(
        video_id=job.video_id,
        shard=job.shard,
        decoder=frames.decoder,
        decoder_reason=f"{frames.decoder_reason}{left_out}{turned}",
        n_sampled=kept.n_sampled,
        sampled_s=tuple(round(time_s, 4) for time_s in kept.sampled_s),
        n_damaged=kept.n_damaged,
        is_damaged=way.with_damaged,
        turned=way.turned,
        n_shots=kept.n_shots,
        cuts_s=tuple(round(cut.time_s, 4) for cut in frames.cuts),
        frame_hashes=tuple(kept.hashes),
    )
    extension = "jpg" if job.settings.image_format == "jpeg" else "png"
    names = [f"{face.track:03d}.{face.frame_index:07d}.{extension}" for face in kept.faces]
    pictures = list(zip(names, kept.pictures, strict=True))
    places = write_shard(job.shard_path, pictures, shard_rows(extraction, kept.faces))
    faces = [stored(face, job.shard, *place) for face, place in zip(kept.faces, places, strict=True)]
    return replace(extraction, faces=tuple(faces))
