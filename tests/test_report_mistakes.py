from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake.evaluation import Labelled
from deepfake.report import mistakes
from deepfake.report.mistakes import mistakes_page, surest_mistakes


def video(name: str, label: int, **columns: str) -> Labelled:
    return Labelled(name, label, {"file": name, **columns})


VIDEOS = [video("a", 0), video("b", 1), video("c", 0), video("d", 1), video("e", 0), video("f", 1)]


def test_the_surest_come_first_and_right_answers_are_no_mistakes() -> None:
    p = np.array([0.6, 0.3, 0.9, 0.1, 0.2, 0.8])
    assert surest_mistakes(VIDEOS, p, 10) == ([2, 0], [3, 1])
    assert surest_mistakes(VIDEOS, p, 1) == ([2], [3])


def test_a_half_is_neither_and_equals_keep_their_order() -> None:
    assert surest_mistakes(VIDEOS, np.full(6, 0.5), 10) == ([], [])
    assert surest_mistakes(VIDEOS, np.array([0.7, 0.4, 0.7, 0.4, 0.7, 0.4]), 2) == ([0, 2], [1, 3])


@pytest.fixture
def faces(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Ten faces of video c, none of the others; crops are grey."""
    monkeypatch.setattr(mistakes, "read_crop", lambda *place: np.full((64, 64, 3), 90, np.uint8))
    return pd.DataFrame(
        {
            "video_id": "c",
            "track": [0] * 5 + [1] * 5,
            "time_s": np.arange(10) / 2,
            "x0_px": 10.0,
            "x1_px": 110.0,
            "shard": "s.tar",
            "offset": 0,
            "size": 1,
        }
    )


def test_a_page_tells_names_scores_and_where_they_come_from(faces: pd.DataFrame) -> None:
    videos = [video("<b>.mp4", 1, family="swap", source="x & y"), video("c", 0, source="studio")]
    page = mistakes_page(videos, ["gone", "c"], np.array([0.125, 0.75]), faces, Path(), 10)
    assert "&lt;b&gt;.mp4" in page
    assert "<b>.mp4" not in page
    assert "p_fake 0.125; no face found; swap, x &amp; y" in page
    assert "p_fake 0.750; face 100 px wide; 2 tracks; studio" in page
    assert page.count("<img") == 6
    assert "4.5 s" in page
    assert page.index("False alarms") < page.index("p_fake 0.750") < page.index("Misses") < page.index("p_fake 0.125")


def test_no_mistake_is_said(faces: pd.DataFrame) -> None:
    page = mistakes_page([video("c", 0), video("d", 1)], ["c", "d"], np.array([0.1, 0.9]), faces, Path(), 10)
    assert page.count("<p>None.</p>") == 2
    assert "<img" not in page
