"""Early exit that spares decoding, too: every second frame of a video first, all of them only if it is not settled.

By default half is enough (`ensemble.exit_most`), and only videos that show no face in the first pass are read again.
The first pass samples the very frames that early exit looks at first of those the second one samples. Its crops are not
used again: the detector of faces looks at other frames then, and the boxes carried between them differ by a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from deepfake.bundle import Detector
from deepfake.config import Predict
from deepfake.detector import (
    Scored,
    Track,
    TrackVerdict,
    VideoScorer,
    kept_verdicts,
    score_videos,
    with_score,
    without_score,
)
from deepfake.early_exit import is_settled, look_until_settled
from deepfake.extraction import read_videos

EVERY = 2


def look_at_some(scorer: VideoScorer, work_dir: Path, faces: list[dict[str, Any]]) -> list[TrackVerdict]:
    """Verdicts of a video's tracks by every second frame of each; none where they leave its verdict open.

    `faces` are rows of the faces table of one video, sorted by its key.
    """
    numbers = sorted({face["track"] for face in faces})
    parts = [[face for face in faces if face["track"] == number] for number in numbers]
    tracks = [Track(scorer, work_dir, rows, n_frames=EVERY * len(rows)) for rows in parts]
    band, settings = scorer.detector.stack.band_logits, scorer.detector.ensemble
    looks = look_until_settled([len(rows) for rows in parts], lambda i, places: tracks[i].look(places), band, settings)
    return [track.verdict for track in tracks] if is_settled(looks, band, settings) else []


def score_in_two_passes(
    paths: Mapping[str, Path], detector: Detector, weights_sha256: str, cache_dir: Path, predict: Predict, workers: int
) -> Iterator[Scored]:
    """Yield the result of each video as it is done, as `score_videos` does: settled ones first, then the others.

    What a video gets depends on nothing that lies in `cache_dir`; a stopped run goes on where it was.
    """
    settings = detector.extract.model_copy(update={"workers": workers})
    scorer: VideoScorer | None = None
    is_open = dict(paths)
    for reading in read_videos(paths, cache_dir, settings, every=EVERY):
        found = reading.extraction
        if found.failure is not None:
            yield without_score(reading, detector.stack.prior)
            del is_open[found.video_id]
        if not found.faces:
            continue  # there may be one in the other frames
        scorer = scorer or VideoScorer(detector, predict)
        verdicts = kept_verdicts(scorer, found, cache_dir, weights_sha256, partial(look_at_some, scorer))
        if verdicts:
            yield with_score(scorer, reading, verdicts)
            del is_open[found.video_id]
    yield from score_videos(is_open, detector, weights_sha256, cache_dir, predict, workers)
