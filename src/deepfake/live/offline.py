"""A file watched with no limit on time: the frames, tracks and scores of `deepfake check`, row by row.

Frames, boxes and crops come from the extractor that checks use; what is made of them is the watch's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepfake.faces.crop_store import decode_crop
from deepfake.faces.crops import Square, points_in_square
from deepfake.faces.extracted import Face, Job
from deepfake.faces.extractor import extractor_for
from deepfake.faces.mtcnn import FaceDetector
from deepfake.faces.passes import LivePasses, Pass
from deepfake.faces.search import search
from deepfake.live.annotations import LiveFace
from deepfake.live.persons import Looked
from deepfake.live.watch import PICTURE_PX, Summary, Watch
from deepfake.media.demux import scan
from deepfake.media.video import Frame


@dataclass(frozen=True)
class Judged:
    """A face of a file with its crop's logits, by the names of the networks."""

    face: Face
    logits: dict[str, float]


class OfflineWatch:
    """Watches a file as `check` reads it; `judged` are its faces, tracks numbered as there once `run` has ended."""

    def __init__(self, path: Path, watch: Watch, detector: FaceDetector) -> None:
        self.path, self.watch, self.detector = path, watch, detector
        self.judged: list[Judged] = []
        self._pictures: dict[int, np.ndarray] = {}
        self._n_frames = 0
        self._size = (0, 0)
        self._latest: dict[int, dict[str, float]] = {}
        self._compared: dict[int, int] = {}

    def run(self) -> Summary:
        """Watch it to its end, or until somebody presses Ctrl-C."""
        try:
            self._read()
        except KeyboardInterrupt:
            return self.watch.end("stopped")
        return self.watch.end("its end")

    def _read(self) -> None:
        settings = self.watch.rules.extract
        demuxed = scan(self.path)
        if demuxed.further:
            self.watch.tell("notice", f"of {1 + len(demuxed.further)} video streams the first one is watched")
        passes = LivePasses(Job(self.path.name, self.path, self.path.parent, "", settings), self.detector)
        found = search(demuxed, settings, passes)
        with_faces = found if found is not None and len(found.places) else None
        places = None if with_faces is None else with_faces.places
        one = Pass("sample", demuxed.probe.stream, settings.sampling, places, found=with_faces)
        with passes.open(demuxed, one) as (frames, sight):
            extractor = extractor_for(settings, demuxed, sight, with_faces)
            done = 0

            def on_kept(pictures: list[bytes]) -> None:
                nonlocal done
                faces = extractor.kept.faces[done : done + len(pictures)]
                done += len(pictures)
                self._take(faces, pictures)

            extractor.on_kept = on_kept
            kept = extractor.run(self._noted(frame) for frame in frames)  # type: ignore[arg-type]  # they were decoded
            self._drop_false_alarms(kept.faces)

    def _noted(self, frame: Frame) -> Frame:
        self._n_frames, self._size = frame.index + 1, (frame.width_px, frame.height_px)
        if self.watch.settings.with_pictures:
            self._pictures[frame.index] = frame.small_rgb(PICTURE_PX)
        return frame

    def _take(self, faces: list[Face], pictures: list[bytes]) -> None:
        by_frame: dict[int, list[tuple[Face, bytes]]] = {}
        for face, picture in zip(faces, pictures, strict=True):
            by_frame.setdefault(face.frame_index, []).append((face, picture))
        for frame_index in sorted(by_frame):
            self._update(frame_index, by_frame[frame_index])

    def _update(self, frame_index: int, seen: list[tuple[Face, bytes]]) -> None:
        time_s, looker, persons = seen[0][0].time_s, self.watch.looker, self.watch.persons
        for face, picture in seen:
            crop_HWC = decode_crop(picture, "cut just now")
            logits = looker.look(crop_HWC, looker.members)
            self.judged.append(Judged(face, logits))
            self._latest[face.track] = logits
            persons.see(face.track, time_s)
            self._compare(face, crop_HWC, [other.track for other, _ in seen if other.track != face.track])
            side_px = max(face.x1_px - face.x0_px, face.y1_px - face.y0_px)
            persons.of(face.track).add(Looked(time_s, side_px, face.sharpness, logits))
        persons.update(time_s)
        picture_HWC = self._pictures.get(frame_index)
        self._pictures = {index: kept for index, kept in self._pictures.items() if index > frame_index}
        self.watch.publish_update(
            frame_index, time_s, self._size, tuple(self._face(face) for face, _ in seen), picture_HWC
        )

    def _compare(self, face: Face, crop_HWC: np.ndarray, visible: list[int]) -> None:
        embed, people = self.watch.settings.embed, self.watch.settings.people
        n = self._compared.get(face.track, 0)
        side_px = max(face.x1_px - face.x0_px, face.y1_px - face.y0_px)
        if embed is None or n >= people.crops_per_track or not face.is_detected or side_px < people.min_face_px:
            return
        self._compared[face.track] = n + 1
        square = Square(face.crop_x0_px, face.crop_y0_px, face.crop_side_px)
        points = points_in_square(square, np.array(face.landmarks), len(crop_HWC))
        self.watch.persons.compare(face.track, embed(crop_HWC, points), visible)

    def _face(self, face: Face) -> LiveFace:
        p_fake = self.watch.looker.p_fake(self._latest[face.track])
        x0, y0, x1, y1 = (round(value, 1) for value in face.box)
        return LiveFace(
            person=self.watch.persons.of_track[face.track],
            track=face.track,
            box_px=(x0, y0, x1, y1),
            is_carried=not face.is_detected,
            score=None if p_fake is None else round(p_fake, 6),
        )

    def _drop_false_alarms(self, kept: list[Face]) -> None:
        """Keep the tracks that a check keeps, by its numbers; who was seen in no such track was a false alarm."""
        places = {(face.frame_index, face.box): face for face in kept}
        faces = [(places.get((one.face.frame_index, one.face.box)), one) for one in self.judged]
        persons = self.watch.persons
        real = {persons.of_track[one.face.track] for face, one in faces if face is not None}
        for number in set(persons.all) - real:
            del persons.all[number]
        judged = [replace(one, face=face) for face, one in faces if face is not None]
        self.judged = sorted(judged, key=lambda one: (one.face.track, one.face.frame_index))
