from pathlib import Path

import pytest
import torch

from deepfake.errors import UserError
from deepfake.models.checkpoints import load_model, read_card, save_model
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.sequences import SequenceClassifier
from deepfake.training.averaging import average_networks, is_taken


def network(folder: Path, value: float, width: int = 4) -> Path:
    """A saved network all of whose weights are `value`."""
    model = SequenceClassifier(6, width)
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)
    about = {"crop_px": 320}
    save_model(folder, "sequences", model, fold=None, settings_digest="d", metrics={}, about=about)
    return folder


def test_every_weight_is_the_mean_and_the_card_names_the_parts(tmp_path: Path) -> None:
    parts = [
        ("a", network(tmp_path / "a", 1.0)),
        ("b/20", network(tmp_path / "b", 4.0)),
        ("c", network(tmp_path / "c", 1.0001)),
    ]
    average_networks(parts, tmp_path / "mean")
    weights = list(load_model(tmp_path / "mean").parameters())
    assert all(torch.allclose(weight, torch.full_like(weight, 2.0000333)) for weight in weights)
    about = read_card(tmp_path / "mean").about
    assert about["mean_of"] == {name: read_card(folder).weights_sha256 for name, folder in parts}
    assert about["crop_px"] == 320


def test_running_statistics_are_averaged_and_of_the_counts_of_batches_the_largest_is_kept(tmp_path: Path) -> None:
    parts = []
    for name, n_batches, level in (("a", 3, 1.0), ("b", 7, 2.0)):
        model = FrameClassifier("test_efficientnet", 32)
        model.backbone.bn1.num_batches_tracked.fill_(n_batches)
        model.backbone.bn1.running_mean.fill_(level)
        save_model(tmp_path / name, "frames", model, fold=None, settings_digest="d", metrics={}, about={})
        parts.append((name, tmp_path / name))
    average_networks(parts, tmp_path / "mean")
    mean = load_model(tmp_path / "mean")
    assert isinstance(mean, FrameClassifier)
    assert int(mean.backbone.bn1.num_batches_tracked) == 7
    assert torch.allclose(mean.backbone.bn1.running_mean, torch.tensor(1.5))


def test_networks_of_two_trainings_from_a_pack_have_a_mean(tmp_path: Path) -> None:
    parts = []
    for name, about in (("a", {"margin_ratio": 0.5, "pack": "half0"}), ("b", {"margin_ratio": 0.5, "pack": "half1"})):
        model = FrameClassifier("test_efficientnet", 32)
        save_model(tmp_path / name, "frames", model, fold=None, settings_digest="d", metrics={}, about=about)
        parts.append((name, tmp_path / name))
    assert set(read_card(average_networks(parts, tmp_path / "mean")).about["mean_of"]) == {"a", "b"}


def test_the_order_of_the_parts_does_not_matter(tmp_path: Path) -> None:
    one, other = ("a", network(tmp_path / "a", 1.0)), ("b", network(tmp_path / "b", 0.3))
    cards = [
        read_card(average_networks(parts, tmp_path / f"mean{i}"))
        for i, parts in enumerate([(one, other), (other, one)])
    ]
    assert cards[0].weights_sha256 == cards[1].weights_sha256
    assert cards[0].settings_digest == cards[1].settings_digest


def test_one_network_twice_or_alone_has_no_mean(tmp_path: Path) -> None:
    part = ("a", network(tmp_path / "a", 1.0))
    with pytest.raises(UserError, match="average of 1 network: wanted two or more"):
        average_networks([part], tmp_path / "mean")
    with pytest.raises(UserError, match="'again': the same weights as 'a'"):
        average_networks([part, ("again", part[1])], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_networks_of_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    parts = [("a", network(tmp_path / "a", 1.0)), ("wide", network(tmp_path / "wide", 1.0, width=8))]
    with pytest.raises(UserError, match=r"network 'wide': settings .* while 'a' has"):
        average_networks(parts, tmp_path / "mean")


def test_the_mean_of_networks_that_see_crops_otherwise_sees_them_as_the_first(tmp_path: Path) -> None:
    parts = []
    for name, px, view in (("large", 48, 0.7), ("small", 32, 0.6)):
        model = FrameClassifier("test_efficientnet", px, view_ratio=view)
        about = {"mean_of": {"x": name}, "crop_px": 320} if name == "small" else {"crop_px": 448}
        if name == "small":
            model.settings["stages"] = None  # as in cards of versions that had such a setting
        save_model(tmp_path / name, "frames", model, fold=None, settings_digest="d", metrics={}, about=about)
        parts.append((name, tmp_path / name))
    for order, px in ((parts, 48), (parts[::-1], 32)):
        mean = load_model(average_networks(order, tmp_path / f"mean{px}").parent)
        assert isinstance(mean, FrameClassifier)
        assert mean.input_px == px


def test_networks_of_more_and_of_less_of_the_face_have_no_mean(tmp_path: Path) -> None:
    parts = []
    for name, margin in (("wide", 0.5), ("close", 0.3)):
        model = FrameClassifier("test_efficientnet", 32)
        about = {"margin_ratio": margin, "crop_px": 320}
        save_model(tmp_path / name, "frames", model, fold=None, settings_digest="d", metrics={}, about=about)
        parts.append((name, tmp_path / name))
    with pytest.raises(UserError, match=r"network 'close': crops .*0.3.* while 'wide' has .*0.5"):
        average_networks(parts, tmp_path / "mean")


def test_only_an_average_may_be_replaced_and_only_when_asked(tmp_path: Path) -> None:
    parts = [("a", network(tmp_path / "a", 1.0)), ("b", network(tmp_path / "b", 2.0))]
    out = tmp_path / "mean"
    assert not is_taken(out, may_replace=False)
    average_networks(parts, out)
    assert is_taken(out, may_replace=False)
    assert not is_taken(out, may_replace=True)
    assert is_taken(tmp_path / "a", may_replace=True)
