"""What is said of one video."""

from __future__ import annotations

from typing import Any

from deepfake.verdict import check_text


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
