import json
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake import tables
from deepfake.datasets.pairs import Batch, PairDataset, Tables, read_all
from deepfake.datasets.track_clips import TrackDataset, TrackFeatures
from deepfake.detector.file import Part, load_detector, save_detector
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.forging.families import Face
from deepfake.forging.mixture import Mixture
from deepfake.models.checkpoints import load_model, read_card, save_model
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.base import TrackHead
from deepfake.scoring.run_scores import fold_features
from deepfake.scoring.track_scorer import head_logits
from deepfake.settings import Config
from deepfake.training import loop, train
from deepfake.training.loop import Recipe, fit
from deepfake.training.losses import frame_loss, losses, map_loss, pair_loss, pair_margins
from deepfake.training.optimisation import at_the_worst_near, make_optimizer, rate_factor
from deepfake.training.train import (
    forget_folds,
    frames_recipe,
    run_network,
    start_frames,
    train_frames_fold,
    train_head_fold,
)
from face_pictures import face, write_frames
from learning_data import config, invented, one_thread, track_of, video_row  # noqa: F401 - a fixture
from little_detector import frames as little_network
from little_detector import settings, stack

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


@pytest.mark.parametrize("sam_radius", [0.0, 0.05])
def test_loss_falls_on_eight_clips(tmp_path: Path, sam_radius: float) -> None:
    settings = config(tmp_path, frames={"epochs": 12, "validation_pairs": 0, "sam_radius": sam_radius})
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


def killed_before_its_model_is_kept(monkeypatch: pytest.MonkeyPatch, training: Callable[[], Path]) -> bytes:
    """The card of a training that is killed after its last step, started again."""

    def killed(*_: object, **__: object) -> Path:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train, "save_model", killed)
        with pytest.raises(Killed):
            training()
    return training().read_bytes()


def test_a_training_killed_between_its_last_step_and_its_card_ends_with_the_very_same_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, made, tracks = trained_frames(tmp_path)
    other = config(tmp_path / "other")
    shutil.copytree(settings.work_dir, other.work_dir)
    card = settings.run_dir / "frames" / "fold0" / "model.json"
    resumed = killed_before_its_model_is_kept(monkeypatch, lambda: train_frames_fold(other, made, 0))
    assert "last_loss" in json.loads(resumed)["metrics"] and resumed == card.read_bytes()
    whole = train_head_fold(other, "sequences", tracks, 0).read_bytes()
    forget_folds(other, "sequences")
    head = killed_before_its_model_is_kept(monkeypatch, lambda: train_head_fold(other, "sequences", tracks, 0))
    assert "last_loss" in json.loads(head)["metrics"] and head == whole


def test_a_finished_fold_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(tmp_path)
    made = invented(settings.work_dir)
    path = train_frames_fold(settings, made, 0)
    stamp = path.stat().st_mtime_ns
    monkeypatch.setattr(loop, "fit", lambda *_: pytest.fail("it was trained again"))
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
    monkeypatch.setattr(loop, "fit", lambda *_: pytest.fail("it was trained again"))
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


def test_a_card_holds_fold_crops_and_metrics(tmp_path: Path) -> None:
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


def test_sharpness_is_asked_for_at_the_worst_place_so_far_away_and_the_weights_come_back() -> None:
    weights_2, other_1 = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([7.0]))
    weights_2.grad = torch.tensor([3.0, 4.0])
    with at_the_worst_near([weights_2, other_1], 0.5):
        assert weights_2.tolist() == pytest.approx([1.3, 2.4])
        assert weights_2.grad is None
        weights_2.square().sum().backward()
    assert weights_2.tolist() == [1.0, 2.0]
    assert other_1.tolist() == [7.0]
    assert weights_2.grad is not None
    assert weights_2.grad.tolist() == pytest.approx([2.6, 4.8])


@pytest.mark.parametrize("bad", [0.0, math.inf, math.nan])
def test_a_gradient_without_direction_moves_no_weight(bad: float) -> None:
    weights_2 = nn.Parameter(torch.tensor([1.0, 2.0]))
    weights_2.grad = torch.tensor([0.0, bad])
    with at_the_worst_near([weights_2], 0.5):
        assert weights_2.tolist() == [1.0, 2.0]


class Poison(torch.utils.data.Dataset[int]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: tuple[int, int]) -> int:
        return index[1]


def test_a_loss_that_is_no_number_names_step_and_row(tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=1,
        items_per_batch=2,
        learning_rate=0.1,
        backbone_rate_ratio=1.0,
        weight_decay=0.0,
        warmup_ratio=0.0,
        label_smoothing=0.0,
        ema_decay=0.5,
        precision="fp32",
        loader_workers=0,
        checkpoint_steps=1,
        seed=0,
    )

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
            train_head_fold(settings, "sequences", tracks, 0)
    resumed = weights(train_head_fold(settings, "sequences", tracks, 0))
    folder = settings.run_dir / "sequences" / "fold0"
    for name in ("model.json", "state.pt"):
        (folder / name).unlink()
    assert equal(weights(train_head_fold(settings, "sequences", tracks, 0)), resumed)


def test_a_sequence_model_belongs_to_its_frame_model(tmp_path: Path) -> None:
    settings, made, tracks = trained_frames(tmp_path)
    first = read_card(train_head_fold(settings, "sequences", tracks, 0))
    assert first.about["frames_weights_sha256"] == read_card(settings.run_dir / "frames" / "fold0").weights_sha256
    other = config(tmp_path, frames={"seed": 1})
    train_frames_fold(other, made, 0)
    second = read_card(train_head_fold(other, "sequences", fold_features(other, made, 0, held_out=False), 0))
    assert second.settings_digest != first.settings_digest


@pytest.mark.parametrize("head", ["motion", "two_stream"])
def test_other_heads_learn_in_the_same_loop_and_know_their_frame_model(tmp_path: Path, head: str) -> None:
    settings, _, tracks = trained_frames(tmp_path)
    moving = np.random.default_rng(0).normal(50, 10, (4, 5, 2))
    tracks = [replace(track, landmarks_T52=moving + 3 * track.label) for track in tracks]
    card = read_card(train_head_fold(settings, head, tracks, 0))
    assert card.kind == head
    assert card.about["frames_weights_sha256"] == read_card(settings.run_dir / "frames" / "fold0").weights_sha256
    assert card.metrics["n_items"] == 2


def test_another_head_in_the_settings_does_not_train_the_first_again(tmp_path: Path) -> None:
    settings, _, tracks = trained_frames(tmp_path)
    first = train_head_fold(settings, "sequences", tracks, 0)
    stamp = first.stat().st_mtime_ns
    sequences = settings.sequences.model_copy(update={"heads": ("sequences", "motion")})
    more = settings.model_copy(update={"sequences": sequences})
    assert train_head_fold(more, "sequences", tracks, 0).stat().st_mtime_ns == stamp


# --- The loss of single frames -----------------------------------------------------------------------


def test_frames_that_are_known_cost_their_log_loss_real_and_forged_alike() -> None:
    logits_BT = torch.tensor([[0.0, 2.0, 9.0], [-1.0, 0.0, 9.0]])
    forged_BT = torch.tensor([[0.0, 1.0, torch.nan], [0.0, 0.0, torch.nan]])
    reals = (math.log(2) + math.log1p(math.exp(-1)) + math.log(2)) / 3
    fakes = math.log1p(math.exp(-2))
    assert frame_loss(logits_BT, forged_BT).item() == pytest.approx((reals + fakes) / 2, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0, torch.nan])
def test_frames_of_one_kind_or_unknown_ones_teach_nothing_and_may_still_be_derived(value: float) -> None:
    logits_BT = torch.randn(2, 3, requires_grad=True)
    loss = frame_loss(logits_BT, torch.full((2, 3), value))
    loss.backward()
    assert loss.item() == 0
    assert logits_BT.grad is not None and not logits_BT.grad.any()


def test_a_head_that_learns_which_frames_are_forged_points_at_them(tmp_path: Path) -> None:
    """All frames look alike to the frame model; a feature is on in the forged frames and in frames of no meaning."""
    rng = np.random.default_rng(0)

    def made(number: int, label: int) -> TrackFeatures:
        forged_T = np.zeros(12, np.float32)
        if label:
            start = int(rng.integers(0, 9))
            forged_T[start : start + 3] = 1
        features_TD = rng.normal(0, 0.3, (12, 8)) + 2 * forged_T[:, None] * np.eye(8)[0]
        return track_of(f"{label}{number}", label, features_TD, np.zeros(12), forged_T=forged_T)

    tracks = [made(n, label) for n in range(24) for label in (0, 1)]
    sequences = {"clip_frames": 12, "epochs": 40, "tracks_per_batch": 12, "learning_rate": 0.01, "frame_weight": 1.0}
    settings = config(tmp_path, sequences=sequences)
    save_model(
        settings.run_dir / "frames/all",
        "frames",
        FrameClassifier("test_efficientnet", 32),
        fold=None,
        settings_digest="d",
        metrics={},
        about={},
    )
    head = load_model(train_head_fold(settings, "sequences", tracks, None))
    assert isinstance(head, TrackHead)
    unseen = [made(100 + n, 1) for n in range(20)]
    logits = head_logits(head, unseen, settings.predict)
    hits = [bool(t.forged_T[int(one.frame_logits_T.argmax())]) for t, one in zip(unseen, logits, strict=True)]
    assert np.mean(hits) >= 0.9


# --- The maps' loss ----------------------------------------------------------------------------------

MASK_HW = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
WANTED_KHW = torch.tensor([[[0.0, 1.0], [0.0, 0.75]], [[0.0, 0.5], [1.0, 0.25]]])  # 4 m (1 - m) and m
ENTROPY = (math.log(2) + 2 * (math.log(4) - 0.75 * math.log(3))) / 8  # of 0.5, 0.75 and 0.25 among eight values


def test_perfect_maps_cost_no_more_than_the_masks_own_doubt() -> None:
    perfect = WANTED_KHW.logit(eps=1e-7)[None]
    assert map_loss(perfect, MASK_HW[None]).item() == pytest.approx(ENTROPY, abs=1e-4)
    assert map_loss(perfect + 1, MASK_HW[None]).item() > ENTROPY + 0.02


def test_masks_nobody_knows_do_not_count() -> None:
    maps_BKHW = torch.stack([WANTED_KHW.logit(eps=1e-7), torch.full((2, 2, 2), 50.0)])
    masks_BHW = torch.stack([MASK_HW, torch.full((2, 2), torch.nan)])
    assert map_loss(maps_BKHW, masks_BHW).item() == pytest.approx(ENTROPY, abs=1e-4)


def test_where_no_mask_is_known_the_maps_teach_nothing_and_may_still_be_derived() -> None:
    maps_BKHW = torch.randn(2, 2, 3, 3, requires_grad=True)
    loss = map_loss(maps_BKHW, torch.full((2, 5, 5), torch.nan))
    loss.backward()
    assert loss.item() == 0
    assert maps_BKHW.grad is not None and not maps_BKHW.grad.any()


def test_masks_are_brought_to_the_maps_grid() -> None:
    even = map_loss(torch.zeros(1, 2, 3, 3), torch.full((1, 14, 14), 0.5))
    assert even.item() == pytest.approx(math.log(2), abs=1e-6)


# --- Which of two pictures is the fake ---------------------------------------------------------------

LOGITS_B = torch.tensor([1.0, 0.0, 9.0, 3.0, -1.0, -9.0])  # of three reals, then of their fakes
PAIRED_BHW = torch.stack([*torch.zeros(3, 2, 2), *torch.ones(2, 2, 2), torch.full((2, 2), torch.nan)])


def test_a_fake_is_ranked_against_the_picture_it_was_made_of_alone() -> None:
    margins_P = pair_margins(LOGITS_B, PAIRED_BHW)
    assert margins_P.tolist() == [2.0, -1.0]  # the third fake was made of another picture
    assert pair_loss(margins_P).item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2)


def test_what_lifts_a_picture_and_its_fake_alike_costs_no_rank() -> None:
    lifted_B = LOGITS_B + torch.tensor([5.0, -7.0, 0.0, 5.0, -7.0, 0.0])
    assert torch.equal(pair_margins(lifted_B, PAIRED_BHW), pair_margins(LOGITS_B, PAIRED_BHW))


def test_where_no_fake_was_made_there_is_nothing_to_rank_and_gradients_are_nothing() -> None:
    logits_B = LOGITS_B.clone().requires_grad_()
    loss = pair_loss(pair_margins(logits_B, torch.full((6, 2, 2), torch.nan)))
    loss.backward()
    assert loss.item() == 0
    assert logits_B.grad is not None and not logits_B.grad.any()


# --- Snapshots, and runs that go on from others ----------------------------------------------------

SNAPSHOTS = {"epochs": 2, "checkpoint_steps": 4, "snapshot_steps": 3, "validation_pairs": 0}


@pytest.fixture(scope="module")
def snapped(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Config:
    """A finished training of eight steps on all videos, with a snapshot after every third."""
    settings = config(tmp_path_factory.mktemp("snapped"), frames=SNAPSHOTS)
    train_frames_fold(settings, invented(settings.work_dir), None)
    return settings


def snapshots(settings: Config) -> dict[str, dict[str, torch.Tensor]]:
    return {path.parent.name: weights(path) for path in settings.run_dir.glob("frames/all/*/model.json")}


def test_snapshots_are_networks_on_the_way_and_steps_carry_their_seconds(snapped: Config) -> None:
    folder = snapped.run_dir / "frames" / "all"
    by_name = snapshots(snapped)
    assert sorted(by_name) == ["step000003", "step000006"]
    assert read_card(folder / "step000003").metrics == {"n_steps": 3}
    assert not equal(by_name["step000003"], by_name["step000006"])
    assert not equal(by_name["step000006"], weights(folder))
    noted = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(noted) == 8
    assert all(0 <= line["seconds"] < 60 for line in noted)


def test_snapshots_of_a_stopped_training_are_those_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapped: Config
) -> None:
    broken = config(tmp_path, frames=SNAPSHOTS)
    made = invented(broken.work_dir)
    with monkeypatch.context() as patch:
        kill_at(patch, PairDataset, nth=26)  # in the seventh step; the last state is that after the fourth
        with pytest.raises(Killed):
            train_frames_fold(broken, made, None)
    assert sorted(snapshots(broken)) == ["step000003", "step000006"]
    shutil.rmtree(broken.run_dir / "frames/all/step000006")
    path = train_frames_fold(broken, made, None)
    assert equal(weights(path), weights(snapped.run_dir / "frames" / "all"))
    for name, expected in snapshots(snapped).items():
        assert equal(snapshots(broken)[name], expected)


def test_forgotten_folds_have_no_snapshots_left(tmp_path: Path, snapped: Config) -> None:
    shutil.copytree(snapped.run_dir, tmp_path / "runs" / snapped.run)
    copied = config(tmp_path)
    forget_folds(copied, "sequences")
    assert len(snapshots(copied)) == 2
    forget_folds(copied, "frames")
    assert not snapshots(copied)
    assert not list(copied.run_dir.rglob("model.json"))


@pytest.mark.parametrize(("name", "folder"), [("demo", "all"), ("demo/3", "all/step000003")])
def test_a_training_may_start_from_another_run_or_its_snapshot(snapped: Config, name: str, folder: str) -> None:
    started = start_frames(config(snapped.path(snapped.data_dir), frames={"start_run": name}).frames, snapped)
    assert equal(started.state_dict(), weights(snapped.run_dir / "frames" / folder))


SHIPPED = PROJECT_ROOT / "data/weights/selfblend.safetensors"
LIKE_SHIPPED: dict[str, object] = {
    "backbone": "tf_efficientnet_lite0",
    "fold_batchnorm": True,
    "freeze_batchnorm": True,
    "start_from": "random",
    "frozen_stages": 0,
}


def test_a_training_may_start_from_the_shipped_detector(tmp_path: Path) -> None:
    made = config(tmp_path, frames={**LIKE_SHIPPED, "start_weights": SHIPPED})
    started, shipped = (
        start_frames(made.frames, made).state_dict(),
        load_detector(SHIPPED).members[0].frames.state_dict(),
    )
    alike = [torch.equal(value, shipped[name]) for name, value in started.items()]
    assert len(alike) > 100
    assert all(alike)


def test_the_member_to_start_from_is_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    parts = [Part(name, little_network(tmp_path / name, seed)) for seed, name in enumerate(("first", "second"))]
    save_detector(path, "two", parts, stack("first", "second"), settings(tmp_path))
    members = {member.name: member.frames for member in load_detector(path).members}
    made = config(tmp_path, frames={"start_from": "random", "frozen_stages": 0, "start_weights": str(path)})
    started = {
        name: start_frames(made.frames.model_copy(update={"start_member": name}), made).head.weight
        for name in (None, "first", "second")
    }
    assert torch.equal(started["second"], members["second"].head.weight)
    assert torch.equal(started[None], members["first"].head.weight)
    assert not torch.equal(started["first"], started["second"])


def test_another_file_to_start_from_is_another_training(tmp_path: Path) -> None:
    plain = config(tmp_path, frames=LIKE_SHIPPED)
    shutil.copy(SHIPPED, tmp_path / "other.safetensors")
    copied, shipped = (
        config(tmp_path, frames={**LIKE_SHIPPED, "start_weights": path})
        for path in (tmp_path / "other.safetensors", SHIPPED)
    )
    assert train._origins(copied) == train._origins(shipped)
    assert train._origins(plain) == []
    (tmp_path / "other.safetensors").write_bytes(b"something else")
    assert train._origins(copied) != train._origins(shipped)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"start_weights": "data/nobody.safetensors"}, r"nobody\.safetensors"),
        ({"start_weights": str(SHIPPED), "start_run": "demo"}, "both set"),
        ({"start_weights": str(SHIPPED), "start_member": "nobody"}, "no member 'nobody'; it has clip, soup5"),
        ({"start_member": "soup5"}, "'soup5' without frames.start_weights"),
        (
            {"start_weights": str(SHIPPED), "fold_batchnorm": False},
            "folded True; wanted .* folded False.*fold_batchnorm",
        ),
    ],
)
def test_weights_that_cannot_be_gone_on_from_are_the_user_s_mistake(
    tmp_path: Path, frames: dict[str, object], message: str
) -> None:
    made = config(tmp_path, frames={**LIKE_SHIPPED, **frames})
    with pytest.raises(UserError, match=message):
        start_frames(made.frames, made)


@pytest.mark.parametrize("name", ["demo/4", "demo/last", "demo/²"])
def test_a_snapshot_that_is_not_there_is_answered_with_those_there_are(snapped: Config, name: str) -> None:
    with pytest.raises(UserError, match="no finished network; snapshots there: step000003, step000006"):
        run_network(snapped.run_dir.parent, name)


def test_an_unknown_run_to_start_from_is_the_user_s_mistake(snapped: Config) -> None:
    frames = config(snapped.path(snapped.data_dir), frames={"start_run": "nobody"}).frames
    with pytest.raises(UserError, match=r"run 'nobody'.*snapshots there: none.*deepfake train --run nobody"):
        start_frames(frames, snapped)
    with pytest.raises(ValueError, match="wanted the settings that say where runs lie"):
        start_frames(frames)


def test_statistics_that_still_move_cannot_be_folded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fold_batchnorm: .* freeze them too"):
        start_frames(config(tmp_path, frames={"fold_batchnorm": True}).frames)


# --- Learning by forging -----------------------------------------------------------------------------


def boarded(one: Face) -> Face:
    """A forgery that can be seen: a board over the whole picture."""
    board = (np.indices(one.picture.shape[:2]).sum(axis=0) // 4 % 2 * 80 - 40)[..., None]
    return Face(np.clip(one.picture.astype(int) + board, 0, 255).astype(np.uint8), one.landmarks)


def forging(folder: Path) -> Config:
    """Two real clips and two forged ones in tables, and settings that learn from them by forging."""
    selfblend = {
        "photo_share": 0,
        "clip_share": 0.2,
        "forged_share": 0.8,
        "h264": False,
        "degradation": 0,
        "forged_degradation": 0,
        "items_per_epoch": 16,
        "families": {"local_warp": 1.0},
    }
    frames = {"selfblend": selfblend, "epochs": 8, "checkpoint_steps": 10, "view_ratio": 0.9}
    made = config(folder, frames=frames)
    clips = {f"real{i}.mp4": [face(2 * i, 64, 2.0), face(2 * i + 1, 64, 2.0)] for i in range(2)}
    clips |= {f"fake{i}.mp4": [boarded(face(10 + i, 64, 2.0))] for i in range(2)}
    videos = pd.DataFrame([video_row(name, int(name.startswith("fake"))) for name in clips])
    tables.write(tables.VIDEOS, videos, made.work_dir / "videos.parquet")
    tables.write(tables.FACES, write_frames(made.work_dir, clips), made.work_dir / "faces.parquet")
    return made


def test_learning_by_forging_learns_and_goes_on_after_a_stop_with_the_very_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = forging(tmp_path / "whole"), forging(tmp_path / "broken")
    path = train_frames_fold(whole, read_all(whole.work_dir), None)
    noted = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert len(noted) == 32
    assert any("map_loss" in line for line in noted)
    assert all(0 <= line["in_order"] <= 1 for line in noted if "pair_loss" in line)
    assert 0 < sum("pair_loss" in line for line in noted) < 32  # four of five fakes are clips nobody made here
    first, last = (sum(line["loss"] for line in part) / 8 for part in (noted[:8], noted[-8:]))
    assert last < 0.8 * first
    with monkeypatch.context() as patch:
        kill_at(patch, Mixture, nth=15 * 4 + 2)
        with pytest.raises(Killed):
            train_frames_fold(broken, read_all(broken.work_dir), None)
    assert equal(weights(train_frames_fold(broken, read_all(broken.work_dir), None)), weights(path))
