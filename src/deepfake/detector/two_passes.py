"""Early exit that spares decoding, too: every second frame of a video first, all of them only if it is not settled.

By default half is enough (`ensemble.exit_most`), and only videos that show no face in the first pass are read again.
The first pass samples the very frames that early exit scores first of those the second one samples. Its crops are not
used again: the detector of faces runs on other frames then, and the boxes carried between them differ by a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from deepfake.detector.file import TrainedDetector
from deepfake.detector.score_videos import Scored, kept_scores, score_videos, with_score, without_score
from deepfake.detector.video_scorer import Track, TrackScore, VideoScorer
from deepfake.ensemble.early_exit import is_settled
from deepfake.faces.extracted import StoredFace, by_track
from deepfake.faces.extraction import read_videos
from deepfake.settings import Predict

EVERY = 2


def score_every_second(scorer: VideoScorer, work_dir: Path, faces: Sequence[StoredFace]) -> list[TrackScore]:
    """Scores of a video's tracks by every second frame of each; none where they leave its verdict open."""
    tracks = [Track(scorer, work_dir, own, n_frames=EVERY * len(own)) for own in by_track(faces)]
    scored = scorer.score_tracks(tracks)
    so_far, band = [partial_score for _, partial_score in scored], scorer.detector.stack.band_logits
    return (
        [score for score, _ in scored]
        if is_settled(so_far, band, scorer.detector.ensemble, scorer.line.neutral)
        else []
    )


def score_in_two_passes(
    paths: Mapping[str, Path],
    detector: TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    predict: Predict,
    workers: int,
) -> Iterator[Scored]:
    """Yield the result of each video as it is done, as `score_videos` does: settled ones first, then the others.

    What a video gets depends on nothing that lies in `cache_dir`; a stopped run goes on where it was.
    """
    settings = detector.extract.model_copy(update={"workers": workers})
    scorer: VideoScorer | None = None
    is_open = dict(paths)
    for reading in read_videos(paths, cache_dir, settings, every=EVERY):
        extraction = reading.extraction
        if extraction.failure is not None:
            yield without_score(reading, detector.stack.prior)
            del is_open[extraction.video_id]
        if not extraction.faces:
            continue  # there may be one in the other frames
        scorer = scorer or VideoScorer(detector, predict)
        kept = kept_scores(scorer, extraction, cache_dir, weights_sha256, partial(score_every_second, scorer))
        if kept.tracks:
            yield with_score(scorer, reading, kept)
            del is_open[extraction.video_id]
    yield from score_videos(is_open, detector, weights_sha256, cache_dir, predict, workers)
