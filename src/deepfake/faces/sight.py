"""What extraction asks of a frame: its faces, a crop of one, its hash, a small picture; seen, noted down or read back.

Search and extraction decide frame after frame what to ask next. Of a chunk of a long video they ask a `NotingSight`
beside the decoder; of the whole video they ask a `NotedSight`, where the answers of all chunks lie and no picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from deepfake.faces.crop_store import encode_crop
from deepfake.faces.crops import Region, Square, cut_square, sharpness
from deepfake.faces.hashes import perceptual_hash
from deepfake.faces.mtcnn import FaceDetector, Faces
from deepfake.settings import Extract


class Frame(Protocol):
    """A frame whose place, time and shot are known, its pixels or not (`media.video.Frame`, `NotedFrame`)."""

    @property
    def index(self) -> int:
        """Its place in display order."""
        ...

    @property
    def time_s(self) -> float:
        """When players show it."""
        ...

    @property
    def shot(self) -> int:
        """Counted from 0."""
        ...

    @property
    def is_suspect(self) -> bool:
        """Whether it may be smeared."""
        ...

    @property
    def width_px(self) -> int:
        """Of the upright picture."""
        ...

    @property
    def height_px(self) -> int:
        """Of the upright picture."""
        ...


class Pixels(Region, Protocol):
    """A frame that was decoded (`media.video.Frame`)."""

    def small_rgb(self, side_px: int) -> np.ndarray:
        """HWC uint8 RGB, the longer side at most so long."""
        ...

    def luma_thumb(self) -> np.ndarray:
        """A small grey picture."""
        ...


@dataclass(frozen=True)
class Crop:
    """A face's picture as it is stored, and its sharpness."""

    data: bytes
    sharpness: float


class Sight(Protocol):
    """Whoever answers."""

    def faces(self, frame: Frame, side_px: int) -> Faces:
        """The largest faces of a frame, in its own pixels, detected on a picture whose longer side is `side_px`."""
        ...

    def crop(self, frame: Frame, square: Square) -> Crop:
        """A square of it."""
        ...

    def hash(self, frame: Frame) -> str:
        """Its perceptual hash."""
        ...

    def picture(self, frame: Frame) -> Picture:
        """The picture its faces are usually detected on, to be had by `looked_at`."""
        ...


class LiveSight:
    """Answers from the pixels."""

    def __init__(self, settings: Extract, detector: FaceDetector) -> None:
        self.settings = settings
        self.detector = detector

    def faces(self, frame: Frame, side_px: int) -> Faces:
        """Run the detector."""
        small = _pixels(frame).small_rgb(side_px)
        # In pixels of the detection picture, so that a larger one shows smaller faces.
        usual_px = min(max(small.shape[:2]), self.settings.detection_side_px)
        faces = self.detector.detect([small], round(self.settings.min_face_ratio * usual_px))[0]
        most = 2 * self.settings.max_tracks
        if len(faces) > most:
            area = (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(1)
            faces = faces.keep(np.sort(np.lexsort((faces.boxes[:, 0], -area))[:most]))
        return faces.scaled(frame.width_px / small.shape[1], frame.height_px / small.shape[0])

    def crop(self, frame: Frame, square: Square) -> Crop:
        """Cut it out and encode it."""
        crop = cut_square(_pixels(frame), square, self.settings.crop_px)
        return Crop(encode_crop(crop, self.settings.image_format, self.settings.jpeg_quality), sharpness(crop))

    def hash(self, frame: Frame) -> str:
        """Hash its grey picture."""
        return perceptual_hash(_pixels(frame).luma_thumb())

    def picture(self, frame: Frame) -> np.ndarray:
        """Its picture."""
        return _pixels(frame).small_rgb(self.settings.detection_side_px)


def _pixels(frame: Frame) -> Pixels:
    return frame  # type: ignore[return-value]  # whoever asks a live sight has decoded it


@dataclass(frozen=True)
class Question:
    """What is asked of a frame: faces at a side, a crop, or (neither) its small picture."""

    index: int
    side_px: int | None = None
    square: Square | None = None


@dataclass
class Answers:
    """What is known of the frames of a pass, by their places in the video."""

    faces: dict[tuple[int, int], Faces] = field(default_factory=dict)
    crops: dict[tuple[int, Square], Crop] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    pictures: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, other: Answers) -> None:
        """Take up what another part of the video answered."""
        self.faces.update(other.faces)
        self.crops.update(other.crops)
        self.hashes.update(other.hashes)
        self.pictures.update(other.pictures)


class NotingSight(LiveSight):
    """Answers from the pixels and keeps the answers; pictures are large and kept only where they are asked for."""

    def __init__(self, settings: Extract, detector: FaceDetector) -> None:
        super().__init__(settings, detector)
        self.answers = Answers()

    def faces(self, frame: Frame, side_px: int) -> Faces:
        """Run the detector, once for a picture."""
        key = frame.index, side_px
        if key not in self.answers.faces:
            self.answers.faces[key] = super().faces(frame, side_px)
        return self.answers.faces[key]

    def crop(self, frame: Frame, square: Square) -> Crop:
        """Cut it out once."""
        key = frame.index, square
        if key not in self.answers.crops:
            self.answers.crops[key] = super().crop(frame, square)
        return self.answers.crops[key]

    def hash(self, frame: Frame) -> str:
        """Hash it and note that."""
        self.answers.hashes[frame.index] = super().hash(frame)
        return self.answers.hashes[frame.index]

    def picture(self, frame: Frame) -> np.ndarray:
        """A stand-in: of a chunk alone nobody looks at it."""
        return np.zeros((1, 1, 3), np.uint8)

    def answer(self, frame: Frame, question: Question) -> None:
        """Answer what was asked after the fact."""
        if question.side_px is not None:
            self.faces(frame, question.side_px)
        elif question.square is not None:
            self.crop(frame, question.square)
        else:
            self.answers.pictures[frame.index] = super().picture(frame)


class UnreadyError(Exception):
    """What is noted of a video's chunks is not enough to go on: no fault of the video."""


class UnansweredError(UnreadyError):
    """Of the frames of a pass, by its name, these questions are to be answered first."""

    def __init__(self, name: str, questions: Sequence[Question]) -> None:
        super().__init__(f"{name}: {len(questions)} questions")
        self.name, self.questions = name, tuple(questions)


class NotedSight:
    """Answers from what was noted; what was not is `asked`, and something takes its place until it is."""

    def __init__(self, name: str, answers: Answers) -> None:
        self.name = name
        self.answers = answers
        self.asked: dict[Question, None] = {}
        self._sides: dict[int, list[int]] = {}
        for index, side_px in answers.faces:
            self._sides.setdefault(index, []).append(side_px)

    def faces(self, frame: Frame, side_px: int) -> Faces:
        """What the detector found; where it was not run, what it found on another picture, or nothing."""
        found = self.answers.faces.get((frame.index, side_px))
        if found is not None:
            return found
        self.asked[Question(frame.index, side_px=side_px)] = None
        # Likely near enough that what is asked of the frames after it is asked for good.
        others = self._sides.get(frame.index)
        return self.answers.faces[frame.index, max(others)] if others else Faces.none()

    def crop(self, frame: Frame, square: Square) -> Crop:
        """What was cut out; an empty one where nothing was."""
        found = self.answers.crops.get((frame.index, square))
        if found is None:
            self.asked[Question(frame.index, square=square)] = None
        return found or Crop(b"", 0.0)

    def hash(self, frame: Frame) -> str:
        """What was noted."""
        return self.answers.hashes[frame.index]

    def picture(self, frame: Frame) -> LaterPicture:
        """It is fetched when somebody looks at it."""
        return LaterPicture(self, frame.index)

    def require_answers(self) -> None:
        """Raise UnansweredError unless all that was asked was noted."""
        if self.asked:
            raise UnansweredError(self.name, list(self.asked))


@dataclass(frozen=True)
class LaterPicture:
    """A picture of a frame that is fetched when somebody looks at it."""

    sight: NotedSight
    index: int


Picture = np.ndarray | LaterPicture


def looked_at(pictures: Sequence[Picture]) -> list[np.ndarray]:
    """The pictures themselves; UnansweredError where some are still to be fetched."""
    later = [one for one in pictures if isinstance(one, LaterPicture)]
    missing = [one for one in later if one.index not in one.sight.answers.pictures]
    if missing:
        raise UnansweredError(missing[0].sight.name, [Question(one.index) for one in missing])
    return [one.sight.answers.pictures[one.index] if isinstance(one, LaterPicture) else one for one in pictures]


@dataclass(frozen=True)
class NotedFrame:
    """A sampled frame without its pixels."""

    index: int
    time_s: float
    width_px: int
    height_px: int
    shot: int = 0
    is_suspect: bool = False

    def of_shot(self, shot: int) -> NotedFrame:
        """The same in a shot."""
        return replace(self, shot=shot)


def with_hashes(frames: Iterator[Frame], sight: NotingSight) -> Iterator[Frame]:
    """The frames, each with its hash noted: which ones of a video are asked for is known only where it is whole."""
    for frame in frames:
        sight.hash(frame)
        yield frame
