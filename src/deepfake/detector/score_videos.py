"""Score videos one after the other, and a folder of them into a CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepfake.detector.file import TrainedDetector
from deepfake.detector.video_scorer import FORMAT, TrackScore, VideoScorer
from deepfake.ensemble.early_exit import FIRST_ROUND
from deepfake.ensemble.submission import count_reasons, csv_bytes, rounded
from deepfake.errors import UserError
from deepfake.faces.extracted import Extraction, StoredFace
from deepfake.faces.extraction import read_videos
from deepfake.faces.reading import Reading
from deepfake.files import digest, write_whole
from deepfake.media.listing import find_videos, video_id_of
from deepfake.models.engine import Engine
from deepfake.scoring.frame_scorer import MIN_VIDEOS_TO_DIFFER
from deepfake.settings import Predict

MOST_NAMED = 20  # unreadable videos in a summary


EXIT_SETTINGS = {"early_exit", "exit_margin", "exit_most", "exit_ratio", "skip_difference"}


@dataclass(frozen=True)
class Scored:
    """One video's result, whatever state the file is in; `reading` is what it was made from.

    `crops` names what was seen of it, alike for copies; None where that is not known. `engine` ran the networks.
    """

    video_id: str
    p_fake: float
    n_faces: int
    n_tracks: int
    fallback: str | None
    reading: Reading | None = None
    tracks: Sequence[TrackScore] = ()
    crops: str | None = None
    engine: Engine | None = None


@dataclass(frozen=True)
class Kept:
    """What was made of a video's tracks, now or before, and by what."""

    tracks: list[TrackScore]
    engine: Engine


def score_videos(
    paths: Mapping[str, Path],
    detector: TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    predict: Predict,
    workers: int,
    known: Mapping[Path, Reading] | None = None,
) -> Iterator[Scored]:
    """Yield the result of each video as it is done; crops are kept below `cache_dir`, so a stopped run goes on.

    What is `known` of files is not read again.
    """
    settings = detector.extract.model_copy(update={"workers": workers})
    scorer: VideoScorer | None = None
    for reading in read_videos(paths, cache_dir, settings, known=known):
        if not reading.extraction.faces:
            yield without_score(reading, detector.stack.prior)
            continue
        scorer = scorer or VideoScorer(detector, predict)
        yield score_reading(scorer, reading, cache_dir, weights_sha256)


def score_reading(scorer: VideoScorer, reading: Reading, cache_dir: Path, weights_sha256: str) -> Scored:
    """The result of a video that shows a face."""
    return with_score(scorer, reading, kept_scores(scorer, reading.extraction, cache_dir, weights_sha256, scorer.score))


def without_score(reading: Reading, prior: float) -> Scored:
    """The result of a video that could not be read or shows no face."""
    extraction = reading.extraction
    reason = "no_face" if extraction.status == "no_face" else f"unreadable: {extraction.reason}"
    return Scored(extraction.video_id, prior, 0, 0, reason, reading)


def kept_scores(
    scorer: VideoScorer,
    extraction: Extraction,
    cache_dir: Path,
    weights_sha256: str,
    score: Callable[[Path, Sequence[StoredFace]], list[TrackScore]],
) -> Kept:
    """What `score(cache_dir, faces)` makes of a video's tracks, kept by its crops, the weights and the settings."""
    changed = scorer.detector.ensemble.model_dump(include=EXIT_SETTINGS, exclude_defaults=True)
    key = digest(
        [weights_sha256, extraction.shard, scorer.networks_key, FORMAT, *([changed, FIRST_ROUND] if changed else [])]
    )[:32]
    path = cache_dir / "scores" / key[:2] / f"{key}.json"
    known = _read_scores(path)
    if known is not None:
        return known
    kept = Kept(score(cache_dir, extraction.faces), scorer.engine)
    write_whole(path, _stored(kept))
    return kept


def with_score(scorer: VideoScorer, reading: Reading, kept: Kept) -> Scored:
    """The result of a video whose tracks were scored; damaged frames alone decide nothing, whatever they score."""
    tracks = kept.tracks
    video_logit = scorer.video_logit(tracks)
    if reading.extraction.is_damaged:
        video_logit = undecided(video_logit, scorer.detector.stack.band)
    p_fake = float(scorer.p_fake(np.array([video_logit]))[0])
    n_faces = len(reading.extraction.faces)
    crops = reading.extraction.crops
    return Scored(reading.video_id, p_fake, n_faces, len(tracks), None, reading, tracks, crops, kept.engine)


def undecided(video_logit: float, band: tuple[float, float]) -> float:
    """A video's logit, or the one nearest to it that lies well inside the inconclusive band."""
    low, high = band
    edge = 0.01 * (high - low)
    p = float(np.clip(0.5 * (1 + np.tanh(0.5 * video_logit)), low + edge, high - edge))
    return float(np.log(p / (1 - p)))


_ARRAYS = ("frame_logits", "times_s", "frame_indices", "boxes", "member_logits")


def _stored(kept: Kept) -> bytes:
    tracks = [{**vars(score), **{name: getattr(score, name).tolist() for name in _ARRAYS}} for score in kept.tracks]
    return json.dumps({"tracks": tracks, "engine": kept.engine.model_dump()}).encode()


def _read_scores(path: Path) -> Kept | None:
    """What `_stored` was made from; None where there is nothing, or something of another version."""
    try:
        stored = json.loads(path.read_text())
        tracks = [{**track, **{name: np.array(track[name]) for name in _ARRAYS}} for track in stored["tracks"]]
        return Kept([TrackScore(**track) for track in tracks], Engine.model_validate(stored["engine"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_equal_scores(scored: list[Scored]) -> None:
    """Raise where more than ten videos with faces all got the very same score; copies of one count once."""
    p_fake = {round(s.p_fake, 9) for s in scored if s.fallback is None}
    n_different = len({s.crops or s.video_id for s in scored if s.fallback is None})
    if n_different >= MIN_VIDEOS_TO_DIFFER and len(p_fake) == 1:
        raise UserError(
            f"all {n_different} different videos with a face got p_fake {p_fake.pop():.6f}: the weights do not fit "
            "this version; fetch them again"
        )


def predict_folder(
    folder: Path,
    out: Path,
    detector: TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    workers: int,
    score: Callable[[dict[str, Path], TrainedDetector, str, Path, Predict, int], Iterator[Scored]] = score_videos,
    predict: Predict | None = None,
) -> list[Scored]:
    """Score every video below a folder into a CSV: filename, label (p_fake), n_faces, n_tracks, fallback.

    Returns the videos by name. `score` does what `score_videos` does.
    """
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    scored: list[Scored] = []
    with tqdm(total=len(paths), desc="videos", unit="video", disable=None) as bar:
        for result in score(paths, detector, weights_sha256, cache_dir, predict or Predict(), workers):
            scored.append(result)
            bar.update()
    refuse_equal_scores(scored)
    scored.sort(key=lambda s: s.video_id)
    header = ("filename", "label", "n_faces", "n_tracks", "fallback")
    rows = [(s.video_id, rounded(s.p_fake), s.n_faces, s.n_tracks, s.fallback or "") for s in scored]
    write_whole(out, csv_bytes([header, *rows]))
    return scored


def summary_lines(scored: Sequence[Scored], out: Path) -> list[str]:
    """How many videos got a score, and why the others got the prior."""
    reasons = count_reasons({s.video_id: s.fallback for s in scored if s.fallback})
    n_without = sum(reasons.values())
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    unreadable = [s for s in scored if s.fallback and s.fallback.startswith("unreadable")]
    engines = sorted({s.engine.words for s in scored if s.engine})
    return [
        f"{len(scored)} videos -> {out}",
        *(f"networks by {words}" for words in engines),
        f"scored: {len(scored) - n_without}; without a score: {counts}",
        *(f"  {s.video_id!r}: {(s.fallback or '').partition(': ')[2]}" for s in unreadable[:MOST_NAMED]),
        *_stream_lines(scored),
    ]


def _stream_lines(scored: Sequence[Scored]) -> list[str]:
    """Which files hold several video streams, and how many of these were looked at."""
    lines = []
    for one in scored:
        probe, failed = (one.reading.file.probe, one.reading.extraction.further) if one.reading else (None, ())
        if probe is None or len(probe.streams) < 2:
            continue
        left_out = {stream.stream: stream.left_out for stream in probe.streams if stream.left_out}
        left_out |= {other.stream: other.failure for other in failed if other.failure}
        reasons = "".join(f"; {number} left out: {reason}" for number, reason in sorted(left_out.items()))
        n_seen = len(probe.streams) - len(left_out)
        lines.append(f"  {one.video_id!r}: {n_seen} of {len(probe.streams)} video streams looked at{reasons}")
    more = [f"  ... and {len(lines) - MOST_NAMED} more with several video streams"] if len(lines) > MOST_NAMED else []
    return [*lines[:MOST_NAMED], *more]
