"""Depthwise convolutions on a processor: the same numbers, quicker to learn."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from deepfake.models.depthwise import DepthwiseConv, keep_memory, use_fast_depthwise
from deepfake.models.frames import FrameClassifier
from deepfake.settings import Frames
from deepfake.training import loop as training_loop
from deepfake.training import train


def _gradients(convolution: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    x = x.clone().requires_grad_()
    y = convolution(x)
    y.float().square().sum().backward()
    assert convolution.bias is not None and x.grad is not None
    return y.detach(), x.grad, convolution.weight.grad, convolution.bias.grad


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("same", [False, True])
def test_it_gives_the_outputs_and_gradients_of_the_convolution_it_stands_for(
    kernel: int, stride: int, same: bool
) -> None:
    torch.manual_seed(kernel)
    make = Conv2dSame if same else nn.Conv2d
    plain = make(6, 6, kernel, stride, padding=0 if same else kernel // 2, groups=6)
    x = torch.randn(2, 6, 10, 10)
    wanted = _gradients(plain, x)
    plain.zero_grad()
    for own, expected in zip(_gradients(DepthwiseConv(plain), x), wanted, strict=True):
        torch.testing.assert_close(own, expected)


def test_under_bfloat16_its_gradients_are_within_the_rounding_of_the_inputs() -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 5, 2, 2, groups=6)
    x = torch.randn(4, 6, 16, 16)
    wanted = _gradients(plain, x)
    plain.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gradients = _gradients(DepthwiseConv(plain), x)
    assert gradients[0].dtype == torch.bfloat16
    assert gradients[2].dtype == torch.float32
    for ours, expected in zip(gradients, wanted, strict=True):
        assert (ours.float() - expected).abs().max() < 0.02 * expected.abs().max()


def test_only_depthwise_convolutions_that_are_to_learn_are_exchanged_and_every_name_stays() -> None:
    model = FrameClassifier("tf_efficientnet_lite0", 64)
    model.freeze(3, True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    untouched = copy.deepcopy(model)
    n_exchanged = use_fast_depthwise(model)
    exchanged = [name for name, part in model.named_modules() if isinstance(part, DepthwiseConv)]
    assert len(exchanged) == n_exchanged == 3 + 3 + 4 + 1  # the blocks of the last four stages
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    crops = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(model.eval()(crops), untouched.eval()(crops))
    model.load_state_dict(untouched.state_dict())


@pytest.mark.parametrize(("precision", "exchanged"), [("bf16", True), ("fp32", False)])
def test_a_training_in_bfloat16_on_a_processor_uses_them_and_averages_them(precision: str, exchanged: bool) -> None:
    frames = Frames(input_px=64, precision=precision)  # type: ignore[arg-type]
    model = FrameClassifier("tf_efficientnet_lite0", 64)
    loop = training_loop.Loop(model, train.frames_recipe(frames), 4, training_loop._accelerator(precision))
    for network in (model, loop.ema.module):
        assert any(isinstance(part, DepthwiseConv) for part in network.modules()) is exchanged


def test_freed_memory_may_be_kept_on_any_system() -> None:
    keep_memory()
    assert torch.zeros(2**22).sum() == 0
