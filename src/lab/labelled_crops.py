"""Several collections of labelled clips and crops in one, as measuring by left-out sources wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepfake.detector import fitting, labelled_clips
from deepfake.detector.labelled_clips import Clips
from deepfake.detector.left_out_scores import laid_over
from deepfake.detector.listed_crops import clips_table, read_crops
from deepfake.ensemble.pooling import Tracks
from deepfake.settings import Config
from deepfake.training.source_groups import CLIPS
from lab.cross_validation import unseen

FRESH, MORE = "fresh", "more-"


def network_tracks(
    runs: Mapping[str, Path], clips: Clips, config: Config, n_frames: int, left_out: pd.DataFrame | None = None
) -> Tracks:
    """What finished networks or snapshots make of the clips' tracks, seen as the settings' views of their names say.

    `left_out` instead, of the clips and members it has: see `detector.left_out_scores`.
    """
    scores = {}
    for name, path in runs.items():
        member = name.replace("/", "-")
        own = fitting.member_scores(path, member, clips, config, n_frames)
        if left_out is not None:
            own = own.assign(logit=laid_over(own, own["logit"].to_numpy(), left_out, member))
        scores[name] = own
    return fitting.member_tracks(scores, clips, config.ensemble)


@dataclass(frozen=True)
class Asked:
    """What is to be measured on, as a command's arguments say it."""

    runs: Mapping[str, Path]
    n_frames: int
    cache_dir: Path
    learnt_reals: Sequence[str]
    learnt_fakes: Sequence[str]
    left_out: pd.DataFrame | None = None


def known_clips(
    folder: Path, labels_csv: Path, crops_csv: Path | None, asked: Asked, config: Config
) -> tuple[pd.DataFrame, Tracks]:
    """All clips to choose by that the networks have not learnt from: columns CLIPS, and their tracks in this order.

    Splits of further crops are named `more-...`; their split FRESH is not read. A clip without a face is left out.
    """
    sets = [(labelled_clips.read_clips(folder, labels_csv, config.extract, asked.cache_dir), "")]
    if crops_csv is not None:
        splits = sorted(set(pd.read_csv(crops_csv, usecols=["split"], dtype=str)["split"]) - {FRESH})
        sets.append((read_crops(crops_csv, splits, config.extract, asked.cache_dir), MORE))
    measured = [_measured(clips, prefix, asked, config) for clips, prefix in sets]
    table = pd.concat([rows for rows, _ in measured], ignore_index=True)
    kept = unseen(table, asked.learnt_reals, asked.learnt_fakes)
    return table[kept].reset_index(drop=True), Tracks.joined([tracks for _, tracks in measured]).of_videos(kept)


def fresh_clips(crops_csv: Path, asked: Asked, config: Config) -> tuple[pd.DataFrame, Tracks]:
    """The clips kept for confirmation: columns CLIPS, and their tracks in this order."""
    return _measured(read_crops(crops_csv, [FRESH], config.extract, asked.cache_dir), MORE, asked, config)


def _measured(clips: Clips, split_prefix: str, asked: Asked, config: Config) -> tuple[pd.DataFrame, Tracks]:
    tracks = network_tracks(asked.runs, clips, config, asked.n_frames, asked.left_out)
    table = clips_table(clips, split_prefix).set_index("clip").loc[list(tracks.video_ids)]
    return table.reset_index()[list(CLIPS)], tracks


def seen_clips(clips: Clips, split_prefix: str) -> pd.DataFrame:
    """The clips in which a face was found: columns CLIPS."""
    table = clips_table(clips, split_prefix)
    return table[table["clip"].isin(set(clips.faces["video_id"]))]
