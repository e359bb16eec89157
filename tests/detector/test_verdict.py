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
from deepfake.detector.judged import TrackScore, judge
from deepfake.detector.score_videos import Scored, undecided
from deepfake.detector.verdict import (
    EXIT_CODES,
    GRAVEST_FIRST,
    check_of,
    exit_code,
    face_lines,
    search_lines,
    stream_lines,
    suspicious_spans,
    verdict_line,
    verdict_of,
)
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.faces.extracted import Extraction, FurtherStream, Searched, StoredFace
from deepfake.faces.reading import Reading
from deepfake.media.file_facts import VideoFacts, VideoFile
from deepfake.media.streams import STILL, VideoStream
from deepfake.settings import Ensemble, Extract
from promises import REFUSED, promise

SCHEMA: Any = schema()
BAND = (0.3, 0.7)
FACTS = {
    "container": "mov,mp4,m4a,3gp,3g2,mj2",
    "codec": "h264",
    "pixel_format": "yuv420p",
    "width_px": 64,
    "height_px": 48,
    "rotation": 0,
    "is_mirrored": False,
    "fps": 10.0,
    "is_vfr": False,
    "n_frames": 60,
    "duration_s": 6.0,
    "first_frame_s": 0.0,
    "timeline_start_s": 0.0,
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
        "judged_with": [],
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
        "n_faces_counted": 1,
        "inconclusive_band": {"low": 0.3, "high": 0.7},
        "detector": about,
        "video": FACTS,
        "looked_at": None,
        "shots": [{"shot": 0, "from_s": 0.0, "to_s": 6.0, "tracks": [track]}],
    }
    return Check.model_validate(plain | changes)


def test_the_text_names_verdict_band_and_each_face() -> None:
    assert verdict_line(a_check()) == (
        "b.mp4: likely forged, p_fake 0.90 (inconclusive from 0.30 to 0.70; never tested on other sources)"
    )
    (line,) = face_lines(a_check())
    assert line == "  face 0 in shot 0, 0.0-0.9 s, 8 frames: p_fake 0.90, by the second █"


def test_the_text_says_what_a_verdict_is_worth_on_other_sources() -> None:
    told = a_check()
    told = told.model_copy(update={"detector": told.detector.model_copy(update={"promise": promise()})})
    assert verdict_line(told).endswith("0.70; on other sources 4 of 87 such verdicts were wrong)")
    closed = told.detector.model_copy(update={"promise": promise(REFUSED, REFUSED)})
    unsure = told.model_copy(update={"detector": closed, "verdict": INCONCLUSIVE})
    assert verdict_line(unsure).endswith("0.70; this detector can promise no verdict on other sources)")
    jsonschema.validate(json.loads(unsure.to_json()), SCHEMA)
    assert Check.from_json(unsure.to_json()) == unsure


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


def track(number: int, shot: int, times_s: list[float], logits: list[float], member_logit: float) -> TrackScore:
    """A track of 40 px, half of what is wanted; its calibrated logit is the member's, as far as it is trusted."""
    boxes = np.array([[10, 10, 50, 40 + number]] * len(times_s), float)
    frames, n = np.array([round(10 * t) for t in times_s]), len(times_s)
    logit = member_logit * 0.5 * n / (n + 1)
    member_logits = np.array([member_logit])
    return TrackScore(
        number, shot, logit, np.array(logits), np.array(times_s), frames, boxes, member_logits, trust=0.5, sharpness=99
    )


TRACKS = [
    track(0, 0, [0.2, 0.6, 1.4], [2.0, 2.0, -3.0], 4.0),
    track(1, 1, [3.4], [9.0], 36.0),
    track(2, 1, [3.4, 4.4, 5.4], [0.0, 0.1, 0.2], 0.1),
]


def detector(**changes: Any) -> Any:
    stack = Stack(("a",), (1.0,), Calibration("platt", 1.0, 0.0, 40), 0.5, BAND)
    wanted = {"verdict_frames": 3, "verdict_s": 1.0, "real_frames": 5, "real_s": 2.0}
    pooling = Ensemble(
        min_track_frames=3,
        small_face_px=80,
        blurred_sharpness=15,
        verdict_face_px=32,
        verdict_sharpness=5,
        **wanted,
    )
    about = {"run": "r", "commit": "c"}
    told = {"promise": None, **changes}
    return SimpleNamespace(name="d", stack=stack, ensemble=pooling, extract=Extract(), about=about, **told)


STREAM = VideoStream(
    stream=0,
    codec="h264",
    width_px=64,
    height_px=48,
    n_frames=60,
    first_frame_s=0.0,
    duration_s=6.0,
    is_default=True,
)


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

    def made(fallback: str | None = None, streams: tuple[VideoStream, ...] = (STREAM,), **changes: Any) -> Check:
        monkeypatch.setattr(verdict, "describe", lambda _: VideoFacts.model_validate(FACTS))
        file = VideoFile(tmp_path / "v.mp4", 3, "ab" * 32, probe=SimpleNamespace(stream=0, streams=streams))  # type: ignore[arg-type]
        verdicts = TRACKS if fallback is None else []
        scored = Scored("0", 0.8, 7, len(verdicts), fallback, Reading(file, extraction(**changes)), verdicts)
        return check_of(file.path, scored, detector(), "ab" * 32)

    return made


def test_a_file_whose_bytes_are_not_known_has_no_hash_and_is_not_opened_again(check: Any, tmp_path: Path) -> None:
    lost = VideoFile(tmp_path / "absent.mp4", 0, reason="could not be read")
    reading = Reading(lost, Extraction("0", failure="could not be read"))
    made = check_of(lost.path, Scored("0", 0.5, 0, 0, "unreadable: could not be read", reading), detector(), "ab" * 32)
    assert made.file.sha256 is None and made.verdict == UNREADABLE and made.reason == "could not be read"
    jsonschema.validate(json.loads(made.to_json()), SCHEMA)


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


def test_what_the_search_of_a_long_video_may_have_missed_is_said_in_words(check: Any) -> None:
    hours = check(searched=Searched(n_frames=1800, gap_s=6.0, n_appearances=412, n_judged=64))
    assert search_lines(hours) == [
        "  looked at 1 moment every 6.0 s; somebody seen for less than that may have been missed",
        "  64 of 412 appearances of faces, shot by shot, were judged; the others were only seen",
    ]
    looked_at = json.loads(hours.to_json())["looked_at"]["search"]
    assert looked_at["gap_s"] == 6.0 and looked_at["missed"][0] in search_lines(hours)[0]
    jsonschema.validate(json.loads(hours.to_json()), SCHEMA)


def test_a_search_that_missed_nobody_needs_no_words(check: Any) -> None:
    minutes = check(searched=Searched(n_frames=600, gap_s=1.0, n_appearances=3, n_judged=3))
    assert search_lines(minutes) == [] == search_lines(check()) == search_lines(unreadable(check))


def test_the_schema_names_the_keys_of_version_4() -> None:
    assert list(SCHEMA["properties"]) == [
        "schema_version",
        "file",
        "verdict",
        "exit_code",
        "reason",
        "p_fake",
        "n_faces_counted",
        "inconclusive_band",
        "detector",
        "engine",
        "video",
        "looked_at",
        "streams",
        "shots",
        "evidence",
    ]
    keys = {name: list(part["properties"]) for name, part in SCHEMA["$defs"].items()}
    assert keys["CheckedTrack"] == [
        "track",
        "person",
        "p_fake",
        "counts",
        "decides",
        "judged_with",
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


# The second shot of the invented video as a stream of its own, which begins 3 s late; and a still.
LATE = replace(STREAM, stream=1, width_px=1920, height_px=1080, n_frames=30, first_frame_s=3.0, duration_s=3.0)
STILL_BESIDE = replace(STREAM, stream=2, codec="mjpeg", n_frames=1, left_out=STILL)
OTHER = FurtherStream(1, first_shot=1, n_sampled=3, sampled_s=(3.4, 4.4, 5.4), n_shots=1)


@pytest.fixture
def several(check: Any) -> Check:
    made: Check = check(
        streams=(STREAM, LATE, STILL_BESIDE),
        stream=0,
        n_sampled=3,
        sampled_s=(0.2, 0.6, 1.4),
        cuts_s=(),
        further=(OTHER,),
    )
    return made


def test_each_stream_is_named_with_what_was_made_of_it(several: Check) -> None:
    first, second, still = several.streams
    assert (first.is_looked_at, first.n_sampled, first.n_tracks, first.decides) == (True, 3, 1, True)
    assert (second.stream, second.from_s, second.to_s, second.n_tracks, second.decides) == (1, 3.0, 6.0, 2, False)
    assert second.p_fake == pytest.approx(0.509374), "the track of a single frame does not count"
    assert (still.is_looked_at, still.reason, still.p_fake, still.unseen_s) == (False, STILL, None, ())
    jsonschema.validate(json.loads(several.to_json()), SCHEMA)


def test_shots_are_those_of_their_stream(several: Check) -> None:
    assert [(s.shot, s.stream, s.from_s, s.to_s) for s in several.shots] == [(0, 0, 0.0, 6.0), (1, 1, 3.0, 6.0)]
    assert [[t.track for t in s.tracks] for s in several.shots] == [[0], [1, 2]]
    assert several.looked_at is not None and several.looked_at.n_frames == 3
    assert several.looked_at.unseen_s == ((1.9, 6.0),)
    assert several.streams[1].unseen_s == ((5.9, 6.0),), "what lies before its first frame cannot be seen"


def test_the_text_says_which_streams_were_looked_at(several: Check) -> None:
    (line,) = stream_lines(several)
    assert line == (
        "  video streams: 0 (h264, 64x48, 60 frames) looked at, decides; 1 (h264, 1920x1080, 30 frames) looked at; "
        "2 (mjpeg, 64x48, 1 frame) left out: a still picture beside a video"
    )
    assert "face 2 in shot 1 of stream 1, 3.4-5.4 s" in face_lines(several)[2]
    assert stream_lines(a_check()) == []


def test_a_shard_of_an_older_version_says_that_one_stream_alone_was_looked_at(check: Any) -> None:
    made = check(streams=(STREAM, LATE))
    assert [(s.stream, s.is_looked_at) for s in made.streams] == [(0, True), (1, False)]
    assert "not looked at by the version" in made.streams[1].reason


def test_without_a_score_there_is_a_reason_and_no_probability(check: Any) -> None:
    no_face, bad = check("no_face", faces=()), unreadable(check)
    assert (no_face.verdict, no_face.p_fake, no_face.exit_code) == (NO_FACE, None, 5)
    assert no_face.reason == "no face in 6 frames; damaged and left out: 1"
    assert no_face.shots[0].tracks == () and no_face.looked_at.n_frames == 6
    assert (bad.verdict, bad.reason, bad.video, bad.shots) == (UNREADABLE, "cut short", None, ())


# --- Crowds, short tracks, too little to see -----------------------------------------------------------


def scored_of(tracks: list[TrackScore], p_fake: float) -> Scored:
    return Scored("0", p_fake, sum(t.length for t in tracks), len(tracks), None, None, tracks)


def lasting(number: int, member_logit: float, shot: int = 0, **changes: Any) -> TrackScore:
    """A face seen in eight frames over four seconds."""
    times_s = [0.5 * i for i in range(8)]
    return replace(track(number, shot, times_s, [0.0] * 8, member_logit), **changes)


def test_a_verdict_wants_enough_to_see_behind_it_and_says_what_was_there() -> None:
    assert verdict_of(scored_of([lasting(0, 9.0)], 0.9), detector()) == (FORGED, None)
    assert verdict_of(scored_of([lasting(0, -9.0)], 0.1), detector()) == (REAL, None)
    one = track(0, 0, [2.0], [9.0], 36.0)
    wanted = "too little to see: 1 frame of a face, wanted 3; 0.0 s of a face, wanted 1"
    assert verdict_of(scored_of([one], 0.9), detector()) == (INCONCLUSIVE, wanted)
    more = "too little to see: 1 frame of a face, wanted 5; 0.0 s of a face, wanted 2"
    assert verdict_of(scored_of([one], 0.1), detector()) == (INCONCLUSIVE, more), "likely real wants more"
    four = track(0, 0, [1.0, 1.5, 2.0, 2.5], [9.0] * 4, 36.0)
    assert verdict_of(scored_of([four], 0.9), detector()) == (FORGED, None)
    assert verdict_of(scored_of([four], 0.1), detector())[0] == INCONCLUSIVE
    blurred = lasting(0, 9.0, sharpness=4.2)
    assert verdict_of(scored_of([blurred], 0.9), detector())[1] == "too little to see: a sharpness of 4.2, wanted 5"
    small = lasting(0, 9.0, boxes=np.array([[0, 0, 20.0, 24.0]] * 8))
    assert verdict_of(scored_of([small], 0.9), detector())[1] == "too little to see: a face of 24 px, wanted 32"


def test_a_score_inside_the_band_is_inconclusive_without_a_further_reason() -> None:
    assert verdict_of(scored_of([track(0, 0, [2.0], [0.0], 0.0)], 0.5), detector()) == (INCONCLUSIVE, None)


def test_likely_forged_rests_on_the_most_suspicious_face_and_likely_real_on_the_one_seen_longest() -> None:
    brief = replace(track(0, 0, [1.0, 1.1, 1.2], [9.0] * 3, 36.0))
    assert verdict_of(scored_of([brief, lasting(1, -4.0)], 0.9), detector())[0] == INCONCLUSIVE
    assert verdict_of(scored_of([brief, lasting(1, -4.0)], 0.1), detector()) == (REAL, None)


def test_the_check_counts_its_faces_and_says_why_there_is_no_verdict(check: Any) -> None:
    made = check()
    assert made.n_faces_counted == 2, "the track of one frame does not count"
    assert (made.verdict, made.reason) == (FORGED, None)
    line = verdict_line(made)
    assert line.endswith(
        "likely forged, p_fake 0.80 (2 faces count; inconclusive from 0.30 to 0.70; never tested on other sources)"
    )
    little = a_check(verdict=INCONCLUSIVE, exit_code=4, reason="too little to see: 1 frame of a face, wanted 4")
    assert verdict_line(little) == (
        "b.mp4: inconclusive, p_fake 0.90 (inconclusive from 0.30 to 0.70; "
        "too little to see: 1 frame of a face, wanted 4)"
    )


def test_short_tracks_of_different_shots_have_one_score_and_name_each_other() -> None:
    cut = [track(number, number, [float(number)], [4.0], 8.0) for number in range(8)]
    judged = judge(cut, detector().stack, detector().ensemble)
    assert judged.row_of.tolist() == [0] * 8 and judged.tracks.n_frames_K.tolist() == [8]
    assert judged.logit == pytest.approx(8.0 * 0.5 * 8 / 9), "as one track of eight frames"
    made, n_counted = verdict._tracks(cut, detector())
    assert n_counted == 1 and len({one.p_fake for one in made}) == 1
    assert made[0].p_fake == pytest.approx(1 / (1 + np.exp(-judged.logit)), abs=1e-6)
    assert made[0].judged_with == (1, 2, 3, 4, 5, 6, 7) and all(one.decides and one.counts for one in made)


def test_a_single_suspicious_face_in_a_crowd_is_worth_less_than_alone() -> None:
    alone = judge([lasting(0, 3.0)], detector().stack, detector().ensemble).logit
    crowd = judge([lasting(0, 3.0), *(lasting(n, -3.0) for n in range(1, 6))], detector().stack, detector().ensemble)
    assert crowd.logit < alone and crowd.decisive == 0
    ratios = [np.exp(3 * 0.5 * 8 / 9), *[np.exp(-3 * 0.5 * 8 / 9)] * 5]
    assert crowd.logit == pytest.approx(np.log(np.mean(ratios)))


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
