"""Where the detector is good and where it is not: one table for each way to sort the videos into groups.

A new way is one line in `group_tables`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfake.evaluation import evaluate
from deepfake.settings import Config

MAX_GROUPS = 200  # of one table: the largest; thousands of people would take minutes to resample
NO_VALUE = "not given"
FACE_SIZES_PX = (64, 128, 256)
LENGTHS_S = (5, 11, 30, 120)  # DFDC's clips have 10 s and a little
LUMA = (60, 100, 140, 180)


def group_tables(scored: pd.DataFrame, config: Config) -> list[dict[str, Any]]:
    """Per way of grouping: name, title, meaning, how many small groups were left out, and measured rows."""
    texts = {
        name: scored[name].fillna(NO_VALUE).astype(str).tolist()
        for name in ("part", "manipulation", "identity", "codec")
    }
    reals_are_one = [
        text if label or text != NO_VALUE else "real"
        for text, label in zip(texts["manipulation"], scored["label"], strict=True)
    ]
    fold = ["none" if math.isnan(value) else str(int(value)) for value in scored["fold"].astype(float)]
    sizes = binned(scored["face_px"], FACE_SIZES_PX, " px", "no face")
    choices = (
        ("part", "Part", "folder of the data set", texts["part"]),
        ("manipulation", "Manipulation", "the fakes of each kind against all reals", reals_are_one),
        ("source", "Source", "a real video and what was made of it", _sources(scored)),
        ("face_size", "Face size", "median longer side of the boxes, full-frame pixels", sizes),
        ("faces", "Faces at once", "most faces in one sampled frame", _few_or_many(scored["faces_at_once"])),
        ("codec", "Codec", "how the file is coded", texts["codec"]),
        ("length", "Length", "of the video", binned(scored["duration_s"], LENGTHS_S, " s")),
        ("brightness", "Brightness", "median luma of a few crops, 0 black to 255 white", _lights(scored["brightness"])),
        ("identity", "Identity", "person, where the labels name one", texts["identity"]),
        ("fold", "Fold", "held out together", fold),
    )
    return [
        {"name": name, "title": title, "meaning": meaning, **_measured(scored, values, config, name == "manipulation")}
        for name, title, meaning, values in choices
    ]


def _measured(scored: pd.DataFrame, values: Sequence[str], config: Config, against_all_reals: bool) -> dict[str, Any]:
    """The rows of the largest groups; without rows where the labels do not say."""
    counts = Counter(values)
    if set(counts) <= {NO_VALUE}:
        return {"left_out": 0, "rows": []}
    kept = {value for value, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_GROUPS]}
    # What stands against all reals needs them all: left-out values lose their row, not their videos.
    mask = np.array([against_all_reals or value in kept for value in values])
    part = scored[mask]
    rows = evaluate.measure_groups(
        part["label"].to_numpy(),
        part["p_fake"].to_numpy(),
        part["group"].tolist(),
        [value for value, is_kept in zip(values, mask, strict=True) if is_kept],
        config.validation,
        config.ensemble.clip_p,
        against_all_reals,
    )
    return {"left_out": len(counts) - len(kept), "rows": [row for row in rows if row["value"] in kept]}


def _sources(scored: pd.DataFrame) -> list[str]:
    """The original of a fake, and a real video that fakes name as theirs; without fakes of it, nothing."""
    named = set(scored["original"].dropna())
    own = [video_id if video_id in named else NO_VALUE for video_id in scored["video_id"]]
    return [
        known if isinstance(known, str) else fallback for known, fallback in zip(scored["original"], own, strict=True)
    ]


def _few_or_many(counts: pd.Series) -> list[str]:
    return [str(n) if n < 4 else "4 or more" for n in counts]


def _lights(luma: pd.Series) -> list[str]:
    return binned(luma, LUMA, "", NO_VALUE)


def binned(values: pd.Series, edges: Sequence[int], unit: str, missing: str = NO_VALUE) -> list[str]:
    """The name of each value's bin; an edge belongs to the bin above it."""
    names = [f"{low} to {high}{unit}" for low, high in itertools.pairwise((0, *edges))]
    names += [f"{edges[-1]}{unit} and more"]
    return [
        missing if math.isnan(value) else names[int(np.searchsorted(edges, value, "right"))]
        for value in values.astype(float)
    ]
