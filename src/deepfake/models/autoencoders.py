"""Small autoencoders of pictures: what a synthesised face has gone through, to learn its traces from.

Letters: B pictures, C channels, H rows, W columns. Pictures are RGB in -1..1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

Upsampling = Literal["nearest", "bilinear", "transposed", "shuffle"]
WIDTHS = (16, 32, 64, 96, 96)  # channels at each halving of the picture's side
GROUPS = 8


def _norm_act(channels: int) -> nn.Module:
    return nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.SiLU())


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm_act(channels), nn.Conv2d(channels, channels, 3, padding=1),
            _norm_act(channels), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x_BCHW: Tensor) -> Tensor:
        changed: Tensor = self.body(x_BCHW)
        return x_BCHW + changed


def _doubled(way: Upsampling, n_in: int, n_out: int) -> nn.Module:
    """Twice the size: each way leaves traces of its own."""
    if way == "transposed":
        return nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)
    if way == "shuffle":
        return nn.Sequential(nn.Conv2d(n_in, 4 * n_out, 3, padding=1), nn.PixelShuffle(2))
    smooth: dict[str, Any] = {"align_corners": False} if way == "bilinear" else {}
    # The convolution runs before, where it costs a quarter.
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.Upsample(scale_factor=2, mode=way, **smooth))


class Autoencoder(nn.Module):
    """Pictures through a grid of `bottleneck` numbers for every 2^levels pixels a side, and back."""

    def __init__(self, upsampling: Upsampling, levels: int, bottleneck: int) -> None:
        super().__init__()
        if not 1 <= levels < len(WIDTHS):
            raise ValueError(f"levels: found {levels}, wanted 1 to {len(WIDTHS) - 1}")
        self.settings: dict[str, Any] = {"upsampling": upsampling, "levels": levels, "bottleneck": bottleneck}
        self.multiple_px = 2**levels
        widths = WIDTHS[: levels + 1]
        down: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(bottleneck, widths[-1], 3, padding=1), _Residual(widths[-1])]
        for n_in, n_out in pairwise(widths):
            down += [_norm_act(n_in), nn.Conv2d(n_in, n_out, 3, stride=2, padding=1)]
        for n_in, n_out in pairwise(widths[::-1]):
            up += [_norm_act(n_in), _doubled(upsampling, n_in, n_out)]
            up += [_norm_act(n_out), nn.Conv2d(n_out, n_out, 3, padding=1)]
        self.encoder = nn.Sequential(*down, _Residual(widths[-1]), nn.Conv2d(widths[-1], bottleneck, 1))
        self.decoder = nn.Sequential(*up, _norm_act(widths[0]), nn.Conv2d(widths[0], 3, 3, padding=1))

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """The pictures as they come back; both sides are multiples of `multiple_px`."""
        numbers: Tensor = self.encoder(pictures_BCHW)
        painted: Tensor = self.decoder(torch.tanh(numbers))
        return painted


class PatchCritic(nn.Module):
    """A logit for each patch of 22 pixels: above 0 means a real one."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in ((3, 32), (32, 64), (64, 96)):
            layers += [nn.utils.parametrizations.spectral_norm(nn.Conv2d(n_in, n_out, 4, stride=2, padding=1))]
            layers += [nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(96, 1, 1))

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """Logits (B, 1, H / 8, W / 8)."""
        logits: Tensor = self.layers(pictures_BCHW)
        return logits
