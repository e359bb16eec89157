"""Short forgeries out of forged clips: a real clip that shows, for a span of its time, its forged version.

No forger of ours has touched them, so they tell what is found of others' forgeries. The two clips are of one person
and one filming, with one picture size and frame rate. Letters: T frames, H rows, W columns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from deepfake.config import Config, Selfblend, UserError
from deepfake.datasets import Tables, nearest
from deepfake.degrade import Degradation
from deepfake.forged_clips import ForgedClip
from deepfake.forged_tracks import Pair, RealTrack, real_tracks
from deepfake.mixture import clip_groups
from deepfake.spans import MIN_FRAMES, Finding, Suspect, draw_short_span, look

SMALL_PX = 64  # side at which two crops are compared
FACE_SHARE = 0.6  # of the crop's side, in the middle: it may differ between a real clip and its fake
SAME_SCENE = 0.9  # correlation of what lies around the face, from which on two clips are one filming
FRAMES_COMPARED = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counterpart:
    """A real track and the forged clip's track of it; `fake_T` has the forged row of each real frame, -1 for none."""

    real: RealTrack
    fake: RealTrack
    generator: str
    fake_T: np.ndarray


def match_times(real_T: np.ndarray, fake_T: np.ndarray, most_s: float) -> np.ndarray:
    """For each real time the place of the nearest forged one, -1 where that is more than `most_s` seconds off."""
    places = nearest(fake_T, real_T)
    return np.where(np.abs(fake_T[places] - real_T) <= most_s + 1e-9, places, -1)


def around_alike(real: RealTrack, fake: RealTrack, fake_T: np.ndarray) -> float:
    """Correlation (-1..1) of what surrounds the face in both clips, the median over a few frames; 0 without any.

    Crops are compared where they show the same part of the picture, wherever each clip's face was found.
    """
    both = np.flatnonzero(fake_T >= 0)
    chosen = both[np.unique(np.linspace(0, len(both) - 1, FRAMES_COMPARED).round().astype(int))] if len(both) else both
    found = []
    for place in chosen:
        one, other = (_small(track, int(i)) for track, i in ((real, place), (fake, fake_T[place])))
        known, moved = _moved(fake, int(fake_T[place]), real, int(place), other)
        edge = round(SMALL_PX * (1 - FACE_SHARE) / 2)
        known[edge:-edge, edge:-edge] = False
        if known.sum() > SMALL_PX and one[known].std() > 0 and moved[known].std() > 0:
            found.append(float(np.corrcoef(one[known], moved[known])[0, 1]))
    return float(np.median(found)) if found else 0.0


def _small(track: RealTrack, place: int) -> np.ndarray:
    grey = cv2.cvtColor(track.pictures.face(track.rows[place]).picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA), np.float32)


def _square(track: RealTrack, place: int) -> tuple[float, float, float]:
    row = track.pictures.faces.iloc[track.rows[place]]
    return float(row["crop_x0_px"]), float(row["crop_y0_px"]), float(row["crop_side_px"])


def _moved(
    fake: RealTrack, fake_place: int, real: RealTrack, place: int, small_HW: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A small forged crop as seen in the real crop's square, after where (HW, bool) it is known."""
    (x_real, y_real, side_real), (x_fake, y_fake, side_fake) = _square(real, place), _square(fake, fake_place)
    scale = side_fake / side_real
    matrix = np.array(
        [
            [scale, 0, (x_fake - x_real) / side_real * SMALL_PX],
            [0, scale, (y_fake - y_real) / side_real * SMALL_PX],
        ]
    )
    size = (SMALL_PX, SMALL_PX)
    known = cv2.warpAffine(np.ones_like(small_HW), matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray(known > 0.99), np.asarray(cv2.warpAffine(small_HW, matrix, size, flags=cv2.INTER_LINEAR))


def counterparts(config: Config, data: Tables) -> list[Counterpart]:
    """Every forged clip with the real clip it was made from, by the identities of `frames.selfblend.groups_csv`.

    Those of another size, rate or scene are left out, and the log says why.
    """
    groups = clip_groups(config, config.frames.selfblend or Selfblend())
    videos = data.labelled()
    videos = videos.assign(
        identity=[groups["identity"].get(Path(name).name, "") for name in videos["video_id"]],
        generator=[groups["generator"].get(Path(name).name, "unknown") for name in videos["video_id"]],
    )
    videos = videos[videos["identity"] != ""].sort_values("video_id", kind="stable")
    longest: dict[str, RealTrack] = {}
    for track in real_tracks(data.faces_of(list(videos["video_id"])), config.work_dir):
        if track.video_id not in longest or len(track.rows) > len(longest[track.video_id].rows):
            longest[track.video_id] = track
    found = []
    for fake in videos[videos["label"] == 1].itertuples():
        for real in videos[(videos["label"] == 0) & (videos["identity"] == fake.identity)].itertuples():
            alike = (real.width_px, real.height_px) == (fake.width_px, fake.height_px)
            alike = alike and abs(real.fps - fake.fps) < 0.01 * real.fps
            if not alike or real.video_id not in longest or fake.video_id not in longest:
                reason = "a clip without a face" if alike else "other size or frame rate"
                log.info("%s and %s: no pair, %s", real.video_id, fake.video_id, reason)
                continue
            tracks = longest[real.video_id], longest[fake.video_id]
            fake_T = match_times(tracks[0].times_T, tracks[1].times_T, 0.5 / real.fps)
            scene = around_alike(*tracks, fake_T)
            if scene < SAME_SCENE or int((fake_T >= 0).sum()) < MIN_FRAMES:
                log.info(
                    "%s and %s: no pair, %d frames at the same times, surroundings alike by %.2f",
                    real.video_id,
                    fake.video_id,
                    int((fake_T >= 0).sum()),
                    scene,
                )
                continue
            found.append(Counterpart(*tracks, fake.generator, fake_T))
    return found


def splice(one: Counterpart, span_T: np.ndarray, damage: Degradation) -> Pair:
    """The real clip and the same with its forged version in `span_T` (T, bool), all of both damaged alike."""
    real = one.real.clip().frames
    forged_T = span_T & (one.fake_T >= 0)
    faces = one.fake.pictures
    mixed = [
        faces.face(one.fake.rows[int(place)]).picture if forged else own
        for own, place, forged in zip(real, one.fake_T, forged_T, strict=True)
    ]
    name = one.generator.replace("+", "").replace("/", " ")  # these two stand for something in names of forgeries
    return Pair(real, ForgedClip(mixed, forged_T, name), damage(real), damage(mixed))


def find_splices(config: Config, data: Tables, suspect: Suspect, span_ratio: float, versions: int) -> Iterator[Finding]:
    """Put `versions` spans of each forged clip into its real clip, and look for each.

    `span_ratio` is the span's share of the track's time. Findings are named by the generator.
    """
    pairs = counterparts(config, data)
    if not pairs:
        raise UserError(
            f"{config.work_dir}: no forged clip lies beside the real one it was made from (same identity in "
            "frames.selfblend.groups_csv, size, frame rate, times). Sample by time: extract.sampling=fps"
        )
    selfblend = config.frames.selfblend or Selfblend()
    jobs = [(number, version) for version in range(versions) for number in range(len(pairs))]
    for number, version in tqdm(jobs, desc="splice spans", unit="clip", disable=None):
        one, rng = pairs[number], np.random.default_rng((config.sequences.seed, version, number))
        times_T = one.real.times_T
        span_T = draw_short_span(times_T, span_ratio * float(times_T[-1] - times_T[0]), rng)
        pair = splice(one, span_T, Degradation.draw(rng, selfblend.h264, selfblend.degradation))
        if pair.fake.forged_T.any():
            yield look(one.real, pair, suspect)
