"""Which frames of a track a member looks at that is too dear to be shown them all.

A track's frames lie in runs of `stride`; such a member sees the middle frame of each run, and its logit there stands
for the whole run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # half a second of import, which serving does without
    import pandas as pd


def looked_at(positions_N: np.ndarray, n_frames: int, stride: int) -> np.ndarray:
    """The frames (N,) whose outputs stand for those at `positions_N` (0 .. n_frames - 1) of a track; `stride` >= 1."""
    starts_N = np.asarray(positions_N) // stride * stride
    return np.asarray(starts_N + np.minimum(stride, n_frames - starts_N) // 2, int)


def rows_looked_at(faces: pd.DataFrame, stride: int) -> np.ndarray:
    """The same for a table of faces (columns video_id and track, frames of a track in order): a row for each (N,)."""
    rows_N = np.empty(len(faces), int)
    for rows in faces.groupby(["video_id", "track"]).indices.values():
        rows_N[rows] = rows[looked_at(np.arange(len(rows)), len(rows), stride)]
    return rows_N
