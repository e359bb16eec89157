"""What is said of one video."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from deepfake import verdict
from deepfake.calibration import Calibration
from deepfake.config import Ensemble, Extract
from deepfake.detector import Scored, TrackVerdict
from deepfake.ensemble import Stack
from deepfake.verdict import (
    EXIT_CODES,
    FORGED,
    GRAVEST_FIRST,
    INCONCLUSIVE,
    NO_FACE,
    REAL,
    UNREADABLE,
    VERDICTS,
    exit_code,
    face_lines,
    level_of,
    plain_values,
    suspicious_spans,
    verdict_line,
)

SCHEMA = json.loads(verdict.SCHEMA_PATH.read_text())
BAND = (0.3, 0.7)
FACTS = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2", "codec": "h264", "pixel_format": "yuv420p", "width_px": 64, "height_px": 48,
    "rotation": 0, "fps": 10.0, "is_vfr": False, "n_frames": 60, "duration_s": 6.0, "has_audio": False,
    "kbit_per_s": 9.0, "bits_per_pixel": 0.1, "plays_in_browsers": "widely", "warnings": [], "hints": [], "tags": {},
}  # fmt: skip


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


def test_a_name_stays_on_its_line_and_cannot_steer_the_terminal() -> None:
    assert verdict_line(found(file={"name": "a\nb\x1b[31m\udcff.mp4"})).startswith("a\\nb\\x1b[31m\\udcff.mp4: likely")


@pytest.mark.parametrize(
    ("p_fake", "level"), [(0.2999, REAL), (0.3, INCONCLUSIVE), (0.7, INCONCLUSIVE), (0.7001, FORGED)]
)
def test_a_score_on_a_bound_is_inconclusive(p_fake: float, level: str) -> None:
    assert level_of(p_fake, *BAND) == level


def test_the_exit_code_is_that_of_the_gravest_verdict() -> None:
    assert exit_code([REAL, REAL]) == 0
    assert exit_code([REAL, NO_FACE]) == 5
    assert exit_code([NO_FACE, INCONCLUSIVE, REAL]) == 4
    assert exit_code([UNREADABLE, INCONCLUSIVE, FORGED]) == 3
    assert set(EXIT_CODES) == set(VERDICTS) == set(GRAVEST_FIRST)
    assert not {1, 2} & set(EXIT_CODES.values()), "these are a crash's and a mistake's"


def test_suspicious_seconds_join_where_nothing_lies_between() -> None:
    times_s = np.array([0.5, 1.5, 2.5, 3.5, 4.5, 9.5])
    p_frames = np.array([0.1, 0.8, 0.9, 0.2, 0.75, 0.95])
    by_second = {int(t): float(p) for t, p in zip(times_s, p_frames, strict=True)}
    spans = suspicious_spans(times_s, p_frames, by_second, 0.7)
    assert [(s["from_s"], s["to_s"], s["n_frames"], s["p_fake_max"]) for s in spans] == [
        (1.5, 2.5, 2, 0.9), (4.5, 4.5, 1, 0.75), (9.5, 9.5, 1, 0.95),
    ], "a calm second and five unseen ones part them"  # fmt: skip


def test_no_second_above_the_band_is_no_span() -> None:
    assert suspicious_spans(np.array([0.1, 0.4]), np.array([0.9, 0.1]), {0: 0.5}, 0.7) == []


# --- All values of a video ---------------------------------------------------------------------------


def track(number: int, shot: int, times_s: list[float], logits: list[float], logit: float) -> TrackVerdict:
    boxes = np.array([[10, 10, 50, 40 + number]] * len(times_s), float)
    frames = np.array([round(10 * t) for t in times_s])
    return TrackVerdict(number, shot, logit, np.array(logits), np.array(times_s), frames, boxes)


TRACKS = [
    track(0, 0, [0.2, 0.6, 1.4], [2.0, 2.0, -3.0], 1.5),
    track(1, 1, [3.4], [9.0], 9.0),
    track(2, 1, [3.4, 4.4, 5.4], [0.0, 0.1, 0.2], 0.1),
]


def detector(**changes: Any) -> Any:
    stack = Stack(("a",), (1.0,), Calibration("platt", 1.0, 0.0, 40), 0.5, BAND)
    pooling = Ensemble(min_track_frames=3, small_face_px=80, blurred_sharpness=15)
    about = {"run": "r", "commit": "c"}
    return SimpleNamespace(name="d", stack=stack, ensemble=pooling, extract=Extract(), about=about, **changes)


def rows(**changes: Any) -> dict[str, Any]:
    faces = [
        {"track": t.track, "frame_index": int(i), "time_s": s, "sharpness": 99.0}
        for t in TRACKS
        for i, s in zip(t.frame_indices, t.times_s.tolist(), strict=True)
    ]
    times = [0.2, 0.6, 1.4, 3.4, 4.4, 5.4]
    told = {"n_sampled": 6, "sampled_s": times, "n_damaged": 1, "cuts_s": [2.5]}
    return {**told, "decoder": "pyav", "decoder_reason": "tested", "faces": faces, **changes}


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The values of a video whose file, shard and scores are invented."""

    def made(fallback: str | None = None, **changes: Any) -> dict[str, Any]:
        path = tmp_path / "v.mp4"
        path.write_bytes(b"abc")
        monkeypatch.setattr(verdict, "describe", lambda _: FACTS)
        monkeypatch.setattr(verdict, "read_rows", lambda _: rows(**changes))
        verdicts = TRACKS if fallback is None else []
        scored = Scored("0", 0.8, 7, len(verdicts), fallback, {"reason": fallback}, verdicts)
        return plain_values(path, scored, detector(), "ab" * 32, tmp_path)

    return made


def in_order(values: Any, schema: Any) -> None:
    """Assert that the keys of values stand as the schema has them, at every depth."""
    schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "anyOf" in schema:
        schema = SCHEMA["$defs"][schema["anyOf"][1]["$ref"].rpartition("/")[2]]
    if isinstance(values, list):
        for value in values:
            in_order(value, schema["items"])
    elif isinstance(values, dict) and "properties" in schema:
        assert list(values) == list(schema["properties"])
        for key, value in values.items():
            in_order(value, schema["properties"][key])


def test_values_are_as_their_schema_says_and_in_its_order(values: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for made in (values(), values("no_face", faces=[]), values("unreadable: cut short")):
        jsonschema.validate(made, SCHEMA)
        in_order(made, SCHEMA)
        assert list(made) == SCHEMA["required"]
    assert json.loads(json.dumps(values())) == values(), "plain values only"


def test_the_worst_track_that_counts_decides(values: Any) -> None:
    tracks = verdict.tracks_of(values())
    assert [t["decides"] for t in tracks] == [True, False, False], "a single frame is too short to count"
    assert [t["counts"] for t in tracks] == [True, False, True]
    assert tracks[0]["trust"] == 0.5, "its box is half as large as wanted"


def test_a_track_tells_its_seconds_frames_and_suspicious_parts(values: Any) -> None:
    first = verdict.tracks_of(values())[0]
    assert [(s["second"], s["n_frames"]) for s in first["seconds"]] == [(0, 2), (1, 1)]
    assert first["seconds"][0]["p_fake"] == pytest.approx(0.880797)
    assert first["frames"][2] == {"frame": 14, "time_s": 1.4, "box_px": [10, 10, 50, 40], "score": 0.047426}
    assert [(s["from_s"], s["to_s"]) for s in first["suspicious"]] == [(0.2, 0.6)]


def test_shots_begin_at_the_cuts(values: Any) -> None:
    shots = values()["shots"]
    assert [(s["shot"], s["from_s"], s["to_s"]) for s in shots] == [(0, 0.0, 2.5), (1, 2.5, 6.0)]
    assert [[t["track"] for t in s["tracks"]] for s in shots] == [[0], [1, 2]]


def test_shots_of_an_older_shard_begin_with_their_first_face(values: Any) -> None:
    made = values(cuts_s=None, sampled_s=None)
    assert [s["from_s"] for s in made["shots"]] == [0.0, 3.4]
    assert made["looked_at"]["times_s"] == [0.2, 0.6, 1.4, 3.4, 4.4, 5.4]


def test_what_no_frame_stands_for_is_unseen(values: Any) -> None:
    assert values()["looked_at"]["unseen_s"] == [[1.9, 2.9], [5.9, 6.0]]


def test_without_a_score_there_is_a_reason_and_no_probability(values: Any) -> None:
    no_face, unreadable = values("no_face", faces=[]), values("unreadable: cut short")
    assert (no_face["verdict"], no_face["p_fake"], no_face["exit_code"]) == (NO_FACE, None, 5)
    assert no_face["shots"][0]["tracks"] == [] and no_face["looked_at"]["n_frames"] == 6
    assert (unreadable["verdict"], unreadable["video"], unreadable["shots"]) == (UNREADABLE, None, [])
