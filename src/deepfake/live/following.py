"""The faces of the newest frame: found by the detector on a stride, carried on by the linker's prediction between.

Offline a frame between two detections gets what lies between their boxes; here the second one is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from deepfake.faces.crops import Square, square_around
from deepfake.faces.extractor import CARRY_OVERLAP, SECOND_LOOK_SIDE_PX, SECOND_LOOKS, SURE_SCORE
from deepfake.faces.linker import Linker, overlap
from deepfake.faces.mtcnn import FaceDetector, Faces
from deepfake.faces.sight import Crop, LiveSight
from deepfake.media.video import Frame
from deepfake.settings import Extract

DETECT_S = 1.0  # a new face is looked for at least so often
FORGET_EVERY = 200  # updates


@dataclass(frozen=True)
class SeenFace:
    """A face in a frame; `is_carried`: it was not detected in this one. A false alarm is seldom sure, or seen twice."""

    track: int
    box: np.ndarray
    landmarks: np.ndarray
    score: float
    is_carried: bool
    is_credible: bool

    @property
    def side_px(self) -> float:
        """The longer side of its box."""
        return float(max(self.box[2:] - self.box[:2]))


class Follower:
    """Follows faces from frame to frame in rising time."""

    def __init__(self, settings: Extract, detector: FaceDetector) -> None:
        self.settings = settings
        self.sight = LiveSight(settings, detector)
        self.linker = Linker(settings.max_gap_s)
        self.stride, self._n_since, self._n_updates = 1, 0, 0
        self._detected_s, self.shot = -np.inf, -1
        self._side_px, self._n_looks_again, self._shot_has_face = settings.detection_side_px, 0, False
        self._known: dict[int, SeenFace] = {}

    def is_due(self, frame: Frame) -> bool:
        """Whether the detector will run on this frame."""
        is_old = frame.time_s - self._detected_s >= DETECT_S
        return frame.shot != self.shot or is_old or self._n_since + 1 >= self.stride or not self._known

    def see(self, frame: Frame, may_look_closer: Callable[[float], bool]) -> list[SeenFace]:
        """The faces of a frame, the largest `max_tracks`; `may_look_closer` at so many times the usual pixels."""
        self._n_updates += 1
        if self._n_updates % FORGET_EVERY == 0:
            self.linker.forget()
        if not self.is_due(frame):
            self._n_since += 1
            return self._largest(self._carried(frame))
        if frame.shot != self.shot:
            self.shot, self._n_looks_again, self._shot_has_face = frame.shot, 0, False
            self._side_px = self.settings.detection_side_px
        faces = self._detect(frame, may_look_closer)
        expected = {one.track: one for one in self._carried(frame)}
        numbers = self.linker.update(frame.index, frame.time_s, frame.shot, faces)
        is_steady = set(numbers) == set(expected) and all(
            overlap(expected[track].box[None], faces.boxes[[place]])[0, 0] >= CARRY_OVERLAP
            for place, track in enumerate(numbers)
        )
        self.stride = min(self.stride + 1, self.settings.detection_stride) if is_steady else 1
        self._n_since, self._detected_s = 0, frame.time_s
        seen = [self._seen(track, place, faces) for place, track in enumerate(numbers)]
        going_on = {track.number for track in self.linker.going_on(frame.time_s, frame.shot)}
        self._known = {track: one for track, one in self._known.items() if track in going_on}
        self._known |= {one.track: one for one in seen}
        return self._largest(seen)

    def _detect(self, frame: Frame, may_look_closer: Callable[[float], bool]) -> Faces:
        faces = self.sight.faces(frame, self._side_px)
        closer_px = min(max(frame.width_px, frame.height_px), SECOND_LOOK_SIDE_PX)
        may_again = self.settings.second_look and not self._shot_has_face and self._n_looks_again < SECOND_LOOKS
        is_larger = closer_px > 1.2 * self._side_px
        if not len(faces) and may_again and is_larger and may_look_closer((closer_px / self._side_px) ** 2):
            self._n_looks_again += 1
            faces = self.sight.faces(frame, closer_px)
            if len(faces):
                self._side_px = closer_px
        self._shot_has_face |= len(faces) > 0
        return faces

    def _seen(self, track: int, place: int, faces: Faces) -> SeenFace:
        before, score = self._known.get(track), float(faces.scores[place])
        is_credible = score >= SURE_SCORE or before is not None
        return SeenFace(track, faces.boxes[place], faces.landmarks[place], score, False, is_credible)

    def _carried(self, frame: Frame) -> list[SeenFace]:
        carried = []
        for track in self.linker.going_on(frame.time_s, frame.shot):
            known = self._known.get(track.number)
            # One that the last detection did not find is not carried on: it may be gone.
            if known is None or track.times_s[-1] < self._detected_s:
                continue
            box = track.predicted(frame.time_s)
            shift = (box - known.box)[:2]
            centre = (box[:2] + box[2:]) / 2
            if (centre >= 0).all() and (centre < [frame.width_px, frame.height_px]).all():
                carried.append(replace(known, box=box, landmarks=known.landmarks + shift, is_carried=True))
        return carried

    def _largest(self, seen: list[SeenFace]) -> list[SeenFace]:
        kept = sorted(seen, key=lambda one: (-one.side_px, one.track))[: self.settings.max_tracks]
        return sorted(kept, key=lambda one: one.track)

    def crop(self, frame: Frame, face: SeenFace) -> tuple[Crop, Square]:
        """Its crop, made as those of files are, and where it lies."""
        square = square_around(face.box, self.settings.margin_ratio)
        return self.sight.crop(frame, square), square
