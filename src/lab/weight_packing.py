"""CLIP's image transformer with weights of a few bits, each layer packed so that its outputs move least.

GPTQ (Frantar et al. 2022, arXiv:2210.17323): the columns of a layer are rounded one after the other, and the columns
still to come make up for the error of each, by the second moments of the inputs that the layer gets from real pictures.
Letters: B crops, C channels, H rows, W columns, L tokens, O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepfake.errors import UserError
from deepfake.models.class_tokens import GROUP, ClassTokens, PackedLinear, PackedPatches, pack
from deepfake.models.packed_weights import LEVELS, MIDDLE

SCALES_TRIED = torch.linspace(0.35, 1.0, 14)  # of a group, over the one that reaches its largest weight
DAMPING = 0.01  # of the mean of the moments, so that they can be inverted
PREFIX = "vision_model."
AT_ONCE = 16  # pictures
_LAYERS = {"attn.proj": "self_attn/out_proj", "mlp.fc1": "mlp/fc1", "mlp.fc2": "mlp/fc2"}


def encoder_weights(path: Path) -> dict[str, Tensor]:
    """Weights of `class_tokens.TRUNK` by timm's names, out of an ONNX file of CLIP's image tower with layers of 8 bits.

    UserError where it is another network.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ImportError:
        raise UserError("the package onnx is missing, which reads the encoder: pip install 'deepfake[train]'") from None
    try:
        graph = onnx.load(str(path)).graph
        plain = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        layers = {
            node.name: _wide(plain, node.input[1], node.input[3])
            for node in graph.node
            if node.op_type == "MatMulInteger"
        }
        return _named(plain, layers)
    except FileNotFoundError:
        raise UserError(f"encoder {str(path)!r} does not exist") from None
    except (OSError, KeyError, IndexError, ValueError, DecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"encoder {str(path)!r}: not CLIP's image tower with layers of 8 bits ({reason})") from None


def _wide(plain: dict[str, np.ndarray], weights: str, zeros: str) -> Tensor:
    """A layer's weights (O, I) as float32: per output a scale and a zero."""
    scales = plain[f"{weights.removesuffix('_quantized')}_scale"].astype(np.float32)
    values_IO = (plain[weights].astype(np.float32) - plain[zeros].astype(np.float32)) * scales
    return torch.from_numpy(np.ascontiguousarray(values_IO.T))


def _named(plain: dict[str, np.ndarray], layers: dict[str, Tensor]) -> dict[str, Tensor]:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(plain[PREFIX + name].astype(np.float32))

    def layer(block: int, name: str) -> Tensor:
        (found,) = (value for key, value in layers.items() if f"/layers.{block}/{name}/" in key)
        return found

    state = {
        "cls_token": tensor("embeddings.class_embedding").view(1, 1, -1),
        "patch_embed.proj.weight": tensor("embeddings.patch_embedding.weight"),
        "pos_embed": tensor("embeddings.position_embedding.weight")[None],
    }
    state |= {f"norm_pre.{part}": tensor(f"pre_layrnorm.{part}") for part in ("weight", "bias")}
    for block in range(sum(name.endswith("self_attn.q_proj.bias") for name in plain)):
        mine, theirs = f"blocks.{block}.", f"encoder.layers.{block}."
        for norm in ("1", "2"):
            state |= {f"{mine}norm{norm}.{part}": tensor(f"{theirs}layer_norm{norm}.{part}") for part in WB}
        parts = [f"self_attn/{part}_proj" for part in "qkv"]
        state[f"{mine}attn.qkv.weight"] = torch.cat([layer(block, name) for name in parts])
        state[f"{mine}attn.qkv.bias"] = torch.cat([tensor(f"{theirs}{name.replace('/', '.')}.bias") for name in parts])
        for own, name in _LAYERS.items():
            state[f"{mine}{own}.weight"] = layer(block, name)
            state[f"{mine}{own}.bias"] = tensor(f"{theirs}{name.replace('/', '.')}.bias")
    return state


WB = ("weight", "bias")


def _scales(weights_OI: Tensor) -> Tensor:
    """The scale (O, 1) of a group of inputs that rounds its weights with the least squared error."""
    top = weights_OI.abs().amax(1, keepdim=True).clamp(min=1e-8)
    best, least = top / MIDDLE, torch.full_like(top, torch.inf)
    for share in SCALES_TRIED:
        scales = (top * share / MIDDLE).half().float().clamp(min=1e-7)
        error = ((_rounded(weights_OI, scales) - weights_OI) ** 2).sum(1, keepdim=True)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return best


def _levels(weights: Tensor, scales: Tensor) -> Tensor:
    return (weights / scales + MIDDLE).round().clamp(0, LEVELS - 1)


def _rounded(weights: Tensor, scales: Tensor) -> Tensor:
    return (_levels(weights, scales) - MIDDLE) * scales


def packed_layer(weights_OI: Tensor, moments_II: Tensor) -> tuple[Tensor, Tensor]:
    """Levels 0..7 (O, I) and scales (O, I / GROUP) of a layer, for inputs of these second moments."""
    weights_OI, n = weights_OI.clone(), weights_OI.shape[1]
    damped = moments_II + torch.eye(n) * moments_II.diag().mean() * DAMPING
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    levels, scales = torch.zeros_like(weights_OI), torch.zeros(len(weights_OI), n // GROUP)
    for start in range(0, n, GROUP):
        end = start + GROUP
        part, errors = weights_OI[:, start:end].clone(), torch.zeros(len(weights_OI), GROUP)
        own = _scales(part)
        scales[:, start // GROUP] = own[:, 0]
        for column in range(GROUP):
            at = start + column
            levels[:, at] = _levels(part[:, column], own[:, 0])
            error = (part[:, column] - (levels[:, at] - MIDDLE) * own[:, 0]) / upper[at, at]
            part[:, column:] -= error[:, None] * upper[at, at:end][None]
            errors[:, column] = error
        weights_OI[:, end:] -= errors @ upper[start:end, end:]
    return levels, scales


@torch.no_grad()
def pack_blocks(network: ClassTokens, weights: Mapping[str, Tensor], pictures_BCHW: Tensor) -> Iterator[int]:
    """Pack an encoder's weights into a network of its first blocks; after each block its number, from 1.

    Patches first; each block is packed for what the packed layers before it make of the normal pictures.
    """
    trunk, patches = network.trunk, "patch_embed.proj."
    plain = {k: v for k, v in weights.items() if not k.startswith(("blocks.", patches))}
    trunk.load_state_dict(plain, strict=False)
    embedding = trunk.patch_embed.proj
    assert isinstance(embedding, PackedPatches), "ClassTokens packs the patches, too"
    weights_OI = weights[f"{patches}weight"].flatten(1)
    bias_O = weights.get(f"{patches}bias", torch.zeros(len(weights_OI)))
    _pack_into(embedding.layer, embedding, pictures_BCHW, weights_OI, bias_O)
    tokens_BLD = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pictures_BCHW)))
    for number, block in enumerate(trunk.blocks):
        for name in ("norm1", "norm2"):
            own = block.get_submodule(name)
            own.load_state_dict({part: weights[f"blocks.{number}.{name}.{part}"] for part in WB})
        for name in ("attn.qkv", *_LAYERS):
            layer = block.get_submodule(name)
            assert isinstance(layer, PackedLinear), "ClassTokens packs all layers of its blocks"
            _pack_into(layer, block, tokens_BLD, *(weights[f"blocks.{number}.{name}.{part}"] for part in WB))
        tokens_BLD = block(tokens_BLD)
        yield number + 1


def _pack_into(layer: PackedLinear, block: nn.Module, inputs: Tensor, weights_OI: Tensor, bias_O: Tensor) -> None:
    """Pack one layer for what it gets of its block's inputs; its bias makes up for what that moves the mean by."""
    moments_II, sum_I, n = torch.zeros(weights_OI.shape[1], weights_OI.shape[1]), torch.zeros(weights_OI.shape[1]), 0

    def add(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal n
        rows = given[0].flatten(0, -2)
        moments_II.add_(rows.T @ rows)
        sum_I.add_(rows.sum(0))
        n += len(rows)

    hook = layer.register_forward_pre_hook(add)
    for part in torch.split(inputs, AT_ONCE):
        block(part)
    hook.remove()
    levels, scales = packed_layer(weights_OI, moments_II)
    layer.load_state_dict({"packed": pack(levels), "scales": scales, "bias": bias_O})
    layer.bias += (weights_OI - layer.weight_OI()) @ (sum_I / n)


def left_unexplained(before_BD: Tensor, after_BD: Tensor) -> float:
    """How much of what tells crops' tokens apart is lost; what moves all of them alike does not count."""
    spread = before_BD - before_BD.mean(0)
    return float(((after_BD - after_BD.mean(0) - spread) ** 2).sum() / (spread**2).sum())
