"""Networks over tracks measured on labelled clips they never learnt from, beside their frame network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake.aggregate import Tracks, track_logits
from deepfake.checkpoints import fold_folder, read_card
from deepfake.config import Config, CropView, digest
from deepfake.datasets import content_digest
from deepfake.ensemble_table import Evidence
from deepfake.scoring import (
    PLACES,
    FrameOutputs,
    FrameScorer,
    mean_of_views,
    open_scorer,
    read_outputs,
    score_faces,
    write_outputs,
)
from deepfake.track_scoring import load_head, score_tracks
from deepfake.trials import Clips, as_evidence, pooled_tracks


def clip_outputs(config: Config, clips: Clips) -> FrameOutputs:
    """Logits and features of the clips' crops by the run's frame network that learnt from all; kept beside it.

    The logits are the mean over the run's views (`ensemble.views_of`), as in a detector.
    """
    checkpoint, faces, views = fold_folder(config.run_dir, "frames", None), clips.faces, _views(config)
    card = read_card(checkpoint)
    ways = [view.model_dump() for view in views]
    with_features = bool(config.sequences.heads)  # of the view that it learnt by, which may be one look more
    made_of = [card.weights_sha256, card.settings, content_digest(faces[PLACES]), config.predict.precision, ways]
    key = digest([*made_of, with_features])
    stem = checkpoint / "scored" / f"clips_{key[:24]}"
    found = read_outputs(stem, len(faces))
    if found is None:
        scorer = open_scorer(checkpoint, config.predict, faces, clips.cache_dir)
        found = _scored(scorer, faces, clips, views, with_features)
        write_outputs(stem, *found)
    return FrameOutputs(faces, *found, clips.cache_dir)


def _views(config: Config) -> tuple[CropView, ...]:
    return config.ensemble.views_of(config.run)


def _scored(
    scorer: FrameScorer, faces: pd.DataFrame, clips: Clips, views: Sequence[CropView], with_features: bool
) -> tuple[np.ndarray, np.ndarray]:
    def score(view: CropView) -> tuple[np.ndarray, np.ndarray]:
        outputs = score_faces(scorer.seeing(view), faces, clips.cache_dir)
        return outputs.logits_N, outputs.features_ND

    return mean_of_views(views, score, with_features)


def frames_ms(config: Config, clips: Clips, n_videos: int = 8) -> float:
    """Milliseconds the frame network needs for the crops of a video, on average over the first few."""
    some = sorted(clips.faces["video_id"].unique())[:n_videos]
    faces = clips.faces[clips.faces["video_id"].isin(some)].reset_index(drop=True)
    scorer = open_scorer(fold_folder(config.run_dir, "frames", None), config.predict, faces, clips.cache_dir)
    start = time.perf_counter()
    _scored(scorer, faces, clips, _views(config), with_features=False)
    return 1000 * (time.perf_counter() - start) / max(len(some), 1)


@dataclass(frozen=True)
class Asked:
    """What members say of the tracks of clips, and their costs."""

    tracks: Tracks
    costs_ms: Mapping[str, Mapping[str, float]]

    def evidence(self, clips: Clips) -> Evidence:
        """For `ensemble_table.compare`; clips without a face are out, and the halves of the people are the folds."""
        return as_evidence(self.tracks, clips, self.costs_ms)


def ask(runs: Sequence[Config], clips: Clips) -> Asked:
    """Track logits of the frame network and of every head of each run, all heard and pooled by the first's settings.

    Of one run they are called frames and by the heads' names, of several NAME and NAME/head. The costs are measured:
    a head's beside that of its frame network.
    """
    ensemble = runs[0].ensemble
    scores: dict[str, pd.DataFrame] = {}
    costs: dict[str, dict[str, float]] = {}
    for config in runs:
        first = config.run if len(runs) > 1 else "frames"
        outputs = clip_outputs(config, clips)
        tracks = outputs.tracks()
        scores[first] = track_logits(outputs.scores(first), ensemble)
        costs[first] = {first: frames_ms(config, clips)}
        for head_name in config.sequences.heads:
            name = f"{config.run}/{head_name}" if len(runs) > 1 else head_name
            head = load_head(config, head_name, None)
            start = time.perf_counter()
            scores[name] = score_tracks(head, tracks, config.predict, name)
            took_ms = 1000 * (time.perf_counter() - start) / clips.faces["video_id"].nunique()
            costs[name] = costs[first] | {name: took_ms} if "features" in head.inputs else {name: took_ms}
    return Asked(pooled_tracks(scores, clips, ensemble), costs)
