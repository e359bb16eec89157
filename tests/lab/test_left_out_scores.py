"""Which network of a training in folds speaks for a clip: the one that did not learn from it."""

import numpy as np
import pandas as pd

from lab.left_out_scores import by_fold, folds_of
from little_pack import wide_pack


def test_a_clip_is_of_the_fold_that_left_it_out_and_one_the_pack_has_not_of_none() -> None:
    pack = wide_pack()
    clips = sorted(set(pack.faces.loc[pack.faces["kind"] == "clip", "clip"]))
    folds = folds_of(pack, 2, [*clips, "stranger"])
    assert set(folds) == set(clips) and set(folds.values()) == {0, 1}
    sources = pack.faces.set_index("clip")["source"]
    by_source = pd.Series(folds).groupby(lambda name: sources[name]).nunique()
    assert (by_source == 1).all(), "a publisher's clips are of one fold"


def test_each_clip_gets_the_score_of_its_own_fold_s_network_and_others_the_mean() -> None:
    rows = pd.DataFrame({"video_id": ["a", "a", "b", "new"], "track": 0, "frame_index": [0, 1, 0, 0], "model": "x"})
    scores = [rows.assign(logit=[1.0, 2.0, 3.0, 4.0]), rows.assign(logit=[-1.0, -2.0, -3.0, -4.5])]
    made = by_fold(scores, {"a": 0, "b": 1})
    assert np.allclose(made["logit"], [1.0, 2.0, -3.0, -0.25])
    assert made["video_id"].tolist() == rows["video_id"].tolist()
