"""Where in a track a forgery shows, and how often that is the right moment: short forgeries made of real clips.

A clip's span is forged, the rest of it stays real, and all of it is damaged alike; a network has found
the span if the moment it suspects most lies inside. Letters: T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.config import Config, UserError
from deepfake.datasets import Tables
from deepfake.detector import VideoScorer
from deepfake.forged_clips import family_of
from deepfake.forged_tracks import ClipForger, Pair, RealTrack, real_tracks
from deepfake.models import HEADS
from deepfake.models.heads import TrackHead
from deepfake.scoring import FrameScorer
from deepfake.track_inputs import TrackFeatures, tube_sides
from deepfake.track_scoring import head_logits
from deepfake.tubes import face_tube, steady

MIN_FRAMES = 10  # fewer have no room for a span, what is before it and what is after
WINDOW_S = 1.0


def worst_moment(times_T: np.ndarray, logits_T: np.ndarray, window_s: float = WINDOW_S) -> float:
    """The time of the frame around which `window_s` seconds stand out most from the track; the first of equals.

    By how far their mean logit lies above the track's, times the root of their number: a window cut short by an end
    of the track has fewer frames, whose mean strays further by chance alone (as in Kulldorff's scan statistic, 1997).
    """
    near_TT = np.abs(times_T[:, None] - times_T[None, :]) <= window_s / 2 + 1e-9
    n_T = near_TT.sum(axis=1)
    above_T = near_TT @ logits_T / n_T - logits_T.mean()
    return float(times_T[int((above_T * np.sqrt(n_T)).argmax())])


def draw_short_span(times_T: np.ndarray, span_s: float, rng: np.random.Generator) -> np.ndarray:
    """Which frames (T, bool) lie in a span of `span_s` seconds, at least one, somewhere inside the track."""
    room = max(float(times_T[-1] - times_T[0]) - span_s, 0.0)
    start = float(times_T[0]) + rng.random() * room
    inside_T = (times_T >= start) & (times_T <= start + span_s)
    return inside_T if inside_T.any() else np.arange(len(times_T)) == int(np.abs(times_T - start).argmin())


@dataclass(frozen=True)
class Finding:
    """Whether each network's worst moment of one clip lies in its forged span; by chance it does with `chance`."""

    video_id: str
    forgery: str
    chance: float
    found: Mapping[str, bool]


# What networks make of a clip that is forged in part: for each of them the suspicion of every frame.
Suspect = Callable[[RealTrack, Pair], Mapping[str, np.ndarray]]


def find_spans(config: Config, data: Tables, suspect: Suspect, span_ratio: float, versions: int) -> Iterator[Finding]:
    """Forge `versions` spans into every real track that is long enough, and look for each.

    `span_ratio` is the span's share of the track's time: 0.2 is 2 s of 10 s.
    """
    videos = data.labelled()
    faces = data.faces_of(list(videos.loc[videos["label"] == 0, "video_id"]))
    tracks = real_tracks(faces, config.work_dir)
    forger = ClipForger(config, tracks)
    chosen = [track for track in tracks if len(track.rows) >= MIN_FRAMES]
    if not chosen:
        raise UserError(f"{config.work_dir}: no track of a real video has {MIN_FRAMES} frames, wanted at least one")
    jobs = [(track, version) for version in range(versions) for track in chosen]
    for track, version in tqdm(jobs, desc="forge spans", unit="clip", disable=None):
        span_s = span_ratio * float(track.times_T[-1] - track.times_T[0])
        span_T = draw_short_span(track.times_T, span_s, np.random.default_rng((version, len(track.rows))))
        pair = forger.make(track, version, span_T)
        if not pair.fake.forged_T.any():  # no landmarks just there
            continue
        yield look(track, pair, suspect)


def look(track: RealTrack, pair: Pair, suspect: Suspect) -> Finding:
    """Whether each network's worst moment of a track forged for a part of its time lies in that part."""
    logits, forged_T = suspect(track, pair), pair.fake.forged_T
    at = {name: int(np.abs(track.times_T - worst_moment(track.times_T, z)).argmin()) for name, z in logits.items()}
    found = {name: bool(forged_T[place]) for name, place in at.items()}
    return Finding(track.video_id, pair.fake.name, float(forged_T.mean()), found)


def suspect_by_detector(scorer: VideoScorer) -> Suspect:
    """A whole detector's suspicion of the frames, as its check of a video draws it; networks over tracks left out."""

    def suspect(_: RealTrack, pair: Pair) -> dict[str, np.ndarray]:
        return {"detector": scorer.frame_logits(scorer.frame_outputs(pair.fake_seen))}

    return suspect


def suspect_by_run(scorer: FrameScorer, heads: Mapping[str, TrackHead], config: Config) -> Suspect:
    """The suspicion of a run's frame network and of its networks over tracks."""
    return lambda track, pair: frame_logits(track, pair, scorer, heads, config)


def frame_logits(
    track: RealTrack, pair: Pair, scorer: FrameScorer, heads: Mapping[str, TrackHead], config: Config
) -> dict[str, np.ndarray]:
    """logits_T of a forged track by the frame network and by every head that can see it in pictures."""
    logits_T, features_TD = scorer.crops(pair.fake_seen)
    n = len(logits_T)
    landmarks_T52 = steady(track.landmarks())
    sides = tube_sides(name for head in heads.values() for name in head.inputs)
    tubes = {px: face_tube(pair.fake_seen, landmarks_T52, px).__getitem__ for px in sides}
    seen = TrackFeatures(
        video_id=track.video_id,
        track=track.track,
        label=1,
        frame_index_T=track.frame_index_T,
        features_TD=features_TD,
        logits_T=logits_T,
        times_T=track.times_T,
        landmarks_T52=np.full((n, 5, 2), np.nan),
        boxes_T4=np.full((n, 4), np.nan),
        forged_T=pair.fake.forged_T.astype(np.float32),
        tubes=tubes,
    )
    found = {"frames": logits_T.astype(np.float64)}
    for name, head in heads.items():
        (one,) = head_logits(head, [seen], config.predict)
        if one.n_frames:
            found[name] = one.frame_logits_T.astype(np.float64)
    return found


def rates(findings: Sequence[Finding]) -> pd.DataFrame:
    """Found, of, chance and rate by member, for all forgeries and for each family of them."""
    rows = [
        {"family": family, "member": member, "found": found, "chance": one.chance}
        for one in findings
        for member, found in one.found.items()
        for family in ("all", family_of(one.forgery))
    ]
    table = pd.DataFrame(rows).groupby(["family", "member"], sort=False)
    made = table.agg(found=("found", "sum"), of=("found", "size"), chance=("chance", "mean"))
    return made.assign(rate=made["found"] / made["of"]).reset_index()


def usable_heads(config: Config) -> list[str]:
    """Heads of the settings that look at pictures; a forgery drawn over a real face moves as that face did."""
    return [name for name in config.sequences.heads if "motion" not in HEADS[name].inputs]
