"""Class tokens of an image transformer: what three bits a weight hold, and that both engines read them alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake.detector.file import Part, open_detector, save_detector
from deepfake.errors import UserError
from deepfake.models.checkpoints import load_frames
from deepfake.models.class_tokens import GROUP, ClassTokens, PackedLinear, class_tokens, face_patches, pack
from deepfake.models.frames import FrameClassifier
from deepfake.models.packed_weights import LEVELS, MIDDLE, unpacked, unpacked_IO
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.settings import Predict
from learning_data import one_thread, picture  # noqa: F401 - a fixture
from little_detector import saved, settings, stack
from little_tokens import random_tokens

NORMS = ("norm_pre", "blocks.0.norm1", "blocks.0.norm2")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_level_comes_back_from_three_bytes_of_eight() -> None:
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, LEVELS, (5, 10 * GROUP)))
    packed = pack(levels)
    assert packed.dtype == torch.uint8 and packed.shape == (5, 10 * GROUP * 3 // 8)
    assert torch.equal(torch.from_numpy(unpacked(packed.numpy())), levels.float())


def test_weights_are_unpacked_as_inputs_by_outputs_for_both_engines() -> None:
    layer, scales = PackedLinear(3 * GROUP, 5), torch.rand(5, 3).half()
    levels = torch.from_numpy(np.random.default_rng(1).integers(0, LEVELS, (5, 3 * GROUP)))
    layer.load_state_dict({"packed": pack(levels), "scales": scales, "bias": torch.zeros(5)})
    wanted_OI = (levels - MIDDLE).numpy().astype(np.float32) * np.repeat(scales.float().numpy(), GROUP, 1)
    found = unpacked_IO(layer.packed.numpy(), scales.numpy())
    assert found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found, wanted_OI.T)
    np.testing.assert_array_equal(layer.weight_OI().numpy(), wanted_OI)


def test_levels_are_packed_as_one_number_the_first_level_highest() -> None:
    assert pack(torch.tensor([[7, 0, 0, 0, 0, 0, 0, 1]])).tolist() == [[0b11100000, 0, 1]]


def test_weights_are_levels_about_0_times_the_scale_of_their_group() -> None:
    layer = PackedLinear(2 * GROUP, 1)
    levels = torch.cat([torch.zeros(1, GROUP), torch.full((1, GROUP), LEVELS - 1.0)], 1)
    layer.load_state_dict({"packed": pack(levels), "scales": torch.tensor([[2.0, 0.5]]), "bias": torch.tensor([1.0])})
    assert layer.weight_OI()[0, [0, -1]].tolist() == [-MIDDLE * 2, MIDDLE / 2]
    ones = torch.ones(1, 2 * GROUP)
    assert layer(ones).item() == pytest.approx(1 + GROUP * MIDDLE * (0.5 - 2))


def test_a_layer_that_gets_other_weights_forgets_those_it_had_unpacked() -> None:
    layer, ones = PackedLinear(GROUP, 1), torch.ones(1, GROUP)
    state = {"packed": pack(torch.full((1, GROUP), 7.0)), "scales": torch.ones(1, 1), "bias": torch.zeros(1)}
    layer.load_state_dict(state)
    assert layer(ones).item() == GROUP * MIDDLE
    layer.load_state_dict({**state, "scales": torch.full((1, 1), 2.0)})
    assert layer(ones).item() == GROUP * MIDDLE * 2


def test_only_norms_and_head_learn_and_a_token_has_a_mean_square_of_1() -> None:
    network = random_tokens(1)
    learning = {name for name, value in network.named_parameters() if value.requires_grad}
    norms = {f"backbone.trunk.{norm}.{part}" for norm in NORMS for part in ("weight", "bias")}
    assert learning == norms | {"head.weight", "head.bias"}
    features_BD = network.features_BD(torch.from_numpy(picture(1, True, 224)).permute(2, 0, 1)[None])
    assert features_BD.shape == (1, 768) and features_BD.square().mean().item() == pytest.approx(1, abs=1e-5)


def test_a_face_s_patches_are_those_of_eyes_nose_and_mouth_and_their_mean_and_spread_follow_the_token() -> None:
    shares = face_patches().reshape(14, 14)
    assert shares.sum().item() == pytest.approx(1) and len(shares.unique()) == 2
    shown = shares > 0
    assert shown.any(1).nonzero().flatten().tolist() == list(range(3, 11)), "rows: .3 of 14 either side of the middle"
    assert shown.any(0).nonzero().flatten().tolist() == list(range(4, 10)), "columns: .23 of 14"
    crop = torch.from_numpy(picture(1, True, 224)).permute(2, 0, 1)[None]
    network, token = random_tokens(1, "face"), random_tokens(1)
    token.backbone.load_state_dict(network.backbone.state_dict())
    features_BD = network.features_BD(crop)
    assert features_BD.shape == (1, 3 * 768) and network.n_features == 3 * 768
    torch.testing.assert_close(features_BD[:, :768], token.features_BD(crop))
    tokens_BLD = token.backbone.trunk.forward_features(token._normal(crop))[:, 1:]
    face_BND = nn.functional.layer_norm(tokens_BLD, (768,))[:, shown.flatten()]
    torch.testing.assert_close(features_BD[:, 768:1536], face_BND.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(features_BD[:, 1536:], face_BND.std(1, correction=0), atol=1e-5, rtol=0)


def test_maps_lie_where_the_patches_lie() -> None:
    network = FrameClassifier("clip_b16_token1", 224, maps=True)
    network.backbone.load_state_dict(random_tokens(1).backbone.state_dict())
    assert network.map_head is not None
    nn.init.normal_(network.map_head.weight, std=0.1)
    crop = torch.from_numpy(picture(2, False, 224)).permute(2, 0, 1)[None].clone()
    before, features = network.features_and_maps(crop)[1], network.features_BD(crop)
    torch.testing.assert_close(network.features_and_maps(crop)[0], features)
    crop[..., 32:48, 160:176] = 255 - crop[..., 32:48, 160:176]  # the third row of patches, the eleventh place in it
    change = (network.features_and_maps(crop)[1] - before).abs().sum(1)[0]
    assert before.shape == (1, 2, 14, 14) and divmod(int(change.argmax()), 14) == (2, 10)


@pytest.mark.parametrize("of", ["token", "face"])
def test_a_detector_of_class_tokens_is_as_large_as_three_bits_a_weight_and_both_engines_agree(
    tmp_path: Path, of: str
) -> None:
    folder = saved(tmp_path / "tokens", "frames", random_tokens(1, of))
    path = tmp_path / "tokens.safetensors"
    save_detector(path, "tokens", [Part("tokens", folder)], stack("tokens"), settings(tmp_path))
    n_weights = 12 * 768**2  # of one block
    n_weights += 768**2  # of the patches
    assert path.stat().st_size < n_weights * (3 + 16 / GROUP) / 8 + 0.4e6  # beside places in half precision, and graphs
    crops = [picture(number, number % 2 == 0, 256) for number in range(3)]
    logits = {}
    for engine in ("onnxruntime", "torch"):
        predict = Predict(device="cpu", threads=1, engine=engine)
        (member,) = open_detector(path, predict).members
        logits[engine] = FrameScorer(member.frames, predict).crops(crops)[0]
    assert np.abs(logits["torch"]).max() > 0.05
    np.testing.assert_allclose(logits["onnxruntime"], logits["torch"], atol=1e-4)
    whole = FrameScorer(load_frames(folder), Predict(device="cpu", threads=1)).crops(crops)[0]
    np.testing.assert_allclose(logits["torch"], whole, atol=0.01)


def test_a_network_of_other_names_is_not_ours_and_wrong_sizes_are_refused() -> None:
    assert class_tokens("tf_efficientnet_lite0", 224) is None
    with pytest.raises(UserError, match=r"clip_b16_token3 sees pictures of 224 px; found 288"):
        class_tokens("clip_b16_token3", 288)
    with pytest.raises(UserError, match=r"has 12 blocks; found 13"):
        ClassTokens(13)
