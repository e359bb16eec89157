"""Which frames of a track a member looks at that is too dear to be shown them all.

A track's frames lie in runs of `stride`; such a member sees the middle frame of each run, and its logit there stands
for the whole run.
"""

from __future__ import annotations

import numpy as np


def looked_at(positions_N: np.ndarray, n_frames: int, stride: int) -> np.ndarray:
    """The frames (N,) whose outputs stand for those at `positions_N` (0 .. n_frames - 1) of a track; `stride` >= 1."""
    starts_N = np.asarray(positions_N) // stride * stride
    return np.asarray(starts_N + np.minimum(stride, n_frames - starts_N) // 2, int)
