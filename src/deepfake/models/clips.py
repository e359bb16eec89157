"""Tubes of a still face to one logit: 3-D convolutions over rows, columns and time.

Letters: B tracks, T frames (padded at the end), C channels, H rows, W columns.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu
from torchvision.models import video

from deepfake.models.heads import TrackHead, register_head

MEAN, STD = 114.75, 57.375  # of all channels, as in most recipes for clips: 0.45 and 0.225
ALPHA = 4  # frames of the fast path for each of the slow one
SLOW, FAST = (16, 32, 64, 128), (4, 8, 16, 32)


class ClipClassifier(TrackHead):
    """A trunk whose map (B, C, T', H', W') is averaged over rows and columns; each moment of it gets a logit."""

    inputs = ("tube",)
    window = 32
    min_frames = 2

    def __init__(self, trunk: nn.Module, n_channels: int, dropout: float) -> None:
        super().__init__()
        self.trunk, self.dropout, self.head = trunk, nn.Dropout(dropout), nn.Linear(n_channels, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits_B and logits_BT of tube_BTCHW (RGB 0..255) and mask_BT, whatever the frame model says."""
        tube_BTCHW, mask_BT, _ = inputs
        clip_BCTHW = (_without_padding(tube_BTCHW, mask_BT).transpose(1, 2).float() - MEAN) / STD
        map_BCT = self.trunk(clip_BCTHW).mean(dim=(3, 4))
        moments_B1T = self.head(self.dropout(map_BCT.transpose(1, 2))).transpose(1, 2)
        logits_BT = interpolate(moments_B1T, size=mask_BT.shape[1], mode="linear")[:, 0]
        lasts_B1 = mask_BT.sum(dim=1, keepdim=True)
        logits_BT = logits_BT * mask_BT * (lasts_B1 >= self.min_frames)
        return logits_BT.sum(dim=1) / lasts_B1[:, 0], logits_BT


def _without_padding(tube_BTCHW: Tensor, mask_BT: Tensor) -> Tensor:
    """The padding replaced by each tube's last frame: a cut to black would be the strongest signal there is."""
    last_B1 = mask_BT.sum(dim=1, keepdim=True) - 1
    places_BT = torch.arange(mask_BT.shape[1], device=mask_BT.device)[None].minimum(last_B1)
    return tube_BTCHW[torch.arange(len(tube_BTCHW), device=mask_BT.device)[:, None], places_BT]


class VideoResNet(ClipClassifier):
    """One of torchvision's small networks for clips, from a random start."""

    name: ClassVar[str]

    def __init__(self, dropout: float = 0.0) -> None:
        whole = getattr(video, self.name)(weights=None)
        layers = nn.Sequential(whole.stem, whole.layer1, whole.layer2, whole.layer3, whole.layer4)
        super().__init__(layers, whole.fc.in_features, dropout)
        self.settings = {"dropout": dropout}

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """As of every clip network; on a processor it learns in full precision, whatever is asked for.

        PyTorch 2.14.1 gets the gradient of some 3-D convolutions wrong there in bf16 (128 channels to 230 and more, one
        frame deep): off by half, or no number at all.
        """
        if not self.training or inputs[0].device.type != "cpu":
            return super().frame_logits(*inputs)
        with torch.autocast("cpu", enabled=False):
            return super().frame_logits(*inputs)


@register_head("r2plus1d_18")
class R2Plus1d(VideoResNet):
    """Each 3-D convolution as one in space and one in time: 31 million parameters."""

    name = "r2plus1d_18"


@register_head("mc3_18")
class Mc3(VideoResNet):
    """Time in the first layers alone: 11 million parameters."""

    name = "mc3_18"


def _convolution(before: int, after: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.Sequential:
    t, h, w = kernel
    layer = nn.Conv3d(before, after, kernel, stride, (t // 2, h // 2, w // 2), bias=False)
    return nn.Sequential(layer, nn.BatchNorm3d(after))


class _Block(nn.Module):
    def __init__(self, before: int, after: int, time_kernel: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(before, after, (time_kernel, 3, 3), (1, stride, stride))
        self.second = _convolution(after, after, (1, 3, 3), (1, 1, 1))
        self.short = _convolution(before, after, (1, 1, 1), (1, stride, stride))

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        inner: Tensor = self.second(relu(self.first(clip_BCTHW)))
        return relu(inner + self.short(clip_BCTHW))


class _SlowFast(nn.Module):
    """Every fourth frame through a wide path that sees time late, all frames through a thin one that tells the wide."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_stem = _convolution(3, SLOW[0], (1, 5, 5), (1, 4, 4))
        self.fast_stem = _convolution(3, FAST[0], (5, 5, 5), (1, 4, 4))
        slow, fast, lateral = [], [], []
        for level in range(1, len(SLOW)):
            told = SLOW[level - 1] + 2 * FAST[level - 1]
            lateral.append(_convolution(FAST[level - 1], 2 * FAST[level - 1], (5, 1, 1), (ALPHA, 1, 1)))
            slow.append(_Block(told, SLOW[level], 3 if level > 1 else 1, 2))
            fast.append(_Block(FAST[level - 1], FAST[level], 3, 2))
        self.slow, self.fast, self.lateral = nn.ModuleList(slow), nn.ModuleList(fast), nn.ModuleList(lateral)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        slow = relu(self.slow_stem(clip_BCTHW[:, :, ::ALPHA]))
        fast = relu(self.fast_stem(clip_BCTHW))
        for wide, thin, lateral in zip(self.slow, self.fast, self.lateral, strict=True):
            slow = wide(torch.cat([slow, relu(lateral(fast))], dim=1))
            fast = thin(fast)
        # The thin path's time is kept: the wide path's moments are told to all frames.
        return torch.cat([interpolate(slow, size=tuple(fast.shape[2:])), fast], dim=1)


@register_head("slowfast")
class SlowFast(ClipClassifier):
    """A small SlowFast from a random start: 0.4 million parameters."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__(_SlowFast(), SLOW[-1] + FAST[-1], dropout)
        self.settings = {"dropout": dropout}
