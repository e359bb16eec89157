"""Groups of signs that fail, hang, die or find too much: modules for `evidence.signs.GROUPS` in tests."""

from __future__ import annotations

import os
import time

import numpy as np

from deepfake.detector.check import UNREADABLE, Band, Check, CheckedFile, DetectorFacts, Sign
from deepfake.evidence.signs import Curve, Examined, Found, Part


def sign(kind: str = "drawn.found", finding: str = "Found.", strength: float = 0.5, **changes: object) -> Sign:
    """An invented sign."""
    values = {"kind": kind, "finding": finding, "strength": strength, "from_s": None, "to_s": None, "about": "Little."}
    return Sign.model_validate({**values, **changes})


def bare_check(name: str) -> Check:
    """The check of a file that could not be read."""
    return Check(
        file=CheckedFile(path=name, name=name, sha256=None, size_bytes=3),
        verdict=UNREADABLE,
        exit_code=5,
        reason="invented",
        p_fake=None,
        n_faces_counted=0,
        inconclusive_band=Band(low=0.3, high=0.7),
        detector=DetectorFacts(
            name="d",
            weights_sha256="cd" * 32,
            about={},
            calibration="platt",
            n_calibration_videos=3,
            error_rate=0.1,
            fake_share=None,
            min_track_frames=3,
            max_tracks=8,
        ),
        video=None,
        looked_at=None,
        shots=(),
    )


def find(examined: Examined) -> Found:
    """What this group does is in the name of the file it examines."""
    what = examined.path.stem
    if what == "raises":
        raise ValueError("an <odd> file;\nof two lines")
    if what == "hangs":
        time.sleep(60)
    if what == "dies":
        os._exit(3)
    if what == "floods":
        times_s = np.arange(100_000) / 1000
        curve = Curve("lane", "loud", times_s, np.where(times_s < 50, 1.0, np.nan), 0, 1)
        signs = tuple(sign(finding=f"{i} " + "x" * 10_000, strength=i / 1000) for i in range(1000))
        return Found(signs, (curve,) * 100, (Part("lane", 0, 1, "y" * 10_000),) * 1000)
    return Found((sign(finding=f"Found in {what}."),))
