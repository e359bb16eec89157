"""Early exit that spares decoding, too: every second frame of a video first, all of them only if it is not settled.

By default half is enough (`ensemble.exit_most`), and only videos that show no face in the first pass are read again.
The first pass samples the very frames that early exit scores first of those the second one samples. Its crops are not
used again: the detector of faces runs on other frames then, and the boxes carried between them differ by a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.detector.header import DetectorHeader, Networks
from deepfake.detector.score_videos import Scored, kept_scores, load_if_new, score_with, with_score, without_score
from deepfake.engines import Runner
from deepfake.ensemble.early_exit import is_settled
from deepfake.faces.extracted import StoredFace, by_track
from deepfake.faces.extraction import read_videos
from deepfake.settings import Predict

if TYPE_CHECKING:  # networks cost seconds, and a video whose scores are kept needs none
    from deepfake.detector.file import TrainedDetector
    from deepfake.detector.judged import TrackScore
    from deepfake.detector.video_scorer import VideoScorer

EVERY = 2


def score_every_second(scorer: VideoScorer, work_dir: Path, faces: Sequence[StoredFace]) -> list[TrackScore]:
    """Scores of a video's tracks by every second frame of each; none where they leave its verdict open."""
    from deepfake.detector.video_scorer import Track

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
    detector: DetectorHeader | TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    predict: Predict,
    workers: int,
) -> Iterator[Scored]:
    """Yield the result of each video as it is done, as `score_videos` does: settled ones first, then the others.

    What a video gets depends on nothing that lies in `cache_dir`; a stopped run goes on where it was.
    """
    networks = Networks(detector, predict)
    load_if_new(networks, paths, cache_dir)
    yield from score_with_two_passes(networks, paths, weights_sha256, cache_dir, workers)


def score_with_two_passes(
    networks: Networks,
    paths: Mapping[str, Path],
    weights_sha256: str,
    cache_dir: Path,
    workers: int,
    run: Runner | None = None,
) -> Iterator[Scored]:
    """`score_in_two_passes` with networks that are loaded by the first video whose scores are not kept."""
    detector = networks.rules
    settings = detector.extract.model_copy(update={"workers": workers})
    is_open = dict(paths)
    for reading in read_videos(paths, cache_dir, settings, every=EVERY, run=run):
        extraction = reading.extraction
        if extraction.failure is not None:
            yield without_score(reading, detector.stack.prior)
            del is_open[extraction.video_id]
        if not extraction.faces:
            continue  # there may be one in the other frames
        faces = extraction.faces
        kept = kept_scores(
            networks,
            extraction,
            cache_dir,
            weights_sha256,
            lambda scorer, faces=faces: score_every_second(scorer, cache_dir, faces),  # type: ignore[misc]
        )
        if kept.tracks:
            yield with_score(detector, reading, kept)
            del is_open[extraction.video_id]
    yield from score_with(networks, is_open, weights_sha256, cache_dir, workers, run=run)
