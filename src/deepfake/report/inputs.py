"""What the validation report is made from, and the one table all its parts read: the scored videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from deepfake.ensemble.members import Evidence
from deepfake.ensemble.stack import ENSEMBLE
from deepfake.errors import UserError
from deepfake.settings import Config

BRIGHTNESS_CROPS = 3  # of a video; one where there are more videos than below
MANY_VIDEOS = 2000
ReadCrop = Callable[[str, int, int], np.ndarray]  # shard, offset, size -> HWC uint8 RGB


@dataclass(frozen=True)
class ReportInputs:
    """Tables as `deepfake.tables` has them, facts, and a reader of crops.

    `read_crop(shard, offset, size)` returns HWC uint8 RGB. `frame_scores`, `test_scores` and `other_scores` (video
    scores of the run `validation.against`) may be None, and so may `evidence`, the members' out-of-fold logits,
    `people`, who is seen where by face, and `copies`, which seconds of a video are another's.
    """

    config: Config
    videos: pd.DataFrame
    extractions: pd.DataFrame
    faces: pd.DataFrame
    folds: pd.DataFrame
    failures: pd.DataFrame
    scores: pd.DataFrame
    read_crop: ReadCrop
    frame_scores: pd.DataFrame | None = None
    test_scores: pd.DataFrame | None = None
    other_scores: pd.DataFrame | None = None
    evidence: Evidence | None = None
    facts: Mapping[str, str] | None = None
    people: pd.DataFrame | None = None
    copies: pd.DataFrame | None = None


def ensemble_scores(scores: pd.DataFrame, whose: str = "video scores") -> pd.DataFrame:
    """The ensemble's rows of video_scores, without the column model."""
    models = sorted(scores["model"].unique())
    if ENSEMBLE not in models:
        raise UserError(f"{whose} hold the models {models}, wanted {ENSEMBLE!r} among them; run 07_ensemble again")
    return scores[scores["model"] == ENSEMBLE].drop(columns="model")


def scored_videos(inputs: ReportInputs) -> pd.DataFrame:
    """Labelled videos with the ensemble's out-of-fold p_fake and everything the tables group by."""
    columns = ["video_id", "sha256", "part", "label", "original", "identity", "manipulation", "duration_s", "codec"]
    scored = ensemble_scores(inputs.scores).merge(inputs.videos[columns], on="video_id")
    scored = scored.merge(inputs.folds, on="video_id", how="left")
    scored = scored[scored["label"].notna()].copy()
    if scored.empty:
        raise UserError("no video has both a label and an out-of-fold score; nothing can be validated")
    scored["label"] = scored["label"].astype(int)
    scored["group"] = scored["group"].fillna(scored["video_id"])
    faces = inputs.faces[inputs.faces["video_id"].isin(set(scored["video_id"]))]
    scored = scored.merge(_face_facts(faces), on="video_id", how="left")
    scored["brightness"] = scored["video_id"].map(brightness(inputs.read_crop, faces))
    scored["faces_at_once"] = scored["faces_at_once"].fillna(0).astype(int)
    return scored.sort_values("video_id").reset_index(drop=True)


def _face_facts(faces: pd.DataFrame) -> pd.DataFrame:
    """Per video: the most faces in one frame, and the median longer side of a face's box."""
    side = np.maximum(faces["x1_px"] - faces["x0_px"], faces["y1_px"] - faces["y0_px"])
    at_once = faces.groupby(["video_id", "frame_index"]).size().groupby("video_id").max()
    return pd.DataFrame({"faces_at_once": at_once, "face_px": side.groupby(faces["video_id"]).median()}).reset_index()


def brightness(read_crop: ReadCrop, faces: pd.DataFrame) -> dict[str, float]:
    """Median luma (0..255) of a few crops of each video; a video whose crops cannot be read has none."""
    if faces.empty:
        return {}
    wanted = BRIGHTNESS_CROPS if faces["video_id"].nunique() <= MANY_VIDEOS else 1
    places = faces.sort_values(["video_id", "frame_index", "track"])
    video_ids, shards = places["video_id"].to_numpy(), places["shard"].to_numpy()
    offsets, sizes = places["offset"].to_numpy(), places["size"].to_numpy()
    starts = np.flatnonzero(np.append(True, video_ids[1:] != video_ids[:-1]))
    by_video: dict[str, float] = {}
    for start, end in zip(starts, np.append(starts[1:], len(places)), strict=True):
        picks = np.unique(start + ((np.arange(wanted) + 0.5) * (end - start) / wanted).astype(int))
        values = [_luma(read_crop, shards[pick], int(offsets[pick]), int(sizes[pick])) for pick in picks]
        known = [value for value in values if value is not None]
        if known:
            by_video[str(video_ids[start])] = float(np.median(known))
    return by_video


def _luma(read_crop: ReadCrop, shard: str, offset: int, size: int) -> float | None:
    """Median luma of a crop, every fourth pixel in both directions; None where it cannot be read."""
    try:
        crop = read_crop(shard, offset, size)
    except (UserError, OSError):
        return None  # the strips of the worst videos say why
    return float(np.median(cv2.cvtColor(np.ascontiguousarray(crop[::4, ::4]), cv2.COLOR_RGB2GRAY)))


def count(inputs: ReportInputs, scored: pd.DataFrame) -> dict[str, int]:
    """How many videos, groups, faces and failures stand behind the report."""
    videos = inputs.videos
    labelled = videos[videos["label"].notna() & (videos["split"] == "train")]
    return {
        "videos": len(videos),
        "labelled": len(labelled),
        "scored": len(scored),
        "without_score": int((~labelled["video_id"].isin(scored["video_id"])).sum()),
        "real": int((scored["label"] == 0).sum()),
        "fake": int((scored["label"] == 1).sum()),
        "groups": int(scored["group"].nunique()),
        "folds": int(scored["fold"].nunique()),
        "faces": len(inputs.faces),
        "without_face": int((inputs.extractions["status"] == "no_face").sum()),
        "fallbacks": int(scored["fallback"].notna().sum()),
        "failures": len(inputs.failures),
    }
