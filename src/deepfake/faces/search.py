"""A long video is searched first: few frames, small, show where faces are, and so which frames to sample.

Frames spread evenly over an hour are two minutes apart. This pass detects faces at one moment a second, less often in
very long videos (`media.long_sampling`), and links them into appearances: one face in one shot. This module runs in
worker processes and so imports no pandas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepfake.faces.extracted import Searched
from deepfake.faces.linker import MISSED_LOOKS, Linker, Track
from deepfake.faces.mtcnn import Faces
from deepfake.faces.passes import Pass, Passes, Search
from deepfake.faces.sight import Frame, Sight
from deepfake.media.demux import Demuxed
from deepfake.media.long_sampling import (
    Appearance,
    SearchPlan,
    Timeline,
    boundaries,
    chosen_appearances,
    frames_of_appearances,
    grown,
    plan_search,
    search_step_s,
)
from deepfake.media.sampling import MODES
from deepfake.media.video import timeline
from deepfake.settings import Extract

CLOSER_LOOKS = 3  # a shot, as many as extraction takes
CLOSER_SHARE = 0.1  # of the frames searched so far
CLOSER_SIDE_PX = 1600
CLOSER_FACE_PX = 48  # side of a face in the picture that the rest of its shot is searched in; MTCNN's smallest is 40


def search(demuxed: Demuxed, settings: Extract, passes: Passes) -> Search | None:
    """Search a video that is too long for frames spread evenly; None for any other, which is not opened."""
    searched = long_timeline(demuxed, settings)
    if searched is None:
        return None
    mode, plan = MODES[settings.sampling], search_plan(demuxed, searched, settings)
    found = _appearances(demuxed, plan, settings, passes, searched)
    chosen = chosen_appearances(found, settings.max_appearances)
    n_frames = round(grown(settings.frames_per_video, searched.length_s, settings.long_from_s))
    candidates = timeline(demuxed, mode.frames)
    places = frames_of_appearances(candidates, chosen, n_frames, settings.appearance_frames)
    about = Searched(len(plan.places), round(plan.gap_s, 3), len(found), len(chosen))
    return Search(places, boundaries(candidates, chosen), about)


def long_timeline(demuxed: Demuxed, settings: Extract) -> Timeline | None:
    """The frames to search of a video that is too long for frames spread evenly; None of any other."""
    mode = MODES[settings.sampling]
    searched = timeline(demuxed, "keyframes" if mode.frames == "keyframes" else "reference")
    is_long = searched.length_s > settings.long_from_s and len(searched.times_s) > settings.frames_per_video
    return searched if mode.spreads and is_long else None


def search_plan(demuxed: Demuxed, searched: Timeline, settings: Extract) -> SearchPlan:
    """Which frames to search."""
    every_s, most = settings.search_every_s, settings.search_frames
    picture_mpx = max(demuxed.probe.width_px * demuxed.probe.height_px, 1) / 1e6
    most_mpx = grown(settings.search_mpx, searched.length_s, most * every_s)
    return plan_search(searched, search_step_s(searched.length_s, every_s, most), most_mpx / picture_mpx)


def _appearances(
    demuxed: Demuxed, plan: SearchPlan, settings: Extract, passes: Passes, searched: Timeline
) -> list[Appearance]:
    """The faces of the searched frames, shot by shot."""
    # One searched frame may miss a face, as one sampled frame may.
    linker = Linker(max(settings.max_gap_s, (1 + MISSED_LOOKS) * plan.gap_s))
    sampling = "keyframe" if plan.keyframes_only else "reference"
    with passes.open(demuxed, Pass("search", demuxed.probe.stream, sampling, plan.places)) as (frames, sight):
        looking = Looking(settings, sight)
        for frame in frames:
            linker.update(frame.index, float(searched.times_s[frame.index]), frame.shot, looking.faces(frame))
    return [_appearance(track) for track in linker.tracks]


def _appearance(track: Track) -> Appearance:
    side_px = float(np.median([max(box[2] - box[0], box[3] - box[1]) for box in track.boxes]))
    return Appearance(track.shot, track.times_s[0], track.times_s[-1], len(track.boxes) * side_px)


@dataclass
class Looking:
    """Faces of searched frames on small pictures, closer on some where a shot shows none."""

    settings: Extract
    sight: Sight
    n_frames: int = 0
    n_closer: int = 0
    shot: int = -1
    side_px: int = 0
    closer_in_shot: int = 0
    has_face: bool = False

    def faces(self, frame: Frame) -> Faces:
        """A frame's faces, in its own pixels."""
        if frame.shot != self.shot:
            self.shot, self.side_px = frame.shot, self.settings.search_side_px
            self.closer_in_shot, self.has_face = 0, False
        faces = self.sight.faces(frame, self.side_px)
        full_px = max(frame.width_px, frame.height_px)
        closer_px = min(full_px, CLOSER_SIDE_PX)
        may_look_closer = self.settings.second_look and not self.has_face and closer_px > 1.2 * self.side_px
        may_look_closer &= self.closer_in_shot < CLOSER_LOOKS
        may_look_closer &= self.n_closer < CLOSER_LOOKS + CLOSER_SHARE * self.n_frames
        self.n_frames += 1
        if not len(faces) and may_look_closer:
            self.closer_in_shot, self.n_closer = self.closer_in_shot + 1, self.n_closer + 1
            faces = self.sight.faces(frame, closer_px)
            if len(faces):
                # As near as these faces need: the largest picture costs five times as much, for the rest of the shot.
                sides_px = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(1)
                needed_px = CLOSER_FACE_PX * full_px / float(sides_px.min())
                self.side_px = round(min(max(needed_px, self.side_px), closer_px))
        self.has_face |= len(faces) > 0
        return faces
