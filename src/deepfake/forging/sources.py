"""What the training draws from: photos, real frames and forged frames, balanced by groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake import labels
from deepfake.errors import UserError
from deepfake.forging.pictures import Frames, Photos
from deepfake.settings import Config, Selfblend


@dataclass(frozen=True)
class Sources:
    """Everything to learn from; `real_groups` and `fake_groups` are rows of a person or of a generator each.

    `fake_shares` is how often each generator is drawn. `kin[i]` names, for the fake row i, the real groups
    of the same source; empty where there are none.
    """

    photos: Photos | None
    reals: Frames
    fakes: Frames
    real_groups: list[np.ndarray]
    fake_groups: list[np.ndarray]
    kin: list[np.ndarray]
    fake_shares: np.ndarray

    def describe(self) -> str:
        """One sentence of counts."""
        n_photos = len(self.photos) if self.photos else 0
        return (
            f"{n_photos} photos, {len(self.reals)} real frames of {len(self.real_groups)} people, "
            f"{len(self.fakes)} forged frames of {len(self.fake_groups)} generators"
        )


def balanced_groups(rows: pd.DataFrame, groups: Mapping[str, str]) -> list[np.ndarray]:
    """Row numbers of each group's videos; videos without a group are one of their own."""
    # Each video is named once, not each of its frames, and the rows are gone through once, not once a group.
    names = {video_id: groups.get(Path(video_id).name, video_id) for video_id in rows["video_id"].unique()}
    rows_of = rows.groupby(rows["video_id"].map(names)).indices
    return [rows_of[name] for name in sorted(rows_of)]


def gather(videos: pd.DataFrame, faces: pd.DataFrame, config: Config) -> Sources:
    """What the labelled `videos` (video_id, label), their `faces` and the settings' photos give to learn from."""
    selfblend = config.frames.selfblend
    assert selfblend is not None
    groups = clip_groups(config, selfblend)
    generators, people, origins = groups["generator"], groups["identity"], groups["source"]
    unknown = sorted(set(selfblend.leave_out) - set(generators.values()))
    if unknown:
        have = ", ".join(sorted(set(generators.values()))) or "none: frames.selfblend.groups_csv names them"
        raise UserError(f"frames.selfblend.leave_out: no clip of generator {unknown[0]!r}; there are {have}")
    fake_ids = videos.loc[videos["label"] == 1, "video_id"]
    fake_ids = fake_ids[~fake_ids.map(lambda name: generators.get(Path(name).name)).isin(selfblend.leave_out)]
    real_ids = videos.loc[videos["label"] == 0, "video_id"]
    real_rows, fake_rows = (
        faces[faces["video_id"].isin(set(ids))].reset_index(drop=True) for ids in (real_ids, fake_ids)
    )
    photos_csv, crop_px = selfblend.photos_csv, config.extract.crop_px
    photos = Photos(config.path(photos_csv), crop_px) if photos_csv else None
    real_groups, fake_groups = balanced_groups(real_rows, people), balanced_groups(fake_rows, generators)
    video_of_row = pd.factorize(fake_rows["video_id"])[0]
    n_videos = np.array([len(np.unique(video_of_row[rows])) for rows in fake_groups], float)
    shares = n_videos ** (1 - selfblend.generator_balance)
    return Sources(
        photos=photos,
        reals=Frames(real_rows, config.work_dir),
        fakes=Frames(fake_rows, config.work_dir),
        real_groups=real_groups,
        fake_groups=fake_groups,
        kin=_kin(real_rows, real_groups, fake_rows, origins),
        fake_shares=shares / shares.sum() if len(shares) else shares,
    )


def _kin(
    reals: pd.DataFrame, real_groups: list[np.ndarray], fakes: pd.DataFrame, origins: Mapping[str, str]
) -> list[np.ndarray]:
    def origin(video_id: str) -> str:
        return origins.get(Path(video_id).name, "")

    video_ids = reals["video_id"].to_numpy(object)
    groups_of: dict[str, list[int]] = {}
    for number, rows in enumerate(real_groups):
        groups_of.setdefault(origin(video_ids[rows[0]]), []).append(number)
    known = set(origins.values())  # a group without a source is nobody's kin
    of_source = {source: np.array(numbers) for source, numbers in groups_of.items() if source in known}
    none = np.empty(0, int)
    of_video = {video_id: of_source.get(origin(video_id), none) for video_id in fakes["video_id"].unique()}
    return [of_video[video_id] for video_id in fakes["video_id"]]


GROUP_COLUMNS = ["generator", "identity", "source"]


def clip_groups(config: Config, selfblend: Selfblend) -> dict[str, dict[str, str]]:
    """Generator, identity and source of each video_id, as far as the groups' CSV knows them."""
    if selfblend.groups_csv is None:
        return {name: {} for name in GROUP_COLUMNS}
    path = config.path(selfblend.groups_csv)
    table = labels.read_table(path, ["file"], *([name] for name in GROUP_COLUMNS))
    # The files are named from the CSV's folder, video_ids from the index's root: only the last part is alike.
    named = [(Path(labels.name_of(row.cells["file"], table.where(row))).name, row.cells) for row in table.rows]
    groups = {column: {name: cells[column] for name, cells in named if cells[column]} for column in GROUP_COLUMNS}
    # "DeepFaceLab (model of A)" and "DeepFaceLab (model of B)" are one generator.
    groups["generator"] = {name: value.partition(" (")[0] for name, value in groups["generator"].items()}
    return groups
