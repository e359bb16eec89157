"""What an image transformer knows of a face: its tokens after some of its blocks, with weights of a few bits.

The blocks are CLIP's (Radford et al. 2021, arXiv:2103.00020), which learnt from pictures of the web and their captions.
Their weights stay as they are, but for the norms'. They have eight levels, three bits each, with one scale for each
GROUP of a row, as found by GPTQ (Frantar et al. 2022, arXiv:2210.17323; `lab.weight_packing`). Letters: B crops,
C channels, H rows, W columns, L tokens, D features, O outputs, I inputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Self

from deepfake.models import no_compiler  # noqa: F401 - first: it decides how timm is imported

# isort: split
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from deepfake.errors import UserError
from deepfake.models.packed_weights import BYTES, DIGITS, LEVELS, unpacked_IO

NAME = re.compile(r"clip_b16_(token|face)(\d{1,2})")
TRUNK = "vit_base_patch16_clip_quickgelu_224"
GROUP = 64
PATCH_PX = 16
FACE_AXES = (0.23, 0.3)  # half axes of eyes, nose and mouth, as shares of what is seen of a crop: its middle 70 %


def pack(levels_OI: Tensor) -> Tensor:
    """Whole numbers 0..7 (O, I), eight to three bytes: (O, 3 I / 8) uint8."""
    digits = levels_OI.to(torch.int64).reshape(len(levels_OI), -1, DIGITS)
    numbers = (digits * LEVELS ** torch.arange(DIGITS - 1, -1, -1)).sum(-1)
    return torch.stack([numbers // 256**2, numbers // 256 % 256, numbers % 256], -1).flatten(1).to(torch.uint8)


class PackedLinear(nn.Module):
    """A linear layer that does not learn: levels 0..7 times the scale of their group of inputs, about 0."""

    packed: Tensor
    scales: Tensor
    bias: Tensor

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        if n_inputs % GROUP:
            raise ValueError(f"a packed layer of {n_inputs} inputs; wanted a multiple of {GROUP}")
        self.register_buffer("packed", torch.zeros(n_outputs, n_inputs // DIGITS * BYTES, dtype=torch.uint8))
        self.register_buffer("scales", torch.zeros(n_outputs, n_inputs // GROUP))
        self.register_buffer("bias", torch.zeros(n_outputs))
        self.unpacked: Tensor | None = None  # weights, once they were asked for

    def _load_from_state_dict(self, *args: Any) -> None:
        self.unpacked = None
        super()._load_from_state_dict(*args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.unpacked = None  # another device or precision
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def weight_OI(self) -> Tensor:
        """The layer's weights, float32."""
        weights_IO = unpacked_IO(self.packed.cpu().numpy(), self.scales.float().cpu().numpy())
        return torch.from_numpy(weights_IO.T).contiguous().to(self.packed.device)

    def forward(self, values: Tensor) -> Tensor:
        """Values (..., I) to (..., O)."""
        if self.unpacked is None:
            self.unpacked = self.weight_OI()
        return functional.linear(values, self.unpacked, self.bias)


class PlainLinear(nn.Module):
    """A packed layer's weights as engines want them, for the graph: they are given what `packed_weights` unpacks."""

    def __init__(self, layer: PackedLinear) -> None:
        super().__init__()
        self.weight_IO, self.bias = nn.Parameter(layer.weight_OI().T.contiguous()), nn.Parameter(layer.bias.float())

    def forward(self, values: Tensor) -> Tensor:
        """Values (..., I) to (..., O)."""
        return torch.matmul(values, self.weight_IO) + self.bias


def unpack_layers(network: nn.Module) -> None:
    """Put plain layers into the places of packed ones."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, PackedLinear):
                setattr(parent, name, PlainLinear(child))


class PackedPatches(nn.Module):
    """A convolution over patches that do not overlap, as a packed layer: (B, 3, H, W) to (B, O, H / PATCH_PX, ...)."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.layer = PackedLinear(3 * PATCH_PX**2, n_outputs)

    def rows(self, pictures_BCHW: Tensor) -> Tensor:
        """The patches as rows (B, H / PATCH_PX, W / PATCH_PX, I), a channel after the other."""
        batch, channels, height, width = pictures_BCHW.shape
        across = (height // PATCH_PX, PATCH_PX, width // PATCH_PX, PATCH_PX)
        cut = pictures_BCHW.reshape(batch, channels, *across).permute(0, 2, 4, 1, 3, 5)
        return cut.reshape(batch, across[0], across[2], channels * PATCH_PX**2)

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """Normal pictures to what each patch holds."""
        values: Tensor = self.layer(self.rows(pictures_BCHW))
        return values.permute(0, 3, 1, 2)


class ClassTokens(nn.Module):
    """Normal pictures (B, 3, 224, 224) to class tokens (B, D) after the first `n_blocks` blocks.

    `with_face`: to them (B, 3 D), beside them the mean and the standard deviation of the tokens of the patches that
    show eyes, nose and mouth. A class token alone tells what kind of picture it is; these tell how its face is drawn.

    Only the blocks' norms learn, which is all that such a network needs to see blends (Yermakov et al. 2025,
    arXiv:2508.06248). It is built without weights: they come from a file. As timm's networks do, it gives what it sees
    on a grid, too.
    """

    face_L: Tensor

    def __init__(self, n_blocks: int, with_face: bool = False) -> None:
        super().__init__()
        with torch.device("meta"):
            trunk: Any = timm.create_model(TRUNK, num_classes=0)
        if not 1 <= n_blocks <= len(trunk.blocks):
            raise UserError(f"class tokens: {TRUNK} has {len(trunk.blocks)} blocks; found {n_blocks} of them")
        trunk.blocks = nn.Sequential(*list(trunk.blocks)[:n_blocks])
        trunk.norm = trunk.fc_norm = trunk.head = nn.Identity()
        _pack_layers(trunk.blocks)
        trunk.patch_embed.proj = PackedPatches(int(trunk.num_features))
        self.trunk = trunk.to_empty(device="cpu")
        with torch.no_grad():
            for value in self.trunk.state_dict().values():
                value.zero_()
        self.requires_grad_(False)
        for part in self.trunk.modules():
            if isinstance(part, nn.LayerNorm):
                part.requires_grad_(True)
        self.width, self.with_face = int(trunk.num_features), with_face
        self.num_features = self.width * (3 if with_face else 1)
        self.pretrained_cfg: Any = trunk.pretrained_cfg
        self.feature_info = [{"num_chs": self.width, "reduction": PATCH_PX}]
        self.register_buffer("face_L", face_patches(), persistent=False)

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """Class tokens (B, D), each with a mean square of 1; or (B, 3 D), see the class."""
        return self.forward_head(self.trunk.forward_features(pictures_BCHW))

    def forward_head(self, tokens_BLD: Tensor) -> Tensor:
        """What `forward` gives, of all tokens (B, L, D)."""
        token_BD = functional.normalize(tokens_BLD[:, 0], dim=1) * math.sqrt(self.width)
        if not self.with_face:
            return token_BD
        places_BLD = functional.layer_norm(tokens_BLD[:, 1:], (self.width,))
        share_1L1 = self.face_L[None, :, None]
        mean_B1D = (share_1L1 * places_BLD).sum(1, keepdim=True)
        # Of differences: a mean of squares less the square of a mean loses digits, and engines lose others.
        variance_BD = (share_1L1 * (places_BLD - mean_B1D).square()).sum(1)
        return torch.cat([token_BD, mean_B1D[:, 0], variance_BD.sqrt()], 1)

    def forward_intermediates(self, pictures_BCHW: Tensor, indices: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """All tokens (B, L, D), and what lies on the grid (B, D, 14, 14), normal at every place; once an index."""
        tokens_BLD = self.trunk.forward_features(pictures_BCHW)
        side = pictures_BCHW.shape[-1] // PATCH_PX
        places_BLD = functional.layer_norm(tokens_BLD[:, 1:], (self.width,))
        grid = places_BLD.transpose(1, 2).reshape(-1, self.width, side, side)
        return tokens_BLD, [grid for _ in indices]


def face_patches() -> Tensor:
    """The share of each patch (L,) in a mean over those that show eyes, nose and mouth; their sum is 1."""
    side = 224 // PATCH_PX
    from_middle = (torch.arange(side) + 0.5) / side - 0.5
    inside = (from_middle[None] / FACE_AXES[0]) ** 2 + (from_middle[:, None] / FACE_AXES[1]) ** 2 < 1
    return (inside / inside.sum()).flatten()


def _pack_layers(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, PackedLinear(child.in_features, child.out_features))


def class_tokens(backbone: str, input_px: int) -> ClassTokens | None:
    """The network of a name such as clip_b16_token9 or clip_b16_face8 (with the face's patches), None for others.

    Its pictures have 224 px.
    """
    found = NAME.fullmatch(backbone)
    if found is None:
        return None
    if input_px != 224:
        raise UserError(f"{backbone} sees pictures of 224 px; found {input_px}")
    return ClassTokens(int(found[2]), with_face=found[1] == "face")
