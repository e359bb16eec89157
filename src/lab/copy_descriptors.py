"""Descriptors of pictures beside each other: how near the hashes of one moment are, and those of different videos.

pdqhash, and a learned one: the pooled features of an ImageNet EfficientNet-Lite0, whitened, their signs as bits. Both
are candidates, measured here alone. Letters: F frames, D numbers of a feature.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.catalog.hashing import Settings, pictures_of
from deepfake.faces.descriptors import DESCRIPTORS, variants
from lab.copies import Chosen, Copy

N_CLIPS = 12  # originals whose copies are compared
N_OTHERS = 40  # videos that none is a copy of
MOMENTS = 4  # of each copy
FALSE_RATE = 1e-3
BITS = 256
BACKBONE = "tf_efficientnet_lite0"
Pictures = Sequence[np.ndarray]
Bits = Callable[[Pictures], np.ndarray]


def pdq_bits(grey_HW: np.ndarray) -> np.ndarray:
    """Meta's PDQ, of a small grey picture."""
    import pdqhash

    bits, _ = pdqhash.compute(np.repeat(grey_HW[:, :, None], 3, axis=2))
    return np.asarray(bits, bool)


class Learned:
    """Signs of the whitened features of an EfficientNet-Lite0; whitened by pictures of other videos."""

    def __init__(self, known: Pictures) -> None:
        import timm
        import torch

        from deepfake.models.frames import registry_weights

        torch.set_num_threads(1)
        self.network: Any = timm.create_model(BACKBONE, num_classes=0).eval()
        self.network.load_state_dict(registry_weights(BACKBONE))
        features_FD = self.features(known)
        self.mean_D = features_FD.mean(0)
        _, scale_D, self.axes_DD = np.linalg.svd(features_FD - self.mean_D, full_matrices=False)
        n_bits = min(BITS, int((scale_D > 1e-3 * scale_D[0]).sum()))
        self.axes_DD = self.axes_DD[:n_bits]

    def features(self, pictures: Pictures) -> np.ndarray:
        """Pooled features (F, D)."""
        import torch

        found = []
        for picture in pictures:
            square = cv2.resize(picture, (224, 224), interpolation=cv2.INTER_LINEAR).astype(np.float32)
            batch = torch.from_numpy((square - 127.0) / 128.0)[None, None].expand(1, 3, -1, -1)
            with torch.inference_mode():
                found.append(self.network(batch).numpy())
        return np.concatenate(found)

    def bits(self, pictures: Pictures) -> np.ndarray:
        """Which side of their mean they lie on along each axis (F, BITS)."""
        return np.asarray((self.features(pictures) - self.mean_D) @ self.axes_DD.T > 0)


@dataclass(frozen=True)
class _Moment:
    """A picture of a copy in all its variants, and the original's of the same moment."""

    change: str
    variants: Pictures
    original: np.ndarray


def _moments(chosen: Chosen, copies: Sequence[Copy]) -> list[_Moment]:
    names = set(chosen.originals[:N_CLIPS])
    settings = Settings()
    originals = {name: pictures_of(chosen.root / name, settings.sample_fps) for name in sorted(names)}
    moments = []
    for copy in tqdm([one for one in copies if one.spans and one.spans[0][0] in names], desc="moments", disable=None):
        name, from_s, to_s, copy_from_s, copy_to_s = copy.spans[0]
        times, pictures = originals[name]
        copy_times, copy_pictures = pictures_of(copy.path, 2 * settings.sample_fps)
        if not times or not copy_times:
            continue
        for share in (np.arange(MOMENTS) + 0.5) / MOMENTS:
            place = int(np.abs(np.array(times) - (from_s + share * (to_s - from_s))).argmin())
            at_s = copy_from_s + (times[place] - from_s) * (copy_to_s - copy_from_s) / (to_s - from_s)
            shown = copy_pictures[int(np.abs(np.array(copy_times) - at_s).argmin())]
            both = (shown, np.ascontiguousarray(shown[:, ::-1]))
            moments.append(_Moment(copy.change, [one for side in both for one in variants(side)], pictures[place]))
    return moments


def compare(chosen: Chosen, copies: Sequence[Copy]) -> pd.DataFrame:
    """For each change the share of moments that each descriptor finds, where it takes 1 in 1,000 others for the same.

    The last rows: milliseconds of a picture, and the share of bits that may differ.
    """
    moments = _moments(chosen, copies)
    known = [one for name in chosen.others[:N_OTHERS] for one in pictures_of(chosen.root / name, 1.0)[1]]
    made: Mapping[str, Bits] = {
        **{name: _each(function) for name, function in DESCRIPTORS.items()},
        **({"pdq": _each(pdq_bits)} if find_spec("pdqhash") else {}),  # pip install pdqhash==0.2.8
        "lite0": Learned(known).bits,
    }
    columns = {name: _found(bits, moments, known) for name, bits in made.items()}
    return pd.DataFrame(columns).rename_axis("change").reset_index()


def _each(function: Callable[[np.ndarray], np.ndarray]) -> Bits:
    return lambda pictures: np.array([function(picture) for picture in pictures])


def _found(bits: Bits, moments: Sequence[_Moment], known: Pictures) -> Mapping[str, float]:
    start = time.process_time()
    known_FB = bits(known)
    ms = 1000 * (time.process_time() - start) / len(known)
    nearest, false = [], []
    for moment in moments:
        own_KB = bits(moment.variants)
        nearest.append((own_KB != bits([moment.original])).mean(1).min())
        false.append((own_KB[:, None] != known_FB[None]).mean(2).min(0))
    most = float(np.quantile(np.concatenate(false), FALSE_RATE))
    changes = [moment.change for moment in moments]
    near = np.array(nearest) <= most
    by_change = {change: float(near[[one == change for one in changes]].mean()) for change in dict.fromkeys(changes)}
    return {**by_change, "all": float(near.mean()), "ms a picture": ms, "bits that may differ": most}
