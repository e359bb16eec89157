"""The page of one checked video and the index of several in a browser: seeking, boxes in time, names, keys, fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from browser import NARROW_PX, WIDE_PX, Opened, chromium, needs_browser, opened
from clip_factory import Beside, Coding, join, write
from conftest import scene
from deepfake.detector.check import FORGED, Check, FrameScore
from deepfake.evidence.crops import SalientCrop
from deepfake.evidence.signs import Curve, Found, Part
from deepfake.media.clips import write_clip
from deepfake.media.file_facts import describe_path
from deepfake.media.video import probe
from deepfake.report.check_page import index_page, page, shown

pytestmark = [needs_browser, pytest.mark.slow]
NASTY = "<script>alert(1)<\n'&\"<img src=x onerror=alert(2)>#?%41.mp4"
WIDTH_PX, HEIGHT_PX, FPS, DURATION_S = 320, 180, 10, 4.0
TIMES_S = np.arange(0.0, DURATION_S, 0.5)
# The right edge of what a selector names, once it is drawn.
DRAWN_RIGHT = """selector => {
    const box = document.querySelector(selector)?.getBoundingClientRect();
    return box && box.width > 0 ? box.right : null;
}"""
HAS_TIME = (
    "t => { const v = document.getElementById('player'); return !v.seeking && Math.abs(v.currentTime - t) < 0.06 }"
)


def box_at(time_s: float) -> list[float]:
    """The first face goes right, 40 pixels a second; its box in full-frame pixels."""
    return [20 + 40 * time_s, 40.0, 80 + 40 * time_s, 120.0]


def invented_track(track: int, boxes: list[list[float]], scores: list[float]) -> dict[str, Any]:
    p_seconds = {s: float(np.mean(scores[2 * s : 2 * s + 2])) for s in range(int(DURATION_S))}
    high = [float(t) for t, p in zip(TIMES_S, scores, strict=True) if p > 0.7]
    spans = [{"from_s": high[0], "to_s": high[-1], "n_frames": len(high), "p_fake_max": max(scores)}] if high else []
    frames = [
        {"frame": round(t * FPS), "time_s": float(t), "box_px": box, "score": score}
        for t, box, score in zip(TIMES_S, boxes, scores, strict=True)
    ]
    return {
        "track": track,
        "p_fake": max(scores),
        "trust": 1.0,
        "counts": True,
        "decides": bool(high),
        "judged_with": [],
        "from_s": 0.0,
        "to_s": float(TIMES_S[-1]),
        "n_frames": len(TIMES_S),
        "frames": frames,
        "suspicious": spans,
        "seconds": [{"second": s, "p_fake": p, "n_frames": 2} for s, p in p_seconds.items()],
    }


def invented_check(video: Path) -> Check:
    """The check of a video with two faces, the second forged from 2 s on."""
    tracks = [
        invented_track(0, [box_at(t) for t in TIMES_S], [0.1] * len(TIMES_S)),
        invented_track(1, [[240.0, 60.0, 290.0, 130.0]] * len(TIMES_S), [0.2] * 4 + [0.9] * 4),
    ]
    values = {
        "schema_version": 4,
        "file": {"path": str(video), "name": video.name, "sha256": "0" * 64, "size_bytes": video.stat().st_size},
        "verdict": FORGED,
        "exit_code": 3,
        "reason": None,
        "p_fake": 0.9,
        "n_faces_counted": 1,
        "inconclusive_band": {"low": 0.3, "high": 0.7},
        "detector": {
            "name": "invented",
            "weights_sha256": "1" * 64,
            "about": {"data": "none"},
            "calibration": "platt",
            "n_calibration_videos": 100,
            "error_rate": 0.1,
            "fake_share": 0.5,
            "min_track_frames": 4,
            "max_tracks": 8,
        },
        "video": describe_path(video),
        "looked_at": {
            "n_frames": len(TIMES_S),
            "n_damaged_frames": 0,
            "times_s": TIMES_S.tolist(),
            "unseen_s": [[3.9, 4.0]],
            "decoder": "pyav",
            "decoder_reason": "tested",
        },
        "shots": [{"shot": 0, "from_s": 0.0, "to_s": DURATION_S, "tracks": tracks}],
    }
    return Check.model_validate(values)


@dataclass(frozen=True)
class Files:
    """A check page, and an index that leads to it."""

    page: Path
    index: Path
    known: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("check <b>&#%41")
    video = folder / "videos" / NASTY
    boxes = [tuple(round(x) for x in box_at(i / FPS)) for i in range(int(DURATION_S * FPS))]
    write_clip(video, [scene([box], WIDTH_PX, HEIGHT_PX) for box in boxes], FPS)  # type: ignore[list-item]
    check = invented_check(video)
    heat = np.linspace(0, 1, 192 * 192, dtype=np.float32).reshape(192, 192)
    frame = FrameScore(frame=20, time_s=2.0, box_px=(240.0, 60.0, 290.0, 130.0), score=0.9)
    pictures = [SalientCrop(1, frame, np.full((192, 192, 3), 120, np.uint8), heat)]
    made = Files(folder / f"{NASTY}.html", folder / "index.html", folder / "known.html")
    made.page.write_bytes(page(check, [shown(one) for one in pictures], made.page))
    gone = {"verdict": "no face found", "p_fake": None, "reason": "no <b>face</b>", "shots": []}
    nothing = Check.model_validate(check.model_dump() | gone)
    made.known.write_bytes(page(with_signs(check), [], made.known, pictures_of_signs()))
    made.index.write_bytes(index_page([(check, made.page.name), (nothing, "b.html")]))
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as started:
        yield started


def with_signs(check: Check) -> Check:
    """The same check with a sign that can be seen in a part of it, and one that says nothing."""
    sign = {"kind": "sound.late", "finding": NASTY, "strength": 0.4, "from_s": 2.0, "to_s": 3.0, "about": NASTY}
    return Check.model_validate({**check.model_dump(), "evidence": [sign, {**sign, "strength": 0.0, "from_s": None}]})


def pictures_of_signs() -> Found:
    """Two curves and two marked parts of one lane, and a part of another."""
    times_s, name = np.linspace(0.0, DURATION_S, 81), f"mouth & {NASTY}"
    curves = tuple(Curve(name, word, times_s, np.full(81, level), 0, 1) for word, level in (("one", 0.5), ("two", 0.2)))
    parts = (Part(name, 1.0, 1.5, "somebody speaks"), Part(name, 3.0, 3.5, NASTY), Part("coding", 2.0, 4.0, "other"))
    return Found((), curves, parts)


def test_the_pictures_of_signs_move_the_video_and_say_what_they_show(browser, files) -> None:
    with opened(browser, files.known) as tab:
        tab.page.wait_for_function("() => document.getElementById('player').readyState >= 1")
        picture = tab.page.locator(".known > svg").first
        size = picture.bounding_box()
        picture.click(position={"x": size["width"] / 4, "y": 30})
        tab.page.wait_for_function(HAS_TIME, arg=1.0)
        assert picture.get_attribute("aria-valuetext") == "0:01.0, somebody speaks, one 50 %, two 20 %"
        picture.press("PageDown")
        tab.page.wait_for_function(HAS_TIME, arg=3.0)
        picture.press("ArrowLeft")
        tab.page.wait_for_function(HAS_TIME, arg=2.8)
        assert picture.get_attribute("aria-valuetext") == "0:02.8, one 50 %, two 20 %"
        tab.page.locator(".known > svg").nth(1).press("Home")
        assert tab.page.locator(".known > svg").nth(1).get_attribute("aria-valuetext") == "0:00.0, nothing here"
        tab.page.locator(".sign button").first.click()
        tab.page.wait_for_function(HAS_TIME, arg=2.0)
        assert tab.page.locator(".sign .finding").first.inner_text().startswith(NASTY.split("\n")[0])


def lane(tab: Opened, face: int) -> Any:
    return tab.page.locator(f".lane > svg[data-face='{face}']")


def shown_time(tab: Opened) -> float:
    return float(tab.page.evaluate("document.getElementById('player').currentTime"))


def drawn_box(tab: Opened, face: int) -> list[float]:
    """x and width of a face's drawn rectangle, in pixels of the video."""
    rect = tab.page.locator(f"#boxes g[data-face='{face}'] rect")
    return [float(rect.get_attribute(name) or -1) for name in ("x", "width")]


@pytest.mark.parametrize("kind", ["page", "index", "known"])
@pytest.mark.parametrize(("width_px", "theme"), [(NARROW_PX, "light"), (WIDE_PX, "dark")])
def test_a_check_fits_its_window_asks_nobody_and_has_no_serious_fault(browser, files, kind, width_px, theme) -> None:
    with opened(browser, getattr(files, kind), width_px, theme) as tab:
        assert tab.overflow_px() == 0
        assert tab.severe_faults() == []
        assert tab.faults == [] and tab.asked_elsewhere == []


def test_a_click_on_a_timeline_and_arrow_keys_seek_and_the_boxes_follow(browser, files) -> None:
    with opened(browser, files.page) as tab:
        tab.page.wait_for_function("() => document.getElementById('player').readyState >= 1")
        size = lane(tab, 0).bounding_box()
        lane(tab, 0).click(position={"x": size["width"] / 4, "y": 30})
        tab.page.wait_for_function(HAS_TIME, arg=1.0)
        time_s = shown_time(tab)
        assert drawn_box(tab, 0) == pytest.approx([box_at(time_s)[0], 60], abs=2)
        assert "face 1: 0.20, no sign" in tab.page.locator("#boxes").inner_html()
        for key, moved_s in (("ArrowRight", 0.2), ("ArrowLeft", -0.2), ("Shift+ArrowRight", 1.0)):
            before = shown_time(tab)
            lane(tab, 0).press(key)
            tab.page.wait_for_function(HAS_TIME, arg=before + moved_s)
        assert drawn_box(tab, 0) == pytest.approx([box_at(shown_time(tab))[0], 60], abs=2)
        assert "face 1: 0.90, looks forged" in tab.page.locator("#boxes").inner_html()
        lane(tab, 1).press("Home")
        tab.page.wait_for_function(HAS_TIME, arg=0.0)
        lane(tab, 1).press("PageDown")
        tab.page.wait_for_function(HAS_TIME, arg=2.0)
        assert lane(tab, 1).get_attribute("aria-valuetext") == "0:02.0, 0.90, looks forged"
        lane(tab, 1).press("End")
        tab.page.locator(".crops button").first.click()
        tab.page.wait_for_function(HAS_TIME, arg=2.0)


def test_the_words_over_a_box_stay_in_a_narrow_picture(browser, files) -> None:
    with opened(browser, files.page, NARROW_PX) as tab:
        tab.page.locator(".crops button").first.click()
        text = tab.page.locator("#boxes g[data-face='1'] text")
        assert text.inner_html() == "face 1: 0.90"
        # In one step: the boxes are drawn anew when the video has found its place.
        right_px = tab.page.wait_for_function(DRAWN_RIGHT, arg="#boxes g[data-face='1'] text").json_value()
        assert right_px <= NARROW_PX - 14


def test_a_playing_video_takes_the_boxes_along(browser, files) -> None:
    with opened(browser, files.page) as tab:
        tab.page.evaluate("() => { const v = document.getElementById('player'); v.muted = true; return v.play(); }")
        tab.page.wait_for_function("() => document.getElementById('player').currentTime > 1")
        assert drawn_box(tab, 0)[0] > box_at(0.8)[0]


def test_a_hostile_file_name_is_text_on_both_pages_and_leads_to_the_page(browser, files) -> None:
    shown = NASTY.replace("\n", "\\n")
    with opened(browser, files.index) as tab:
        asked: list[str] = []
        tab.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        assert tab.page.locator("td.name").first.inner_text() == shown
        assert "no <b>face</b>" in tab.page.locator("tbody").inner_text()
        tab.page.locator("td.name a").first.click()
        tab.page.wait_for_function("() => document.documentElement.dataset.ready === 'yes'")
        assert tab.page.locator("h1 .name").inner_text() == shown
        tab.page.wait_for_function("() => document.getElementById('player').readyState >= 1")
        assert asked == [] and tab.faults == []


def test_the_tab_key_reaches_everything_on_a_check_and_shows_where_it_is(browser, files) -> None:
    with opened(browser, files.page) as tab:
        reached = tab.tab_through()
        assert set(tab.usable()) <= {stop["number"] for stop in reached}, reached
        assert all(stop["ring"] and stop["seen"] for stop in reached), reached


def test_a_check_prints_on_white_without_what_only_a_screen_can_use(browser, files) -> None:
    with opened(browser, files.page, width_px=760, theme="dark") as tab:
        tab.page.emulate_media(media="print")
        assert tab.overflow_px() <= 0
        assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not tab.page.locator("#timeline .screen").first.is_visible()
        assert not tab.page.locator("#video-title").is_visible()


def shifted(check: Check, late_s: float) -> Check:
    """The same check of a video whose picture is shown so many seconds later."""
    values = check.model_dump()
    (shot,) = values["shots"]
    for track in shot["tracks"]:
        for part in (*track["frames"], *track["suspicious"], track):
            part |= {name: part[name] + late_s for name in ("time_s", "from_s", "to_s") if name in part}
        for second in track["seconds"]:
            second["second"] += round(late_s)
    return Check.model_validate(values)


def white_part(tab: Opened) -> tuple[float, float]:
    """From where to where the white square of the shown picture reaches, in pixels of the video."""
    tab.page.evaluate("document.getElementById('boxes').style.visibility = 'hidden'")
    shot = cv2.imdecode(np.frombuffer(tab.page.locator("#player").screenshot(), np.uint8), cv2.IMREAD_COLOR)
    tab.page.evaluate("document.getElementById('boxes').style.visibility = ''")
    row = shot[round(shot.shape[0] * 0.35)].min(axis=1)  # above the controls
    (columns,) = np.nonzero(row > 200)
    return columns.min() * WIDTH_PX / shot.shape[1], (columns.max() + 1) * WIDTH_PX / shot.shape[1]


@pytest.mark.parametrize("ending", ["mp4", "webm"])
def test_boxes_lie_on_the_faces_of_a_picture_that_begins_late(browser, tmp_path: Path, ending: str) -> None:
    late_s, plain = 3.0, tmp_path / f"plain.{ending}"
    boxes = [tuple(round(x) for x in box_at(i / FPS)) for i in range(int(DURATION_S * FPS))]
    codec = {"mp4": "libx264", "webm": "libvpx"}[ending]
    write_clip(plain, [scene([box], WIDTH_PX, HEIGHT_PX) for box in boxes], FPS, codec)  # type: ignore[list-item]
    video = join(tmp_path / f"late.{ending}", plain, late_s=(late_s,))
    check = shifted(invented_check(video), late_s)
    assert check.video is not None and check.video.first_frame_s == check.video.timeline_start_s == late_s
    made = tmp_path / "page.html"
    made.write_bytes(page(check, [], made))
    with opened(browser, made) as tab:
        tab.page.wait_for_function("() => document.getElementById('player').readyState >= 1")
        size = lane(tab, 0).bounding_box()
        lane(tab, 0).click(position={"x": size["width"] / 4, "y": 30})
        tab.page.wait_for_function(HAS_TIME, arg=late_s + 1.0)
        x_px, width_px = drawn_box(tab, 0)
        assert (x_px, width_px) == pytest.approx((box_at(shown_time(tab) - late_s)[0], 60), abs=2)
        assert white_part(tab) == pytest.approx((x_px, x_px + width_px), abs=5), "the picture moves on every 4 px"
        lane(tab, 0).press("Home")
        tab.page.wait_for_function(HAS_TIME, arg=late_s)
        assert lane(tab, 0).get_attribute("aria-valuetext") == "0:03.0, 0.10, no sign"
        assert tab.page.locator("#readout").inner_text().startswith("0:03.0 of 0:07.0")


def test_boxes_are_drawn_over_the_stream_that_the_browser_shows_alone(browser, tmp_path: Path) -> None:
    video = write(tmp_path / "two.mp4", Coding(beside=(Beside(width_px=320, height_px=192),)))
    values = invented_check(video).model_dump()
    (shot,) = values["shots"]
    values["shots"] = [
        {**shot, "shot": number, "stream": number, "tracks": [track]} for number, track in enumerate(shot["tracks"])
    ]
    names = ("stream", "codec", "width_px", "height_px", "n_frames")
    judged = {"from_s": 0.0, "to_s": 2.0, "is_looked_at": True, "reason": None, "n_sampled": 8, "unseen_s": []}
    values["streams"] = [
        {name: getattr(one, name) for name in names} | judged | {"n_tracks": 1, "p_fake": 0.9, "decides": False}
        for one in probe(video).streams
    ]
    made = tmp_path / "page.html"
    made.write_bytes(page(Check.model_validate(values), [], made))
    with opened(browser, made) as tab:
        tab.page.wait_for_function("() => document.getElementById('player').videoWidth === 160")
        lane(tab, 1).press("Home")
        tab.page.wait_for_function("() => document.querySelectorAll('#boxes g').length === 1")
        assert drawn_box(tab, 0) == pytest.approx([box_at(0)[0], 60], abs=1), "in pixels of its own stream"
        assert "holds 2 video streams" in tab.page.locator("#streams").inner_text()
        assert tab.severe_faults() == [] and tab.faults == []
