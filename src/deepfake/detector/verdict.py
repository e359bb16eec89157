"""The verdict on one video: a `Check` made from its scores, a line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from deepfake.detector.check import (
    FORGED,
    INCONCLUSIVE,
    NO_FACE,
    REAL,
    SPAN_GAP_S,
    STANDS_FOR_S,
    UNREADABLE,
    Band,
    Check,
    CheckedFile,
    CheckedTrack,
    DetectorFacts,
    FrameScore,
    LookedAt,
    SecondScore,
    Shot,
    Span,
    Verdict,
    level_of,
)
from deepfake.files import printable, sha256_of
from deepfake.media.file_facts import VideoFacts, VideoFile, describe
from deepfake.settings import Predict

if TYPE_CHECKING:  # torch, timm and pandas cost seconds: pages, --help and --schema do without
    from deepfake.detector.file import TrainedDetector
    from deepfake.detector.score_videos import Scored
    from deepfake.detector.video_scorer import TrackScore
    from deepfake.faces.extracted import Extraction
    from deepfake.faces.reading import Reading

EXIT_CODES: Mapping[Verdict, Literal[0, 3, 4, 5]] = {FORGED: 3, REAL: 0, INCONCLUSIVE: 4, NO_FACE: 5, UNREADABLE: 5}
GRAVEST_FIRST = (FORGED, INCONCLUSIVE, UNREADABLE, NO_FACE, REAL)


def check_videos(
    paths: Sequence[Path],
    detector: TrainedDetector,
    weights_sha256: str,
    cache_dir: Path,
    workers: int = 1,
    known: Mapping[Path, Reading] | None = None,
) -> Iterator[tuple[int, Scored, Check]]:
    """Yield each video's place in `paths`, its scores and its check, as each is done; `known`: see `score_videos`."""
    from deepfake.detector.score_videos import score_videos

    by_id = {f"{number:06d}": path for number, path in enumerate(paths)}
    for scored in score_videos(by_id, detector, weights_sha256, cache_dir, Predict(), workers, known):
        made = check_of(by_id[scored.video_id], scored, detector, weights_sha256)
        yield int(scored.video_id), scored, made


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """The exit code: that of the gravest verdict."""
    return EXIT_CODES[min(verdicts, key=GRAVEST_FIRST.index)]


def verdict_of(scored: Scored, band: tuple[float, float]) -> Verdict:
    """What a score means; without a score it depends on whether the video could be read."""
    if scored.fallback is not None:
        return NO_FACE if scored.fallback == "no_face" else UNREADABLE
    if scored.reading is not None and scored.reading.extraction.is_damaged:
        return INCONCLUSIVE
    return level_of(scored.p_fake, *band)


def reason_of(extraction: Extraction) -> str | None:
    """Why there is no score, or no verdict whatever the score; None for a video that was judged."""
    if extraction.faces and extraction.is_damaged:
        return (
            f"the file is damaged, {extraction.n_damaged} of {extraction.n_sampled} sampled frames with it, and the "
            "undamaged ones show no face: fetch it again"
        )
    return extraction.reason


def check_of(path: Path, scored: Scored, detector: TrainedDetector, weights_sha256: str) -> Check:
    """All that is known of a scored video; nothing is read that was read for its scores."""
    assert scored.reading is not None, f"{scored.video_id}: a score without what it was made from"
    verdict = verdict_of(scored, detector.stack.band)
    file, extraction = scored.reading.file, scored.reading.extraction
    facts = None if verdict == UNREADABLE else _facts(file, extraction)
    tracks = [_as_shown(track, extraction.turned, facts) for track in scored.tracks] if facts else []
    low, high = detector.stack.band
    sha256 = file.sha256 or sha256_of(path)  # unknown where the process that read it was stopped
    return Check(
        file=CheckedFile(path=str(path), name=path.name, sha256=sha256, size_bytes=file.size_bytes),
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        reason=reason_of(extraction),
        p_fake=None if scored.fallback else _rounded(scored.p_fake),
        inconclusive_band=Band(low=low, high=high),
        detector=_about(detector, weights_sha256),
        video=facts,
        looked_at=_looked_at(extraction, facts.duration_s) if facts else None,
        shots=_shots(tracks, extraction, facts.duration_s, detector) if facts else (),
    )


def _facts(file: VideoFile, extraction: Extraction) -> VideoFacts:
    """The file, with what was odd about its pictures."""
    facts = describe(file)
    return facts.model_copy(update={"warnings": (*facts.warnings, *oddities(extraction))})


def oddities(extraction: Extraction) -> list[str]:
    """What a person should know of how the frames were looked at."""
    messages = []
    if extraction.n_damaged and not extraction.is_damaged:
        n_wanted = extraction.n_damaged + extraction.n_sampled
        messages.append(f"{extraction.n_damaged} of {n_wanted} sampled frames are damaged and were left out.")
    if extraction.turned:
        how = "upside down" if extraction.turned == 180 else "lying on its side"
        messages.append(
            f"The picture is {how}: players show it without a face, and turned by {extraction.turned} degrees it shows "
            "one. It was judged so; boxes are drawn where players show the face."
        )
    return messages


def _as_shown(score: TrackScore, turned: int, facts: VideoFacts) -> TrackScore:
    """A track with its boxes in the picture that players show, not in one turned clockwise."""
    if not turned:
        return score
    x0, y0, x1, y1 = score.boxes.T
    width_px, height_px = facts.width_px, facts.height_px
    shown = {
        90: (y0, height_px - x1, y1, height_px - x0),
        180: (width_px - x1, height_px - y1, width_px - x0, height_px - y0),
        270: (width_px - y1, x0, width_px - y0, x1),
    }
    return replace(score, boxes=np.stack(shown[turned], axis=1))


def _about(detector: TrainedDetector, weights_sha256: str) -> DetectorFacts:
    calibration = detector.stack.calibration
    return DetectorFacts(
        name=detector.name,
        weights_sha256=weights_sha256,
        about={str(key): value for key, value in sorted(detector.about.items())},
        calibration=calibration.kind,
        n_calibration_videos=calibration.n_videos,
        error_rate=detector.ensemble.error_rate,
        fake_share=detector.ensemble.fake_share,
        min_track_frames=detector.ensemble.min_track_frames,
        max_tracks=detector.extract.max_tracks,
    )


def _looked_at(extraction: Extraction, duration_s: float) -> LookedAt:
    return LookedAt(
        n_frames=extraction.n_sampled,
        n_damaged_frames=extraction.n_damaged,
        is_damaged=extraction.is_damaged,
        turned=extraction.turned,
        times_s=tuple(round(t, 3) for t in extraction.times_s),
        unseen_s=tuple(_unseen(extraction.times_s, duration_s)),
        decoder=extraction.decoder or "",
        decoder_reason=extraction.decoder_reason or "",
    )


def _unseen(times_s: Sequence[float], duration_s: float) -> list[tuple[float, float]]:
    """Stretches (from, to) that no sampled frame stands for."""
    edges = [(t - STANDS_FOR_S, t + STANDS_FOR_S) for t in times_s]
    starts, ends = [0.0, *(end for _, end in edges)], [*(start for start, _ in edges), duration_s]
    return [(round(a, 3), round(b, 3)) for a, b in zip(starts, ends, strict=True) if b - a > 1e-3]


def _shots(
    scores: Sequence[TrackScore], extraction: Extraction, duration_s: float, detector: TrainedDetector
) -> tuple[Shot, ...]:
    starts = _shot_starts(extraction, scores)
    tracks = _tracks(scores, extraction, detector)
    return tuple(
        Shot(
            shot=number,
            from_s=round(start, 3),
            to_s=round(end, 3),
            tracks=tuple(track for track, score in zip(tracks, scores, strict=True) if score.shot == number),
        )
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], duration_s], strict=True))
    )


def _shot_starts(extraction: Extraction, scores: Sequence[TrackScore]) -> list[float]:
    """When each shot begins; from the faces where a shard of an older version has no cuts."""
    last = max((score.shot for score in scores), default=0)
    if extraction.cuts_s is not None and len(extraction.cuts_s) >= last:
        return [0.0, *extraction.cuts_s]
    first = [
        min((float(score.times_s[0]) for score in scores if score.shot == shot), default=0.0)
        for shot in range(1, last + 1)
    ]
    return [0.0, *np.maximum.accumulate(first).tolist()] if first else [0.0]


def _tracks(scores: Sequence[TrackScore], extraction: Extraction, detector: TrainedDetector) -> list[CheckedTrack]:
    from deepfake.detector.video_scorer import deciding
    from deepfake.ensemble.pooling import credible, trust

    if not scores:
        return []
    settings = detector.ensemble
    lengths = np.array([score.n_frames or len(score.frame_logits) for score in scores])
    counts = credible(lengths, settings.min_track_frames)
    decisive = deciding(scores, settings)
    sharpness = {(face.track, face.frame_index): face.sharpness for face in extraction.faces}
    made = []
    for number, score in enumerate(scores):
        sharp = np.array([sharpness[score.track, int(index)] for index in score.frame_indices])
        sides = (score.boxes[:, 2:] - score.boxes[:, :2]).max(axis=1)
        standing = Standing(bool(counts[number]), number == decisive, trust(sides, sharp, settings))
        made.append(_track(score, standing, detector))
    return made


@dataclass(frozen=True)
class Standing:
    """What a track is worth beside the others: see `CheckedTrack`."""

    counts: bool
    decides: bool
    trust: float


def _track(score: TrackScore, standing: Standing, detector: TrainedDetector) -> CheckedTrack:
    from scipy.special import expit

    apply = detector.stack.calibration.apply
    p_frames = apply(score.frame_logits)
    seconds = np.floor(score.times_s).astype(int)
    p_seconds = {
        int(s): float(apply(score.frame_logits[seconds == s].mean(keepdims=True))[0]) for s in np.unique(seconds)
    }
    return CheckedTrack(
        track=score.track,
        p_fake=_rounded(float(expit(score.logit))),
        counts=standing.counts,
        decides=standing.decides,
        trust=_rounded(standing.trust),
        from_s=round(float(score.times_s[0]), 3),
        to_s=round(float(score.times_s[-1]), 3),
        n_frames=len(p_frames),
        seconds=tuple(
            SecondScore(second=s, p_fake=_rounded(p), n_frames=int((seconds == s).sum())) for s, p in p_seconds.items()
        ),
        suspicious=suspicious_spans(score.times_s, p_frames, p_seconds, detector.stack.band[1]),
        frames=_frames(score, p_frames),
    )


def _frames(score: TrackScore, p_frames: np.ndarray) -> tuple[FrameScore, ...]:
    rows = zip(score.frame_indices, score.times_s, score.boxes, p_frames, strict=True)
    return tuple(
        FrameScore(frame=int(index), time_s=round(float(time_s), 3), box_px=_rounded_box(box), score=_rounded(p))
        for index, time_s, box, p in rows
    )


def _rounded_box(box: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (round(float(x), 1) for x in box)
    return x0, y0, x1, y1


def suspicious_spans(
    times_s: np.ndarray, p_frames: np.ndarray, p_seconds: Mapping[int, float], high: float
) -> tuple[Span, ...]:
    """Stretches of seconds above the inconclusive band, from their first to their last sampled frame."""
    spans: list[list[int]] = []
    for index, time_s in enumerate(times_s):
        if p_seconds[int(time_s)] <= high:
            continue
        goes_on = spans and spans[-1][-1] == index - 1 and time_s - times_s[index - 1] <= SPAN_GAP_S
        if goes_on:
            spans[-1].append(index)
        else:
            spans.append([index])
    return tuple(
        Span(
            from_s=round(float(times_s[span[0]]), 3),
            to_s=round(float(times_s[span[-1]]), 3),
            n_frames=len(span),
            p_fake_max=_rounded(float(p_frames[span].max())),
        )
        for span in spans
    )


def verdict_line(check: Check) -> str:
    """The verdict in one line: name, verdict, and the score or why there is none."""
    name, band = printable(check.file.name), check.inconclusive_band
    if check.p_fake is None:
        return f"{name}: {check.verdict} ({printable(check.reason)})"
    why = f"; {printable(check.reason)}" if check.reason else ""
    return (
        f"{name}: {check.verdict}, p_fake {check.p_fake:.2f} (inconclusive from {band.low:.2f} to {band.high:.2f}{why})"
    )


def face_lines(check: Check) -> list[str]:
    """A line for each face, with its scores by the second as a row of bars; before them, how the picture was turned."""
    turned = check.looked_at.turned if check.looked_at else 0
    lines = [f"  judged turned by {turned} degrees: as players show it there is no face"] if turned else []
    for shot, track in check.tracks:
        bar = "".join("▁▂▃▄▅▆▇█"[min(int(second.p_fake * 8), 7)] for second in track.seconds)
        lines.append(
            f"  face {track.track} in shot {shot.shot}, {track.from_s:.1f}-{track.to_s:.1f} s, "
            f"{track.n_frames} frames: p_fake {track.p_fake:.2f}, by the second {bar}"
        )
    return lines


def _rounded(value: float) -> float:
    return round(float(value), 6)
