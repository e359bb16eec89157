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
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from deepfake import metrics
from deepfake.aggregate import Tracks
from deepfake.config import Config, Extract, digest, result_values
from deepfake.detector import Track, VideoScorer
from deepfake.early_exit import SkipGate, thumb
from deepfake.evaluation import bootstrap_groups
from deepfake.files import write_whole
from deepfake.metrics import Measure
from deepfake.scoring import read_outputs, write_outputs
from deepfake.shards import read_crop, read_rows
from deepfake.trials import HALVES, Clips, cross_fitted
from deepfake.video_faces import Job, extract

Outputs = list[tuple[np.ndarray, np.ndarray]]
MARGINS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # calibrated logits, of which early exit gets one
NEVER = 100.0  # logits that no score is away from a bound
MAX_CHANGED = 0.02  # verdicts, as a share of the clips a margin is chosen on
TIMED_CLIPS, TIMED_CROPS = 3, 32


@dataclass(frozen=True)
class Point:
    """One place of the curve: what was looked at, what it cost, how good the scores are.

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
class Looked:
    """Scores of all clips: logit_V, calibrated (NaN without a face), and how many crops were seen for it."""

    logit_V: np.ndarray
    seen_V: np.ndarray


class Sweep:
    """One sampling mode at its most frames, with what the frame networks say of every crop."""

    def __init__(self, scorer: VideoScorer, clips: Clips, extract: Extract, folder: Path, key: str) -> None:
        self.scorer, self.clips, self.extract = scorer, clips, extract
        self.rows = {str(v): part.to_dict("records") for v, part in clips.faces.groupby("video_id", sort=True)}
        self.n_sampled = {video_id: self._n_sampled(rows) for video_id, rows in self.rows.items()}
        self.outputs: dict[str, Outputs] = {}
        for video_id in tqdm(self.rows, desc=f"networks, {extract.sampling}", unit="video", disable=None):
            self.outputs[video_id] = self._outputs(self.rows[video_id], folder, key)

    @property
    def band(self) -> tuple[float, float]:
        """The inconclusive band, in calibrated logits."""
        return self.scorer.detector.stack.band_logits

    def _n_sampled(self, rows: list[dict[str, Any]]) -> int:
        """Frames sampled of a clip at the most; of sampling = fps, which counts seconds, as many as of any."""
        most = self.extract.frames_per_video
        if self.extract.sampling == "fps":
            return most
        return int(read_rows(self.clips.cache_dir / rows[0]["shard"]).get("n_sampled", most))

    def _outputs(self, rows: list[dict[str, Any]], folder: Path, key: str) -> Outputs:
        stem = folder / digest([key, rows[0]["shard"]])[:32]
        members = [stem.with_name(f"{stem.name}-{number}") for number in range(len(self.scorer.members))]
        known = [found for member in members if (found := read_outputs(member, len(rows))) is not None]
        if len(known) == len(members):
            return known
        size = self.scorer.predict.batch_size
        parts = [
            self.scorer.frame_outputs(_crops(self.clips, rows[start : start + size]))
            for start in range(0, len(rows), size)
        ]
        outputs = []
        for number, (member, (_, _, heads)) in enumerate(zip(members, self.scorer.members, strict=True)):
            logits, features = (np.concatenate([part[number][i] for part in parts]) for i in (0, 1))
            outputs.append((logits, features if heads else features[:, :0]))
            write_outputs(member, *outputs[-1])
        return outputs

    def at(self, n_frames: int) -> Looked:
        """Scores as if only `n_frames` frames of each clip had been looked at, spread over it."""
        scorer = self.scorer.with_settings(early_exit="off", skip_difference=0.0)
        return self._looked(scorer, lambda rows: chosen(rows, n_frames, self.n_sampled[rows[0]["video_id"]]))

    def stopped(self, mode: Literal["off", "on", "forced"], margin: float) -> Looked:
        """Scores with early exit."""
        scorer = self.scorer.with_settings(early_exit=mode, exit_margin=margin, skip_difference=0.0)
        return self._looked(scorer, lambda rows: np.ones(len(rows), bool))

    def skipped(self, difference: float) -> Looked:
        """Scores with a skip gate of so many grey levels: a crop that is like another one gets what was said of that.

        All others are looked at in their order, as a detector does without early exit.
        """
        scorer = self.scorer.with_settings(early_exit="off", skip_difference=0.0)
        logit_V, seen_V = np.full(len(self.clips.video_ids), np.nan), np.zeros(len(self.clips.video_ids))
        for i, video_id in enumerate(self.clips.video_ids):
            if video_id not in self.rows:
                continue
            sources = self._sources(video_id, difference)
            outputs = [(logits[sources], features[sources]) for logits, features in self.outputs[video_id]]
            rows = self.rows[video_id]
            verdicts = scorer.settle(list(self._tracks(scorer, rows, outputs, np.ones(len(rows), bool))))
            logit_V[i], seen_V[i] = scorer.video_logit(verdicts), len(np.unique(sources))
        return Looked(logit_V, seen_V)

    def _sources(self, video_id: str, difference: float) -> np.ndarray:
        """Of each row of a clip the row whose outputs it gets."""
        numbers = np.array([row["track"] for row in self.rows[video_id]])
        sources = np.arange(len(numbers))
        for number in np.unique(numbers):
            gate, places = SkipGate(difference), np.flatnonzero(numbers == number)
            chosen = [gate.source_of(i, self.thumbs[video_id][place]) for i, place in enumerate(places)]
            sources[places] = places[chosen]
        return sources

    @cached_property
    def thumbs(self) -> dict[str, np.ndarray]:
        """Of each clip the thumbs of its crops, in the order of its rows."""
        bar = tqdm(self.rows.items(), desc=f"thumbs, {self.extract.sampling}", unit="video", disable=None)
        return {video_id: np.stack([thumb(crop) for crop in _crops(self.clips, rows)]) for video_id, rows in bar}

    def _looked(self, scorer: VideoScorer, choose: Callable[[list[dict[str, Any]]], np.ndarray]) -> Looked:
        logit_V, seen_V = np.full(len(self.clips.video_ids), np.nan), np.zeros(len(self.clips.video_ids))
        for i, video_id in enumerate(self.clips.video_ids):
            if video_id not in self.rows:
                continue
            rows = self.rows[video_id]
            verdicts = scorer.settle(list(self._tracks(scorer, rows, self.outputs[video_id], choose(rows))))
            logit_V[i] = scorer.video_logit(verdicts)
            seen_V[i] = sum(len(verdict.frame_logits) for verdict in verdicts)
        return Looked(logit_V, seen_V)

    def _tracks(
        self, scorer: VideoScorer, rows: list[dict[str, Any]], outputs: Outputs, keep: np.ndarray
    ) -> Iterator[Track]:
        numbers = np.array([row["track"] for row in rows])
        for number in np.unique(numbers[keep]):
            places = np.flatnonzero(keep & (numbers == number))
            own = [(logits[places], features[places]) for logits, features in outputs]
            yield Track(scorer, self.clips.cache_dir, [rows[i] for i in places], own)


def chosen(rows: Sequence[dict[str, Any]], n_frames: int, n_sampled: int) -> np.ndarray:
    """Which rows would be there had `n_frames` been sampled: as large a share of those with a face as of all."""
    frames = np.array([row["frame_index"] for row in rows])
    with_face = np.unique(frames)
    share = n_frames / max(n_sampled, len(with_face))
    n = min(max(round(share * len(with_face)), 1), len(with_face))
    middles = ((np.arange(n) + 0.5) * len(with_face) / n).astype(int)
    return np.isin(frames, with_face[middles])


def _crops(clips: Clips, rows: Sequence[dict[str, Any]]) -> list[np.ndarray]:
    return [read_crop(clips.cache_dir, row["shard"], row["offset"], row["size"]) for row in rows]


def _verdicts(looked: Looked, sweep: Sweep) -> np.ndarray:
    """Below, inside or above the inconclusive band (V)."""
    return np.asarray(np.digitize(looked.logit_V, sweep.band))


def cross_chosen(sweep: Sweep) -> tuple[Looked, list[float]]:
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
    return Looked(logit_V, seen_V), margins


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
        looked = full if n == most else sweep.at(n)
        points.append(measured.point("-", n, looked, costs.extraction(n), costs.network_s))
    chosen, margins = cross_chosen(sweep)
    note = "margin " + " and ".join(f"{margin:g}" for margin in margins)
    for mode, looked in (("off", full), ("on", chosen), ("forced", sweep.stopped("forced", 0.0))):
        told = note if mode == "on" else ""
        points.append(measured.point(mode, most, looked, costs.extraction(most), costs.network_s, told))
    for difference in skips:
        looked, told = sweep.skipped(difference), f"{difference:g} grey levels"
        points.append(measured.point("skip", most, looked, costs.extraction(most), costs.network_s, told))
    return points


class _Measured:
    """Measures scores of clips beside those of all frames."""

    def __init__(self, sweep: Sweep, full: Looked, config: Config) -> None:
        self.sweep, self.full, self.config = sweep, full, config
        self.groups = bootstrap_groups(sweep.clips.labelled)[1]

    def _calibrated(self, looked: Looked) -> np.ndarray:
        clips, seen_V = self.sweep.clips, np.isfinite(looked.logit_V)
        ids = [video_id for video_id, is_seen in zip(clips.video_ids, seen_V.tolist(), strict=True) if is_seen]
        pooled = Tracks.one_each(looked.logit_V[seen_V][:, None], ["detector"], ids)
        return cross_fitted(pooled, clips, self.sweep.scorer.detector.ensemble)

    def point(
        self, mode: str, n_frames: int, looked: Looked, extraction_s: float, network_s: float, note: str = ""
    ) -> Point:
        labels = self.sweep.clips.labels
        fixed = (self.groups, self.config.validation, self.sweep.scorer.detector.ensemble.clip_p)
        ranked, probable = _p(looked.logit_V), self._calibrated(looked)
        seen = float(looked.seen_V.mean())
        return Point(
            sampling=self.sweep.extract.sampling,
            early_exit=mode,
            n_frames=n_frames,
            frames_seen=seen,
            share_saved=1 - seen / float(self.full.seen_V.mean()),
            extraction_cpu_s=extraction_s,
            network_cpu_s=seen * network_s,
            roc_auc=metrics.measure(labels, ranked, *fixed)["roc_auc"],
            log_loss=metrics.measure(labels, probable, *fixed)["log_loss_clipped"],
            roc_auc_difference=metrics.measure_difference(labels, ranked, _p(self.full.logit_V), *fixed)["roc_auc"],
            log_loss_difference=metrics.measure_difference(labels, probable, self._calibrated(self.full), *fixed)[
                "log_loss_clipped"
            ],
            largest_change=self._largest_change(looked),
            verdicts_changed=float(np.mean(_verdicts(looked, self.sweep) != _verdicts(self.full, self.sweep))),
            note=note,
        )

    def _largest_change(self, looked: Looked) -> float:
        p, full = (self.sweep.scorer.p_fake(one.logit_V) for one in (looked, self.full))
        return float(np.nanmax(np.abs(p - full)))  # a clip without a face has no score that could change


@dataclass(frozen=True)
class Costs:
    """Seconds of one processor: of the networks for a crop, of extraction for a clip by the number of frames."""

    network_s: float
    extraction: Callable[[int], float]


def network_cpu_s(scorer: VideoScorer, clips: Clips) -> float:
    """Processor seconds the frame networks take for a crop: the better of two turns over some."""
    rows = clips.faces.iloc[:TIMED_CROPS].to_dict("records")
    crops = _crops(clips, rows)
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
        row: dict[str, Any] = {}
        for name, value in vars(point).items():
            if isinstance(value, Measure):
                row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                row[name] = value
        rows.append(row | {"cpu_s": point.cpu_s})
    return pd.DataFrame(rows)
