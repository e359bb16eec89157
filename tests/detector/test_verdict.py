"""What is said of one video."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit, logit

from deepfake.detector import verdict
from deepfake.detector.check import (
    FORGED,
    INCONCLUSIVE,
    NO_FACE,
    REAL,
    UNREADABLE,
    VERDICTS,
    Check,
    FrameScore,
    level_of,
    schema,
)
from deepfake.detector.score_videos import Scored, undecided
from deepfake.detector.verdict import (
    EXIT_CODES,
    GRAVEST_FIRST,
    check_of,
    exit_code,
    face_lines,
    suspicious_spans,
    verdict_line,
)
from deepfake.detector.video_scorer import TrackScore
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.faces.extracted import Extraction, StoredFace
from deepfake.faces.reading import Reading
from deepfake.media.file_facts import VideoFacts, VideoFile
from deepfake.settings import Ensemble, Extract

SCHEMA: Any = schema()
BAND = (0.3, 0.7)
FACTS = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "codec": "h264",
    "pixel_format": "yuv420p",
    "width_px": 64,
    "height_px": 48,
    "rotation": 0,
    "fps": 10.0,
    "is_vfr": False,
    "n_frames": 60,
    "duration_s": 6.0,
    "has_audio": False,
    "kbit_per_s": 9.0,
    "bits_per_pixel": 0.1,
    "plays_in_browsers": "widely",
    "warnings": [],
    "hints": [],
    "tags": {},
}


def a_check(name: str = "b.mp4", **changes: Any) -> Check:
    """A check of one face in one shot."""
    second = {"second": 0, "p_fake": 0.95, "n_frames": 8}
    track = {
        "track": 0,
        "p_fake": 0.9,
        "counts": True,
        "decides": True,
        "trust": 1.0,
        "from_s": 0.0,
        "to_s": 0.9,
        "n_frames": 8,
        "seconds": [second],
        "suspicious": [],
        "frames": [],
    }
    about = {
        "name": "d",
        "weights_sha256": "ab" * 32,
        "about": {},
        "calibration": "platt",
        "n_calibration_videos": 40,
        "error_rate": 0.1,
        "fake_share": 0.5,
        "min_track_frames": 3,
        "max_tracks": 8,
    }
    plain = {
        "file": {"path": name, "name": name, "sha256": "ab" * 32, "size_bytes": 3},
        "verdict": "likely forged",
        "exit_code": 3,
        "reason": None,
        "p_fake": 0.9,
        "inconclusive_band": {"low": 0.3, "high": 0.7},
        "detector": about,
        "video": FACTS,
        "looked_at": None,
        "shots": [{"shot": 0, "from_s": 0.0, "to_s": 6.0, "tracks": [track]}],
    }
    return Check.model_validate(plain | changes)


def test_the_text_names_verdict_band_and_each_face() -> None:
    assert verdict_line(a_check()) == "b.mp4: likely forged, p_fake 0.90 (inconclusive from 0.30 to 0.70)"
    (line,) = face_lines(a_check())
    assert line == "  face 0 in shot 0, 0.0-0.9 s, 8 frames: p_fake 0.90, by the second █"


def test_the_text_says_why_there_is_no_score() -> None:
    line = verdict_line(a_check(verdict="no face found", p_fake=None, reason="no face in 32 frames", shots=[]))
    assert line == "b.mp4: no face found (no face in 32 frames)"


def test_a_name_stays_on_its_line_and_cannot_steer_the_terminal() -> None:
    assert verdict_line(a_check("a\nb\x1b[31m\udcff.mp4")).startswith("a\\nb\\x1b[31m\\udcff.mp4: likely")


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
    assert [(s.from_s, s.to_s, s.n_frames, s.p_fake_max) for s in spans] == [
        (1.5, 2.5, 2, 0.9),
        (4.5, 4.5, 1, 0.75),
        (9.5, 9.5, 1, 0.95),
    ], "a calm second and five unseen ones part them"


def test_no_second_above_the_band_is_no_span() -> None:
    assert suspicious_spans(np.array([0.1, 0.4]), np.array([0.9, 0.1]), {0: 0.5}, 0.7) == ()


# --- All values of a video ---------------------------------------------------------------------------


def track(number: int, shot: int, times_s: list[float], logits: list[float], logit: float) -> TrackScore:
    boxes = np.array([[10, 10, 50, 40 + number]] * len(times_s), float)
    frames = np.array([round(10 * t) for t in times_s])
    return TrackScore(number, shot, logit, np.array(logits), np.array(times_s), frames, boxes)


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


def extraction(**changes: Any) -> Extraction:
    faces = [
        StoredFace(t.shot, t.track, int(i), s, 0, 0, 9, 9, 0.9, True, (0.0,) * 10, 0, 0, 9, 99.0, "v.tar", 0, 0)
        for t in TRACKS
        for i, s in zip(t.frame_indices, t.times_s.tolist(), strict=True)
    ]
    plain = Extraction(
        "0",
        "v.tar",
        None,
        "pyav",
        "tested",
        n_sampled=6,
        sampled_s=(0.2, 0.6, 1.4, 3.4, 4.4, 5.4),
        n_damaged=1,
        cuts_s=(2.5,),
        faces=tuple(faces),
    )
    return replace(plain, **changes)


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The check of a video whose file, extraction and scores are invented."""

    def made(fallback: str | None = None, **changes: Any) -> Check:
        monkeypatch.setattr(verdict, "describe", lambda _: VideoFacts.model_validate(FACTS))
        file = VideoFile(tmp_path / "v.mp4", 3, "ab" * 32)
        verdicts = TRACKS if fallback is None else []
        scored = Scored("0", 0.8, 7, len(verdicts), fallback, Reading(file, extraction(**changes)), verdicts)
        return check_of(file.path, scored, detector(), "ab" * 32)

    return made


def in_order(values: Any, schema: Any) -> None:
    """Assert that the keys of values stand as the schema has them, at every depth."""
    choices = [one for one in schema.get("anyOf", []) if "$ref" in one]
    schema = choices[0] if choices else schema
    schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(values, list) and "items" in schema:
        for value in values:
            in_order(value, schema["items"])
    elif isinstance(values, dict) and "properties" in schema:
        assert list(values) == list(schema["properties"]) == schema["required"]
        for key, value in values.items():
            in_order(value, schema["properties"][key])


def unreadable(check: Any) -> Check:
    made: Check = check("unreadable: cut short", faces=(), failure="cut short")
    return made


def test_the_json_is_as_its_schema_says_and_in_its_order(check: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for made in (check(), check("no_face", faces=()), unreadable(check)):
        values = json.loads(made.to_json())
        jsonschema.validate(values, SCHEMA)
        in_order(values, SCHEMA)
        assert Check.from_json(made.to_json()) == made


def test_the_schema_names_the_keys_of_version_1() -> None:
    assert list(SCHEMA["properties"]) == [
        "schema_version",
        "file",
        "verdict",
        "exit_code",
        "reason",
        "p_fake",
        "inconclusive_band",
        "detector",
        "video",
        "looked_at",
        "shots",
    ]
    keys = {name: list(part["properties"]) for name, part in SCHEMA["$defs"].items()}
    assert keys["CheckedTrack"] == [
        "track",
        "p_fake",
        "counts",
        "decides",
        "trust",
        "from_s",
        "to_s",
        "n_frames",
        "seconds",
        "suspicious",
        "frames",
    ]
    assert keys["FrameScore"] == ["frame", "time_s", "box_px", "score"]
    assert keys["VideoFacts"] == list(FACTS)
    assert "description" in SCHEMA["$defs"]["CheckedTrack"]["properties"]["trust"]


@pytest.mark.parametrize("wrong", [{"p_fake": 1.1}, {"verdict": "fake"}, {"exit_code": 1}, {"p_fake": float("nan")}])
def test_a_check_that_breaks_its_schema_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_check(**wrong)


def test_a_name_that_is_no_text_survives_the_json() -> None:
    odd = a_check("a\udcff.mp4")
    assert Check.from_json(odd.to_json()) == odd and "\\udcff" in odd.to_json()


def test_a_check_does_not_change() -> None:
    with pytest.raises(ValidationError):
        a_check().p_fake = 0.1  # type: ignore[misc]


def test_the_worst_track_that_counts_decides(check: Any) -> None:
    tracks = [track for _, track in check().tracks]
    assert [t.decides for t in tracks] == [True, False, False], "a single frame is too short to count"
    assert [t.counts for t in tracks] == [True, False, True]
    assert tracks[0].trust == 0.5, "its box is half as large as wanted"


def test_a_track_has_its_seconds_frames_and_suspicious_parts(check: Any) -> None:
    _, first = check().tracks[0]
    assert [(s.second, s.n_frames) for s in first.seconds] == [(0, 2), (1, 1)]
    assert first.seconds[0].p_fake == pytest.approx(0.880797)
    assert first.frames[2] == FrameScore(frame=14, time_s=1.4, box_px=(10, 10, 50, 40), score=0.047426)
    assert [(s.from_s, s.to_s) for s in first.suspicious] == [(0.2, 0.6)]


def test_shots_begin_at_the_cuts(check: Any) -> None:
    shots = check().shots
    assert [(s.shot, s.from_s, s.to_s) for s in shots] == [(0, 0.0, 2.5), (1, 2.5, 6.0)]
    assert [[t.track for t in s.tracks] for s in shots] == [[0], [1, 2]]


def test_shots_of_an_older_shard_begin_with_their_first_face(check: Any) -> None:
    made = check(cuts_s=None, sampled_s=())
    assert [s.from_s for s in made.shots] == [0.0, 3.4]
    assert made.looked_at.times_s == (0.2, 0.6, 1.4, 3.4, 4.4, 5.4)


def test_what_no_frame_stands_for_is_unseen(check: Any) -> None:
    assert check().looked_at.unseen_s == ((1.9, 2.9), (5.9, 6.0))


def test_without_a_score_there_is_a_reason_and_no_probability(check: Any) -> None:
    no_face, bad = check("no_face", faces=()), unreadable(check)
    assert (no_face.verdict, no_face.p_fake, no_face.exit_code) == (NO_FACE, None, 5)
    assert no_face.reason == "no face in 6 frames; damaged and left out: 1"
    assert no_face.shots[0].tracks == () and no_face.looked_at.n_frames == 6
    assert (bad.verdict, bad.reason, bad.video, bad.shots) == (UNREADABLE, "cut short", None, ())


def test_damaged_frames_alone_give_no_verdict_and_the_reason_says_damage(check: Any) -> None:
    made = check(is_damaged=True, n_damaged=6)
    assert (made.verdict, made.exit_code, made.p_fake) == (INCONCLUSIVE, 4, 0.8)
    assert "damaged" in made.reason and "6 of 6" in made.reason and made.looked_at.is_damaged
    assert "damaged" in verdict_line(made)


def test_a_score_of_damaged_frames_is_drawn_into_the_band() -> None:
    for p_fake, wanted in ((0.99, 0.696), (0.5, 0.5), (0.01, 0.304)):  # 1 % of 0.3..0.7 inside its bounds
        assert expit(undecided(float(logit(p_fake)), BAND)) == pytest.approx(wanted)
    assert expit(undecided(9.0, (0.0, 1.0))) == pytest.approx(0.99)


def test_damaged_frames_that_were_left_out_are_named(check: Any) -> None:
    assert check().video.warnings == ("1 of 7 sampled frames are damaged and were left out.",)


@pytest.mark.parametrize(("turned", "box"), [(90, (10, -2, 40, 38)), (180, (14, 8, 54, 38)), (270, (24, 10, 54, 50))])
def test_boxes_of_a_turned_picture_lie_where_players_show_the_face(
    turned: int, box: tuple[float, ...], check: Any
) -> None:
    # The face is at (10, 10, 50, 40) of the turned picture; players show 64x48 px.
    made = check(turned=turned, n_damaged=0)
    assert made.looked_at.turned == turned
    assert made.tracks[0][1].frames[0].box_px == box
    assert f"turned by {turned} degrees" in made.video.warnings[0]
    assert face_lines(made)[0] == f"  judged turned by {turned} degrees: as players show it there is no face"
