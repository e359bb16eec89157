"""From frame logits to track logits to one logit a video.

A video is as fake as its worst credible track, and a track is judged half by all its frames and
half by its worst quarter: so neither three honest bystanders nor twenty untouched frames hide a
forged face. What the maximum adds on crowds of real faces is taken off by the calibration.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepfake.config import Ensemble


def track_logit(logits: np.ndarray, settings: Ensemble, n_frames: int | None = None) -> float:
    """One logit for a track's frame logits (n,), n >= 1; short tracks are drawn towards 0.

    `n_frames`: how many the track has, where not all were looked at.
    """
    if not len(logits):
        raise ValueError("a track without frames has no logit")
    values = np.sort(np.asarray(logits, np.float64))[::-1]
    worst = values[: max(int(np.ceil(settings.top_ratio * len(values))), 1)].mean()
    value = settings.top_weight * worst + (1 - settings.top_weight) * values.mean()
    trusted = n_frames or len(values)
    return float(value * trusted / (trusted + settings.prior_frames))


def heard(logits: np.ndarray, member: str, settings: Ensemble) -> np.ndarray:
    """What a member's logits count for in a sum over members: as they are, or an accuser's log(1 + exp(logit)).

    That is -log(1 - p): of accusers alone the sum says that a video is real only if none of them finds anything
    ("noisy or", Pearl, Probabilistic Reasoning in Intelligent Systems, 1988). The order of the logits stays.
    """
    return np.asarray(np.logaddexp(0.0, logits) if member in settings.accusers else logits)


def track_logits(frame_scores: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Rows of the track_scores table from rows of the frame_scores table."""
    rows = [
        {"model": model, "video_id": video_id, "track": track, "n_frames": len(part), "logit": logit}
        for (model, video_id, track), part in frame_scores.groupby(["model", "video_id", "track"], sort=True)["logit"]
        for logit in [track_logit(part.to_numpy(), settings)]
    ]
    return pd.DataFrame(rows, columns=["model", "video_id", "track", "n_frames", "logit"])


def heard_tracks(track_scores: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Rows of track_scores with every member's logits as they are `heard`."""
    logits = track_scores["logit"].to_numpy(np.float64, copy=True)
    for member in settings.accusers:
        rows = (track_scores["model"] == member).to_numpy()
        logits[rows] = heard(logits[rows], member, settings)
    return track_scores.assign(logit=logits)


def trust(side_px: np.ndarray, sharpness: np.ndarray, settings: Ensemble) -> float:
    """How far the logit of a track with these boxes and crops (n,) counts: 1, or less for a small or blurred face."""
    shares = (np.median(side_px) / settings.small_face_px, np.median(sharpness) / settings.blurred_sharpness)
    return float(np.prod(np.clip(shares, 0, 1)))


def draw_to_prior(track_scores: pd.DataFrame, faces: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Rows of track_scores with the logits of small and blurred faces drawn towards 0; `faces` has all their tracks."""
    side = np.maximum(faces["x1_px"] - faces["x0_px"], faces["y1_px"] - faces["y0_px"])
    by_track = faces.assign(side=side).groupby(["video_id", "track"])[["side", "sharpness"]]
    known = {key: trust(part["side"].to_numpy(), part["sharpness"].to_numpy(), settings) for key, part in by_track}
    shares = [known[key] for key in zip(track_scores["video_id"], track_scores["track"], strict=True)]
    return track_scores.assign(logit=track_scores["logit"] * np.array(shares, np.float64))


def credible(n_frames: np.ndarray, min_frames: int) -> np.ndarray:
    """Which tracks (n,) count: those of `min_frames` or more, or all where there is none."""
    long = np.asarray(n_frames) >= min_frames
    return long if long.any() else np.ones(len(long), bool)


def video_logits(track_scores: pd.DataFrame, settings: Ensemble) -> pd.DataFrame:
    """Columns model, video_id, logit, n_faces, n_tracks, track: each model's worst credible track of each video.

    Equal logits go to the lower track number.
    """
    rows = []
    for (model, video_id), part in track_scores.groupby(["model", "video_id"], sort=True):
        kept = part[credible(part["n_frames"].to_numpy(), settings.min_track_frames)]
        worst = kept.sort_values(["logit", "track"], ascending=[False, True]).iloc[0]
        rows.append(
            {
                "model": model,
                "video_id": video_id,
                "logit": float(worst["logit"]),
                "n_faces": int(part["n_frames"].sum()),
                "n_tracks": len(part),
                "track": int(worst["track"]),
            }
        )
    return pd.DataFrame(rows, columns=["model", "video_id", "logit", "n_faces", "n_tracks", "track"])
