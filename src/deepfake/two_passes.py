"""Early exit that spares decoding, too: every second frame of a video first, all of them only if it is not settled.

By default half is enough (`ensemble.exit_most`), and only videos that show no face in the first pass are read again.
The first pass samples the very frames that early exit looks at first of those the second one samples. Its crops are not
used again: the detector of faces looks at other frames then, and the boxes carried between them differ by a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from deepfake.bundle import Detector
from deepfake.config import Predict
from deepfake.detector import (
    Scored,
    Track,
    TrackScore,
    VideoScorer,
    kept_scores,
    score_videos,
    with_score,
    without_score,
)
from deepfake.early_exit import is_settled
from deepfake.extracted import StoredFace, by_track
from deepfake.extraction import read_videos

EVERY = 2


def look_at_some(scorer: VideoScorer, work_dir: Path, faces: Sequence[StoredFace]) -> list[TrackScore]:
    """Scores of a video's tracks by every second frame of each; none where they leave its verdict open."""
    tracks = [Track(scorer, work_dir, own, n_frames=EVERY * len(own)) for own in by_track(faces)]
    found = scorer.look_at(tracks)
    looks, band = [look for _, look in found], scorer.detector.stack.band_logits
    return [score for score, _ in found] if is_settled(looks, band, scorer.detector.ensemble) else []


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
        tracks = kept_scores(scorer, found, cache_dir, weights_sha256, partial(look_at_some, scorer))
        if tracks:
            yield with_score(scorer, reading, tracks)
            del is_open[found.video_id]
    yield from score_videos(is_open, detector, weights_sha256, cache_dir, predict, workers)
