"""Score videos with a whole detector, and a folder of them into a CSV; `verdict` says what a score means."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from scipy.special import expit
from tqdm import tqdm

from deepfake.aggregate import heard, length_trust, track_logit, trust, worst_of
from deepfake.bundle import Detector
from deepfake.config import CropView, Ensemble, Predict, UserError, digest
from deepfake.devices import choose_device
from deepfake.early_exit import FIRST_ROUND, Look, SkipGate, look_until_settled, standard_error
from deepfake.extracted import Extraction, StoredFace, by_track, stored_crop
from deepfake.extraction import faces_table, read_videos
from deepfake.files import write_whole
from deepfake.index import find_videos, video_id_of
from deepfake.reading import Reading
from deepfake.scoring import MIN_VIDEOS_TO_DIFFER, FrameScorer, mean_of_views
from deepfake.submission import count_reasons, csv_bytes, rounded
from deepfake.track_inputs import split_tracks
from deepfake.track_scoring import head_logits

FORMAT = 3  # raise it when the same weights and crops give other scores
GATE_CROPS = 8
MOST_NAMED = 20  # unreadable videos in a summary
EXIT_SETTINGS = {"early_exit", "exit_margin", "exit_most", "exit_ratio", "skip_difference"}


@dataclass(frozen=True)
class TrackScore:
    """One person in one shot: a logit for the whole, calibrated and drawn to the prior as far as it is not trusted,
    and one a frame, stacked but neither calibrated nor drawn anywhere.

    `n_frames` is how many frames the track has, where not all were looked at.
    """

    track: int
    shot: int
    logit: float
    frame_logits: np.ndarray
    times_s: np.ndarray
    frame_indices: np.ndarray
    boxes: np.ndarray
    n_frames: int | None = None


def _boxes(faces: Sequence[StoredFace]) -> np.ndarray:
    return np.array([face.box for face in faces])


def _gate_crops() -> list[np.ndarray]:
    """Soft random pictures, the same on every run: what bf16 does to them decides whether it is used."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (GATE_CROPS, 14, 14, 3), dtype=np.uint8)
    return [np.asarray(np.kron(picture, np.ones((16, 16, 1), np.uint8))) for picture in coarse]


class VideoScorer:
    """A detector on a device."""

    def __init__(self, detector: Detector, predict: Predict) -> None:
        self.detector, self.predict = detector, predict
        self.device = choose_device(predict.device)
        weights = zip(detector.stack.members, detector.stack.weights, strict=True)
        self.weights = {name: weight for name, weight in weights if weight}  # the others are not asked
        self.line = detector.stack.line
        self.members = [
            (m.name, FrameScorer(m.frames, predict, _gate_crops()), heads)
            for m in detector.members
            for heads in [{kind: head for kind, head in m.heads.items() if kind in self.weights}]
            if heads or m.name in self.weights
        ]

    def with_settings(self, **changes: Any) -> Self:
        """The same networks under other settings of `Ensemble`."""
        other = copy.copy(self)
        ensemble = self.detector.ensemble.model_copy(update=changes)
        other.detector = replace(self.detector, ensemble=ensemble)
        return other

    def score(self, work_dir: Path, faces: Sequence[StoredFace]) -> list[TrackScore]:
        """Scores of a video's tracks; with early exit not all frames are looked at."""
        return self.settle([Track(self, work_dir, own) for own in by_track(faces)])

    def settle(self, tracks: Sequence[Track]) -> list[TrackScore]:
        """Look at a video's tracks until its verdict is settled; what is made of each by then."""
        return [score for score, _ in self.look_at(tracks)]

    def look_at(self, tracks: Sequence[Track]) -> list[tuple[TrackScore, Look]]:
        """`settle`, with how much was seen of each track."""
        scores: dict[int, TrackScore] = {}

        def look(number: int, positions: np.ndarray) -> Look:
            scores[number], seen = tracks[number].look(positions)
            return seen

        lengths, band = [len(track.faces) for track in tracks], self.detector.stack.band_logits
        looks = look_until_settled(lengths, look, band, self.detector.ensemble)
        return [(scores[number], seen) for number, seen in enumerate(looks)]

    def frame_outputs(self, crops: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each frame network the logits_N and features_ND of crops."""
        found = []
        for name, scorer, heads in self.members:

            def score(view: CropView, scorer: FrameScorer = scorer) -> tuple[np.ndarray, np.ndarray]:
                return scorer.seeing(view).crops(crops)

            found.append(mean_of_views(self.detector.ensemble.views_of(name), score, bool(heads)))
        return found

    def frame_logits(self, outputs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Stacked logits_N of crops by what `frame_outputs` gave: of the frame networks alone, no heads."""
        found: dict[str, list[np.ndarray]] = {}
        for (name, _, _), (logits_N, _) in zip(self.members, outputs, strict=True):
            found.setdefault(name, []).append(logits_N.astype(np.float64))
        return self._stacked({name: np.mean(values, axis=0) for name, values in found.items()})

    def _stacked(self, logits: dict[str, np.ndarray]) -> np.ndarray:
        shares = [
            self.weights[name] * heard(logits_N, name, self.detector.ensemble) for name, logits_N in logits.items()
            if name in self.weights
        ]  # fmt: skip
        return np.asarray(np.sum(shares, axis=0), np.float64)

    @torch.inference_mode()
    def track_score(
        self,
        faces: Sequence[StoredFace],
        outputs: list[tuple[np.ndarray, np.ndarray]],
        work_dir: Path,
        counts: float,
        n_frames: int,
    ) -> TrackScore:
        """What is made of a track by the outputs of its frame networks at these faces, of `n_frames` that it has.

        `counts` is how far the track is trusted.
        """
        per_frame: dict[str, list[np.ndarray]] = {}
        of_tracks: dict[str, list[float]] = {}
        for (name, _, heads), (logits_T, features_TD) in zip(self.members, outputs, strict=True):
            per_frame.setdefault(name, []).append(logits_T.astype(np.float64))
            rows = faces_table(faces[0].shard, faces) if heads else None
            tracks = [] if rows is None else split_tracks(rows, features_TD, logits_T, {}, work_dir)
            for kind, head in heads.items():
                (found,) = head_logits(head, tracks, self.predict)
                per_frame.setdefault(kind, []).append(found.frame_logits_T.astype(np.float64))
                of_tracks.setdefault(kind, []).append(found.logit)
        means = {name: np.mean(values, axis=0) for name, values in per_frame.items()}
        settings = self.detector.ensemble
        whole = {name: track_logit(logits_T, settings) for name, logits_T in means.items()}
        whole |= {kind: float(np.mean(logits)) for kind, logits in of_tracks.items()}
        whole = {name: float(heard(np.array(logit), name, settings)) for name, logit in whole.items()}
        members = self.detector.stack.members
        return TrackScore(
            track=faces[0].track,
            shot=faces[0].shot,
            logit=float(self.line.logits(np.array([[whole.get(m, 0.0) for m in members]]), np.array([counts]))[0]),
            frame_logits=self._stacked(means),
            times_s=np.array([face.time_s for face in faces]),
            frame_indices=np.array([face.frame_index for face in faces]),
            boxes=_boxes(faces),
            n_frames=n_frames,
        )

    def video_logit(self, tracks: Sequence[TrackScore]) -> float:
        """Calibrated logit of the worst credible track."""
        return tracks[deciding(tracks, self.detector.ensemble)].logit

    def p_fake(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of calibrated logits."""
        return np.asarray(expit(logits), np.float64)


def deciding(tracks: Sequence[TrackScore], settings: Ensemble) -> int:
    """Which of a video's tracks decides: its worst credible one."""
    n_frames = [track.n_frames or len(track.frame_logits) for track in tracks]
    return worst_of([track.logit for track in tracks], n_frames, settings.min_track_frames)


class Track:
    """A track's frames as they are looked at by and by; no frame is shown to a network twice.

    `outputs` are what the frame networks say of all of them, where that is known. The track has `n_frames`, where that
    is more than the rows that are there to be looked at.
    """

    def __init__(
        self,
        scorer: VideoScorer,
        work_dir: Path,
        faces: Sequence[StoredFace],
        outputs: list[tuple[np.ndarray, np.ndarray]] | None = None,
        n_frames: int | None = None,
    ) -> None:
        self.scorer, self.work_dir, self.faces = scorer, work_dir, faces
        self.n_frames = n_frames or len(faces)
        settings = scorer.detector.ensemble
        boxes, sharpness = _boxes(faces), np.array([face.sharpness for face in faces])
        seen_well = trust((boxes[:, 2:] - boxes[:, :2]).max(axis=1), sharpness, settings)
        self.counts = seen_well * float(length_trust(np.array(self.n_frames), settings))
        self.gate = SkipGate(settings.skip_difference)
        self.is_seen = np.full(len(faces), outputs is not None)
        self.outputs = outputs or []

    def look(self, positions: np.ndarray) -> tuple[TrackScore, Look]:
        """What is made of the track once these frames are seen."""
        new = positions[~self.is_seen[positions]]
        size = self.scorer.predict.batch_size
        for start in range(0, len(new), size):  # so that memory does not grow with the track
            self._see(new[start : start + size])
        faces = [self.faces[i] for i in positions]
        outputs = [(logits[positions], features[positions]) for logits, features in self.outputs]
        score = self.scorer.track_score(faces, outputs, self.work_dir, self.counts, self.n_frames)
        error = self.counts * self.scorer.line.slope * standard_error(score.frame_logits, self.n_frames)
        return score, Look(score.logit, error, len(positions), self.n_frames)

    def _see(self, positions: np.ndarray) -> None:
        crops = [stored_crop(self.work_dir, self.faces[i]) for i in positions]
        sources = np.array([self.gate.source(int(i), crop) for i, crop in zip(positions, crops, strict=True)])
        own = np.flatnonzero(sources == positions)
        found = self.scorer.frame_outputs([crops[i] for i in own]) if len(own) else []
        if not self.outputs:
            self.outputs = [_room(len(self.faces), logits, features) for logits, features in found]
        for kept, made in zip(self.outputs, found, strict=False):
            for into, values in zip(kept, made, strict=True):
                into[positions[own]] = values
        for kept in self.outputs:
            for into in kept:
                into[positions] = into[sources]
        self.is_seen[positions] = True


def _room(n_frames: int, logits_N: np.ndarray, features_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(n_frames, logits_N.dtype), np.empty((n_frames, features_ND.shape[1]), features_ND.dtype)


@dataclass(frozen=True)
class Scored:
    """One video's result, whatever state the file is in; `reading` is what it was made from."""

    video_id: str
    p_fake: float
    n_faces: int
    n_tracks: int
    fallback: str | None
    reading: Reading | None = None
    tracks: Sequence[TrackScore] = ()


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
        tracks = kept_scores(scorer, reading.extraction, cache_dir, weights_sha256, scorer.score)
        yield with_score(scorer, reading, tracks)


def without_score(reading: Reading, prior: float) -> Scored:
    """The result of a video that could not be read or shows no face."""
    found = reading.extraction
    reason = "no_face" if found.status == "no_face" else f"unreadable: {found.reason}"
    return Scored(found.video_id, prior, 0, 0, reason, reading)


def kept_scores(
    scorer: VideoScorer,
    found: Extraction,
    cache_dir: Path,
    weights_sha256: str,
    look: Callable[[Path, Sequence[StoredFace]], list[TrackScore]],
) -> list[TrackScore]:
    """What `look(cache_dir, faces)` makes of a video's tracks, kept by its crops, the weights and the settings."""
    changed = scorer.detector.ensemble.model_dump(include=EXIT_SETTINGS, exclude_defaults=True)
    key = digest(
        [weights_sha256, found.shard, scorer.device.type, FORMAT, *([changed, FIRST_ROUND] if changed else [])]
    )[:32]
    path = cache_dir / "scores" / key[:2] / f"{key}.json"
    known = _read_scores(path)
    if known is not None:
        return known
    scores = look(cache_dir, found.faces)
    write_whole(path, _stored(scores))
    return scores


def with_score(scorer: VideoScorer, reading: Reading, tracks: Sequence[TrackScore]) -> Scored:
    """The result of a video whose tracks were looked at."""
    p_fake = float(scorer.p_fake(np.array([scorer.video_logit(tracks)]))[0])
    n_faces = len(reading.extraction.faces)
    return Scored(reading.video_id, p_fake, n_faces, len(tracks), None, reading, tracks)


_ARRAYS = ("frame_logits", "times_s", "frame_indices", "boxes")


def _stored(scores: Sequence[TrackScore]) -> bytes:
    tracks = [{**vars(score), **{name: getattr(score, name).tolist() for name in _ARRAYS}} for score in scores]
    return json.dumps({"tracks": tracks}).encode()


def _read_scores(path: Path) -> list[TrackScore] | None:
    """What `_stored` was made from; None where there is nothing, or something of another version."""
    try:
        tracks = json.loads(path.read_text())["tracks"]
        return [TrackScore(**{**track, **{name: np.array(track[name]) for name in _ARRAYS}}) for track in tracks]
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
) -> list[Scored]:
    """Score every video below a folder into a CSV: filename, label (p_fake), n_faces, n_tracks, fallback.

    Returns the videos by name. `score` does what `score_videos` does.
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
    return scored


def summary_lines(scored: Sequence[Scored], out: Path) -> list[str]:
    """How many videos got a score, and why the others got the prior."""
    reasons = count_reasons({s.video_id: s.fallback for s in scored if s.fallback})
    n_without = sum(reasons.values())
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
    unreadable = [s for s in scored if s.fallback and s.fallback.startswith("unreadable")]
    return [
        f"{len(scored)} videos -> {out}",
        f"scored: {len(scored) - n_without}; without a score: {counts}",
        *(f"  {s.video_id!r}: {(s.fallback or '').partition(': ')[2]}" for s in unreadable[:MOST_NAMED]),
    ]
