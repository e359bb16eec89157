"""A class-token network whose head is a line through the tokens of labelled clips; its blocks stay as they are.

Letters: N clips, F faces of a collection, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.detector.labelled_clips import Clips
from deepfake.detector.left_out_scores import KEY
from deepfake.faces.crop_store import read_crop
from deepfake.files import digest
from deepfake.models.frames import FrameClassifier
from deepfake.scoring.strides import rows_looked_at
from lab.quality_probe import linked
from lab.token_lines import LinearHead, Network, fit_head, without_maps


@dataclass(frozen=True)
class Collection:
    """Clips with a face, columns CLIPS; every face of theirs (columns KEY), and the features that stand for each."""

    name: str
    clips: pd.DataFrame
    faces: pd.DataFrame
    features_FD: np.ndarray

    def means(self) -> np.ndarray:
        """Mean features (N, D) of each clip's first track."""
        first = self.faces.groupby("video_id")["track"].transform("min") == self.faces["track"]
        rows = pd.Series(np.flatnonzero(first)).groupby(self.faces.loc[first, "video_id"].to_numpy()).apply(list)
        return np.stack([self.features_FD[rows[name]].mean(0) for name in self.clips["clip"]])


def collect(name: str, table: pd.DataFrame, clips: Clips, network: Network, stride: int) -> Collection:
    """A collection as a member of this stride sees it; features are kept beside the crops."""
    kept = clips.faces[clips.faces["video_id"].isin(set(table["clip"]))].reset_index(drop=True)
    seen, place = np.unique(rows_looked_at(kept, stride), return_inverse=True)
    bar = tqdm(seen.tolist(), desc=f"tokens, {name}", unit="crop", disable=None)
    features = np.stack([_features(network, kept.iloc[row], clips) for row in bar])
    return Collection(name, table, kept[KEY], features[place])


def _features(network: Network, face: pd.Series, clips: Clips) -> np.ndarray:
    place = (str(face["shard"]), int(face["offset"]), int(face["size"]))
    path = clips.cache_dir / "tokens" / f"{digest(['head', network.key, place])[:32]}.npy"
    known = map_array(path, 1)
    if known is None:
        known = network.tokens([read_crop(clips.cache_dir, *place)])[:, 0, 1:]
        write_array(path, known)
    return np.asarray(known[0], np.float64)


def left_out_rows(collections: Sequence[Collection], member: str) -> pd.DataFrame:
    """Rows of FRAME_SCORES: each collection by a line through the others, without clips linked to any of its own."""
    found = []
    for one, head in zip(collections, _left_out_heads(collections), strict=True):
        found.append(one.faces.assign(model=member, logit=head.logits(one.features_FD)))
    return pd.concat(found, ignore_index=True)


def mean_head(collections: Sequence[Collection]) -> LinearHead:
    """The mean of the lines that `left_out_rows` scores by.

    A calibration fitted to their scores holds for it. A line through all collections tells much the same, but spreads
    its logits wider on clips from elsewhere.
    """
    heads = _left_out_heads(collections)
    weights_HD = np.stack([head.weight_D for head in heads])
    return LinearHead(weights_HD.mean(0), float(np.mean([head.bias for head in heads])))


def _left_out_heads(collections: Sequence[Collection]) -> list[LinearHead]:
    """For each collection the line through the others, without clips linked to any of its own."""
    table, features = _joined(collections)
    name = np.repeat([one.name for one in collections], [len(one.clips) for one in collections])
    return [fit_head(table, features, ~linked(table, name == one.name)) for one in collections]


def _joined(collections: Sequence[Collection]) -> tuple[pd.DataFrame, np.ndarray]:
    table = pd.concat([one.clips for one in collections], ignore_index=True)
    return table, np.concatenate([one.means() for one in collections])


@torch.no_grad()
def with_head(network: FrameClassifier, head: LinearHead) -> FrameClassifier:
    """The network with this head and without maps, which nothing taught it to draw."""
    made = without_maps(network, str(network.settings["backbone"]))
    made.head.weight.copy_(torch.from_numpy(head.weight_D)[None])
    made.head.bias.fill_(head.bias)
    return made.eval()
