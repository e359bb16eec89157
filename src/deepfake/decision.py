"""Stage 07: every member's logits -> video scores, submission and manifest of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake import tables
from deepfake.aggregate import Tracks, pool, track_logits
from deepfake.calibration import inconclusive_band
from deepfake.config import Config, UserError
from deepfake.costs import costs_ms, run_costs, total
from deepfake.ensemble import ENSEMBLE, Stack, fallback_reasons, fit_stack, out_of_fold, score_rows
from deepfake.ensemble_table import Evidence
from deepfake.files import current_commit, sha256_of, write_whole
from deepfake.submission import Submission, count_reasons, make_submission, read_sample, write_submission


@dataclass(frozen=True)
class Decision:
    """A run's video scores and what they were made with."""

    stack: Stack
    oof: pd.DataFrame
    test: pd.DataFrame
    submission: Submission

    def write_stack(self, path: Path) -> None:
        """Weights, calibration and prior as JSON."""
        write_whole(path, (json.dumps(self.stack.to_dict(), indent=1, sort_keys=True) + "\n").encode())

    def write_submission(self, config: Config) -> None:
        """The CSV and its manifest, beside each other."""
        path = config.submission_dir / "submission.csv"
        write_submission(path, self.submission)
        made = sorted(config.run_dir.glob("*/fold*/model.safetensors"))
        manifest = {
            "run": config.run,
            "dataset": config.dataset,
            "commit": current_commit(),
            "settings": config.model_dump(mode="json"),
            "stack": self.stack.to_dict(),
            "rows": len(self.submission.names),
            "fallbacks": count_reasons(self.submission.fallbacks),
            "fallback_videos": self.submission.fallbacks,
            "not_in_sample": self.submission.left_out,
            "sha256": {
                "submission.csv": sha256_of(path),
                **{p.relative_to(config.run_dir).as_posix(): sha256_of(p) for p in made},
            },
        }
        text = json.dumps(manifest, indent=1, sort_keys=True, default=str) + "\n"
        write_whole(config.submission_dir / "manifest.json", text.encode())

    def summary(self) -> dict[str, Any]:
        """Counts for the stage's last line."""
        weights = zip(self.stack.members, self.stack.weights, strict=True)
        dropped = {name for name, _ in self.stack.dropped}
        return {
            "rows": len(self.submission.names),
            "fallbacks": count_reasons(self.submission.fallbacks) or 0,
            "weights": " ".join(f"{name} {weight:.2f}" for name, weight in weights if name not in dropped),
            **({"dropped": " ".join(sorted(dropped))} if dropped else {}),
        }


def member_tracks(config: Config, name: str) -> Tracks:
    """Every track with the logits of all members, out of fold (`oof`) or of the test videos (`test`)."""
    frames = tables.read(tables.FRAME_SCORES, config.run_dir / f"frames_{name}.parquet")
    heads = [tables.read(tables.TRACK_SCORES, config.run_dir / f"{h}_{name}.parquet") for h in config.sequences.heads]
    every = pd.concat([track_logits(frames, config.ensemble), *heads], ignore_index=True)
    faces = tables.read(tables.FACES, config.work_dir / "faces.parquet")
    return pool(every, faces[faces["video_id"].isin(set(every["video_id"]))], config.ensemble)


def out_of_fold_evidence(config: Config) -> Evidence:
    """What the members make of the training videos' tracks, with what is known of these videos."""
    videos = tables.read(tables.VIDEOS, config.work_dir / "videos.parquet")
    folds = tables.read(tables.FOLDS, config.work_dir / "folds.parquet")
    known = folds.merge(videos[["video_id", "label"]], on="video_id").set_index("video_id")
    tracks = member_tracks(config, "oof")
    if not len(tracks):
        raise UserError("no training video has a face, so nothing can be fitted; look at extractions.parquet")
    truth = known.loc[list(tracks.video_ids)]
    labels, fold_of = truth["label"].to_numpy(int), truth["fold"].to_numpy(int)
    costs = run_costs(config.run_dir, tracks.members)
    machine = total(costs.values()).machine
    return Evidence(tracks, labels, fold_of, truth["group"].tolist(), costs_ms(costs), machine)


def decide(config: Config) -> Decision:
    """Stack, calibrate and score; the tables of stages 01 to 06 must be there."""
    videos = tables.read(tables.VIDEOS, config.work_dir / "videos.parquet")
    extractions = tables.read(tables.EXTRACTIONS, config.work_dir / "extractions.parquet")
    folds = tables.read(tables.FOLDS, config.work_dir / "folds.parquet")
    found = out_of_fold_evidence(config)
    labels, counts = found.labels, found.tracks.counts()
    stack = fit_stack(found.tracks, labels, config.ensemble, found.folds)
    scored = out_of_fold(found.tracks, labels, found.folds, config.ensemble)
    band = inconclusive_band(scored[ENSEMBLE], labels, config.ensemble.error_rate)
    stack = replace(stack, band=band)
    reasons = fallback_reasons(folds["video_id"].tolist(), extractions, set(counts.index))
    oof = [
        score_rows(name, pd.Series(p, index=counts.index), counts, reasons, stack.prior) for name, p in scored.items()
    ]
    test = score_test(config, stack, videos[videos["split"] == "test"], extractions)
    return Decision(stack, pd.concat(oof, ignore_index=True), test, lay_out(config, stack, test))


def score_test(config: Config, stack: Stack, videos: pd.DataFrame, extractions: pd.DataFrame) -> pd.DataFrame:
    """Rows of video_scores for the test videos."""
    tracks = member_tracks(config, "test")
    counts = tracks.counts()
    reasons = fallback_reasons(videos["video_id"].tolist(), extractions, set(counts.index))
    p_fake = stack.p_fake(tracks) if len(tracks) else None
    return score_rows(ENSEMBLE, pd.Series(p_fake, index=counts.index, dtype=float), counts, reasons, stack.prior)


def lay_out(config: Config, stack: Stack, test: pd.DataFrame) -> Submission:
    """The submission in the order of the sample, where there is one."""
    is_named = config.index.sample_submission is not None
    sample = read_sample(config.sample_path) if is_named or config.sample_path.is_file() else None
    return make_submission(test, sample, stack.prior, config.ensemble.clip_p)
