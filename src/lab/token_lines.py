"""Whether CLIP's class tokens tell forged clips of a collection that nothing was learnt from.

A line through the tokens of an encoder that is never trained learns from all collections but one, without clips that
share a publisher, a person or a generator with the one left out, and is measured on that one. Letters: N clips or
crops, C channels, H rows, W columns, L tokens, D features, K blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from deepfake.arrays import map_array, write_array
from deepfake.datasets.views import see
from deepfake.detector.labelled_clips import Clips, some_frames
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.files import digest, sha256_of
from deepfake.models.class_tokens import NAME, TRUNK
from deepfake.models.frames import FrameClassifier
from deepfake.packs.file import LEARN, Pack
from deepfake.packs.items import PackPairs
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import PackTraining
from deepfake.packs.snapshots import read_snapshot
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.settings import Predict
from lab.quality_probe import clip_weights, family_aucs, linked
from lab.weight_packing import encoder_weights

VIEW_RATIO, INPUT_PX, FRAMES, BATCH = 0.7, 224, 2, 8
INVERSE_PENALTY = 1e-4
HEAD_INVERSE_PENALTY = 1e-3  # chosen by what it costs to be calibrated on one collection and asked of the next
PICTURES_WEIGHT = 0.25  # of real pictures of a pack, all together, over the clips'
PICTURES = PackTraining(photo_share=1.0, damage=0.8, seed=77)  # frames of clips may be of the collection left out


class Encoder:
    """CLIP's image tower in float32: crops to the class tokens after each block, each of length 1."""

    def __init__(self, path: Path) -> None:
        self.weights = encoder_weights(path)
        self.key = sha256_of(path)
        self.trunk: Any = timm.create_model(TRUNK, num_classes=0).eval()
        self.trunk.load_state_dict(self.weights, strict=False)  # without the last norm, which is not asked
        cfg: Any = self.trunk.pretrained_cfg
        self.mean_C, self.std_C = (255 * torch.tensor(cfg[name])[:, None, None] for name in ("mean", "std"))

    def tokens(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Class tokens (N, K, D) of crops (HWC uint8 RGB, twice as wide as the face)."""
        seen = np.stack([see(crop, VIEW_RATIO, INPUT_PX) for crop in crops]).transpose(0, 3, 1, 2)
        return np.asarray(self.tokens_of(self.normal(torch.from_numpy(seen))).numpy())

    def normal(self, pictures_NCHW: Tensor) -> Tensor:
        """Pictures (uint8 RGB, 224 px) as the encoder wants them."""
        return (pictures_NCHW.float() - self.mean_C) / self.std_C

    @torch.inference_mode()
    def tokens_of(self, normal_NCHW: Tensor) -> Tensor:
        """Class tokens (N, K, D) of normal pictures."""
        return torch.cat([self._batch(part) for part in torch.split(normal_NCHW, BATCH)])

    def _batch(self, normal_NCHW: Tensor) -> Tensor:
        trunk, found = self.trunk, []
        tokens_NLD = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(normal_NCHW)))
        for block in trunk.blocks:
            tokens_NLD = block(tokens_NLD)
            found.append(functional.normalize(tokens_NLD[:, 0], dim=1))
        return torch.stack(found, 1)


class Network:
    """A frame network of a training from a pack: crops to its features, in place of the tokens of one block.

    `with_face`: of a class-token network, the face's patches too (`models.class_tokens`).
    """

    def __init__(self, path: Path, with_face: bool = False) -> None:
        self.model, self.key = read_snapshot(path)[0], sha256_of(path)
        if with_face:
            backbone = str(self.model.settings["backbone"])
            if not NAME.fullmatch(backbone):
                raise UserError(f"{path}: {backbone} has no tokens of a face; wanted a network of `lab pack-encoder`")
            self.model = without_maps(self.model, backbone.replace("_token", "_face"))
            self.key = digest([self.key, "face"])
        self.scorer = FrameScorer(self.model, Predict(precision="fp32"))

    def tokens(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Features (N, 1, 1 + D) of crops (HWC uint8 RGB, twice as wide as the face), the network's logit first."""
        logits_N, features_ND = self.scorer.crops(crops)
        return np.column_stack([logits_N, features_ND.astype(np.float32)])[:, None]


def without_maps(network: FrameClassifier, backbone: str) -> FrameClassifier:
    """A network of a backbone that has the weights of this one's, with a head that has learnt nothing."""
    made = FrameClassifier(**{**network.settings, "backbone": backbone, "maps": False})
    made.backbone.load_state_dict(network.backbone.state_dict())
    return made.eval()


def clip_tokens(encoder: Encoder | Network, clips: Clips, video_ids: Sequence[str]) -> np.ndarray:
    """Mean tokens (N, K, D) of some frames of each clip's first track; kept beside the crops."""
    faces = some_frames(clips.faces, FRAMES)
    found = []
    for video_id in tqdm(video_ids, desc="tokens", unit="clip", disable=None):
        own = faces[faces["video_id"] == video_id]
        own = own[own["track"] == own["track"].min()]
        places = list(zip(own["shard"], own["offset"], own["size"], strict=True))
        key = digest([encoder.key, VIEW_RATIO, [[str(shard), int(at), int(size)] for shard, at, size in places]])
        path = clips.cache_dir / "tokens" / f"{key[:32]}.npy"
        known = map_array(path, len(places))
        if known is None:
            known = encoder.tokens([read_crop(clips.cache_dir, shard, int(at), int(n)) for shard, at, n in places])
            write_array(path, known)
        found.append(np.mean(known, axis=0))
    return np.stack(found)


def damaged_pictures(pack: Pack, n: int) -> Tensor:
    """Photos of a pack (N, 3, 224, 224) uint8, damaged as in a training."""
    items = PackPairs(pack, Pictures(pack, pack.rows(LEARN)), PICTURES)
    numbers = tqdm(range(n), desc="pictures", disable=None)
    return torch.from_numpy(np.stack([items.make((number, 0.5))[0].transpose(2, 0, 1) for number in numbers]))


def picture_tokens(encoder: Encoder, pack: Pack, n: int, cache_dir: Path) -> np.ndarray:
    """Tokens (N, K, D) of `damaged_pictures`; kept in `cache_dir`."""
    path = cache_dir / "tokens" / f"{digest([encoder.key, pack.digest, n, VIEW_RATIO])[:32]}.npy"
    known = map_array(path, n)
    if known is None:
        known = np.asarray(encoder.tokens_of(encoder.normal(damaged_pictures(pack, n))).numpy())
        write_array(path, known)
    return known


@dataclass(frozen=True)
class LeftOut:
    """A collection that nothing was learnt from: how many clips it was learnt from, AUC by family and in all."""

    collection: str
    n_learnt: int
    aucs: Mapping[str, float]


def line_logits(
    clips: pd.DataFrame,
    features: np.ndarray,
    learnt: np.ndarray,
    told: np.ndarray,
    reals: np.ndarray,
    inverse_penalty: float = INVERSE_PENALTY,
) -> np.ndarray:
    """Logits of the clips `told` (N,) by a line through those `learnt` (N,) and further real pictures' features.

    A source counts by the root of its clips, real and forged clips as much, the pictures PICTURES_WEIGHT of all clips.
    """
    return np.asarray(_line(clips, features, learnt, reals, inverse_penalty).decision_function(features[told]))


def _line(
    clips: pd.DataFrame, features: np.ndarray, learnt: np.ndarray, reals: np.ndarray, inverse_penalty: float
) -> Any:
    labels, weights = clips["label"].to_numpy(), clip_weights(clips, learnt)
    every = np.concatenate([weights[learnt], np.full(len(reals), PICTURES_WEIGHT * learnt.sum() / max(len(reals), 1))])
    line = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    wanted = np.concatenate([labels[learnt], np.zeros(len(reals), int)])
    line.fit(np.concatenate([features[learnt], reals]), wanted, logisticregression__sample_weight=every)
    return line


@dataclass(frozen=True)
class LinearHead:
    """Weights (D,) and bias from a crop's features to its logit."""

    weight_D: np.ndarray
    bias: float

    def logits(self, features_ND: np.ndarray) -> np.ndarray:
        """Logits (N,)."""
        return np.asarray(features_ND @ self.weight_D + self.bias)


def fit_head(clips: pd.DataFrame, features: np.ndarray, learnt: np.ndarray) -> LinearHead:
    """The line through the clips `learnt` (N,), scaled so that their mean is -1 for reals and 1 for forged ones.

    Lines that learnt from fewer or more clips so speak alike, and one can stand in for another.
    """
    line = _line(clips, features, learnt, features[:0], HEAD_INVERSE_PENALTY)
    labels = clips["label"].to_numpy()
    scaler, regression = line.steps[0][1], line.steps[1][1]
    weight_D = regression.coef_[0] / scaler.scale_
    weights, logits = clip_weights(clips, learnt), features @ weight_D
    real, forged = (np.average(logits[learnt & (labels == k)], weights=weights[learnt & (labels == k)]) for k in (0, 1))
    slope = 2 / (forged - real)
    return LinearHead(slope * weight_D, float(-1 - slope * real))


def left_out(
    clips: pd.DataFrame,
    collections: np.ndarray,
    features: np.ndarray,
    reals: np.ndarray,
    inverse_penalty: float = INVERSE_PENALTY,
) -> Iterator[LeftOut]:
    """What each collection gets from the others; `collections` names that of each clip (N,)."""
    labels, families = clips["label"].to_numpy(), clips["family"].to_numpy()
    for name in sorted(set(collections.tolist())):
        told = collections == name
        learnt = ~linked(clips, told)
        logits = line_logits(clips, features, learnt, told, reals, inverse_penalty)
        yield LeftOut(name, int(learnt.sum()), family_aucs(labels[told], families[told], logits))
