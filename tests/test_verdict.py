"""What is said of one video."""

from __future__ import annotations

from typing import Any

from deepfake.verdict import face_lines, verdict_line


def found(**changes: Any) -> dict[str, Any]:
    second = {"second": 0, "p_fake": 0.95, "n_frames": 8}
    track = {"track": 0, "p_fake": 0.9, "from_s": 0.0, "to_s": 0.9, "n_frames": 8, "seconds": [second]}
    plain = {"file": {"name": "b.mp4"}, "verdict": "likely forged", "p_fake": 0.9, "reason": None}
    shots = [{"shot": 0, "tracks": [track]}]
    return {**plain, "inconclusive_band": {"low": 0.3, "high": 0.7}, "shots": shots, **changes}


def test_the_text_names_verdict_band_and_each_face() -> None:
    assert verdict_line(found()) == "b.mp4: likely forged, p_fake 0.90 (inconclusive from 0.30 to 0.70)"
    (line,) = face_lines(found())
    assert line == "  face 0 in shot 0, 0.0-0.9 s, 8 frames: p_fake 0.90, by the second █"


def test_the_text_says_why_there_is_no_score() -> None:
    line = verdict_line(found(verdict="no face found", p_fake=None, reason="no face in 32 frames", shots=[]))
    assert line == "b.mp4: no face found (no face in 32 frames)"
