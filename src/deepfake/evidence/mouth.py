"""How far mouths are open over time: the 468 points of faces in successive frames of one stretch of a video.

Where a face is between two sampled frames is taken from the boxes in these. Letters: F frames, N faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake.faces.extracted import StoredFace
from deepfake.faces.mesh import LEFT_EYE, RIGHT_EYE, face_mesh
from deepfake.media.demux import Demuxed
from deepfake.media.video import Frame, Sampled, sample

UPPER_LIP, LOWER_LIP = (82, 13, 312), (87, 14, 317)  # inner edges, left of the middle, the middle, right of it
MAX_GAP_S = 1.5  # between two sampled frames of a track: in longer ones a face may be anywhere
REACH_S = 0.3  # a track goes on so long before its first sampled frame and after its last
ROOM_RATIO = 0.35  # so much of its longer side is cut around a box, so that the mesh may look beyond it
AT_ONCE = 8
ENOUGH = 0.9  # of the wanted frames


@dataclass(frozen=True)
class Mouth:
    """How far a track's mouth is open at rising times (F,): the gap between the lips in distances of the eyes' corners.

    NaN where no face was found.
    """

    track: int
    times_s: np.ndarray
    opening: np.ndarray

    @property
    def seen_ratio(self) -> float:
        """In which share of the frames it was seen."""
        return float(np.isfinite(self.opening).mean()) if len(self.opening) else 0.0


def follow_mouths(
    path: Path,
    demuxed: Demuxed,
    tracks: Sequence[Sequence[StoredFace]],
    places: np.ndarray,
    turned: int = 0,
    threads: int = 1,
    passes: int = 1,
) -> list[Mouth]:
    """The mouths of tracks in the frames at these places in display order, or near them.

    Where enough of the frames that others refer to lie there, these are taken: decoding them costs half.
    """
    times_s: list[float] = []
    openings: list[np.ndarray] = []
    waiting: list[tuple[Frame, list[tuple[int, np.ndarray, np.ndarray]]]] = []
    with closing(_opened(path, demuxed, places, turned, threads)) as frames:
        for frame in frames:
            here = [(row, *place) for row, faces in enumerate(tracks) if (place := place_at(faces, frame.time_s))]
            times_s.append(frame.time_s)
            waiting.append((frame, here))
            if sum(len(faces) for _, faces in waiting) >= AT_ONCE or len(waiting) >= 2 * AT_ONCE:
                openings += _openings(waiting, len(tracks), passes)
                waiting.clear()
    openings += _openings(waiting, len(tracks), passes)
    opening_FN = np.array(openings).reshape(len(times_s), len(tracks))
    return [Mouth(faces[0].track, np.array(times_s), opening_FN[:, row]) for row, faces in enumerate(tracks)]


def _opened(path: Path, demuxed: Demuxed, places: np.ndarray, turned: int, threads: int) -> Sampled:
    for mode in ("reference", "uniform"):
        opened = sample(path, mode, threads=threads, demuxed=demuxed, places=places, turned=turned)
        if opened.n_chosen >= ENOUGH * len(places):
            break
        opened.close()
    return opened


def place_at(faces: Sequence[StoredFace], time_s: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Box (4,) and landmarks (5, 2) of a track at a time, between those of its sampled frames; None where it is not."""
    times_s = np.array([face.time_s for face in faces])
    if not times_s[0] - REACH_S <= time_s <= times_s[-1] + REACH_S:
        return None
    after = int(np.searchsorted(times_s, time_s))
    before, after = max(after - 1, 0), min(after, len(faces) - 1)
    gap_s = times_s[after] - times_s[before]
    if gap_s > MAX_GAP_S:
        return None
    share = min(max((time_s - times_s[before]) / gap_s, 0.0), 1.0) if gap_s > 0 else 0.0
    one, other = faces[before], faces[after]
    box = (1 - share) * np.array(one.box) + share * np.array(other.box)
    landmarks = (1 - share) * np.array(one.landmarks) + share * np.array(other.landmarks)
    return box, landmarks.reshape(5, 2)


def openness(points_NP3: np.ndarray) -> np.ndarray:
    """How far mouths (N,) are open, in distances between the outer corners of the eyes."""
    gaps_NK = np.linalg.norm(points_NP3[:, UPPER_LIP] - points_NP3[:, LOWER_LIP], axis=2)
    eyes_N = np.linalg.norm(points_NP3[:, LEFT_EYE] - points_NP3[:, RIGHT_EYE], axis=1)
    return np.asarray(gaps_NK.mean(axis=1) / np.maximum(eyes_N, 1e-6))


def _openings(
    waiting: Sequence[tuple[Frame, list[tuple[int, np.ndarray, np.ndarray]]]], n_tracks: int, passes: int
) -> list[np.ndarray]:
    found = [np.full(n_tracks, np.nan) for _ in waiting]
    places = [(i, *face) for i, (_, faces) in enumerate(waiting) for face in faces]
    if not places:
        return found
    cuts = [_cut(waiting[i][0], box) for i, _, box, _ in places]
    corners = [corner for _, corner in cuts]
    boxes = np.array([box - np.tile(corner, 2) for (_, _, box, _), corner in zip(places, corners, strict=True)])
    landmarks = np.array([points - corner for (_, _, _, points), corner in zip(places, corners, strict=True)])
    points_NP3, _ = face_mesh().find([picture for picture, _ in cuts], boxes, landmarks, passes)
    for (i, row, _, _), value in zip(places, openness(points_NP3), strict=True):
        found[i][row] = value
    return found


def _cut(frame: Frame, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a frame around a box, and where its corner lies."""
    room = ROOM_RATIO * max(box[2] - box[0], box[3] - box[1])
    x0, y0 = (int(max(value - room, 0)) for value in box[:2])
    x1, y1 = int(min(box[2] + room, frame.width_px)), int(min(box[3] + room, frame.height_px))
    x0, y0 = min(x0, frame.width_px - 2), min(y0, frame.height_px - 2)
    return frame.rgb_region(x0, y0, max(x1, x0 + 2), max(y1, y0 + 2)), np.array([x0, y0], float)
