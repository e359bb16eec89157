"""Packing a layer to three bits a weight: exact where it can be, and better than rounding where inputs go together."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from deepfake.errors import UserError
from deepfake.models.class_tokens import GROUP, TRUNK, ClassTokens
from deepfake.models.packed_weights import MIDDLE
from lab.weight_packing import encoder_weights, left_unexplained, pack_blocks, packed_layer


def unpacked(levels_OI: torch.Tensor, scales_OG: torch.Tensor) -> torch.Tensor:
    return ((levels_OI.reshape(len(levels_OI), -1, GROUP) - MIDDLE) * scales_OG[..., None]).flatten(1)


def test_weights_that_lie_on_eight_levels_are_kept_as_they_are() -> None:
    torch.manual_seed(0)
    levels = torch.randint(0, 8, (6, 2 * GROUP)).float()
    levels[:, ::GROUP] = 7  # each group reaches its largest
    weights = unpacked(levels, torch.full((6, 2), 0.25))
    found, scales = packed_layer(weights, torch.eye(2 * GROUP))
    torch.testing.assert_close(unpacked(found, scales), weights)


def test_of_inputs_that_go_together_the_outputs_move_less_than_by_rounding_each_weight() -> None:
    torch.manual_seed(1)
    inputs = torch.randn(400, 8) @ torch.randn(8, GROUP) + 0.1 * torch.randn(400, GROUP)
    weights = torch.randn(16, GROUP)
    together = unpacked(*packed_layer(weights, inputs.T @ inputs))
    alone = unpacked(*packed_layer(weights, torch.eye(GROUP)))
    moved = [float(((inputs @ (found - weights).T) ** 2).mean()) for found in (together, alone)]
    assert moved[0] < 0.3 * moved[1]


def test_what_is_lost_is_0_of_the_same_and_1_where_all_became_alike() -> None:
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]])
    assert left_unexplained(tokens, tokens) == 0
    assert left_unexplained(tokens, tokens + 3) == pytest.approx(0, abs=1e-12)
    assert left_unexplained(tokens, tokens.mean(0).expand(3, 2)) == pytest.approx(1)


def test_another_file_than_the_encoder_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoder '.*none.onnx' does not exist"):
        encoder_weights(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_bytes(b"not a network")
    with pytest.raises(UserError, match=r"not CLIP's image tower with layers of 8 bits"):
        encoder_weights(tmp_path / "text.onnx")


@pytest.mark.slow
def test_a_packed_block_keeps_the_mean_of_what_it_makes_and_most_of_what_tells_pictures_apart() -> None:
    torch.manual_seed(2)
    encoder = timm.create_model(TRUNK, num_classes=0).eval()
    network = ClassTokens(1)
    pictures = torch.randn(6, 3, 224, 224)
    assert list(pack_blocks(network, encoder.state_dict(), pictures)) == [1]
    with torch.no_grad():
        patches = [one.patch_embed(pictures).flatten(0, 1) for one in (encoder, network.trunk)]
        tokens = encoder.norm_pre(encoder._pos_embed(encoder.patch_embed(pictures)))
        whole, packed = encoder.blocks[0](tokens), network.trunk.blocks[0](tokens)
    assert left_unexplained(*patches) < 0.1
    change = packed - whole
    assert change.flatten(0, 1).mean(0).abs().max() < 0.1 * change.abs().max()
    assert left_unexplained(whole.flatten(0, 1), packed.flatten(0, 1)) < 0.1
