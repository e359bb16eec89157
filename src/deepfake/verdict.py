"""What is said of one video: a verdict with its reasons, as plain values and as a few lines of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepfake.bundle import Detector
from deepfake.config import Predict
from deepfake.detector import TrackVerdict, score_videos
from deepfake.files import sha256_of


def check_video(path: Path, detector: Detector, weights_sha256: str, cache_dir: Path) -> dict[str, Any]:
    """One video's verdict with its reasons, as plain values: see the keys below."""
    (scored,) = score_videos({path.name: path}, detector, weights_sha256, cache_dir, Predict(), workers=1)
    stack = detector.stack
    low, high = stack.band
    verdict = "no score" if scored.fallback else "inconclusive"
    if scored.fallback is None and (scored.p_fake > high or scored.p_fake < low):
        verdict = "likely forged" if scored.p_fake > high else "no sign of forgery found"
    return {
        "file": str(path),
        "sha256": sha256_of(path),
        "verdict": verdict,
        "p_fake": round(scored.p_fake, 6),
        "inconclusive_band": [low, high],
        "fallback": scored.fallback,
        "detector": {"name": detector.name, "weights_sha256": weights_sha256, **detector.about},
        "video": {k: v for k, v in scored.summary.items() if k not in ("video_id", "frame_hashes")},
        "faces": [_face(v, detector) for v in scored.verdicts],
    }


def _face(verdict: TrackVerdict, detector: Detector) -> dict[str, Any]:
    calibration = detector.stack.calibration
    seconds = np.floor(verdict.times_s).astype(int)
    return {
        "track": verdict.track,
        "shot": verdict.shot,
        "p_fake": round(float(calibration.apply(np.array([verdict.logit]))[0]), 6),
        "from_s": round(float(verdict.times_s[0]), 3),
        "to_s": round(float(verdict.times_s[-1]), 3),
        "n_frames": len(verdict.frame_logits),
        "seconds": [
            {
                "second": int(second),
                "p_fake": round(
                    float(calibration.apply(verdict.frame_logits[seconds == second].mean(keepdims=True))[0]), 6
                ),
                "n_frames": int((seconds == second).sum()),
                "box_px": [round(float(x), 1) for x in verdict.boxes[seconds == second][0]],
            }
            for second in np.unique(seconds)
        ],
    }


def check_text(found: dict[str, Any]) -> str:
    """A verdict in a few lines for a person."""
    low, high = found["inconclusive_band"]
    lines = [f"{Path(found['file']).name}: {found['verdict']}"]
    if found["fallback"]:
        lines.append(f"  no score: {found['fallback']}")
    else:
        lines.append(f"  p_fake {found['p_fake']:.2f} (inconclusive between {low:.2f} and {high:.2f})")
    for face in found["faces"]:
        bar = "".join("▁▂▃▄▅▆▇█"[min(int(s["p_fake"] * 8), 7)] for s in face["seconds"])
        lines.append(
            f"  face {face['track']} in shot {face['shot']}, {face['from_s']:.1f}-{face['to_s']:.1f} s, "
            f"{face['n_frames']} frames: p_fake {face['p_fake']:.2f}, by the second {bar}"
        )
    return "\n".join(lines)
