"""What is said of one video: a verdict with its reasons, as plain values, a line and an exit code.

The plain values are what `check_video --json` writes. `verdict.schema.json` beside this module describes every key
and unit (`check_video --schema` prints it); `schema_version` is raised whenever a key goes or changes its meaning.
In short: file, verdict, p_fake, what the detector and the file are, what was looked at, and
shots -> tracks (one face in one shot) -> frames, each {frame, time_s, box_px, score}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake.config import Predict
from deepfake.file_facts import describe
from deepfake.files import sha256_of
from deepfake.shards import read_rows

if TYPE_CHECKING:  # torch, timm and pandas cost seconds: pages, --help and --schema do without
    from deepfake.bundle import Detector
    from deepfake.detector import Scored, TrackVerdict

SCHEMA_VERSION = 1
SCHEMA_PATH = Path(__file__).with_suffix(".schema.json")
FORGED, REAL, INCONCLUSIVE, NO_FACE, UNREADABLE = VERDICTS = (
    "likely forged", "likely real", "inconclusive", "no face found", "could not be read",
)  # fmt: skip
EXIT_CODES = {FORGED: 3, REAL: 0, INCONCLUSIVE: 4, NO_FACE: 5, UNREADABLE: 5}
GRAVEST_FIRST = (FORGED, INCONCLUSIVE, UNREADABLE, NO_FACE, REAL)
SPAN_GAP_S = 1.5  # seconds of one suspicious span lie no further apart
STANDS_FOR_S = 0.5  # a frame tells of so much before and after it


def check_videos(
    paths: Sequence[Path], detector: Detector, weights_sha256: str, cache_dir: Path, workers: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each video's place in `paths` and its plain values, as each is done."""
    from deepfake.detector import score_videos

    by_id = {f"{number:06d}": path for number, path in enumerate(paths)}
    for scored in score_videos(by_id, detector, weights_sha256, cache_dir, Predict(), workers):
        values = plain_values(by_id[scored.video_id], scored, detector, weights_sha256, cache_dir)
        yield int(scored.video_id), values


def exit_code(verdicts: Sequence[str]) -> int:
    """What a script is told: the code of the gravest verdict."""
    return EXIT_CODES[min(verdicts, key=GRAVEST_FIRST.index)]


def verdict_of(scored: Scored, band: tuple[float, float]) -> str:
    """One of VERDICTS; a score on a bound of the band is inconclusive."""
    if scored.fallback is not None:
        return NO_FACE if scored.fallback == "no_face" else UNREADABLE
    return level_of(scored.p_fake, *band)


def level_of(p_fake: float, low: float, high: float) -> str:
    """On which side of the inconclusive band a probability lies, in the words of a verdict."""
    return FORGED if p_fake > high else REAL if p_fake < low else INCONCLUSIVE


def plain_values(
    path: Path, scored: Scored, detector: Detector, weights_sha256: str, cache_dir: Path
) -> dict[str, Any]:
    """All that is known of a scored video, as the schema has it."""
    from deepfake.video_faces import shard_name

    verdict = verdict_of(scored, detector.stack.band)
    sha256 = sha256_of(path)
    facts = None if verdict == UNREADABLE else describe(path)
    shard = cache_dir / shard_name(sha256, detector.extract)
    rows = read_rows(shard) if facts is not None else {}
    duration_s = float(facts["duration_s"]) if facts else 0.0
    return {
        "schema_version": SCHEMA_VERSION,
        "file": {"path": str(path), "name": path.name, "sha256": sha256, "size_bytes": path.stat().st_size},
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "reason": _reason(scored),
        "p_fake": None if scored.fallback else _rounded(scored.p_fake),
        "inconclusive_band": dict(zip(("low", "high"), detector.stack.band, strict=True)),
        "detector": _about(detector, weights_sha256),
        "video": facts,
        "looked_at": _looked_at(rows, duration_s) if facts else None,
        "shots": _shots(scored.verdicts, rows, duration_s, detector) if facts else [],
    }


def _reason(scored: Scored) -> str | None:
    if scored.fallback is None:
        return None
    return str(scored.summary["reason"])


def _about(detector: Detector, weights_sha256: str) -> dict[str, Any]:
    calibration = detector.stack.calibration
    return {
        "name": detector.name,
        "weights_sha256": weights_sha256,
        "about": {str(key): value for key, value in sorted(detector.about.items())},
        "calibration": calibration.kind,
        "n_calibration_videos": calibration.n_videos,
        "error_rate": detector.ensemble.error_rate,
        "fake_share": detector.ensemble.fake_share,
        "min_track_frames": detector.ensemble.min_track_frames,
        "max_tracks": detector.extract.max_tracks,
    }


def _looked_at(rows: Mapping[str, Any], duration_s: float) -> dict[str, Any]:
    """What extraction looked at; shards of older versions do not tell when, so there their faces do."""
    times_s = sorted(rows.get("sampled_s") or {face["time_s"] for face in rows["faces"]})
    return {
        "n_frames": rows["n_sampled"],
        "n_damaged_frames": rows.get("n_damaged", 0),
        "times_s": [round(t, 3) for t in times_s],
        "unseen_s": _unseen(times_s, duration_s),
        "decoder": rows["decoder"],
        "decoder_reason": rows["decoder_reason"],
    }


def _unseen(times_s: Sequence[float], duration_s: float) -> list[list[float]]:
    """Stretches [from, to] that no looked-at frame stands for."""
    edges = [(t - STANDS_FOR_S, t + STANDS_FOR_S) for t in times_s]
    starts, ends = [0.0, *(end for _, end in edges)], [*(start for start, _ in edges), duration_s]
    return [[round(a, 3), round(b, 3)] for a, b in zip(starts, ends, strict=True) if b - a > 1e-3]


def _shots(
    verdicts: Sequence[TrackVerdict], rows: Mapping[str, Any], duration_s: float, detector: Detector
) -> list[dict[str, Any]]:
    starts = _shot_starts(rows, verdicts)
    tracks = _tracks(verdicts, rows, detector)
    return [
        {
            "shot": number,
            "from_s": round(start, 3),
            "to_s": round(end, 3),
            "tracks": [track for track, verdict in zip(tracks, verdicts, strict=True) if verdict.shot == number],
        }
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], duration_s], strict=True))
    ]


def _shot_starts(rows: Mapping[str, Any], verdicts: Sequence[TrackVerdict]) -> list[float]:
    """When each shot begins; from the faces where a shard of an older version does not tell the cuts."""
    last = max((v.shot for v in verdicts), default=0)
    cuts = rows.get("cuts_s")
    if cuts is not None and len(cuts) >= last:
        return [0.0, *(float(cut) for cut in cuts)]
    first = [min((float(v.times_s[0]) for v in verdicts if v.shot == n), default=0.0) for n in range(1, last + 1)]
    return [0.0, *np.maximum.accumulate(first).tolist()] if first else [0.0]


def _tracks(verdicts: Sequence[TrackVerdict], rows: Mapping[str, Any], detector: Detector) -> list[dict[str, Any]]:
    from deepfake.aggregate import credible, trust
    from deepfake.detector import deciding

    if not verdicts:
        return []
    settings = detector.ensemble
    lengths = np.array([v.n_frames or len(v.frame_logits) for v in verdicts])
    counts = credible(lengths, settings.min_track_frames)
    decisive = deciding(verdicts, settings)
    found = []
    for number, verdict in enumerate(verdicts):
        faces = {face["frame_index"]: face for face in rows["faces"] if face["track"] == verdict.track}
        sharpness = np.array([faces[int(index)]["sharpness"] for index in verdict.frame_indices])
        sides = (verdict.boxes[:, 2:] - verdict.boxes[:, :2]).max(axis=1)
        counted = {"counts": bool(counts[number]), "decides": number == decisive}
        found.append(_track(verdict, detector, counted | {"trust": _rounded(trust(sides, sharpness, settings))}))
    return found


def _track(verdict: TrackVerdict, detector: Detector, standing: Mapping[str, Any]) -> dict[str, Any]:
    from scipy.special import expit

    apply = detector.stack.calibration.apply
    p_frames = apply(verdict.frame_logits)
    seconds = np.floor(verdict.times_s).astype(int)
    p_seconds = {
        int(s): float(apply(verdict.frame_logits[seconds == s].mean(keepdims=True))[0]) for s in np.unique(seconds)
    }
    return {
        "track": verdict.track,
        "p_fake": _rounded(float(expit(verdict.logit))),
        **standing,
        "from_s": round(float(verdict.times_s[0]), 3),
        "to_s": round(float(verdict.times_s[-1]), 3),
        "n_frames": len(p_frames),
        "seconds": [
            {"second": s, "p_fake": _rounded(p), "n_frames": int((seconds == s).sum())} for s, p in p_seconds.items()
        ],
        "suspicious": suspicious_spans(verdict.times_s, p_frames, p_seconds, detector.stack.band[1]),
        "frames": [
            {
                "frame": int(index),
                "time_s": round(float(time_s), 3),
                "box_px": [round(float(x), 1) for x in box],
                "score": _rounded(float(p)),
            }
            for index, time_s, box, p in zip(
                verdict.frame_indices, verdict.times_s, verdict.boxes, p_frames, strict=True
            )
        ],
    }


def suspicious_spans(
    times_s: np.ndarray, p_frames: np.ndarray, p_seconds: Mapping[int, float], high: float
) -> list[dict[str, Any]]:
    """Stretches of seconds above the inconclusive band, from their first to their last frame looked at."""
    spans: list[list[int]] = []
    for index, time_s in enumerate(times_s):
        if p_seconds[int(time_s)] <= high:
            continue
        goes_on = spans and spans[-1][-1] == index - 1 and time_s - times_s[index - 1] <= SPAN_GAP_S
        if goes_on:
            spans[-1].append(index)
        else:
            spans.append([index])
    return [
        {
            "from_s": round(float(times_s[span[0]]), 3),
            "to_s": round(float(times_s[span[-1]]), 3),
            "n_frames": len(span),
            "p_fake_max": _rounded(float(p_frames[span].max())),
        }
        for span in spans
    ]


def tracks_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All tracks of a video's plain values, each with its shot's number, in the order of their numbers."""
    tracks = [{"shot": shot["shot"], **track} for shot in found["shots"] for track in shot["tracks"]]
    return sorted(tracks, key=lambda track: int(track["track"]))


def verdict_line(found: Mapping[str, Any]) -> str:
    """The verdict in one line: name, verdict, and the score or why there is none."""
    name, band = printable(found["file"]["name"]), found["inconclusive_band"]
    if found["p_fake"] is None:
        return f"{name}: {found['verdict']} ({printable(found['reason'])})"
    return (
        f"{name}: {found['verdict']}, p_fake {found['p_fake']:.2f} "
        f"(inconclusive from {band['low']:.2f} to {band['high']:.2f})"
    )


def face_lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each face, with its scores by the second as a row of bars."""
    lines = []
    for track in tracks_of(found):
        bar = "".join("▁▂▃▄▅▆▇█"[min(int(s["p_fake"] * 8), 7)] for s in track["seconds"])
        lines.append(
            f"  face {track['track']} in shot {track['shot']}, {track['from_s']:.1f}-{track['to_s']:.1f} s, "
            f"{track['n_frames']} frames: p_fake {track['p_fake']:.2f}, by the second {bar}"
        )
    return lines


def printable(text: str) -> str:
    """A name on one line: what does not print is shown by its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _rounded(value: float) -> float:
    return round(float(value), 6)
