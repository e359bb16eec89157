"""A frame network inflated to time: its later depthwise convolutions see the frame before and the one after, too.

Letters: B tracks, T frames (padded at the end), N frames of all tracks without padding, C channels, H rows, W columns.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from deepfake.config import UserError
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads import Start, TrackHead, register_head
from deepfake.tubes import LARGE_TUBE_PX


class TimeKernel(nn.Module):
    """The outer slices of a 3 x k x k kernel whose middle slice is a depthwise k x k convolution; zero at the start.

    A forward hook of that convolution, so that its weights keep their names. A track's first frame comes before itself
    and its last one after itself: a still face looks the same at both ends.
    """

    def __init__(self, middle: nn.Conv2d) -> None:
        super().__init__()
        self.before, self.after = _empty(middle), _empty(middle)
        self.before_N = self.after_N = torch.zeros(0, dtype=torch.long)

    def forward(self, _: nn.Module, inputs: tuple[Tensor], middle_NCHW: Tensor) -> Tensor:
        """What the whole kernel gives, from the inputs and the output of its middle slice."""
        before_NCHW, after_NCHW = self.before(inputs[0]), self.after(inputs[0])
        whole_NCHW: Tensor = middle_NCHW + before_NCHW[self.before_N] + after_NCHW[self.after_N]
        return whole_NCHW


def _empty(convolution: nn.Conv2d) -> nn.Conv2d:
    same = copy.deepcopy(convolution)  # stride and padding may be those of a class of timm's
    same.bias = None
    nn.init.zeros_(same.weight)
    return same.requires_grad_(True)


@register_head("inflated")
class InflatedClassifier(TrackHead):
    """Begins as the frame network it is made of: each frame of a tube gets the very logit that network gives it.

    Stem and the first stages stay as they are; in the later ones the weights learn slowly (`backbone.`, see the
    training loop) and the outer slices of the kernels at the full rate. A track's logit is the mean of its frames'.

    The tube's pictures are not the frame network's: turned upright, the face held still by its landmarks, and
    LARGE_TUBE_PX wide, where that network sees the middle of a crop around the box, 256 px wide in the shipped one. The
    face has about the same size in both (61 px between the eyes), the tube shows less of what is around it.
    """

    inputs = ("large_tube",)
    window = 32

    def __init__(self, backbone: str, folded: bool, frozen_stages: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "backbone": backbone,
            "folded": folded,
            "frozen_stages": frozen_stages,
            "dropout": dropout,
        }
        self.backbone = FrameClassifier(backbone, LARGE_TUBE_PX, dropout, folded=folded)
        self.backbone.freeze(frozen_stages, batchnorm=True)
        depthwise = [m for m in self.backbone.backbone.modules() if isinstance(m, nn.Conv2d) and _learns_apart(m)]
        if not depthwise:
            raise UserError(
                f"sequences.heads: {backbone!r} has no depthwise convolutions after its first {frozen_stages} stages "
                "to inflate; leave out inflated, or choose an EfficientNet as frames.backbone"
            )
        self.time = nn.ModuleList(TimeKernel(convolution) for convolution in depthwise)
        for convolution, kernel in zip(depthwise, self.time, strict=True):
            convolution.register_forward_hook(kernel)

    @classmethod
    def begin(cls, start: Start) -> InflatedClassifier:
        """With the weights of the frame network beside it."""
        if start.frames is None:
            raise ValueError("inflated: wanted the frame network whose weights it begins with, found none")
        return cls.made_of(start.frames(), start.sequences.dropout)

    @classmethod
    def made_of(cls, frames: FrameClassifier, dropout: float = 0.0) -> InflatedClassifier:
        """A frame network inflated, the first half of its stages frozen; the network itself stays as it is."""
        n_stages = len(getattr(frames.backbone, "blocks", ()))
        like = {name: frames.settings[name] for name in ("backbone", "folded")}
        head = cls(**like, frozen_stages=(n_stages + 1) // 2, dropout=dropout)
        maps = {name for name in frames.state_dict() if name.startswith("map_head.")}
        weights = {name: weight for name, weight in frames.state_dict().items() if name not in maps}
        head.backbone.load_state_dict(weights, strict=True)
        return head

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits_B and logits_BT of tube_BTCHW (RGB 0..255) and mask_BT, whatever the frame model says."""
        tube_BTCHW, mask_BT, _ = inputs
        before_N, after_N = neighbours(mask_BT)
        for kernel in self.time:
            kernel.before_N, kernel.after_N = before_N, after_N
        logits_N = self.backbone(tube_BTCHW[mask_BT])
        logits_BT = logits_N.new_zeros(mask_BT.shape).masked_scatter(mask_BT, logits_N)
        return logits_BT.sum(dim=1) / mask_BT.sum(dim=1), logits_BT


def _learns_apart(convolution: nn.Conv2d) -> bool:
    is_depthwise = 1 < convolution.groups == convolution.in_channels == convolution.out_channels
    return is_depthwise and convolution.weight.requires_grad


def neighbours(mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """For each frame of padded tracks, row after row without the padding: the places of the one before and after it."""
    lengths_B = mask_BT.sum(dim=1)
    ends_B = lengths_B.cumsum(dim=0)
    places_N = torch.arange(int(ends_B[-1]), device=mask_BT.device)
    first_N = (ends_B - lengths_B).repeat_interleave(lengths_B)
    last_N = (ends_B - 1).repeat_interleave(lengths_B)
    return (places_N - 1).maximum(first_N), (places_N + 1).minimum(last_N)
