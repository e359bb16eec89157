"""What is said of videos once they are scored; the scoring itself is run in test_end_to_end.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepfake.bundle import find_weights
from deepfake.config import UserError
from deepfake.detector import Scored, check_text, refuse_equal_scores
from deepfake.submission import count_reasons


def scored(p_fake: float, fallback: str | None = None) -> Scored:
    return Scored("v.mp4", p_fake, 32, 1, fallback, {}, [])


def test_more_than_ten_equal_scores_mean_weights_that_do_not_fit() -> None:
    with pytest.raises(UserError, match="all 11 videos"):
        refuse_equal_scores([scored(0.5)] * 11)
    refuse_equal_scores([scored(0.5)] * 10)
    refuse_equal_scores([scored(0.5)] * 10 + [scored(0.51)])


def test_videos_without_a_score_are_no_equal_scores() -> None:
    refuse_equal_scores([scored(0.5, "no_face")] * 20)


def found(**changes: Any) -> dict[str, Any]:
    second = {"second": 0, "p_fake": 0.95, "n_frames": 8, "box_px": [0, 0, 9, 9]}
    face = {"track": 0, "shot": 0, "p_fake": 0.9, "from_s": 0.0, "to_s": 0.9, "n_frames": 8, "seconds": [second]}
    plain = {"file": "a/b.mp4", "verdict": "likely forged", "p_fake": 0.9, "inconclusive_band": [0.3, 0.7]}
    return {**plain, "fallback": None, "faces": [face], **changes}


def test_the_text_names_verdict_band_and_each_face() -> None:
    text = check_text(found())
    assert text.splitlines()[0] == "b.mp4: likely forged"
    assert "inconclusive between 0.30 and 0.70" in text
    assert "face 0 in shot 0, 0.0-0.9 s, 8 frames: p_fake 0.90, by the second █" in text


def test_the_text_says_why_there_is_no_score() -> None:
    text = check_text(found(verdict="no score", fallback="no_face", faces=[]))
    assert text == "b.mp4: no score\n  no score: no_face"


def test_fallbacks_are_counted_by_their_short_reason() -> None:
    reasons = {"a": "unreadable: cut short", "b": "no_face", "c": "unreadable: text"}
    assert count_reasons(reasons) == {"no_face": 1, "unreadable": 2}


def test_weights_must_be_named_where_there_are_none_or_several(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 detectors"):
        find_weights(tmp_path)
    (tmp_path / "a.safetensors").touch()
    assert find_weights(tmp_path).name == "a.safetensors"
    (tmp_path / "b.safetensors").touch()
    with pytest.raises(UserError, match="--weights"):
        find_weights(tmp_path)
