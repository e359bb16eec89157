"""Error rates of decided clips against what was to be seen."""

from typing import Any

import numpy as np
import pandas as pd

from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.settings import Ensemble
from lab.evidence_needed import Judge, as_markdown, damages, longest, successive


class FakeDetector:
    stack = Stack(("a",), (1.0,), Calibration("platt", 1.0, 0.0), 0.5, (0.3, 0.7))
    ensemble = Ensemble(prior_frames=1.0)


DETECTOR: Any = FakeDetector()


def faces(lengths: dict[tuple[str, int], int], side_px: float = 100.0) -> pd.DataFrame:
    rows = [
        {"video_id": v, "track": t, "shot": 0, "frame_index": i, "time_s": i / 4, "x0_px": 0.0, "y0_px": 0.0}
        for (v, t), n in lengths.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows).assign(x1_px=side_px, y1_px=side_px, sharpness=50.0)


def test_the_longest_track_is_taken_and_frames_from_its_middle() -> None:
    table = faces({("a", 0): 3, ("a", 1): 9, ("b", 0): 2})
    kept = longest(table)
    assert kept.groupby("video_id")["track"].first().to_dict() == {"a": 1, "b": 0}
    some = successive(kept, 3)
    assert some[some["video_id"] == "a"]["frame_index"].tolist() == [3, 4, 5]
    assert len(some[some["video_id"] == "b"]) == 2, "all there are"


def test_wrong_verdicts_are_counted_among_the_decided() -> None:
    table = faces({("fake", 0): 9, ("missed", 0): 9, ("real", 0): 9, ("open", 0): 9})
    logit = {"fake": 5.0, "missed": -5.0, "real": 5.0, "open": 0.0}
    logits = table["video_id"].map(logit).to_numpy()[:, None]
    judge = Judge(DETECTOR, {"fake": 1, "missed": 1, "real": 0, "open": 0})
    row = judge.row("nine", table, logits)
    assert (row["clips"], row["decided"], row["wrong"], row["reals_forged"], row["fakes_real"]) == (4, 3, 2, 1, 1)
    assert (row["seconds"], row["side_px"], row["sharpness"]) == (2.0, 100.0, 50.0)
    assert as_markdown([row]).splitlines()[-1] == "| nine | 4 | 2.0 | 100.0 | 50.0 | 3 | 2 | 1 | 1 |"


def test_damages_show_less_of_a_crop_and_keep_its_size() -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (320, 320, 3), dtype=np.uint8)
    kept = [np.diff(damage.change(crop).astype(float), axis=0).std() for damage in damages()]
    assert all(damage.change(crop).shape == crop.shape for damage in damages())
    sizes, blurs = kept[:8], kept[8:]
    assert sizes == sorted(sizes, reverse=True) and blurs == sorted(blurs, reverse=True)
