import json
import logging
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from deepfake import training
from deepfake.checkpoints import load_model, read_card
from deepfake.config import Config, UserError
from deepfake.datasets import Batch, PairDataset, Tables, TrackDataset, TrackFeatures
from deepfake.scoring import fold_features
from deepfake.training import (
    Recipe,
    fit,
    forget_folds,
    frames_recipe,
    losses,
    make_optimizer,
    rate_factor,
    start_frames,
    train_frames_fold,
    train_sequences_fold,
)
from learning_data import config, invented, one_thread  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(BaseException):
    """Nobody catches it: the training is gone."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).state_dict()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def kill_at(monkeypatch: pytest.MonkeyPatch, data: type[Any], nth: int) -> None:
    real, count = data.__getitem__, [0]

    def spy(self: Any, index: tuple[int, int]) -> Any:
        count[0] += 1
        if count[0] == nth:
            raise Killed
        return real(self, index)

    monkeypatch.setattr(data, "__getitem__", spy)


def test_loss_falls_on_eight_clips(tmp_path: Path) -> None:
    settings = config(tmp_path, frames={"epochs": 12, "validation_pairs": 0})
    path = train_frames_fold(settings, invented(settings.work_dir), None)
    noted = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in noted] == list(range(48))
    first, last = (sum(line["loss"] for line in part) / 8 for part in (noted[:8], noted[-8:]))
    assert last < 0.7 * first
    assert list((path.parent / "tensorboard").iterdir())


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loader_workers: int
) -> None:
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 3)  # its threads must not stop loader processes
    whole = config(tmp_path / "whole", frames={"loader_workers": loader_workers})
    expected = weights(train_frames_fold(whole, invented(whole.work_dir), 0))
    broken = config(tmp_path / "broken")
    made = invented(broken.work_dir)
    with monkeypatch.context() as patch:
        kill_at(patch, PairDataset, nth=15)  # in the fourth of six steps; a state was written after the second
        with pytest.raises(Killed):
            train_frames_fold(broken, made, 0)
    folder = broken.run_dir / "frames" / "fold0"
    assert (folder / "state.pt").exists()
    assert not (folder / "model.json").exists()
    with caplog.at_level(logging.INFO):
        path = train_frames_fold(broken, made, 0)
    assert "going on from step 2 of 6" in caplog.text
    assert equal(weights(path), expected)
    steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(6))
    crops = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(load_model(path)(crops), load_model(whole.run_dir / "frames" / "fold0")(crops))


def test_a_finished_fold_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    path = train_frames_fold(settings, made, 0)
    stamp = path.stat().st_mtime_ns
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("it was trained again"))
    assert train_frames_fold(settings, made, 0).stat().st_mtime_ns == stamp


def test_other_settings_or_data_start_anew_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    first = read_card(train_frames_fold(settings, made, 0))
    with caplog.at_level(logging.WARNING):
        other = config(tmp_path, frames={"learning_rate": 0.001})
        second = read_card(train_frames_fold(other, made, 0))
    assert "made with other settings or data" in caplog.text
    fewer = Tables(made.videos, made.faces[made.faces["frame_index"] < 20], made.folds)
    third = read_card(train_frames_fold(other, fewer, 0))
    assert len({first.settings_digest, second.settings_digest, third.settings_digest}) == 3


def test_speed_settings_do_not_start_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    train_frames_fold(settings, made, 0)
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("it was trained again"))
    train_frames_fold(config(tmp_path, frames={"checkpoint_steps": 5, "loader_workers": 2}), made, 0)


def test_forgotten_folds_are_trained_again_to_the_same_weights(tmp_path: Path) -> None:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    path = train_frames_fold(settings, made, 0)
    before, stamp = weights(path), path.stat().st_mtime_ns
    forget_folds(settings, "frames")
    assert not path.exists()
    assert equal(weights(train_frames_fold(settings, made, 0)), before)
    assert path.stat().st_mtime_ns > stamp


def test_a_card_tells_fold_crops_and_metrics(tmp_path: Path) -> None:
    settings = config(tmp_path)
    card = read_card(train_frames_fold(settings, invented(settings.work_dir), 1))
    assert (card.kind, card.fold) == ("frames", 1)
    assert card.about == {"margin_ratio": 0.3, "crop_px": 224}
    assert card.metrics["n_steps"] == 6
    assert {"held_out_loss", "held_out_accuracy", "last_loss", "n_random_pairs"} <= card.metrics.keys()


def test_random_weights_are_not_frozen(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="random weights must not be frozen"):
        start_frames(config(tmp_path, frames={"frozen_stages": 1}).frames)


def test_frozen_batchnorm_statistics_come_out_as_they_went_in(tmp_path: Path) -> None:
    settings = config(tmp_path, frames={"freeze_batchnorm": True, "validation_pairs": 0})
    before = start_frames(settings.frames).state_dict()
    after = weights(train_frames_fold(settings, invented(settings.work_dir), 0))
    running = [name for name in before if "running" in name]
    assert running
    assert equal({n: before[n] for n in running}, {n: after[n] for n in running})
    assert not torch.equal(before["backbone.conv_stem.weight"], after["backbone.conv_stem.weight"])


def test_real_and_fake_weigh_the_same_whatever_their_numbers() -> None:
    loss = losses(torch.tensor([0.0, 2.0, 2.0, 2.0]), torch.tensor([0.0, 1.0, 1.0, 1.0]))
    assert loss.real.item() == pytest.approx(math.log(2))
    assert loss.fake.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert loss.both.item() == pytest.approx((loss.real.item() + loss.fake.item()) / 2)


def test_smoothing_moves_the_best_logit_off_the_edge() -> None:
    best, sure = (losses(torch.tensor([-z, z]), torch.tensor([0.0, 1.0]), 0.02).both for z in (math.log(49), 20.0))
    assert best < sure


def test_the_rate_rises_and_then_falls_to_nothing() -> None:
    factors = [rate_factor(step, 20, 0.2) for step in range(20)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[12] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.02
    assert rate_factor(0, 1, 0.0) == 1.0


def test_norms_and_biases_do_not_decay_and_the_backbone_learns_slower(tmp_path: Path) -> None:
    recipe = frames_recipe(config(tmp_path, frames={"backbone_rate_ratio": 0.1}).frames)
    model = start_frames(config(tmp_path).frames)
    groups = make_optimizer(model, recipe).param_groups
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    for group in groups:
        assert (group["weight_decay"] > 0) == all(p.ndim > 1 for p in group["params"])
    rate_of = {id(p): g["peak_rate"] for g in groups for p in g["params"]}
    assert rate_of[id(model.head.weight)] == pytest.approx(0.003)
    assert rate_of[id(next(model.backbone.parameters()))] == pytest.approx(0.0003)


class Poison(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: tuple[int, int]) -> int:
        return index[1]


def test_a_loss_that_is_no_number_names_step_and_row(tmp_path: Path) -> None:
    recipe = Recipe(1, 2, 0.1, 1.0, 0.0, 0.0, 0.0, 0.5, "no", 0, 1, 0)

    def collate(_: list[int]) -> Batch:
        return Batch((torch.tensor([[1.0], [math.nan]]),), torch.tensor([0.0, 1.0]), ["good", "'bad.mp4' track 0"])

    model = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    with pytest.raises(UserError, match=r"no number at step 0, first for 'bad\.mp4' track 0"):
        fit(model, Poison(), collate, recipe, tmp_path, "d")


def trained_frames(tmp_path: Path) -> tuple[Config, Tables, list[TrackFeatures]]:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    train_frames_fold(settings, made, 0)
    return settings, made, fold_features(settings, made, 0, held_out=False)


def test_a_sequence_model_killed_and_started_again_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _, tracks = trained_frames(tmp_path)
    with monkeypatch.context() as patch:
        kill_at(patch, TrackDataset, nth=4)
        with pytest.raises(Killed):
            train_sequences_fold(settings, tracks, 0)
    resumed = weights(train_sequences_fold(settings, tracks, 0))
    folder = settings.run_dir / "sequences" / "fold0"
    for name in ("model.json", "state.pt"):
        (folder / name).unlink()
    assert equal(weights(train_sequences_fold(settings, tracks, 0)), resumed)


def test_a_sequence_model_belongs_to_its_frame_model(tmp_path: Path) -> None:
    settings, made, tracks = trained_frames(tmp_path)
    first = read_card(train_sequences_fold(settings, tracks, 0))
    assert first.about["frames_weights_sha256"] == read_card(settings.run_dir / "frames" / "fold0").weights_sha256
    other = config(tmp_path, frames={"seed": 1})
    train_frames_fold(other, made, 0)
    second = read_card(train_sequences_fold(other, fold_features(other, made, 0, held_out=False), 0))
    assert second.settings_digest != first.settings_digest
