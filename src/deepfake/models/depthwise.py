"""Depthwise convolutions learnt on a processor: bfloat16 forward, float32 backward.

oneDNN's backward pass of depthwise convolutions in bfloat16 takes up to 40 times as long as in float32,
most of all with a stride of 2, and is more than half of a training step (`make bench` has the ratio).
Letters: B pictures, C channels, H rows, W columns, K rows and columns of a kernel.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import torch
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.nn.functional import conv2d

MALLOPT_TRIM, MALLOPT_TOP_PAD, MALLOPT_MMAPS = -1, -2, -4  # numbers of malloc.h
MOST_KEPT_BYTES, GROWN_BYTES = 2**31 - 1, 2**28


class _Depthwise(torch.autograd.Function):
    """conv2d with one kernel a channel whose gradients are taken in float32."""

    @staticmethod
    def forward(
        ctx: Any, x_BCHW: Tensor, weight_C1KK: Tensor, bias_C: Tensor | None, stride: list[int], padding: list[int]
    ) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight_C1KK)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias_C is not None
        bias_C = None if bias_C is None else bias_C.to(x_BCHW.dtype)
        return conv2d(x_BCHW, weight_C1KK.to(x_BCHW.dtype), bias_C, stride, padding, groups=len(weight_C1KK))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x_BCHW, weight_C1KK = ctx.saved_tensors
        n_channels = len(weight_C1KK)
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            _plain(grads[0]),
            _plain(x_BCHW),
            weight_C1KK.float(),
            [n_channels] if ctx.has_bias else None,
            ctx.stride,
            ctx.padding,
            [1, 1],
            False,
            [0, 0],
            n_channels,
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.has_bias],
        )
        return of_x if of_x is None else of_x.to(x_BCHW.dtype), of_weight, of_bias, None, None


def _plain(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.float().contiguous(memory_format=torch.channels_last)


class DepthwiseConv(nn.Module):
    """A depthwise convolution for bfloat16 autocast, with the weights of the one it stands for and their names."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.kernel_size, self.stride = list(convolution.kernel_size), list(convolution.stride)
        self.same = isinstance(convolution, Conv2dSame)
        self.padding = [0, 0] if self.same else [int(side) for side in convolution.padding]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The convolution (B, C, H, W) in autocast's type, or in the input's where there is no autocast."""
        if torch.is_autocast_enabled("cpu"):
            x_BCHW = x_BCHW.to(torch.get_autocast_dtype("cpu"))
        if self.same:
            x_BCHW = pad_same(x_BCHW, self.kernel_size, self.stride)
        found: Tensor = _Depthwise.apply(x_BCHW, self.weight, self.bias, self.stride, self.padding)
        return found


def quicken(network: nn.Module) -> int:
    """Give the depthwise convolutions of `network` that are to learn a quick backward pass; return how many.

    Names and values of the weights stay. For processors and bfloat16; others gain nothing.
    """
    places = [
        (name, part)
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and _is_depthwise(part) and part.weight.requires_grad
    ]
    for name, part in places:
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, DepthwiseConv(part))
    return len(places)


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return (
        1 < convolution.groups == convolution.in_channels == convolution.out_channels
        and convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )


def keep_memory() -> None:
    """Let this process keep up to 2 GB of memory it has freed, where the C library is glibc.

    Otherwise every large array is given back and is zeroed anew by the kernel at the next step, which is a fifth of
    a training step on a processor.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(MALLOPT_MMAPS, 0)
        mallopt(MALLOPT_TRIM, MOST_KEPT_BYTES)
        mallopt(MALLOPT_TOP_PAD, GROWN_BYTES)
