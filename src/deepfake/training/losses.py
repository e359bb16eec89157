"""Losses: logits, maps, pairs and frames in; scalars out. Letters: B rows, K maps, P pairs, T frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, softplus


class Losses(NamedTuple):
    """Mean log loss of the real and of the fake rows of a batch."""

    real: Tensor
    fake: Tensor

    @property
    def both(self) -> Tensor:
        """Real and fake weigh the same, whatever their numbers."""
        return (self.real + self.fake) / 2


def losses(logits_B: Tensor, labels_B: Tensor, label_smoothing: float = 0.0) -> Losses:
    """Log loss of each class; smoothing s moves the targets to s and 1 - s."""
    targets_B = labels_B * (1 - 2 * label_smoothing) + label_smoothing
    each_B = binary_cross_entropy_with_logits(logits_B.float(), targets_B, reduction="none")
    return Losses(each_B[labels_B < 0.5].mean(), each_B[labels_B >= 0.5].mean())


def map_loss(maps_BKHW: Tensor, masks_BHW: Tensor) -> Tensor:
    """Log loss of the maps (see `models.frames.MAPS`) against soft masks m; rows with NaN do not count."""
    known_B = masks_BHW.isfinite().all(dim=(1, 2))
    masks_BHW = resize_maps(masks_BHW[known_B], maps_BKHW.shape[-2:])
    wanted_BKHW = torch.stack([4 * masks_BHW * (1 - masks_BHW), masks_BHW], dim=1).clamp(0, 1)
    if not len(wanted_BKHW):
        return maps_BKHW.sum() * 0
    return binary_cross_entropy_with_logits(maps_BKHW[known_B].float(), wanted_BKHW)


def pair_margins(logits_B: Tensor, masks_BHW: Tensor) -> Tensor:
    """Logit of each made fake less that of the picture it was made of, (P,); pairs of two pictures do not count.

    Rows are as `forging.mixture.collate` lays them: the reals, then their fakes in the same order, NaN masks where a
    fake was not made from its real.
    """
    reals_P, fakes_P = logits_B.float().chunk(2)
    return (fakes_P - reals_P)[masks_BHW.chunk(2)[1].isfinite().all(dim=(1, 2))]


def pair_loss(margins_P: Tensor) -> Tensor:
    """Log loss of naming the fake of two pictures, from the difference of their logits."""
    return softplus(-margins_P).mean() if len(margins_P) else margins_P.sum()


def frame_loss(logits_BT: Tensor, forged_BT: Tensor) -> Tensor:
    """Log loss of single frames, real and forged ones weighing the same; frames no one knows of (NaN) do not count."""
    known_BT = forged_BT.isfinite()
    logits_N, forged_N = logits_BT[known_BT].float(), forged_BT[known_BT]
    n_forged = forged_N.sum()
    if not 0 < n_forged < len(forged_N):  # frames of one kind would only move the threshold
        return logits_BT.sum() * 0
    shares_N = torch.where(forged_N > 0.5, 0.5 / n_forged, 0.5 / (len(forged_N) - n_forged))
    return (shares_N * binary_cross_entropy_with_logits(logits_N, forged_N, reduction="none")).sum()


def resize_maps(masks_BHW: Tensor, size: torch.Size) -> Tensor:
    """Masks on another grid."""
    if masks_BHW.shape[-2:] == size or not len(masks_BHW):
        return masks_BHW
    return interpolate(masks_BHW[:, None], size=tuple(size), mode="bilinear", antialias=True)[:, 0]
