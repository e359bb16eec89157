"""Networks over tracks measured on labelled clips they never learnt from, beside their frame network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfake.aggregate import draw_to_prior, heard_tracks, track_logits, video_logits
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
from deepfake.trials import Clips


def clip_outputs(config: Config, clips: Clips) -> FrameOutputs:
    """Logits and features of the clips' crops by the run's frame network that learnt from all; kept beside it.

    The logits are the mean over `ensemble.views`, as in a detector.
    """
    checkpoint, faces, views = fold_folder(config.run_dir, "frames", None), clips.faces, config.ensemble.views
    card = read_card(checkpoint)
    ways = [view.model_dump() for view in views]
    key = digest([card.weights_sha256, card.settings, content_digest(faces[PLACES]), config.predict.precision, ways])
    stem = checkpoint / "scored" / f"clips_{key[:24]}"
    found = read_outputs(stem, len(faces))
    if found is None:
        scorer = open_scorer(checkpoint, config.predict, faces, clips.cache_dir)
        found = _scored(scorer, faces, clips, views)
        write_outputs(stem, *found)
    return FrameOutputs(faces, *found, clips.cache_dir)


def _scored(
    scorer: FrameScorer, faces: pd.DataFrame, clips: Clips, views: Sequence[CropView]
) -> tuple[np.ndarray, np.ndarray]:
    def score(view: CropView) -> tuple[np.ndarray, np.ndarray]:
        outputs = score_faces(scorer.seeing(view), faces, clips.cache_dir)
        return outputs.logits_N, outputs.features_ND

    return mean_of_views(views, score)


def frames_ms(config: Config, clips: Clips, n_videos: int = 8) -> float:
    """Milliseconds the frame network needs for the crops of a video, on average over the first few."""
    some = sorted(clips.faces["video_id"].unique())[:n_videos]
    faces = clips.faces[clips.faces["video_id"].isin(some)].reset_index(drop=True)
    scorer = open_scorer(fold_folder(config.run_dir, "frames", None), config.predict, faces, clips.cache_dir)
    start = time.perf_counter()
    _scored(scorer, faces, clips, config.ensemble.views)
    return 1000 * (time.perf_counter() - start) / max(len(some), 1)


def evidence(config: Config, clips: Clips) -> Evidence:
    """Video logits of the frame network and of every head, for `ensemble_table.compare`; clips without a face are out.

    The halves of the people are the folds. The costs are measured: a head's beside that of the frame network.
    """
    outputs = clip_outputs(config, clips)
    tracks = outputs.tracks()
    scores = {"frames": track_logits(outputs.scores("frames"), config.ensemble)}
    costs = {"frames": {"frames": frames_ms(config, clips)}}
    for name in config.sequences.heads:
        head = load_head(config, name, None)
        start = time.perf_counter()
        scores[name] = score_tracks(head, tracks, config.predict, name)
        took_ms = 1000 * (time.perf_counter() - start) / clips.faces["video_id"].nunique()
        costs[name] = {name: took_ms} if "features" not in head.inputs else costs["frames"] | {name: took_ms}
    columns: dict[str, Any] = {}
    for member, rows in scores.items():
        said = heard_tracks(rows, config.ensemble)
        videos = video_logits(draw_to_prior(said, clips.faces, config.ensemble), config.ensemble)
        columns[member] = videos.set_index("video_id")["logit"]
    has_face = [i for i, video_id in enumerate(clips.video_ids) if video_id in columns["frames"].index]
    ids = [clips.video_ids[i] for i in has_face]
    shown = [clips.labelled[i] for i in has_face]
    people = [video.columns.get("identity", "").strip() or video.name for video in shown]
    logits_NM = np.stack([column.loc[ids].to_numpy(float) for column in columns.values()], axis=1)
    return Evidence(tuple(columns), logits_NM, clips.labels[has_face], clips.halves[has_face], people, costs)
