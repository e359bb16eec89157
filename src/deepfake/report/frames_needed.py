"""How many frames a video needs: the frame scores of a run, thinned and put through the same rules again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from deepfake import metrics
from deepfake.aggregate import Tracks, pool, track_logit
from deepfake.config import Config, Ensemble
from deepfake.ensemble import held_out

FRAME_COUNTS = (1, 2, 4, 8, 16, 32)
SHOWN = ("roc_auc", "log_loss_clipped")


def frames_against_accuracy(
    frame_scores: pd.DataFrame | None, faces: pd.DataFrame, scored: pd.DataFrame, config: Config
) -> list[dict[str, Any]]:
    """A row a model and number of frames: AUC and log loss, each fold calibrated on the others.

    The frames are spread evenly over those of the video that have a face. Each row rests on the same videos;
    a video with fewer frames gives all it has.
    """
    if frame_scores is None or frame_scores.empty:
        return []
    known = scored[scored["fold"].notna()].set_index("video_id")
    own = frame_scores[frame_scores["video_id"].isin(set(known.index))]
    rows = []
    for model, part in own.sort_values(["model", "video_id", "track", "frame_index"]).groupby("model"):
        tracks = _Frames(part, faces, config.ensemble)
        truth = known.loc[tracks.video_ids]
        if truth["fold"].nunique() < 2:
            continue
        most = int(tracks.n_frames.max())
        for wanted in [n for n in FRAME_COUNTS if n < most] + [most]:
            pooled = tracks.pooled(wanted)
            labels, folds = truth["label"].to_numpy(), truth["fold"].to_numpy(int)
            p = held_out(pooled, labels, folds, config.ensemble)
            found = metrics.measure(labels, p, truth["group"].tolist(), config.validation, config.ensemble.clip_p)
            rows.append(
                {
                    "model": str(model),
                    "n_frames": wanted,
                    "n_videos": len(truth),
                    "mean_frames": float(np.minimum(tracks.n_frames, wanted).mean()),
                    "metrics": {name: found[name].to_dict() for name in SHOWN},
                }
            )
    return rows


class _Frames:
    """One model's frame scores, sorted by video, track and frame, cut where a track and where a video begins."""

    def __init__(self, scores: pd.DataFrame, faces: pd.DataFrame, settings: Ensemble) -> None:
        self.settings, self.faces, self.model = settings, faces, str(scores["model"].iloc[0])
        self.logits = scores["logit"].to_numpy(np.float64)
        video = scores["video_id"].to_numpy()
        is_video_start = np.append(True, video[1:] != video[:-1])
        is_track_start = is_video_start | np.append(True, np.diff(scores["track"].to_numpy()) != 0)
        self.track_starts = np.flatnonzero(is_track_start)
        self.video_of_track = (np.cumsum(is_video_start) - 1)[self.track_starts]
        self.video_ids = video[is_video_start].tolist()
        self.places, self.n_frames = _places(np.cumsum(is_video_start) - 1, scores["frame_index"].to_numpy())
        self.tracks = pd.DataFrame(
            {"video_id": video[self.track_starts], "track": scores["track"].to_numpy()[self.track_starts]}
        )

    def pooled(self, wanted: int) -> Tracks:
        """The tracks as `wanted` frames of each video show them, those without such a frame left out."""
        n = np.minimum(self.n_frames, wanted)
        video_of_row = np.repeat(self.video_of_track, np.diff(np.append(self.track_starts, len(self.logits))))
        own_n, of_video = n[video_of_row], self.n_frames[video_of_row]
        # Frame k of K is the middle one of one of n equal stretches: k = floor((i + 0.5) * K / n) for some i.
        i = np.ceil(self.places * own_n / of_video - 0.5)
        is_kept = np.floor((i + 0.5) * of_video / own_n) == self.places
        logits, counts = np.full(len(self.track_starts), np.nan), np.zeros(len(self.track_starts), int)
        ends = np.append(self.track_starts[1:], len(self.logits))
        for number, (start, end) in enumerate(zip(self.track_starts, ends, strict=True)):
            kept = self.logits[start:end][is_kept[start:end]]
            counts[number] = len(kept)
            if len(kept):
                logits[number] = track_logit(kept, self.settings)
        rows = self.tracks.assign(model=self.model, n_frames=counts, logit=logits)
        return pool(rows[counts > 0], self.faces, self.settings)


def _places(video_of_row: np.ndarray, frame_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row's place among the different frames of its video, from 0, and how many of these each video has."""
    order = np.lexsort((frame_index, video_of_row))
    video, frame = video_of_row[order], frame_index[order]
    is_first = np.append(True, np.diff(video) != 0)
    is_new = is_first | np.append(True, np.diff(frame) != 0)
    running = np.cumsum(is_new) - 1
    place = running - np.maximum.accumulate(np.where(is_first, running, 0))
    places = np.empty(len(place), int)
    places[order] = place
    return places, np.bincount(video[is_new])
