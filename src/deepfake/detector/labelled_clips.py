"""Labelled clips and the faces detected in them, to measure and to calibrate a detector by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake import tables
from deepfake.errors import UserError
from deepfake.evaluation import labelled as evaluation_labelled
from deepfake.evaluation.labelled import Labelled
from deepfake.faces.extraction import face_rows, read_videos
from deepfake.media.listing import find_videos, video_id_of
from deepfake.settings import Extract

HALVES = 2


@dataclass(frozen=True)
class Clips:
    """Labelled clips with the faces detected in them; `cache_dir` holds the crops."""

    faces: pd.DataFrame
    labelled: list[Labelled]
    video_ids: list[str]
    cache_dir: Path

    @property
    def labels(self) -> np.ndarray:
        """1 for fake, in the order of `video_ids`."""
        return np.array([video.label for video in self.labelled])

    @property
    def people(self) -> list[str]:
        """Whom each clip shows, or the clip's own name where nobody says."""
        return [video.columns.get("identity", "").strip() or video.name for video in self.labelled]

    @property
    def halves(self) -> np.ndarray:
        """0 or 1 for each clip: people are dealt to halves by turns, family by family, and never parted."""
        return self.quarters % HALVES

    @property
    def quarters(self) -> np.ndarray:
        """0 to 3 for each clip: the halves, each of them halved alike; modulo 2 it is the half."""
        people = self.people
        family: dict[str, str] = {}
        for person, video in zip(people, self.labelled, strict=True):
            family[person] = max(family.get(person, ""), f"{video.label} {video.columns.get('family', '')}")
        order = sorted(family, key=lambda person: (family[person], hashlib.sha256(person.encode()).hexdigest()))
        quarter = {person: place % HALVES**2 for place, person in enumerate(order)}
        return np.array([quarter[person] for person in people])


def read_clips(folder: Path, labels_csv: Path, extract: Extract, cache_dir: Path, limit: int | None = None) -> Clips:
    """Extract the faces of every video below a folder that has a label; crops of an earlier run are read back.

    `limit` takes so many videos, by label and family in turn.
    """
    paths = {video_id_of(path, folder): path for path in find_videos(folder)}
    pairs, _ = evaluation_labelled.pair(paths, evaluation_labelled.read_labels(labels_csv))
    chosen = {video.name for video in evaluation_labelled.spread([video for video, _ in pairs], limit)}
    pairs = [(video, video_id) for video, video_id in pairs if video.name in chosen]
    paths = {video_id: paths[video_id] for video_id in sorted(video_id for _, video_id in pairs)}
    rows: list[Mapping[str, object]] = []
    for one in tqdm(read_videos(paths, cache_dir, extract), total=len(paths), desc="faces", disable=None):
        rows += face_rows(one.video_id, one.extraction.faces)
    if not rows:
        raise UserError(f"clips {str(folder)!r}: no face in any of {len(paths)} videos, so there is nothing to measure")
    table = pd.DataFrame(rows, columns=tables.FACES.schema.names)
    table = table.sort_values(["video_id", "track", "frame_index"], kind="stable").reset_index(drop=True)
    return Clips(table, [video for video, _ in pairs], [video_id for _, video_id in pairs], cache_dir)


def some_frames(faces: pd.DataFrame, n_frames: int) -> pd.DataFrame:
    """At most `n_frames` rows of each track, spread over its length."""
    kept: list[int] = []
    for _, part in faces.groupby(["video_id", "track"], sort=True):
        kept += part.index[np.unique(np.linspace(0, len(part) - 1, n_frames).round().astype(int))].tolist()
    return faces.loc[sorted(kept)].reset_index(drop=True)
