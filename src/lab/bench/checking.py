"""Where the seconds of a check go: its steps one after the other, in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deepfake.detector.header import Networks, read_detector
from deepfake.detector.score_videos import score_reading
from deepfake.detector.verdict import check_of
from deepfake.faces.reading import ReadJob, read
from deepfake.files import sha256_of
from deepfake.media.clips import decode_plainly
from deepfake.report.check_page import page
from deepfake.report.shown_crops import shown_crops
from deepfake.settings import Predict

DECODING = "PyAV, all frames, one thread"


@dataclass(frozen=True)
class Steps:
    """A video that shows a face, and the detector's file."""

    video: Path
    weights: Path


def steps_of(asked: Steps) -> dict[str, float]:
    """Seconds of each step of a check of a new video; what `deepfake check` does at once is done in turn here."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[step] = time.perf_counter() - start

    with timed(DECODING):
        decode_plainly(asked.video, 1)
    with TemporaryDirectory() as folder:
        cache, sha256 = Path(folder), sha256_of(asked.weights)
        networks = Networks(read_detector(asked.weights), Predict())
        with timed("extraction: decoding, faces, crops"):
            reading = read(ReadJob("v", asked.video, cache, networks.rules.extract))
        with timed("opening the networks"):
            scorer = networks.scorer
        with timed("scoring"):
            scored = score_reading(networks, reading, cache, sha256)
        with timed("page: heat maps, pictures, HTML"):
            check = check_of(asked.video, scored, scorer.detector, sha256)
            page(check, shown_crops(check, reading.extraction, networks, cache), cache / "page.html")
    return seconds
