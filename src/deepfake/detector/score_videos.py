"""Score videos one after the other, and a folder of them into a CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from deepfake.detector.file import Detector
from deepfake.detector.video_scorer import EXIT_SETTINGS, FORMAT, TrackVerdict, VideoScorer
from deepfake.ensemble.early_exit import FIRST_ROUND
from deepfake.ensemble.submission import count_reasons, csv_bytes, rounded
from deepfake.errors import UserError
from deepfake.faces.extracted import Extraction
from deepfake.faces.extraction import face_rows, read_videos
from deepfake.faces.reading import Reading
from deepfake.files import digest, write_whole
from deepfake.media.listing import find_videos, video_id_of
from deepfake.scoring.frame_scorer import MIN_VIDEOS_TO_DIFFER
from deepfake.settings import Predict


@dataclass(frozen=True)
class Scored:
    """One video's result, whatever state the file is in; `reading` is what it was made from."""

    video_id: str
    p_fake: float
    n_faces: int
    n_tracks: int
    fallback: str | None
    reading: Reading | None = None
    verdicts: Sequence[TrackVerdict] = ()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def score_videos(
    paths: Mapping[str, Path],
    detector: Detector,
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
    verdicts = kept_verdicts(scorer, reading.extraction, cache_dir, weights_sha256, scorer.score)
    return with_score(scorer, reading, verdicts)


def without_score(reading: Reading, prior: float) -> Scored:
    """The result of a video that could not be read or shows no face."""
    found = reading.extraction
    reason = "no_face" if found.status == "no_face" else f"unreadable: {found.reason}"
    return Scored(found.video_id, prior, 0, 0, reason, reading)


def kept_verdicts(
    scorer: VideoScorer,
    found: Extraction,
    cache_dir: Path,
    weights_sha256: str,
    look: Callable[[Path, list[dict[str, Any]]], list[TrackVerdict]],
) -> list[TrackVerdict]:
    """What `look(cache_dir, faces)` makes of a video's tracks, kept by its crops, the weights and the settings."""
    changed = scorer.detector.ensemble.model_dump(include=EXIT_SETTINGS, exclude_defaults=True)
    key = digest(
        [weights_sha256, found.shard, scorer.device.type, FORMAT, *([changed, FIRST_ROUND] if changed else [])]
    )[:32]
    path = cache_dir / "scores" / key[:2] / f"{key}.json"
    known = _read_json(path)
    verdicts = _from_plain(known) if known else look(cache_dir, face_rows(found.video_id, found.faces))
    if known is None:
        write_whole(path, json.dumps(_to_plain(verdicts)).encode())
    return verdicts


def with_score(scorer: VideoScorer, reading: Reading, verdicts: Sequence[TrackVerdict]) -> Scored:
    """The result of a video whose tracks were looked at."""
    p_fake = float(scorer.p_fake(np.array([scorer.video_logit(list(verdicts))]))[0])
    n_faces = len(reading.extraction.faces)
    return Scored(reading.video_id, p_fake, n_faces, len(verdicts), None, reading, verdicts)


def _to_plain(verdicts: list[TrackVerdict]) -> dict[str, Any]:
    return {
        "tracks": [{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(t).items()} for t in verdicts]
    }


def _from_plain(values: dict[str, Any]) -> list[TrackVerdict]:
    arrays = ("frame_logits", "times_s", "frame_indices", "boxes")
    plain: list[dict[str, Any]] = [
        {name: np.array(value) if name in arrays else value for name, value in track.items()}
        for track in values["tracks"]
    ]
    return [TrackVerdict(**track) for track in plain]


def refuse_equal_scores(scored: list[Scored]) -> None:
    """Raise where more than ten videos with faces all got the very same score."""
    p_fake = {round(s.p_fake, 9) for s in scored if s.fallback is None}
    n_scored = sum(s.fallback is None for s in scored)
    if n_scored >= MIN_VIDEOS_TO_DIFFER and len(p_fake) == 1:
        raise UserError(
            f"all {n_scored} videos with a face got p_fake {p_fake.pop():.6f}: the weights do not fit this version; "
            "fetch them again"
        )


def predict_folder(
    folder: Path,
    out: Path,
    detector: Detector,
    weights_sha256: str,
    cache_dir: Path,
    workers: int,
    score: Callable[[dict[str, Path], Detector, str, Path, Predict, int], Iterator[Scored]] = score_videos,
) -> int:
    """Score every video below a folder into a CSV: filename, label (p_fake), n_faces, n_tracks, fallback.

    Returns how many videos got the prior instead of a score. `score` does what `score_videos` does.
    """
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    scored: list[Scored] = []
    with tqdm(total=len(paths), desc="videos", unit="video", disable=None) as bar:
        for result in score(paths, detector, weights_sha256, cache_dir, Predict(), workers):
            scored.append(result)
            bar.update()
    refuse_equal_scores(scored)
    scored.sort(key=lambda s: s.video_id)
    header = ("filename", "label", "n_faces", "n_tracks", "fallback")
    rows = [(s.video_id, rounded(s.p_fake), s.n_faces, s.n_tracks, s.fallback or "") for s in scored]
    write_whole(out, csv_bytes([header, *rows]))
    reasons = count_reasons({s.video_id: s.fallback for s in scored if s.fallback})
    n_without = sum(reasons.values())
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    print(f"{len(scored)} videos -> {out}\nscored: {len(scored) - n_without}; without a score: {told}")
    for result in [s for s in scored if s.fallback and s.fallback.startswith("unreadable")][:20]:
        print(f"  {result.video_id!r}: {(result.fallback or '').partition(': ')[2]}")
    return n_without
