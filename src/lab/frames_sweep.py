"""How many frames a detector needs: accuracy and cost against frames, sampling mode, early exit and skip gate.

Of each sampling mode every clip is extracted and shown to the networks once, at the most frames; fewer frames are
chosen from those. Costs are seconds of one processor, measured apart on a few of the clips. Letters: V clips.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from deepfake.detector.file import open_detector
from deepfake.detector.fitting import cross_fitted
from deepfake.detector.judged import FORMAT
from deepfake.detector.labelled_clips import HALVES, Clips, read_clips
from deepfake.detector.video_scorer import Track, VideoScorer
from deepfake.ensemble.early_exit import SkipGate, thumb
from deepfake.ensemble.pooling import Tracks
from deepfake.errors import UserError
from deepfake.evaluation import bootstrap
from deepfake.evaluation.evaluate import bootstrap_groups
from deepfake.evaluation.metrics import Measure
from deepfake.faces.crop_store import read_rows
from deepfake.faces.extracted import StoredFace, stored_crop
from deepfake.faces.extraction import faces_of_rows
from deepfake.faces.extractor import Job, extract
from deepfake.files import digest, sha256_of, write_whole
from deepfake.media.listing import find_videos, video_id_of
from deepfake.media.sampling import MODES
from deepfake.scoring.run_scores import read_outputs, write_outputs
from deepfake.settings import Config, Extract, result_values, section_values

Outputs = list[tuple[np.ndarray, np.ndarray]]
MARGINS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # calibrated logits, of which early exit gets one
NEVER = 100.0  # logits that no score is away from a bound
MAX_CHANGED = 0.02  # verdicts, as a share of the clips a margin is chosen on
TIMED_CLIPS, TIMED_CROPS = 3, 32


@dataclass(frozen=True)
class Point:
    """One place of the curve: what was scored, what it cost, how good the scores are.

    Log loss is of probabilities calibrated on the other half of the people. What is lost or gained is against all
    frames of the same sampling mode, over shared resamples; so is `largest_change`, that of any clip's p_fake, and
    `verdicts_changed`, the share of clips that fall on another side of a bound of the inconclusive band.
    """

    sampling: str
    early_exit: str
    n_frames: int
    frames_seen: float
    share_saved: float
    extraction_cpu_s: float
    network_cpu_s: float
    roc_auc: Measure
    log_loss: Measure
    roc_auc_difference: Measure
    log_loss_difference: Measure
    largest_change: float
    verdicts_changed: float
    note: str = ""

    @property
    def cpu_s(self) -> float:
        """Seconds of one processor for a clip."""
        return self.extraction_cpu_s + self.network_cpu_s


@dataclass(frozen=True)
class Scores:
    """Scores of all clips: logit_V, calibrated (NaN without a face), and how many crops were seen for it."""

    logit_V: np.ndarray
    seen_V: np.ndarray


class Sweep:
    """One sampling mode at its most frames, with the frame networks' logits of every crop."""

    def __init__(self, scorer: VideoScorer, clips: Clips, extract: Extract, folder: Path, key: str) -> None:
        self.scorer, self.clips, self.extract = scorer, clips, extract
        by_video = clips.faces.groupby("video_id", sort=True)
        self.faces = {str(v): faces_of_rows(part.to_dict("records")) for v, part in by_video}
        self.n_sampled = {video_id: self._n_sampled(faces[0]) for video_id, faces in self.faces.items()}
        self.outputs: dict[str, Outputs] = {}
        for video_id in tqdm(self.faces, desc=f"networks, {extract.sampling}", unit="video", disable=None):
            self.outputs[video_id] = self._outputs(self.faces[video_id], folder, key)

    @property
    def band(self) -> tuple[float, float]:
        """The inconclusive band, in calibrated logits."""
        return self.scorer.detector.stack.band_logits

    def _n_sampled(self, face: StoredFace) -> int:
        """Frames sampled of a clip at the most; of sampling = fps, which counts seconds, as many as of any."""
        most = self.extract.frames_per_video
        if self.extract.sampling == "fps":
            return most
        return int(read_rows(self.clips.cache_dir / face.shard).get("n_sampled", most))

    def _outputs(self, faces: Sequence[StoredFace], folder: Path, key: str) -> Outputs:
        stem = folder / digest([key, faces[0].shard])[:32]
        members = [stem.with_name(f"{stem.name}-{number}") for number in range(len(self.scorer.members))]
        known = [kept for member in members if (kept := read_outputs(member, len(faces))) is not None]
        if len(known) == len(members):
            return known
        size = self.scorer.predict.batch_size
        parts = [
            self.scorer.frame_outputs(_crops(self.clips, faces[start : start + size]))
            for start in range(0, len(faces), size)
        ]
        outputs = []
        for number, (member, (_, _, heads)) in enumerate(zip(members, self.scorer.members, strict=True)):
            logits, features = (np.concatenate([part[number][i] for part in parts]) for i in (0, 1))
            outputs.append((logits, features if heads else features[:, :0]))
            write_outputs(member, *outputs[-1])
        return outputs

    def at(self, n_frames: int) -> Scores:
        """Scores as if only `n_frames` frames of each clip had been scored, spread over it."""
        scorer = self.scorer.with_settings(early_exit="off", skip_difference=0.0)
        return self._scored(scorer, lambda video_id: chosen(self.faces[video_id], n_frames, self.n_sampled[video_id]))

    def stopped(self, mode: Literal["off", "on", "forced"], margin: float) -> Scores:
        """Scores with early exit."""
        scorer = self.scorer.with_settings(early_exit=mode, exit_margin=margin, skip_difference=0.0)
        return self._scored(scorer, lambda video_id: np.ones(len(self.faces[video_id]), bool))

    def skipped(self, difference: float) -> Scores:
        """Scores with a skip gate of so many grey levels: a crop that is like another one gets that one's logit.

        All others are scored in their order, as a detector does without early exit.
        """
        scorer = self.scorer.with_settings(early_exit="off", skip_difference=0.0)
        logit_V, seen_V = np.full(len(self.clips.video_ids), np.nan), np.zeros(len(self.clips.video_ids))
        for i, video_id in enumerate(self.clips.video_ids):
            if video_id not in self.faces:
                continue
            sources = self._sources(video_id, difference)
            outputs = [(logits[sources], features[sources]) for logits, features in self.outputs[video_id]]
            faces = self.faces[video_id]
            scores = scorer.settle(list(self._tracks(scorer, faces, outputs, np.ones(len(faces), bool))))
            logit_V[i], seen_V[i] = scorer.video_logit(scores), len(np.unique(sources))
        return Scores(logit_V, seen_V)

    def _sources(self, video_id: str, difference: float) -> np.ndarray:
        """Of each face of a clip the face whose outputs it gets."""
        numbers = np.array([face.track for face in self.faces[video_id]])
        sources = np.arange(len(numbers))
        for number in np.unique(numbers):
            gate, places = SkipGate(difference), np.flatnonzero(numbers == number)
            chosen = [gate.source_of(i, self.thumbs[video_id][place]) for i, place in enumerate(places)]
            sources[places] = places[chosen]
        return sources

    @cached_property
    def thumbs(self) -> dict[str, np.ndarray]:
        """Of each clip the thumbs of its crops, in the order of its faces."""
        bar = tqdm(self.faces.items(), desc=f"thumbs, {self.extract.sampling}", unit="video", disable=None)
        return {video_id: np.stack([thumb(crop) for crop in _crops(self.clips, faces)]) for video_id, faces in bar}

    def _scored(self, scorer: VideoScorer, choose: Callable[[str], np.ndarray]) -> Scores:
        logit_V, seen_V = np.full(len(self.clips.video_ids), np.nan), np.zeros(len(self.clips.video_ids))
        for i, video_id in enumerate(self.clips.video_ids):
            if video_id not in self.faces:
                continue
            tracks = self._tracks(scorer, self.faces[video_id], self.outputs[video_id], choose(video_id))
            scores = scorer.settle(list(tracks))
            logit_V[i] = scorer.video_logit(scores)
            seen_V[i] = sum(len(score.frame_logits) for score in scores)
        return Scores(logit_V, seen_V)

    def _tracks(
        self, scorer: VideoScorer, faces: Sequence[StoredFace], outputs: Outputs, keep: np.ndarray
    ) -> Iterator[Track]:
        numbers = np.array([face.track for face in faces])
        for number in np.unique(numbers[keep]):
            places = np.flatnonzero(keep & (numbers == number)).tolist()
            own = [(logits[places], features[places]) for logits, features in outputs]
            yield Track(scorer, self.clips.cache_dir, [faces[i] for i in places], own)


def chosen(faces: Sequence[StoredFace], n_frames: int, n_sampled: int) -> np.ndarray:
    """Which faces would be there had `n_frames` been sampled: as large a share of those with a face as of all."""
    frames = np.array([face.frame_index for face in faces])
    with_face = np.unique(frames)
    share = n_frames / max(n_sampled, len(with_face))
    n = min(max(round(share * len(with_face)), 1), len(with_face))
    middles = ((np.arange(n) + 0.5) * len(with_face) / n).astype(int)
    return np.isin(frames, with_face[middles])


def _crops(clips: Clips, faces: Sequence[StoredFace]) -> list[np.ndarray]:
    return [stored_crop(clips.cache_dir, face) for face in faces]


def _verdicts(scores: Scores, sweep: Sweep) -> np.ndarray:
    """Below, inside or above the inconclusive band (V)."""
    return np.asarray(np.digitize(scores.logit_V, sweep.band))


def cross_chosen(sweep: Sweep) -> tuple[Scores, list[float]]:
    """Early exit with, for each half of the people, the margin chosen on the other half; and these margins.

    Chosen is the one that saves most frames while at most `MAX_CHANGED` of the verdicts differ from those of a margin
    with which none is settled; where none does, the widest. Labels are not asked: the AUC of 87 clips moves by more
    than what is to be lost.
    """
    patient = sweep.stopped("on", NEVER)
    tried = [sweep.stopped("on", margin) for margin in MARGINS]
    changed = [_verdicts(one, sweep) != _verdicts(patient, sweep) for one in tried]
    logit_V, seen_V, margins = patient.logit_V.copy(), patient.seen_V.copy(), []
    for half in range(HALVES):
        others = sweep.clips.halves != half
        good = [i for i in range(len(MARGINS)) if changed[i][others].mean() <= MAX_CHANGED] or [len(MARGINS) - 1]
        best = min(good, key=lambda i: tried[i].seen_V[others].sum())
        logit_V[~others], seen_V[~others] = tried[best].logit_V[~others], tried[best].seen_V[~others]
        margins.append(MARGINS[best])
    return Scores(logit_V, seen_V), margins


def _p(logit_V: np.ndarray) -> np.ndarray:
    return np.asarray(expit(np.clip(np.nan_to_num(logit_V), -30, 30)))


def curve(
    sweep: Sweep, frames: Sequence[int], costs: Costs, config: Config, skips: Sequence[float] = ()
) -> list[Point]:
    """Points for every number of frames, then at the most those of early exit off, on and forced and of skip gates.

    `skips` are the gates' differences in grey levels.
    """
    full = sweep.stopped("off", 0.0)
    measured = _Measured(sweep, full, config)
    most, points = sweep.extract.frames_per_video, []
    for n in frames:
        scores = full if n == most else sweep.at(n)
        points.append(measured.point("-", n, scores, costs.extraction(n), costs.network_s))
    chosen, margins = cross_chosen(sweep)
    note = "margin " + " and ".join(f"{margin:g}" for margin in margins)
    for mode, scores in (("off", full), ("on", chosen), ("forced", sweep.stopped("forced", 0.0))):
        what = note if mode == "on" else ""
        points.append(measured.point(mode, most, scores, costs.extraction(most), costs.network_s, what))
    for difference in skips:
        scores, what = sweep.skipped(difference), f"{difference:g} grey levels"
        points.append(measured.point("skip", most, scores, costs.extraction(most), costs.network_s, what))
    return points


class _Measured:
    """Measures scores of clips beside those of all frames."""

    def __init__(self, sweep: Sweep, full: Scores, config: Config) -> None:
        self.sweep, self.full, self.config = sweep, full, config
        self.groups = bootstrap_groups(sweep.clips.labelled)[1]

    def _calibrated(self, scores: Scores) -> np.ndarray:
        clips, seen_V = self.sweep.clips, np.isfinite(scores.logit_V)
        ids = [video_id for video_id, is_seen in zip(clips.video_ids, seen_V.tolist(), strict=True) if is_seen]
        pooled = Tracks.one_each(scores.logit_V[seen_V][:, None], ["detector"], ids)
        return cross_fitted(pooled, clips, self.sweep.scorer.detector.ensemble)

    def point(
        self, mode: str, n_frames: int, scores: Scores, extraction_s: float, network_s: float, note: str = ""
    ) -> Point:
        labels = self.sweep.clips.labels
        fixed = (self.groups, self.config.validation, self.sweep.scorer.detector.ensemble.clip_p)
        ranked, probable = _p(scores.logit_V), self._calibrated(scores)
        seen = float(scores.seen_V.mean())
        return Point(
            sampling=self.sweep.extract.sampling,
            early_exit=mode,
            n_frames=n_frames,
            frames_seen=seen,
            share_saved=1 - seen / float(self.full.seen_V.mean()),
            extraction_cpu_s=extraction_s,
            network_cpu_s=seen * network_s,
            roc_auc=bootstrap.measure(labels, ranked, *fixed)["roc_auc"],
            log_loss=bootstrap.measure(labels, probable, *fixed)["log_loss_clipped"],
            roc_auc_difference=bootstrap.measure_difference(labels, ranked, _p(self.full.logit_V), *fixed)["roc_auc"],
            log_loss_difference=bootstrap.measure_difference(labels, probable, self._calibrated(self.full), *fixed)[
                "log_loss_clipped"
            ],
            largest_change=self._largest_change(scores),
            verdicts_changed=float(np.mean(_verdicts(scores, self.sweep) != _verdicts(self.full, self.sweep))),
            note=note,
        )

    def _largest_change(self, scores: Scores) -> float:
        p, full = (self.sweep.scorer.p_fake(one.logit_V) for one in (scores, self.full))
        return float(np.nanmax(np.abs(p - full)))  # a clip without a face has no score that could change


@dataclass(frozen=True)
class Costs:
    """Seconds of one processor: of the networks for a crop, of extraction for a clip by the number of frames."""

    network_s: float
    extraction: Callable[[int], float]


def network_cpu_s(scorer: VideoScorer, clips: Clips) -> float:
    """Processor seconds the frame networks take for a crop: the better of two turns over some."""
    crops = _crops(clips, faces_of_rows(clips.faces.iloc[:TIMED_CROPS].to_dict("records")))
    turns = []
    for _ in range(2):
        start = time.process_time()
        scorer.frame_outputs(crops)
        turns.append(time.process_time() - start)
    return min(turns) / len(crops)


def extraction_cpu_s(paths: Sequence[Path], settings: Extract, note: Path) -> float:
    """Processor seconds of a clip's extraction, the mean of a few clips spread over `paths`; kept in `note`."""
    chosen = [paths[i] for i in sorted({len(paths) * (2 * k + 1) // (2 * TIMED_CLIPS) for k in range(TIMED_CLIPS)})]
    key = digest([[path.name for path in chosen], result_values(settings, "extract")])
    known: dict[str, float] = json.loads(note.read_text()) if note.is_file() else {}
    if key not in known:
        with TemporaryDirectory() as folder:
            jobs = [Job(path.name, path, Path(folder), f"{i}.tar", settings) for i, path in enumerate(chosen)]
            extract(jobs[0])  # loads MTCNN
            start = time.process_time()
            for job in jobs:
                extract(job)
            known[key] = (time.process_time() - start) / len(jobs)
        write_whole(note, json.dumps(known, indent=1).encode())
    return known[key]


def table(points: Sequence[Point]) -> pd.DataFrame:
    """The points as rows of plain numbers."""
    rows = []
    for point in points:
        row: dict[str, object] = {}
        for name, value in vars(point).items():
            if isinstance(value, Measure):
                row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                row[name] = value
        rows.append(row | {"cpu_s": point.cpu_s})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Wanted:
    """What to sweep over which clips; `cache_dir` keeps crops, `out` all else."""

    clips: Path
    labels: Path
    samplings: Sequence[str]
    frames: Sequence[int]
    cache_dir: Path
    workers: int
    out: Path
    skips: Sequence[float] = ()
    limit: int | None = None


def sweep_modes(weights: Path, wanted: Wanted, config: Config) -> Iterator[list[Point]]:
    """Yield the points so far after each sampling mode, with progress bars: hours of sweeping show what they have.

    What was extracted, shown to the networks or timed before is read back.
    """
    detector, weights_sha256 = open_detector(weights, config.predict), sha256_of(weights)
    scorer = VideoScorer(detector, config.predict)
    key = digest([weights_sha256, section_values(config, "predict"), scorer.networks_key, FORMAT])
    paths = find_videos(wanted.clips)
    points: list[Point] = []
    for sampling in wanted.samplings:
        settings = _most(detector.extract, sampling, max(wanted.frames), wanted.workers)
        clips = read_clips(wanted.clips, wanted.labels, settings, wanted.cache_dir, wanted.limit)
        labelled = set(clips.video_ids)
        timed = [path for path in paths if video_id_of(path, wanted.clips) in labelled]

        def extraction(n: int, timed: Sequence[Path] = timed, settings: Extract = settings) -> float:
            fewer = settings.model_copy(update=_thinner(settings, n))
            return extraction_cpu_s(timed, fewer, wanted.out / "extraction_cpu_s.json")

        sweep = Sweep(scorer, clips, settings, wanted.out / "networks", key)
        points += curve(sweep, wanted.frames, Costs(network_cpu_s(scorer, clips), extraction), config, wanted.skips)
        yield points


def _most(extract: Extract, sampling: str, most: int, workers: int) -> Extract:
    if sampling not in MODES:
        raise UserError(f"--sampling {sampling!r}: no such mode; choose from {', '.join(MODES)}")
    fps = min(extract.sample_fps * most / extract.frames_per_video, 240)
    changes = {"sampling": sampling, "workers": workers, "frames_per_video": most, "sample_fps": fps}
    return Extract.model_validate(extract.model_dump() | changes)


def _thinner(settings: Extract, n: int) -> dict[str, float]:
    """What gives `n` frames instead of the most; of sampling = fps a rate as much lower, for it does not count."""
    if settings.sampling == "fps":
        return {"sample_fps": max(settings.sample_fps * n / settings.frames_per_video, 1e-3)}
    return {"frames_per_video": n}
