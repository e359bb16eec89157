"""The page of a checked video as text; `test_browser_check.py` opens it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake.detector.check import Check, FrameScore
from deepfake.ensemble.promise import Broken
from deepfake.evidence.crops import SalientCrop
from deepfake.evidence.signs import Curve, Found, Part
from deepfake.report.check_page import clock, heated, index_page, page, shown
from promises import NO_BOUND, REFUSED, promise

SHARP_NAME = "</title><script>alert('x')</script> \"q\" 50%#1?\n.mp4"


def track(number: int, shot: int, scores: list[float], **changes: Any) -> dict[str, Any]:
    """A track with a frame in the middle of each second of its shot."""
    frames = [
        {"frame": 10 * i + 5, "time_s": i + 0.5, "box_px": [10.0, 5.0, 40.0, 35.0], "score": p}
        for i, p in enumerate(scores)
    ]
    spans = [
        {"from_s": f["time_s"], "to_s": f["time_s"], "n_frames": 1, "p_fake_max": f["score"]}
        for f in frames
        if f["score"] > 0.7
    ]
    return {
        "track": number,
        "p_fake": max(scores),
        "counts": True,
        "decides": number == 0,
        "judged_with": [],
        "trust": 1.0,
        "from_s": 0.5,
        "to_s": len(scores) - 0.5,
        "n_frames": len(scores),
        "suspicious": spans,
        "frames": frames,
        "seconds": [{"second": i, "p_fake": p, "n_frames": 1} for i, p in enumerate(scores)],
        **changes,
    }


def check_of(tracks: list[dict[str, Any]], name: str = "a b.mp4", **changes: Any) -> dict[str, Any]:
    video = {
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "codec": "h264",
        "pixel_format": "yuv420p",
        "width_px": 64,
        "height_px": 48,
        "rotation": 0,
        "fps": 10.0,
        "is_vfr": False,
        "n_frames": 100,
        "duration_s": 10.0,
        "has_audio": False,
        "kbit_per_s": 9.0,
        "bits_per_pixel": 0.1,
        "plays_in_browsers": "widely",
        "warnings": [],
        "hints": [],
        "tags": {},
    }
    looked_at = {
        "n_frames": 4,
        "n_damaged_frames": 0,
        "times_s": [0.5, 1.5, 2.5, 3.5],
        "unseen_s": [[4.0, 10.0]],
        "decoder": "pyav",
        "decoder_reason": "tested",
    }
    about = {
        "name": "d",
        "weights_sha256": "cd" * 32,
        "about": {"commit": "0123"},
        "calibration": "platt",
        "n_calibration_videos": 321,
        "error_rate": 0.07,
        "fake_share": 0.5,
        "min_track_frames": 3,
        "max_tracks": 8,
    }
    shots = [{"shot": 0, "from_s": 0.0, "to_s": 10.0, "tracks": tracks}]
    return {
        "schema_version": 4,
        "file": {"path": f"clips/{name}", "name": name, "sha256": "ab" * 32, "size_bytes": 3},
        "verdict": "likely forged",
        "exit_code": 3,
        "reason": None,
        "p_fake": 0.9,
        "n_faces_counted": 1,
        "inconclusive_band": {"low": 0.3, "high": 0.7},
        "detector": about,
        "video": video,
        "looked_at": looked_at,
        "shots": shots,
        **changes,
    }


def made(values: dict[str, Any], pictures: list[SalientCrop] | None = None, at: str = "pages/p.html") -> str:
    return page(Check.model_validate(values), [shown(one) for one in pictures or []], Path(at)).decode()


def test_a_hostile_name_stays_text_everywhere() -> None:
    text = made(check_of([track(0, 0, [0.9])], SHARP_NAME))
    assert "<script>alert" not in text and text.count("<script") == 2 == text.count("</script>")
    assert "&lt;script&gt;alert" in text and "\\n.mp4" in text


def test_hostile_tags_and_hints_stay_text() -> None:
    values = check_of([track(0, 0, [0.9])])
    values["video"] |= {"tags": {"encoder": "<img src=x onerror=y>"}, "hints": ["<u>"], "codec": "<s>"}
    values["detector"]["about"] = {"<kbd>": "<q>"}
    text = made(values)
    assert not re.search(r"<img src=x|<u>|<s>|<kbd>|<q>", text)
    assert "&lt;img src=x" in text and "&lt;u&gt;" in text and "&lt;q&gt;" in text


def test_the_policy_names_the_style_and_script_that_stand_there() -> None:
    text = made(check_of([track(0, 0, [0.9])]))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy and "default-src &#39;none&#39;" in policy[1] and "unsafe" not in policy[1]
    for element in (r"<style>(.*?)</style>", r"<script>(.*?)</script>"):
        inside = re.search(element, text, re.DOTALL)
        assert inside
        assert base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode() in policy[1]
    assert " style=" not in text and " onclick=" not in text, "the policy forbids both"


def test_nothing_is_fetched_but_the_video() -> None:
    text = made(check_of([track(0, 0, [0.9])]))
    assert not re.search(r'(?:src|href)="(?!data:|#|\.\./clips/a%20b\.mp4)', text)
    assert "url(http" not in text and "@import" not in text


def test_the_video_is_named_from_where_the_page_lies() -> None:
    text = made(check_of([], "50% #1?.mp4"), at="other/deep/p.html")
    assert 'src="../../clips/50%25%20%231%3F.mp4"' in text


def test_data_for_the_script_cannot_end_its_element() -> None:
    text = made(check_of([track(0, 0, [0.9, 0.2])]))
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data and "<" not in data[1]
    values = json.loads(data[1])
    assert values["tracks"][0]["frames"][0] == [0.5, 10.0, 5.0, 40.0, 35.0, 0.9]
    assert values["tracks"][0]["marks"] == [0.5] and (values["low"], values["high"]) == (0.3, 0.7)


def test_columns_spans_and_hatching_stand_where_the_seconds_are() -> None:
    text = made(check_of([track(0, 0, [0.2, 0.9])]))
    assert '<rect class="p real" data-second="0" data-p="0.2" x="0.0%" y="60.8" width="10.0%" height="15.2">' in text
    assert '<rect class="p forged" data-second="1" data-p="0.9" x="10.0%" y="7.6" width="10.0%" height="68.4">' in text
    assert '<rect class="unseen" x="40.0%" y="0" width="60.0%"' in text
    assert '<rect class="span" data-span="0" x="14.0%" y="-5" width="2.0%"' in text


def test_each_cut_and_each_other_face_is_drawn() -> None:
    values = check_of([track(0, 0, [0.9, 0.9])])
    values["shots"].append({"shot": 1, "from_s": 5.0, "to_s": 10.0, "tracks": [track(1, 1, [0.1])]})
    text = made(values)
    assert text.count('data-cut="1" x1="50.0%"') == 2, "in both timelines"
    assert "face 1 is seen here" in text and "face 0 is seen here" in text
    assert text.count('role="slider"') == 2


def test_a_late_picture_lies_where_players_show_it() -> None:
    values = check_of([track(0, 0, [0.2, 0.9], from_s=30.5, to_s=31.5)])
    for number, second in enumerate(values["shots"][0]["tracks"][0]["seconds"]):
        second["second"] = 30 + number
        values["shots"][0]["tracks"][0]["frames"][number]["time_s"] = 30.5 + number
    values["video"] |= {"first_frame_s": 30.0}
    text = made(values)
    assert '<rect class="p real" data-second="30" data-p="0.2" x="75.0%"' in text, "30 s of 40"
    assert "10.00 s, 100 frames, 10 a second, from 30.00 s on" in text
    values["video"] |= {"timeline_start_s": 30.0}
    text = made(values)
    assert '<rect class="p real" data-second="30" data-p="0.2" x="0.0%"' in text, "nothing is there before"
    assert 'aria-valuemin="30.0" aria-valuemax="40.0"' in text and '"start":30.0,"end":40.0' in text
    assert ">0:30</text>" in text and ">0:00</text>" not in text


def stream(number: int, **changes: Any) -> dict[str, Any]:
    plain = {"codec": "h264", "width_px": 64, "height_px": 48, "n_frames": 100, "from_s": 0.0, "to_s": 10.0}
    looked_at = {"is_looked_at": True, "reason": None, "n_sampled": 4, "unseen_s": [], "n_tracks": 1, "p_fake": 0.9}
    return plain | looked_at | {"stream": number, "decides": number == 0} | changes


def test_every_stream_is_named_and_has_timelines_of_its_own() -> None:
    values = check_of([track(0, 0, [0.9, 0.9])])
    values["shots"].append({"shot": 1, "stream": 1, "from_s": 0.0, "to_s": 10.0, "tracks": [track(1, 1, [0.1])]})
    still = {"is_looked_at": False, "reason": "a <still>", "n_frames": 1, "p_fake": None}
    values["streams"] = [stream(0), stream(1, width_px=32, unseen_s=[[2.0, 10.0]]), stream(2, **still)]
    text = made(values)
    assert "holds 3 video streams" in text and "2 of them were looked at" in " ".join(text.split())
    assert "left out: a &lt;still&gt;" in text
    assert "shot 1 of stream 1 (32 × 48)" in text and "shot 0 of stream 0 (64 × 48)" in text
    assert 'data-cut="' not in text and "is seen here" not in text, "the other face is in another picture"
    assert text.count('<rect class="unseen" x="20.0%"') == 1
    assert '"streams":[[0,64,48],[1,32,48],[2,64,48]]' in text


def test_figures_are_those_of_the_detector_s_file() -> None:
    text = made(check_of([track(0, 0, [0.9])]))
    assert "321 labelled videos" in text and "7 %" in text and "0.70" in text
    silent = check_of([track(0, 0, [0.9])])
    silent["detector"] |= {"n_calibration_videos": 0, "calibration": "none"}
    assert "never calibrated" in made(silent) and "labelled videos so that" not in made(silent)


def test_a_verdict_that_was_never_tested_on_other_sources_says_so() -> None:
    text = made(check_of([track(0, 0, [0.9])]))
    assert 'id="untested">How often its verdicts are wrong was never tested' in text
    unsure = made(check_of([track(0, 0, [0.5])], verdict="inconclusive"))
    assert 'id="untested"' not in unsure and 'id="promise">How often its verdicts' in unsure


def test_a_verdict_says_how_often_it_was_wrong_on_other_sources() -> None:
    values = check_of([track(0, 0, [0.9])], inconclusive_band={"low": 0.0, "high": 0.7})
    weak = Broken(kind="sources", name="<b>pages</b>", n_decided=9, n_wrong=3)
    values["detector"]["promise"] = promise(broken=(weak,)).model_dump()
    text = " ".join(made(values).split())
    assert "from sources it never learnt from: “Likely forged” was wrong 4 of 87 times" in text
    assert "It never says “likely real”: at its best that was wrong 50 of 86 times" in text
    assert "&lt;b&gt;pages&lt;/b&gt; (3 of 9)" in text and "labelled videos so that" not in text
    assert "above 0.70: looks forged" in text and ": no sign</li>" not in text, "no score speaks for a real video"


def test_a_detector_that_can_promise_nothing_says_so() -> None:
    values = check_of([track(0, 0, [0.9])], inconclusive_band={"low": 0.0, "high": 1.0}, verdict="inconclusive")
    values["detector"]["promise"] = promise(NO_BOUND, REFUSED).model_dump()
    text = " ".join(made(values).split())
    assert "This detector gives no verdict on any video" in text and "between 0.00 and 1.00" not in text
    assert "It never says “likely forged”: no bound was found" in text and ": looks forged</li>" not in text


def test_the_page_names_what_ran_the_networks_and_warns_of_bf16() -> None:
    engine = {"name": "ONNX Runtime", "version": "1.32.0", "device": "CPU", "precision": "fp32"}
    exact = made(check_of([track(0, 0, [0.9])], engine=engine))
    assert "<dd>ONNX Runtime 1.32.0 on CPU, fp32</dd>" in exact
    assert "scores may differ" not in exact and "<dt>Engine</dt>" not in made(check_of([track(0, 0, [0.9])]))
    fast = made(check_of([track(0, 0, [0.9])], engine={**engine, "name": "PyTorch", "precision": "bf16"}))
    assert "PyTorch 1.32.0 on CPU, bf16 (--fast: scores may differ from those of other machines)" in fast


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("likely forged", "not proof"),
        ("likely real", "does not show that the video is genuine"),
        ("inconclusive", "evidence neither for nor against"),
    ],
)
def test_each_verdict_says_what_it_does_not_mean(verdict: str, words: str) -> None:
    text = " ".join(made(check_of([track(0, 0, [0.5])], verdict=verdict)).split())
    assert words in text and f'data-verdict="{verdict}"' in text


def test_a_page_says_where_it_may_have_left_faces_out() -> None:
    full, roomy = (made(check_of([track(n, 0, [0.5]) for n in range(n_tracks)])) for n_tracks in (8, 7))
    assert "Only the 8 longest" in full and "Only the 8 longest" not in roomy
    sparse = check_of([track(0, 0, [0.5])])
    sparse["video"]["duration_s"] = 600.0
    assert "one every 150 s" in made(sparse)
    sparse["video"]["duration_s"] = 8.0
    assert "one every" not in made(sparse)


def test_without_a_face_there_is_a_video_and_no_timeline() -> None:
    text = made(check_of([], verdict="no face found", p_fake=None, reason="no face in 4 frames"))
    assert "<video" in text and 'role="slider"' not in text and "no face in 4 frames" in text


def test_an_unreadable_file_gets_a_page_with_its_reason() -> None:
    values = check_of([], verdict="could not be read", p_fake=None, reason="<cut> short", video=None, looked_at=None)
    text = made(values | {"shots": []})
    assert "&lt;cut&gt; short" in text and "<video" not in text


def test_a_rarely_played_kind_of_file_is_named() -> None:
    values = check_of([track(0, 0, [0.9])])
    values["video"] |= {"plays_in_browsers": "rarely", "codec": "hevc"}
    assert 'id="unplayable"' in made(values) and 'id="unplayable"' not in made(check_of([]))


SHOWN = FrameScore(frame=5, time_s=0.5, box_px=(10.0, 5.0, 40.0, 35.0), score=0.9)


def crop(heat: bool) -> SalientCrop:
    picture = np.full((192, 192, 3), 120, np.uint8)
    return SalientCrop(0, SHOWN, picture, np.full((192, 192), 0.6, np.float32) if heat else None)


def test_crops_come_with_heat_maps_or_say_why_not() -> None:
    with_heat = made(check_of([track(0, 0, [0.9])]), [crop(True)])
    without = made(check_of([track(0, 0, [0.9])]), [crop(False)])
    assert with_heat.count("data:image/jpeg") == 2 and "its highest value is 0.60" in with_heat
    assert without.count("data:image/jpeg") == 1 and "draws no heat maps" in without


def test_a_long_video_with_many_faces_stays_below_five_megabytes() -> None:
    rng = np.random.default_rng(0)
    noisy = [SalientCrop(0, SHOWN, rng.integers(0, 256, (192, 192, 3), np.uint8), np.ones((192, 192)))] * 8
    values = check_of([track(n, 0, [0.5] * 600) for n in range(8)])
    values["video"]["duration_s"] = 600.0
    assert len(page(Check.model_validate(values), [shown(one) for one in noisy], Path("p.html"))) < 5e6


def test_heat_is_grey_below_a_tenth_and_red_at_one() -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    assert (heated(grey, np.full((2, 2), 0.1)) == 100).all()
    red, green, blue = heated(grey, np.ones((2, 2)))[0, 0].tolist()
    assert red > 200 and green < 30 and blue < 60


def test_times_are_written_as_on_clocks() -> None:
    assert [clock(s) for s in (0, 61.9, 3600)] == ["0:00", "1:01", "1:00:00"]


def test_the_index_links_each_page_and_counts_verdicts() -> None:
    checks = [
        (check_of([track(0, 0, [0.9])], "<a>.mp4"), "p 1#.html"),
        (check_of([], "b.mp4", verdict="inconclusive"), "q.html"),
    ]
    text = index_page([(Check.model_validate(values), name) for values, name in checks]).decode()
    assert 'href="p%201%23.html"' in text and "&lt;a&gt;.mp4" in text and "<a>.mp4" not in text
    assert "1 likely forged" in text and "1 inconclusive" in text and "script-src &#39;none&#39;" in text


def test_the_page_of_a_long_video_says_what_was_not_seen() -> None:
    values = check_of([track(0, 0, [0.9])])
    missed = ["looked at 1 moment every 6.0 s; somebody seen for less than that may have been missed"]
    search = {"n_frames": 1800, "gap_s": 6.0, "n_appearances": 9, "n_judged": 9, "missed": missed}
    values["looked_at"] |= {"search": search}
    text = made(values)
    assert "1800 frames of 0:10, no more than 6.0 s apart, were searched for faces, and 4 frames sampled" in text
    assert text.count("ooked at 1 moment every 6.0 s") == 2, "at the timeline and among the limits"
    assert "spread over" not in text


def shots_of(*people: int | None) -> dict[str, Any]:
    """A check of a track a shot, with the person that each shows."""
    tracks = [track(n, 0, [0.9 if n == 0 else 0.2], person=person) for n, person in enumerate(people)]
    shots = [{"shot": n, "from_s": float(n), "to_s": n + 1.0, "tracks": [one]} for n, one in enumerate(tracks)]
    return check_of([], n_faces_counted=len(tracks), shots=shots)


def test_tracks_of_one_person_stand_together_under_that_person() -> None:
    text = " ".join(made(shots_of(0, 1, 0)).split())
    assert text.count('<h3 class="seen">') == 1
    assert "Person 0, seen 2 times" in text and "in 2 shots; the most suspicious: likely forged, 0.90" in text
    assert text.index('data-face="2" role') < text.index('data-face="1" role'), "person by person"
    assert "3 faces count, of 2 persons. The more" in text
    assert "Face 0" not in text and '"name":"person 1"' in text
    assert "no score depends on it" in text


def test_persons_who_are_seen_once_have_no_heading_of_their_own() -> None:
    text = made(shots_of(0, 1))
    assert '<h3 class="seen">' not in text and "Person 1" in text and "2 faces count. The more" in text


def test_where_faces_were_not_compared_the_page_shows_faces_as_before() -> None:
    text = made(shots_of(None, None))
    assert "Face 0" in text and "Face 1" in text and "Person" not in text and '"name":"face 0"' in text


def signs(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    plain = {
        "kind": "sound.late",
        "finding": "Late.",
        "strength": 0.4,
        "from_s": None,
        "to_s": None,
        "about": "Little.",
    }
    return [{**plain, **one} for one in changes]


def test_a_page_says_what_else_is_known_only_where_that_was_asked_for() -> None:
    assert 'id="evidence"' not in made(check_of([track(0, 0, [0.9])]))
    nothing = made(check_of([track(0, 0, [0.9])], evidence=[]))
    assert "Nothing was found." in nothing and "no signs" in nothing


def test_each_sign_says_what_it_cannot_tell_and_stays_text() -> None:
    hostile = "<img src=x onerror=alert(1)> \u202e{{ 7 * 7 }}"
    evidence = signs({"finding": hostile, "about": hostile, "from_s": 1.5, "to_s": 2.0}, {"strength": 0.0})
    text = made(check_of([track(0, 0, [0.9])], evidence=evidence))
    assert "<img src=x" not in text and "\u202e" not in text
    assert text.count("What it cannot tell:") == 2
    assert text.count("Clear to ") == 1, "a sign without strength has no bar"
    assert 'data-time="1.5"' in text and "1 sign." in text
    assert text.index('id="verdict"') < text.index('id="evidence"') < text.index('id="file"')


def test_curves_and_parts_of_a_lane_are_drawn_where_the_seconds_are() -> None:
    times_s = np.array([0.0, 5.0, 6.0, 10.0])
    curve = Curve('lips & "<sound>"', "open", times_s, np.array([0.0, 1.0, np.nan, 2.0]), 0, 2)
    found = Found((), (curve,), (Part('lips & "<sound>"', 2.5, 5.0, "</title>silence"),))
    text = page(Check.model_validate(check_of([track(0, 0, [0.9])], evidence=[])), [], Path("p.html"), found).decode()
    assert 'd="M0.0 98.0L500.0 50.0M1000.0 2.0"' in text, "low at the bottom, broken where there is no value"
    assert re.search(r'class="marked" data-part="0" x="25.0%" y="0" width="25.0%"', text)
    assert "</title>silence" not in text and 'lips & "<sound>"' not in text
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text).group(1))  # type: ignore[union-attr]
    assert data["lanes"][0]["curves"] == [["open", [0.0, 5.0, 6.0, 10.0], [0, 50, None, 100]]]
    assert data["lanes"][0]["parts"] == [[2.5, 5.0, "</title>silence"]]
