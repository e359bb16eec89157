"""The page of one checked video, and the index of several: one file each, nothing fetched.

Takes the plain values of `verdict` and the pictures of `evidence`; draws the timelines as SVG in percent, so that
they fit any width. Style and script are constant files beside this one; the page's policy names their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import cv2
import numpy as np
from markupsafe import Markup

from deepfake import verdict as words
from deepfake.files import current_commit
from deepfake.report.templates import page_environment
from deepfake.shards import encode_crop
from deepfake.verdict import printable, tracks_of

if TYPE_CHECKING:
    from deepfake.evidence import Telling

HERE = Path(__file__).parent
LEVELS = {words.FORGED: "forged", words.REAL: "real", words.INCONCLUSIVE: "unsure"}
PICTURE_PX = 160
PICTURE_QUALITY = 82
TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
MAX_TICKS = 8
PLOT_PX = 76  # height of a timeline's plot


def page(found: Mapping[str, Any], pictures: Sequence[Telling], page_path: Path) -> bytes:
    """The page of one video as UTF-8; it names the video relative to the folder of `page_path`."""
    tracks = tracks_of(found)
    duration_s = _duration(found)
    low, high = found["inconclusive_band"]["low"], found["inconclusive_band"]["high"]
    return _render(
        "check.html.jinja",
        found=found,
        name=printable(found["file"]["name"]),
        level=LEVELS.get(found["verdict"], "none"),
        source=_source(Path(found["file"]["path"]), page_path),
        tracks=tracks,
        lanes=[_lane(track, tracks, found, duration_s) for track in tracks],
        ticks=_ticks(duration_s),
        crops=[_crop(picture) for picture in pictures],
        has_heat=any(picture.heat_HW is not None for picture in pictures),
        data=_script_json(_page_data(found, tracks, duration_s)),
        script=_asset("check.js"),
        low=low,
        high=high,
        duration_s=duration_s,
        plot_px=PLOT_PX,
    )


def index_page(checks: Sequence[tuple[Mapping[str, Any], str]]) -> bytes:
    """The index of several videos: plain values and the file name of each one's page beside it."""
    counts = {verdict: sum(found["verdict"] == verdict for found, _ in checks) for verdict in words.GRAVEST_FIRST}
    rows = [
        {
            "found": found,
            "name": printable(found["file"]["name"]),
            "level": LEVELS.get(found["verdict"], "none"),
            "href": quote(os.fsencode(page_name)),
            "n_tracks": len(tracks_of(found)),
        }
        for found, page_name in checks
    ]
    return _render("check_index.html.jinja", rows=rows, counts={k: n for k, n in counts.items() if n}, script="")


def _render(template: str, **values: Any) -> bytes:
    environment = page_environment()
    environment.filters |= {"clock": clock, "visible": lambda value: printable(str(value))}
    environment.globals |= {"LEVELS": LEVELS, "level_of": words.level_of}
    style, script = _asset("check.css"), values.pop("script")
    values |= {"style": Markup(style), "script": Markup(script), "policy": _policy(style, script)}  # noqa: S704 - ours
    text = environment.get_template(template).render(**values, commit=current_commit())
    return text.encode("utf-8", "backslashreplace")


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy: this very style and script run, and nothing is fetched but the video."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    script_source = f"'sha256-{hashes[1]}'" if script else "'none'"
    return (
        f"default-src 'none'; img-src data:; media-src 'self' file:; style-src 'sha256-{hashes[0]}'; "
        f"script-src {script_source}; base-uri 'none'; form-action 'none'"
    )


def _source(video: Path, page_path: Path) -> str:
    """The URL of a video relative to its page; a file URL where they share no root (two drives)."""
    video, folder = video.resolve(), page_path.resolve().parent
    try:
        return quote(os.fsencode(Path(os.path.relpath(video, folder)).as_posix()))
    except ValueError:
        return video.as_uri()


def _script_json(value: object) -> Markup:
    """JSON that can stand in a script element: no character there can end it or open a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped right above


def _page_data(found: Mapping[str, Any], tracks: Sequence[Mapping[str, Any]], duration_s: float) -> dict[str, Any]:
    """What the script needs to draw boxes and to tell scores."""
    facts = found["video"] or {}
    return {
        "duration": duration_s,
        "width": facts.get("width_px", 1),
        "height": facts.get("height_px", 1),
        **found["inconclusive_band"],
        "reach": words.STANDS_FOR_S,
        "bridge": words.SPAN_GAP_S,
        "step": min(1.0, duration_s / 20),
        "tracks": [
            {
                "track": track["track"],
                "frames": [[frame["time_s"], *frame["box_px"], round(frame["score"], 4)] for frame in track["frames"]],
                "marks": [span["from_s"] for span in track["suspicious"]],
            }
            for track in tracks
        ],
    }


def _duration(found: Mapping[str, Any]) -> float:
    """Seconds that the timelines cover; never 0."""
    last = max((track["to_s"] for track in tracks_of(found)), default=0.0)
    return max(float((found["video"] or {}).get("duration_s", 0.0)), last, 0.04)


def _lane(
    track: Mapping[str, Any], tracks: Sequence[Mapping[str, Any]], found: Mapping[str, Any], duration_s: float
) -> dict[str, Any]:
    """What is drawn of a track: places in percent of the length, heights in pixels of the plot."""
    band = found["inconclusive_band"]

    def stretch(start_s: float, end_s: float) -> dict[str, float]:
        start, end = (min(max(100 * t / duration_s, 0), 100) for t in (start_s, end_s))
        return {"x": round(start, 3), "width": round(max(end - start, 0.15), 3)}

    bars = [
        stretch(max(s["second"], track["from_s"] - words.STANDS_FOR_S), min(s["second"] + 1, duration_s))
        | {
            "y": round(PLOT_PX * (1 - s["p_fake"]), 2),
            "height": round(max(PLOT_PX * s["p_fake"], 1), 2),
            "level": LEVELS[words.level_of(s["p_fake"], band["low"], band["high"])],
            **s,
        }
        for s in track["seconds"]
    ]
    best = max(track["seconds"], key=lambda s: (s["p_fake"], -s["second"]))
    return {
        "track": track,
        "level": LEVELS[words.level_of(track["p_fake"], band["low"], band["high"])],
        "word": words.level_of(track["p_fake"], band["low"], band["high"]),
        "bars": bars,
        "best": best | {"time_s": _first_frame_of(track, best["second"])},
        "band": {
            "y": round(PLOT_PX * (1 - band["high"]), 2),
            "height": round(PLOT_PX * (band["high"] - band["low"]), 2),
        },
        "unseen": [stretch(*part) for part in found["looked_at"]["unseen_s"]],
        "spans": [stretch(span["from_s"] - 0.1, span["to_s"] + 0.1) | span for span in track["suspicious"]],
        "cuts": [stretch(shot["from_s"], shot["from_s"])["x"] for shot in found["shots"][1:]],
        "others": [
            stretch(other["from_s"], other["to_s"]) | {"track": other["track"]}
            for other in tracks
            if other["track"] != track["track"]
        ],
    }


def _first_frame_of(track: Mapping[str, Any], second: int) -> float:
    """Time of a second's first frame."""
    return float(next(frame["time_s"] for frame in track["frames"] if int(frame["time_s"]) >= second))


def _ticks(duration_s: float) -> list[dict[str, Any]]:
    step = next((step for step in TICK_STEPS_S if duration_s / step <= MAX_TICKS), duration_s / MAX_TICKS)
    times = [i * step for i in range(int(duration_s / step + 1e-9) + 1)]
    return [
        {"x": round(100 * t / duration_s, 3), "text": clock(t) if step >= 1 else f"{t:.1f}"}
        for t in times
        if t <= 0.97 * duration_s
    ]


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _crop(picture: Telling) -> dict[str, Any]:
    heat = None if picture.heat_HW is None else heated(picture.picture_HWC, picture.heat_HW)
    return {
        "track": picture.track,
        "frame": picture.frame,
        "time_s": picture.time_s,
        "score": picture.score,
        "url": _data_url(picture.picture_HWC),
        "heat_url": None if heat is None else _data_url(heat),
        "heat_max": None if picture.heat_HW is None else float(picture.heat_HW.max()),
    }


def heated(picture_HWC: np.ndarray, heat_HW: np.ndarray) -> np.ndarray:
    """A grey picture with its heat laid over: nothing up to 0.1, yellow from there on, red at 1."""
    grey = cv2.cvtColor(cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    heat = np.clip(heat_HW, 0, 1)[..., None].astype(np.float32)
    colour = np.concatenate([np.full_like(heat, 240), 210 * (1 - heat), np.full_like(heat, 30)], axis=-1)
    alpha = 0.8 * np.clip((heat - 0.1) / 0.4, 0, 1)
    return np.asarray((grey * (1 - alpha) + colour * alpha).round(), np.uint8)


def _data_url(picture_HWC: np.ndarray) -> str:
    small = cv2.resize(picture_HWC, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(encode_crop(small, "jpeg", PICTURE_QUALITY)).decode()
