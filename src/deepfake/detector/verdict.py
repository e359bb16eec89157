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
    UNREADABLE,
    Band,
    Check,
    CheckedFile,
    CheckedStream,
    CheckedTrack,
    DetectorFacts,
    FrameScore,
    LookedAt,
    SearchedFrames,
    SecondScore,
    Shot,
    Span,
    Verdict,
    level_of,
)
from deepfake.detector.looks import Look, looks_of
from deepfake.ensemble.promise import short_words
from deepfake.files import printable
from deepfake.media.file_facts import VideoFacts, VideoFile, describe
from deepfake.settings import Predict

if TYPE_CHECKING:  # networks cost seconds: pages, --help and --schema do without, and a video that is known
    from deepfake.detector.file import TrainedDetector
    from deepfake.detector.header import Networks, Rules
    from deepfake.detector.judged import TrackScore
    from deepfake.detector.score_videos import Scored
    from deepfake.faces.extracted import Extraction, Searched
    from deepfake.faces.reading import Reading
    from deepfake.settings import Ensemble

EXIT_CODES: Mapping[Verdict, Literal[0, 3, 4, 5]] = {FORGED: 3, REAL: 0, INCONCLUSIVE: 4, NO_FACE: 5, UNREADABLE: 5}
SURELY_SEEN_S = 1.05  # seconds between two searched frames; up to there nobody who matters is missed
GRAVEST_FIRST = (FORGED, INCONCLUSIVE, UNREADABLE, NO_FACE, REAL)


def check_videos(
    paths: Sequence[Path], detector: TrainedDetector, weights_sha256: str, cache_dir: Path
) -> Iterator[tuple[int, Scored, Check]]:
    """Yield each video's place in `paths`, its scores and its check, as each is done."""
    from deepfake.detector.header import Networks

    yield from check_with(Networks(detector, Predict()), paths, weights_sha256, cache_dir)


def check_with(
    networks: Networks,
    paths: Sequence[Path],
    weights_sha256: str,
    cache_dir: Path,
    workers: int = 1,
    known: Mapping[Path, Reading] | None = None,
    people: bool = True,
) -> Iterator[tuple[int, Scored, Check]]:
    """`check_videos` with networks that are loaded by the first video whose scores are not kept.

    What is `known` of files is not read again. `people` False: faces are not compared with each other.
    """
    from deepfake.detector.people_seen import people_seen
    from deepfake.detector.score_videos import score_with

    by_id = {f"{number:06d}": path for number, path in enumerate(paths)}
    for scored in score_with(networks, by_id, weights_sha256, cache_dir, workers, known):
        seen = people_seen(scored, cache_dir) if people else None
        made = check_of(by_id[scored.video_id], scored, networks.rules, weights_sha256, seen)
        yield int(scored.video_id), scored, made


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """The exit code: that of the gravest verdict."""
    return EXIT_CODES[min(verdicts, key=GRAVEST_FIRST.index)]


def verdict_of(scored: Scored, detector: Rules) -> tuple[Verdict, str | None]:
    """What a score means, and why it has no meaning: no score, or too little to be seen behind it."""
    if scored.fallback is not None:
        reason = scored.fallback.removeprefix("unreadable: ")
        if scored.reading is not None:
            reason = str(scored.reading.extraction.reason)
        return (NO_FACE if scored.fallback == "no_face" else UNREADABLE), reason
    damage = None if scored.reading is None else damage_of(scored.reading.extraction)
    if damage is not None:
        return INCONCLUSIVE, damage
    verdict = level_of(scored.p_fake, *detector.stack.band)
    if verdict == INCONCLUSIVE:
        return verdict, None
    little = too_little(scored.tracks, detector, verdict)
    return (INCONCLUSIVE, f"too little to see: {little}") if little else (verdict, None)


@dataclass(frozen=True)
class Seen:
    """What there was to be seen of one person: frames, seconds from the first to the last, medians of both others."""

    n_frames: int
    seconds: float
    side_px: float
    sharpness: float

    def lacks(self, verdict: Verdict, settings: Ensemble) -> list[str]:
        """What of it is less than the verdict wants, in words."""
        frames = "frame" if self.n_frames == 1 else "frames"
        is_real = verdict == REAL
        least_frames = settings.real_frames if is_real else settings.verdict_frames
        least_s = settings.real_s if is_real else settings.verdict_s
        wanted = [
            (self.n_frames, least_frames, f"{self.n_frames} {frames} of a face"),
            (self.seconds, least_s, f"{self.seconds:.1f} s of a face"),
            (self.side_px, settings.verdict_face_px, f"a face of {self.side_px:.0f} px"),
            (self.sharpness, settings.verdict_sharpness, f"a sharpness of {self.sharpness:.1f}"),
        ]
        return [f"{words}, wanted {least:g}" for value, least, words in wanted if value < least]


def too_little(scores: Sequence[TrackScore], detector: Rules, verdict: Verdict) -> str | None:
    """Why a video's faces are not enough for a verdict; None where they are.

    "Likely forged" rests on the face that speaks most for it, "likely real" on the one that was seen longest.
    """
    from deepfake.detector.judged import judge

    judged = judge(scores, detector.stack, detector.ensemble)
    row = judged.decisive
    if verdict == REAL:
        row = int(np.argmax(np.where(judged.tracks.credible_K, judged.tracks.n_frames_K * judged.tracks.trust_K, -1)))
    own = [score for score, its_row in zip(scores, judged.row_of, strict=True) if its_row == row]
    lacking = seen(own).lacks(verdict, detector.ensemble)
    return "; ".join(lacking) or None


def seen(scores: Sequence[TrackScore]) -> Seen:
    """What there was to be seen of tracks that are judged together."""
    times_s = np.concatenate([score.times_s for score in scores])
    boxes = np.concatenate([score.boxes for score in scores])
    return Seen(
        n_frames=sum(score.length for score in scores),
        seconds=float(np.ptp(times_s)),
        side_px=float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))),
        sharpness=float(np.median([score.sharpness for score in scores])),
    )


def damage_of(extraction: Extraction) -> str | None:
    """Why there is no verdict whatever the score: only damaged frames show a face; else None."""
    if extraction.faces and extraction.is_damaged:
        return (
            f"the file is damaged, {extraction.n_damaged} of {extraction.n_sampled} sampled frames with it, and the "
            "undamaged ones show no face: fetch it again"
        )
    return None


def check_of(
    path: Path, scored: Scored, detector: Rules, weights_sha256: str, people: Mapping[int, int] | None = None
) -> Check:
    """All that is known of a scored video; nothing is read that was read for its scores.

    `people` are the persons of its tracks, where faces were compared.
    """
    assert scored.reading is not None, f"{scored.video_id}: a score without what it was made from"
    verdict, reason = verdict_of(scored, detector)
    file, extraction = scored.reading.file, scored.reading.extraction
    facts = None if verdict == UNREADABLE else _facts(file, extraction)
    looks = looks_of(extraction, file.probe) if facts and file.probe else []
    scores = [_as_shown(track, extraction, facts) for track in scored.tracks] if facts else []
    low, high = detector.stack.band
    tracks, n_counted = _tracks(scores, detector)
    tracks = [track.model_copy(update={"person": (people or {}).get(track.track)}) for track in tracks]
    shots = _shots(scores, tracks, extraction, looks)
    return Check(
        file=CheckedFile(path=str(path), name=path.name, sha256=file.sha256, size_bytes=file.size_bytes),
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        reason=reason,
        p_fake=None if scored.fallback else _rounded(scored.p_fake),
        n_faces_counted=n_counted,
        inconclusive_band=Band(low=low, high=high),
        detector=detector_facts(detector, weights_sha256),
        engine=scored.engine,
        video=facts,
        looked_at=_looked_at(extraction, looks[0]) if looks else None,
        streams=tuple(_stream(look, shots) for look in looks),
        shots=shots,
    )


def unscored_check(path: Path, reading: Reading, detector: Rules, weights_sha256: str) -> Check:
    """What is known of a video that could be read before any network has seen it: no scores, so no tracks either."""
    from deepfake.detector.score_videos import Scored

    nothing = Scored(reading.extraction.video_id, detector.stack.prior, 0, 0, "no_face", reading)
    return check_of(path, nothing, detector, weights_sha256)


def _stream(look: Look, shots: Sequence[Shot]) -> CheckedStream:
    stream = look.stream
    tracks = [track for shot in shots if shot.stream == stream.stream for track in shot.tracks]
    return CheckedStream(
        stream=stream.stream,
        codec=stream.codec,
        width_px=stream.width_px,
        height_px=stream.height_px,
        n_frames=stream.n_frames,
        from_s=round(stream.first_frame_s, 3),
        to_s=round(look.end_s, 3),
        is_looked_at=look.left_out is None,
        reason=look.left_out,
        n_sampled=look.n_sampled,
        unseen_s=tuple(look.unseen_s) if look.left_out is None else (),
        n_tracks=len(tracks),
        p_fake=max((track.p_fake for track in tracks if track.counts), default=None),
        decides=any(track.decides for track in tracks),
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


def _as_shown(score: TrackScore, extraction: Extraction, facts: VideoFacts) -> TrackScore:
    """A track with its boxes in the picture that players show, not in one turned clockwise."""
    if not extraction.turned or extraction.stream_of(score.shot) != extraction.stream:
        return score
    x0, y0, x1, y1 = score.boxes.T
    width_px, height_px = facts.width_px, facts.height_px
    shown = {
        90: (y0, height_px - x1, y1, height_px - x0),
        180: (width_px - x1, height_px - y1, width_px - x0, height_px - y0),
        270: (width_px - y1, x0, width_px - y0, x1),
    }
    return replace(score, boxes=np.stack(shown[extraction.turned], axis=1))


def detector_facts(detector: Rules, weights_sha256: str) -> DetectorFacts:
    """What pages and JSON say of the detector."""
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
        promise=detector.promise,
    )


def _looked_at(extraction: Extraction, look: Look) -> LookedAt:
    return LookedAt(
        n_frames=extraction.n_sampled,
        n_damaged_frames=extraction.n_damaged,
        is_damaged=extraction.is_damaged,
        turned=extraction.turned,
        times_s=tuple(round(t, 3) for t in look.times_s),
        unseen_s=tuple(look.unseen_s),
        decoder=extraction.decoder or "",
        decoder_reason=extraction.decoder_reason or "",
        search=_search(extraction.searched) if extraction.searched else None,
    )


def _search(searched: Searched) -> SearchedFrames:
    return SearchedFrames(**vars(searched), missed=tuple(_missed(searched)))


def _missed(searched: Searched) -> Iterator[str]:
    """What the search of a long video may have missed."""
    if searched.gap_s > SURELY_SEEN_S:
        yield (
            f"looked at 1 moment every {searched.gap_s:.1f} s; somebody seen for less than that may have been missed"
        )
    if searched.n_judged < searched.n_appearances:
        yield (
            f"{searched.n_judged} of {searched.n_appearances} appearances of faces, shot by shot, were judged; the "
            "others were only seen"
        )


def _shots(
    scores: Sequence[TrackScore], tracks: Sequence[CheckedTrack], extraction: Extraction, looks: Sequence[Look]
) -> tuple[Shot, ...]:
    pairs = list(zip(scores, tracks, strict=True))
    shots = []
    for look in looks:
        number = look.stream.stream
        own_scores = [score for score in scores if extraction.stream_of(score.shot) in (number, None)]
        for shot, from_s, to_s in look.shots(own_scores):
            own = tuple(track for score, track in pairs if score.shot == shot)
            shots.append(Shot(shot=shot, stream=number, from_s=round(from_s, 3), to_s=round(to_s, 3), tracks=own))
    return tuple(shots)


def _tracks(scores: Sequence[TrackScore], detector: Rules) -> tuple[list[CheckedTrack], int]:
    """Every track as it is judged, and how many judged faces count."""
    from deepfake.detector.judged import judge
    from deepfake.probabilities import expit

    if not scores:
        return [], 0
    judged = judge(scores, detector.stack, detector.ensemble)
    p_rows = expit(judged.logits_K)
    made = []
    for score, row in zip(scores, judged.row_of.tolist(), strict=True):
        others = [one.track for one, its_row in zip(scores, judged.row_of, strict=True) if its_row == row]
        standing = Standing(
            p_fake=float(p_rows[row]),
            counts=bool(judged.tracks.credible_K[row]),
            decides=row == judged.decisive,
            judged_with=tuple(track for track in others if track != score.track),
        )
        made.append(_track(score, standing, detector))
    return made, int(judged.tracks.credible_K.sum())


@dataclass(frozen=True)
class Standing:
    """What a track is worth beside the others: see `CheckedTrack`."""

    p_fake: float
    counts: bool
    decides: bool
    judged_with: tuple[int, ...]


def _track(score: TrackScore, standing: Standing, detector: Rules) -> CheckedTrack:
    apply = detector.stack.calibration.apply
    p_frames = apply(score.frame_logits)
    seconds = np.floor(score.times_s).astype(int)
    p_seconds = {
        int(s): float(apply(score.frame_logits[seconds == s].mean(keepdims=True))[0]) for s in np.unique(seconds)
    }
    return CheckedTrack(
        track=score.track,
        p_fake=_rounded(standing.p_fake),
        counts=standing.counts,
        decides=standing.decides,
        judged_with=standing.judged_with,
        trust=_rounded(score.trust),
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
    faces = f"{check.n_faces_counted} faces count; " if check.n_faces_counted > 1 else ""
    is_closed = (band.low, band.high) == (0, 1)
    band_words = "always so" if is_closed else f"inconclusive from {band.low:.2f} to {band.high:.2f}"
    worth = short_words(check.detector.promise, check.verdict)
    return f"{name}: {check.verdict}, p_fake {check.p_fake:.2f} ({faces}{band_words}{why}{worth and f'; {worth}'})"


def stream_lines(check: Check) -> list[str]:
    """Which video streams were looked at, and which not, in one line; none where the file has but one."""
    if len(check.streams) < 2:
        return []
    parts = [
        f"{one.stream} ({one.codec}, {one.width_px}x{one.height_px}, {one.n_frames} frame{'s' * (one.n_frames != 1)}) "
        + ("looked at" if one.is_looked_at else f"left out: {printable(one.reason)}")
        + (", decides" if one.decides else "")
        for one in check.streams
    ]
    return [f"  video streams: {'; '.join(parts)}"]


def search_lines(check: Check) -> list[str]:
    """A line for each thing that the search of a long video may have missed."""
    search = check.looked_at.search if check.looked_at else None
    return [f"  {text}" for text in search.missed] if search else []


def face_lines(check: Check) -> list[str]:
    """A line for each face, with its scores by the second as a row of bars; before them, how the picture was turned."""
    several = sum(one.is_looked_at for one in check.streams) > 1
    turned = check.looked_at.turned if check.looked_at else 0
    numbers = [track.person for _, track in check.tracks]
    is_seen_again = len(set(numbers)) < len(numbers) and None not in numbers
    lines = [f"  judged turned by {turned} degrees: as players show it there is no face"] if turned else []
    for shot, track in check.tracks:
        bar = "".join("▁▂▃▄▅▆▇█"[min(int(second.p_fake * 8), 7)] for second in track.seconds)
        where = f"shot {shot.shot} of stream {shot.stream}" if several else f"shot {shot.shot}"
        face = f"face {track.track}{f' (person {track.person})' * is_seen_again}"
        lines.append(
            f"  {face} in {where}, {track.from_s:.1f}-{track.to_s:.1f} s, "
            f"{track.n_frames} frames: p_fake {track.p_fake:.2f}, by the second {bar}"
        )
    return lines


def evidence_lines(check: Check) -> list[str]:
    """A line for each sign beside the score that says something."""
    return [f"  beside the score: {printable(sign.finding)}" for sign in check.evidence or () if sign.strength > 0]


def _rounded(value: float) -> float:
    return round(float(value), 6)
