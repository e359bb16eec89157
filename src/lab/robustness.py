"""Score damaged copies of videos: copies are made of whole frames, before any face is detected.

A cell is one kind of damage at one level. A cell's scores are kept video by video, so that a stopped
run goes on; the copies are deleted as soon as they are scored.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from deepfake.errors import UserError
from deepfake.evaluation.evaluate import evaluate
from deepfake.evaluation.labelled import Labelled, Matched, pair, spread
from deepfake.files import current_commit, digest, sha256_of, write_whole
from deepfake.media.clips import write_clip
from deepfake.media.listing import find_videos, video_id_of
from deepfake.media.video import sample
from deepfake.settings import Config, Robustness, Validation, result_values, section_values
from deepfake.workers import Failed, Limits, run_each
from lab.distortions import Distortion

if TYPE_CHECKING:  # the processes that write clips load no torch
    from deepfake.detector.score_videos import Scored

log = logging.getLogger(__name__)
FORMAT = 1  # raise it when the same settings give other clips
EVERY_FRAME = 1 << 40
# Without a name for the matrix, readers guess BT.709 from 720 lines on, and all colours shift by up to ten levels.
COLOURS = {"colorspace": "smpte170m"}
STOPPED = ("and was stopped", "its process died")  # words of workers.Failed, whichever step was at work
SHOWN = ("roc_auc", "log_loss_clipped", "false_alarm_rate", "recall", "mean_p_real", "mean_p_fake")
Row = dict[str, Any]
# Videos by id, and the folder for what is kept while scoring -> results in any order.
Score = Callable[[dict[str, Path], Path], Iterator["Scored"]]


@dataclass(frozen=True)
class Clip:
    """A damaged copy to be written."""

    name: str
    source: Path
    target: Path
    distortion: Distortion
    seconds: float
    crf: int


def write_distorted(clip: Clip) -> str | None:
    """Write the beginning of a video, damaged; the reason where it cannot be."""
    is_codec = clip.distortion.kind == "h264"
    crf = int(clip.distortion.level or 0) if is_codec else clip.crf
    preset = "veryfast" if is_codec else "ultrafast"
    try:
        with sample(clip.source, "uniform", EVERY_FRAME) as video:
            frames = (frame.rgb() for frame in takewhile(lambda frame: frame.time_s < clip.seconds, video))
            damaged = clip.distortion.apply(frames, int(digest(clip.name)[:8], 16))
            fps = (video.probe.fps or 25.0) / clip.distortion.slowdown
            write_clip(clip.target, damaged, fps, crf=crf, options={"preset": preset, **COLOURS})
    except Exception as error:  # any library's: it costs this video, not the hours of the others
        return str(error) or type(error).__name__
    return None


@dataclass(frozen=True)
class Material:
    """Labelled videos to be damaged: labels in order, and the file and its hash of each."""

    labelled: list[Labelled]
    paths: dict[str, Path]
    sha256: dict[str, str]


def gather(folder: Path, labelled: Sequence[Labelled], limit: int | None) -> Material:
    """The videos below a folder that have a label; `limit` takes so many, by label and family in turn."""
    if limit is not None and limit < 2:
        raise UserError(f"--limit {limit}: wanted at least 2, a real and a fake")
    by_id = {video_id_of(path, folder): path for path in find_videos(folder)}
    pairs, unlabelled = pair(by_id, labelled)
    id_of = {video.name: video_id for video, video_id in pairs}
    if unlabelled:
        log.warning("%d videos have no label and are left out, the first %r", len(unlabelled), unlabelled[0])
    videos = spread([video for video, _ in pairs], limit)
    paths = {video.name: by_id[id_of[video.name]] for video in videos}
    return Material(videos, paths, {name: sha256_of(path) for name, path in paths.items()})


@dataclass(frozen=True)
class Bench:
    """How cells are measured: the detector (`key` names its weights and settings) and where notes are kept."""

    score: Score
    key: str
    prior: float
    settings: Robustness
    out: Path

    def cell(self, distortion: Distortion, material: Material, on_video: Callable[[], None]) -> dict[str, Row]:
        """p_fake, n_faces and fallback of each video under one kind and level; known ones are read back."""
        values = {k: v for k, v in result_values(self.settings, "robustness").items() if distortion.kind != "original"}
        key = digest([FORMAT, self.key, values, distortion.kind, distortion.level])[:16]
        note = self.out / "cells" / f"{distortion.name.replace(' ', '-')}-{key}.json"
        rows = _read_rows(note)
        known = {n for n, sha256 in material.sha256.items() if rows.get(n, {}).get("sha256") == sha256}
        todo = [name for name in material.paths if name not in known]
        for _ in known:
            on_video()
        for start in range(0, len(todo), self.settings.clips_on_disk):
            part = todo[start : start + self.settings.clips_on_disk]
            for name, row in self._measure(distortion, material, part):
                rows[name] = {"sha256": material.sha256[name], **row}
                on_video()
            # What was stopped is reported, not remembered: the machine may have been busy.
            kept = {n: row for n, row in rows.items() if not any(text in (row["fallback"] or "") for text in STOPPED)}
            write_whole(note, json.dumps(kept, indent=1).encode())
        return {name: rows[name] for name in material.paths}

    def _measure(self, distortion: Distortion, material: Material, names: list[str]) -> Iterator[tuple[str, Row]]:
        """Rows of some videos as they are done."""
        work = self.out / ".distorted_clips"  # a name nobody gives to a folder of their own
        shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
        files = {name: material.paths[name] for name in sorted(names)}
        try:
            if distortion.kind != "original":
                seconds, crf = self.settings.seconds, self.settings.crf
                clips = [
                    Clip(
                        name=name,
                        source=path,
                        target=work / f"{number}.mp4",
                        distortion=distortion,
                        seconds=seconds,
                        crf=crf,
                    )
                    for number, (name, path) in enumerate(files.items())
                ]
                limits = Limits(self.settings.workers, self.settings.deadline_s, self.settings.memory_mb)
                for clip, outcome in run_each(write_distorted, clips, limits.of_section("robustness")):
                    files[clip.name] = clip.target
                    if outcome is not None:
                        del files[clip.name]
                        reason = outcome.reason if isinstance(outcome, Failed) else outcome
                        yield clip.name, _row(self.prior, 0, f"not distorted: {reason}")
            if files:
                for scored in self.score(files, work / "scored"):
                    yield scored.video_id, _row(scored.p_fake, scored.n_faces, scored.fallback)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _row(p_fake: float, n_faces: int, fallback: str | None) -> Row:
    return {"p_fake": p_fake, "n_faces": n_faces, "fallback": fallback}


def _read_rows(path: Path) -> dict[str, Row]:
    try:
        rows = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it, and the cell is measured again") from None
    return rows if isinstance(rows, dict) else {}


@dataclass(frozen=True)
class Measured:
    """The numbers of every cell, in order, and what they were measured with: plain values for JSON."""

    cells: Sequence[Row]
    about: Row


def measure(weights: Path, material: Material, chosen: Sequence[Distortion], config: Config, out: Path) -> Measured:
    """Score every cell with a detector, with a progress bar; what was scored before is read back from `out`."""
    from deepfake.detector import judged, score_videos
    from deepfake.detector.file import open_detector

    detector, weights_sha256 = open_detector(weights, config.predict), sha256_of(weights)

    def score(paths: dict[str, Path], cache_dir: Path) -> Iterator[Scored]:
        workers = config.robustness.workers
        return score_videos.score_videos(paths, detector, weights_sha256, cache_dir, config.predict, workers)

    key = digest([weights_sha256, judged.FORMAT, section_values(config, "predict")])
    bench = Bench(score, key, detector.stack.prior, config.robustness, out)
    cells = []
    with tqdm(total=len(chosen) * len(material.paths), unit="video", disable=None) as bar:
        for distortion in chosen:
            bar.set_description(distortion.name)
            rows = bench.cell(distortion, material, bar.update)
            cells.append(measured(distortion, material.labelled, rows, config.validation, config.ensemble.clip_p))
    about = {
        "detector": {"name": detector.name, "weights_sha256": weights_sha256, **detector.about},
        "settings": {name: section_values(config, name) for name in ("robustness", "predict", "validation")},
        "commit": current_commit(),
    }
    return Measured(cells, about)


def measured(
    distortion: Distortion,
    labelled: Sequence[Labelled],
    rows: Mapping[str, Mapping[str, Any]],
    settings: Validation,
    clip_p: float,
) -> Row:
    """A cell's numbers with intervals, whole and by family; a video without a score counts with its prior."""
    p = np.array([rows[video.name]["p_fake"] for video in labelled])
    groups = ["family"] if "family" in labelled[0].columns else []
    evaluated = evaluate(Matched(list(labelled), p, [], []), groups, settings, clip_p)
    without = [video for video in labelled if rows[video.name]["fallback"]]
    families = [row for row in evaluated["groups"].get("family", []) if row["n_fake"]]
    return {
        "kind": distortion.kind,
        "level": distortion.level,
        **{key: evaluated[key] for key in ("n_videos", "n_real", "n_fake", "resampled_by")},
        "n_without_score": len(without),
        "n_real_without_score": sum(video.label == 0 for video in without),
        "share_without_score": len(without) / len(labelled),
        "metrics": {name: evaluated["metrics"][name] for name in SHOWN},
        "families": {row["value"]: {"n_fake": row["n_fake"], "roc_auc": row["metrics"]["roc_auc"]} for row in families},
        "videos": {video.name: dict(rows[video.name]) for video in labelled},
    }
