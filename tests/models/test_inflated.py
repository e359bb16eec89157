"""A frame network inflated to time: it begins as that network, and its kernels see the neighbours of a frame."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepfake.datasets.tubes import LARGE_TUBE_PX
from deepfake.errors import UserError
from deepfake.models.checkpoints import fold_folder, load_model, save_model
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.inflated import InflatedClassifier, neighbours
from deepfake.settings import Sequences
from deepfake.training.optimisation import make_optimizer
from deepfake.training.train import sequences_recipe, train_head_fold
from learning_data import config, one_thread, track_of  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


def frame_network(backbone: str = "test_efficientnet", folded: bool = True) -> FrameClassifier:
    torch.manual_seed(0)
    frames = FrameClassifier(backbone, 64, maps=True, folded=folded)
    nn.init.normal_(frames.head.weight)
    return frames.eval()


def tubes(lengths: list[int], side: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (len(lengths), max(lengths), 3, side, side)
    tube_BTCHW = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    mask_BT = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return tube_BTCHW, mask_BT, torch.full(mask_BT.shape, 9.0)


def awake(head: InflatedClassifier) -> InflatedClassifier:
    generator = torch.Generator().manual_seed(1)
    for kernel in head.time.parameters():
        nn.init.normal_(kernel, std=0.1, generator=generator)
    return head.eval()


@pytest.mark.parametrize(
    ("backbone", "folded", "n_kernels"),
    [
        ("test_efficientnet", True, 2),
        ("test_efficientnet", False, 2),
        ("tf_efficientnet_lite0", True, 8),
    ],
)
@torch.inference_mode()
def test_before_learning_a_frames_logit_is_that_of_the_frame_network(
    backbone: str, folded: bool, n_kernels: int
) -> None:
    frames = frame_network(backbone, folded)
    head = InflatedClassifier.made_of(frames, dropout=0.3).eval()
    assert len(head.time) == n_kernels
    tube_BTCHW, mask_BT, logits_BT = tubes([3, 1])
    found_B, found_BT = head.frame_logits(tube_BTCHW, mask_BT, logits_BT)
    wanted_N = frames(tube_BTCHW[mask_BT])
    assert wanted_N.std() > 0
    assert torch.equal(found_BT[mask_BT], wanted_N)
    assert not found_BT[1, 1:].any()
    assert found_B[0] == pytest.approx(wanted_N[:3].mean().item(), abs=1e-6)
    assert found_B[1] == wanted_N[3]


@torch.inference_mode()
def test_the_outer_slices_make_a_whole_kernel_of_three_frames() -> None:
    """A depthwise 3 x 3 x 3 convolution of torch's, with the ends repeated, gives the same."""
    head = awake(InflatedClassifier.made_of(frame_network()))
    kernel = head.time[0]
    middle = head.backbone.backbone.blocks[3][0].conv_dw
    weight = torch.stack([kernel.before.weight, middle.weight, kernel.after.weight], dim=2)
    pictures_NCHW = torch.randn(4, middle.in_channels, 8, 8)
    kernel.before_N, kernel.after_N = neighbours(torch.ones(1, 4, dtype=torch.bool))
    clip_1CTHW = nn.functional.pad(pictures_NCHW.transpose(0, 1)[None], (0, 0, 0, 0, 1, 1), mode="replicate")
    wanted = nn.functional.conv3d(clip_1CTHW, weight, middle.bias, (1, 2, 2), (0, 1, 1), groups=middle.groups)
    assert torch.allclose(middle(pictures_NCHW), wanted[0].transpose(0, 1), atol=1e-5)


def test_a_copy_listens_to_its_own_kernels() -> None:
    """The averaged weights that score are a copy."""
    head = awake(InflatedClassifier.made_of(frame_network()))
    again = copy.deepcopy(head)
    before_B = again(*tubes([4]))
    for kernel in head.time.parameters():
        nn.init.zeros_(kernel)
    assert torch.equal(again(*tubes([4])), before_B)
    assert not torch.equal(head(*tubes([4])), before_B)


def test_stem_and_early_stages_stay_and_the_later_ones_learn_slower_than_the_time_kernels() -> None:
    head = InflatedClassifier.made_of(frame_network())
    still = {name.split(".")[2:4][-1] for name, p in head.named_parameters() if not p.requires_grad}
    assert {"0", "1", "2"} <= still
    assert not {"3", "4"} & still
    head.train()(*tubes([3, 2])).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in head.parameters())
    rates = {
        id(p): group["peak_rate"]
        for group in make_optimizer(head, sequences_recipe(Sequences(learning_rate=0.01))).param_groups
        for p in group["params"]
    }
    assert {rates[id(p)] for p in head.time.parameters()} == {0.01}
    assert {rates[id(p)] for p in head.backbone.parameters() if p.requires_grad} == {0.001}


def test_it_learns_beside_its_folds_frame_network_and_comes_back_without_it(tmp_path: Path) -> None:
    settings = config(tmp_path, sequences={"epochs": 1, "checkpoint_steps": 5})
    folder = fold_folder(settings.run_dir, "frames", 0)
    frames = frame_network()
    save_model(folder, "frames", frames, fold=0, settings_digest="d", metrics={}, about={})
    pictures = np.random.default_rng(0).integers(0, 256, (4, LARGE_TUBE_PX, LARGE_TUBE_PX, 3), dtype=np.uint8)
    bare = [track_of(f"v{label}", label, np.zeros((4, 5)), np.zeros(4)) for label in (0, 1)]
    with pytest.raises(UserError, match="0 real and 0 fake tracks with large_tube"):
        train_head_fold(settings, "inflated", bare, 0)
    card = train_head_fold(
        settings, "inflated", [replace(t, tubes={LARGE_TUBE_PX: pictures.__getitem__}) for t in bare], 0
    )
    for path in folder.iterdir():
        path.unlink()
    head = load_model(card, "inflated")
    assert isinstance(head, InflatedClassifier)
    assert any(weight.any() for weight in head.time.parameters())
    early = {k: v for k, v in frames.state_dict().items() if k.startswith(("backbone.conv_stem", "backbone.blocks.0"))}
    assert early
    assert all(torch.equal(head.backbone.state_dict()[name], weight) for name, weight in early.items())
