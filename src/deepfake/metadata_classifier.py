"""A classifier that sees no picture: how far the files alone, by size, length and codec, give fakes away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake import metrics
from deepfake.config import Config

MAX_CODECS = 8
COLUMN_MEANINGS = {
    "size": "bytes of the file, logarithm",
    "bits_per_s": "bytes over seconds, logarithm",
    "bits_per_pixel": "bytes over frames and pixels, logarithm",
    "duration": "seconds, logarithm",
    "frames": "number of frames, logarithm",
    "fps": "frames a second",
    "width": "pixels",
    "height": "pixels",
    "is_turned": "rotation flag set",
    "is_vfr": "variable frame rate",
}


def metadata_classifier(videos: pd.DataFrame, scored: pd.DataFrame, config: Config) -> dict[str, Any]:
    """How well a logistic regression tells fakes without a look at a picture: each fold by the others.

    `auc` is a measure or None with `reason`; `columns` have the AUC each has alone, with fakes above reals.
    """
    known = scored.loc[scored["fold"].notna(), ["video_id", "label", "group", "fold"]]
    own = known.merge(videos.drop(columns="label"), on="video_id")
    features = metadata_columns(own)
    labels, folds = own["label"].to_numpy(), own["fold"].to_numpy(int)
    p = _out_of_fold(features.to_numpy(), labels, folds)
    if isinstance(p, str):
        return {"auc": None, "reason": p, "sentence": f"Not measured: {p}.", "columns": []}
    groups = own["group"].tolist()
    found = metrics.measure(labels, p, groups, config.validation, config.ensemble.clip_p)["roc_auc"]
    alone = [
        {"column": name, "meaning": COLUMN_MEANINGS.get(name, "the file has this codec"), "auc": _auc(labels, values)}
        for name, values in features.items()
    ]
    alone.sort(key=lambda row: (-abs(row["auc"] - 0.5), row["column"]))
    return {"auc": found.to_dict(), "reason": None, "sentence": _meaning(found), "columns": alone}


def metadata_columns(videos: pd.DataFrame) -> pd.DataFrame:
    """What can be known of files without decoding a picture; only columns that differ between the videos."""
    numbers = videos[["size_bytes", "duration_s", "n_frames", "fps", "width_px", "height_px"]].astype(float)
    size, duration, frames = (
        np.log2(numbers[name].clip(lower=1e-3)) for name in ("size_bytes", "duration_s", "n_frames")
    )
    pixels = np.log2((numbers["width_px"] * numbers["height_px"]).clip(lower=1))
    found = pd.DataFrame(
        {
            "size": size,
            "bits_per_s": size - duration,
            "bits_per_pixel": size - frames - pixels,
            "duration": duration,
            "frames": frames,
            "fps": numbers["fps"],
            "width": numbers["width_px"],
            "height": numbers["height_px"],
            "is_turned": videos["rotation"].fillna(0).astype(float).ne(0).astype(float),
            "is_vfr": videos["is_vfr"].map({True: 1.0, False: 0.0}).astype(float),
        }
    )
    found = found.fillna(found.median()).fillna(0.0)
    common = videos["codec"].value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:MAX_CODECS]
    for codec in common:
        found[f"codec {codec}"] = videos["codec"].eq(codec).astype(float)
    return found.loc[:, found.max() > found.min()]


def _out_of_fold(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray | str:
    """p_fake (n,) of each fold by a classifier of the others; where that cannot be, why."""
    if not features.shape[1]:
        return "all files are alike in size, length, codec and picture"
    if len(np.unique(labels)) < 2:
        return "it takes reals and fakes"
    if len(np.unique(folds)) < 2:
        return "it takes two folds"
    p = np.empty(len(labels))
    for fold in np.unique(folds):
        held = folds == fold
        if len(np.unique(labels[~held])) < 2:
            return f"without fold {fold} all videos have one label"
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        p[held] = model.fit(features[~held], labels[~held]).predict_proba(features[held])[:, 1]
    return p


def _auc(labels: np.ndarray, values: pd.Series) -> float:
    ranks = values.rank(pct=True).to_numpy()
    return metrics.roc_auc(labels, ranks)


def _meaning(found: metrics.Measure) -> str:
    """What the blind classifier's AUC says, in a sentence."""
    if found.value is None:
        return f"Not measured: {found.reason}."
    if found.n_groups is None or found.n_groups < metrics.FEW_GROUPS:
        return (
            "Too few independent groups to say whether the files give the answer away: look at the columns and judge "
            "whether reals and fakes were written alike."
        )
    if (found.value if found.low is None else found.low) > 0.5:  # resamples that all agree leave no interval
        return (
            "The files give fakes away without a look at a picture: part of the detector's success may be codec, size "
            "or length, and would be gone on files written alike. Encode reals and fakes the same way before learning."
        )
    return "Nothing found: with these columns alone, fakes cannot be told from reals better than by chance."
