"""Score videos one after the other, and a folder of them into a CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake.detector.header import DetectorHeader, Networks, Rules
from deepfake.detector.judged import FORMAT, TrackScore, judge
from deepfake.engines import Runner
from deepfake.ensemble.early_exit import FIRST_ROUND
from deepfake.ensemble.submission import MIN_VIDEOS_TO_DIFFER, count_reasons, csv_bytes, rounded
from deepfake.errors import UserError
from deepfake.faces.extracted import Extraction
from deepfake.faces.extraction import read_videos
from deepfake.faces.reading import Reading, read_note
from deepfake.files import digest, write_whole
from deepfake.kept import keep, kept
from deepfake.media.listing import find_videos, video_id_of
from deepfake.models.engine import Engine
from deepfake.probabilities import expit, logit
from deepfake.settings import Predict

if TYPE_CHECKING:  # networks cost seconds, and a video whose scores are kept needs none
    from deepfake.detector.file import TrainedDetector
    from deepfake.detector.video_scorer import VideoScorer

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
    detector: DetectorHeader | TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    predict: Predict,
    workers: int,
) -> Iterator[Scored]:
    """Yield the result of each video as it is done; crops are kept below `cache_dir`, so a stopped run goes on."""
    networks = Networks(detector, predict)
    load_if_new(networks, paths, cache_dir)
    yield from score_with(networks, paths, weights_sha256, cache_dir, workers)


def load_if_new(networks: Networks, paths: Mapping[str, Path], cache_dir: Path) -> None:
    """Load the networks where a video was never read: weights that do not fit are an error before the work."""
    if any(read_note(path, cache_dir) is None for path in paths.values()):
        _ = networks.scorer


def score_with(
    networks: Networks,
    paths: Mapping[str, Path],
    weights_sha256: str,
    cache_dir: Path,
    workers: int,
    known: Mapping[Path, Reading] | None = None,
    run: Runner | None = None,
) -> Iterator[Scored]:
    """`score_videos` with networks that are loaded by the first video whose scores are not kept.

    What is `known` of files is not read again; `run` reads the others.
    """
    settings = networks.rules.extract.model_copy(update={"workers": workers})
    for reading in read_videos(paths, cache_dir, settings, known=known, run=run):
        if reading.extraction.faces:
            yield score_reading(networks, reading, cache_dir, weights_sha256)
        else:
            yield without_score(reading, networks.rules.stack.prior)


def score_reading(networks: Networks, reading: Reading, cache_dir: Path, weights_sha256: str) -> Scored:
    """The result of a video that shows a face."""
    extraction = reading.extraction
    kept = kept_scores(
        networks, extraction, cache_dir, weights_sha256, lambda scorer: scorer.score(cache_dir, extraction.faces)
    )
    return with_score(networks.rules, reading, kept)


def without_score(reading: Reading, prior: float) -> Scored:
    """The result of a video that could not be read or shows no face."""
    extraction = reading.extraction
    reason = "no_face" if extraction.status == "no_face" else f"unreadable: {extraction.reason}"
    return Scored(extraction.video_id, prior, 0, 0, reason, reading)


def kept_scores(
    networks: Networks,
    extraction: Extraction,
    cache_dir: Path,
    weights_sha256: str,
    score: Callable[[VideoScorer], Sequence[TrackScore]],
) -> Kept:
    """What `score` makes of a video's tracks, kept by its crops, the weights and the settings.

    What was kept on any device that the settings allow serves: the networks are loaded only where there is nothing.
    """
    changed = networks.rules.ensemble.model_dump(include=EXIT_SETTINGS, exclude_defaults=True)

    def place(machine: Sequence[str]) -> Path:
        known_by = [
            weights_sha256,
            extraction.shard,
            list(machine),
            FORMAT,
            *([changed, FIRST_ROUND] if changed else []),
        ]
        key = digest(known_by)[:32]
        return cache_dir / "scores" / key[:2] / f"{key}.json"

    for machine in networks.possible_keys:
        known = _as_scores(kept(place(machine)))
        if known is not None:
            return known
    made = Kept(list(score(networks.scorer)), networks.scorer.engine)
    keep(place(networks.scorer.networks_key), _plain(made))
    return made


def with_score(rules: Rules, reading: Reading, kept: Kept) -> Scored:
    """The result of a video whose tracks were scored; damaged frames alone decide nothing, whatever they score."""
    tracks = kept.tracks
    video_logit = judge(tracks, rules.stack, rules.ensemble).logit
    if reading.extraction.is_damaged:
        video_logit = undecided(video_logit, rules.stack.band)
    p_fake = float(expit(np.array([video_logit]))[0])
    n_faces = len(reading.extraction.faces)
    crops = reading.extraction.crops
    return Scored(reading.video_id, p_fake, n_faces, len(tracks), None, reading, tracks, crops, kept.engine)


def undecided(video_logit: float, band: tuple[float, float]) -> float:
    """A video's logit, or the one nearest to it that lies well inside the inconclusive band."""
    low, high = band
    edge = 0.01 * (high - low)
    return float(logit(np.clip(expit(np.array(video_logit)), low + edge, high - edge)))


_ARRAYS = ("frame_logits", "times_s", "frame_indices", "boxes", "member_logits")


def _plain(scores: Kept) -> dict[str, Any]:
    tracks = [{**vars(score), **{name: getattr(score, name).tolist() for name in _ARRAYS}} for score in scores.tracks]
    return {"tracks": tracks, "engine": scores.engine.model_dump()}


def _as_scores(stored: Any) -> Kept | None:
    """The scores that `_plain` was made from; None where there is nothing, or something of another version."""
    try:
        tracks = [{**track, **{name: np.array(track[name]) for name in _ARRAYS}} for track in stored["tracks"]]
        return Kept([TrackScore(**track) for track in tracks], Engine.model_validate(stored["engine"]))
    except (ValueError, KeyError, TypeError):
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


# What `score_videos` takes and gives.
Score = Callable[[dict[str, Path], "DetectorHeader | TrainedDetector", str, Path, Predict, int], Iterator[Scored]]


def predict_folder(
    folder: Path,
    out: Path,
    detector: DetectorHeader | TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    workers: int,
    score: Score = score_videos,
    predict: Predict | None = None,
) -> list[Scored]:
    """Score every video below a folder into a CSV: see `predict_paths`."""
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    return predict_paths(paths, out, detector, weights_sha256, cache_dir, workers, score, predict)


def predict_paths(
    paths: dict[str, Path],
    out: Path,
    detector: DetectorHeader | TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    workers: int,
    score: Score = score_videos,
    predict: Predict | None = None,
) -> list[Scored]:
    """Score videos into a CSV: filename, label (p_fake), n_faces, n_tracks, fallback.

    Returns the videos by name. `score` does what `score_videos` does.
    """
    from tqdm import tqdm

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
