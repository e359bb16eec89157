"""Frame scores of a member by networks that did not learn from the clip, in place of the member's own.

Where a member learnt from most of the clips there are, trainings that left out a part of their sources each stand in
for it on that part: what is fitted to their scores is fitted to sources that they never saw. A table FRAME_SCORES, its
model the member's name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from deepfake import tables
from deepfake.errors import UserError

KEY = ["video_id", "track", "frame_index"]


def read_scores(path: Path, members: list[str] | tuple[str, ...]) -> pd.DataFrame:
    """Rows of FRAME_SCORES of a file; UserError where they are none, or of a model that is no member."""
    try:
        scores = tables.read(tables.FRAME_SCORES, path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"left-out scores {str(path)!r}: not a readable table of frame scores ({reason})") from None
    strangers = sorted(set(scores["model"]) - set(members))
    if strangers or not len(scores):
        found = f"model {strangers[0]!r}" if strangers else "no rows"
        raise UserError(f"left-out scores {str(path)!r}: found {found}; wanted those of {', '.join(members)}")
    return scores


def laid_over(rows: pd.DataFrame, logits_N: np.ndarray, scores: pd.DataFrame, member: str) -> np.ndarray:
    """A member's logits (N,) of faces (columns KEY) with its left-out ones in their place, where a clip has some."""
    own = scores[scores["model"] == member]
    concerned = rows["video_id"].isin(set(own["video_id"])).to_numpy()
    known = own.set_index(KEY)["logit"].reindex(pd.MultiIndex.from_frame(rows[KEY]))
    missing = concerned & known.isna().to_numpy()
    if missing.any():
        video_id, track, frame = rows.loc[missing, KEY].iloc[0]
        raise UserError(
            f"left-out scores: {member!r} has none of frame {frame} in track {track} of {video_id!r}, but others "
            "of that clip; make them anew with the settings of the detector"
        )
    return np.where(concerned, known.to_numpy(float), logits_N)
