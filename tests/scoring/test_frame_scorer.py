import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake import tables
from deepfake.datasets.pairs import Tables
from deepfake.ensemble.costs import read_cost
from deepfake.errors import UserError
from deepfake.models import torch_network
from deepfake.models.checkpoints import load_model
from deepfake.models.frames import FrameClassifier
from deepfake.scoring import run_scores
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.scoring.run_scores import fold_features, frame_outputs, oof_frames, predict_frames, refuse_constant
from deepfake.settings import Config, Predict
from deepfake.training.train import train_frames_fold
from learning_data import config, invented, one_thread, picture  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
FP32 = Predict(device="cpu", precision="fp32", batch_size=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Tables]:
    settings = config(tmp_path_factory.mktemp("run"), frames={"epochs": 1, "validation_pairs": 0})
    made = invented(settings.work_dir)
    for fold in (0, 1):
        train_frames_fold(settings, made, fold)
    return settings, made


def faces_to_predict(made: Tables) -> pd.DataFrame:
    return made.faces_of(list(made.videos.loc[made.videos["split"] == "test", "video_id"]))


def frame_model(settings: Config, fold: int) -> FrameClassifier:
    model = load_model(settings.run_dir / "frames" / f"fold{fold}")
    assert isinstance(model, FrameClassifier)
    return model


def test_every_labelled_video_is_scored_by_the_model_that_has_not_seen_it(run: tuple[Config, Tables]) -> None:
    settings, made = run
    scores = oof_frames(settings, made)
    tables.check(tables.FRAME_SCORES, scores)
    assert len(scores) == 8 * 4
    model = frame_model(settings, 1)  # real1 and fake1 lie in fold 1
    crops = torch.from_numpy(np.stack([picture(100 + f, False) for f in (0, 9, 18, 27)]).transpose(0, 3, 1, 2))
    with torch.inference_mode():
        expected = model(crops).numpy()
    logits = scores.loc[scores["video_id"] == "real1.mp4", "logit"].to_numpy()
    assert logits == pytest.approx(expected, abs=torch_network.MAX_BF16_DIFFERENCE)


def test_a_fold_learns_from_the_videos_it_does_not_hold_out(run: tuple[Config, Tables]) -> None:
    settings, made = run
    learnt = {t.video_id: t.label for t in fold_features(settings, made, 0, held_out=False)}
    held_out = {t.video_id: t.label for t in fold_features(settings, made, 0, held_out=True)}
    assert learnt == {"fake1.mp4": 1, "fake3.mp4": 1, "real1.mp4": 0, "real3.mp4": 0}
    assert not learnt.keys() & held_out.keys()


def test_videos_to_predict_get_the_mean_logit_of_the_folds(run: tuple[Config, Tables]) -> None:
    settings, made = run
    faces = faces_to_predict(made)
    both = predict_frames(settings, faces, [0, 1])
    tables.check(tables.FRAME_SCORES, both)
    single = [predict_frames(settings, faces, [fold])["logit"].to_numpy() for fold in (0, 1)]
    assert both["logit"].to_numpy() == pytest.approx((single[0] + single[1]) / 2)


def test_no_faces_give_no_rows(run: tuple[Config, Tables]) -> None:
    settings, made = run
    none = made.faces.iloc[:0]
    assert len(tables.check(tables.FRAME_SCORES, predict_frames(settings, none, [0, 1]))) == 0


def test_crops_scored_before_are_not_scored_again(run: tuple[Config, Tables], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, made = run
    before = oof_frames(settings, made)
    monkeypatch.setattr(run_scores, "score_faces", lambda *_: pytest.fail("it was scored again"))
    pd.testing.assert_frame_equal(oof_frames(settings, made), before)


def test_parts_give_the_scores_of_the_whole(run: tuple[Config, Tables], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, made = run
    checkpoint = settings.run_dir / "frames" / "fold0"
    faces = faces_to_predict(made)
    whole = pd.concat([outputs.scores("m") for outputs in frame_outputs(settings, checkpoint, faces)])
    monkeypatch.setattr(run_scores, "VIDEOS_PER_PART", 3)
    parts = [outputs.scores("m") for outputs in frame_outputs(settings, checkpoint, faces)]
    assert [part["video_id"].nunique() for part in parts] == [3, 1]
    joined = pd.concat(parts)
    assert joined["video_id"].tolist() == whole["video_id"].tolist()
    assert joined["logit"].to_numpy() == pytest.approx(whole["logit"].to_numpy(), abs=torch_network.MAX_BF16_DIFFERENCE)


def test_a_damaged_part_is_scored_again(run: tuple[Config, Tables]) -> None:
    settings, made = run
    before = oof_frames(settings, made)
    for path in (settings.run_dir / "frames" / "fold0" / "scored").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:70])
    pd.testing.assert_frame_equal(oof_frames(settings, made), before)


def small() -> FrameClassifier:
    torch.manual_seed(0)
    return FrameClassifier("test_efficientnet", 32)


def test_crops_of_any_size_are_scored_in_batches() -> None:
    crops = [picture(i, False, 64) for i in range(6)]
    scorer = FrameScorer(small(), FP32)
    logits_N, features_ND = scorer.crops(crops)
    assert logits_N.shape == (6,)
    assert features_ND.shape == (6, scorer.model.n_features)
    assert scorer.crops(crops[4:])[0] == pytest.approx(logits_N[4:], abs=1e-5)
    assert scorer.crops([])[0].shape == (0,)


def test_the_logits_are_the_heads_of_the_features() -> None:
    model = small()
    logits_N, features_ND = FrameScorer(model, FP32).crops([picture(0, True)])
    assert model.logits_of(torch.from_numpy(features_ND).float()).item() == pytest.approx(logits_N[0], abs=1e-2)


def test_logits_that_are_no_numbers_are_an_error() -> None:
    model = small()
    torch.nn.init.constant_(model.head.bias, float("nan"))
    with pytest.raises(UserError, match="1 logits are no numbers, the first for crop 0"):
        FrameScorer(model, FP32).crops([picture(0, True)])


def test_bf16_is_used_only_where_the_logits_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_network, "is_fast_at_bf16", lambda _: True)
    probe = [picture(i, False) for i in range(4)]
    auto = Predict(device="cpu", precision="auto")
    near = FrameScorer(small(), auto, probe)
    assert near.model.bf16
    assert near.model.bf16_difference is not None
    wild = small()
    with torch.no_grad():
        wild.head.weight *= 1000 / np.abs(FrameScorer(wild, FP32).crops(probe)[0]).max()
    far = FrameScorer(wild, auto, probe)
    assert not far.model.bf16
    assert far.model.bf16_difference is not None
    assert far.model.bf16_difference > torch_network.MAX_BF16_DIFFERENCE
    assert not FrameScorer(small(), auto).model.bf16


def scores(logits: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"video_id": [f"v{i}" for i in range(len(logits))], "logit": logits})


def test_more_than_ten_videos_of_one_score_are_an_error() -> None:
    with pytest.raises(UserError, match=r"11 videos all got the logit 0\.5"):
        refuse_constant(scores([0.5] * 11), "frames")
    refuse_constant(scores([0.5] * 10), "frames")
    refuse_constant(scores([0.5] * 10 + [0.6]), "frames")
    refuse_constant(scores([]), "frames")


# --- What it costs -----------------------------------------------------------------------------------


def test_a_stopped_scoring_notes_the_time_of_every_part_once(
    run: tuple[Config, Tables], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, made = run
    folder = tmp_path / "run"
    shutil.copytree(settings.run_dir, folder, ignore=shutil.ignore_patterns("scored", "cost_*"))
    monkeypatch.setattr(Config, "run_dir", property(lambda _: folder))
    monkeypatch.setattr(run_scores, "VIDEOS_PER_PART", 3)
    # Fold 0 has parts of 3 and 1 videos, and so has fold 1: each part takes twice as long as the one before.
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0, 99.0, 100.0, 104.0, 200.0, 208.0])
    monkeypatch.setattr(run_scores, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    write, seen = run_scores.write_outputs, []

    def killed_at_the_third(*args: Any) -> None:
        seen.append(args)
        if len(seen) == 3:
            raise KeyboardInterrupt
        write(*args)

    monkeypatch.setattr(run_scores, "write_outputs", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        oof_frames(settings, made)
    assert not (folder / "frames/cost_oof.json").exists()
    for _ in range(2):
        oof_frames(settings, made)
        cost = read_cost(folder / "frames/cost_oof.json")
        assert cost is not None and (cost.seconds, cost.n_videos, cost.needs) == (1 + 2 + 4 + 8, 8, ())
        assert cost.machine.startswith("CPU, ")
    next((folder / "frames/fold0/scored").glob("*.cost.json")).unlink()
    oof_frames(settings, made)
    less = read_cost(folder / "frames/cost_oof.json")
    assert less is not None and (less.seconds, less.n_videos) in ((14, 5), (13, 7)), "as scored by an older version"


def test_videos_to_predict_cost_what_every_folds_network_took(run: tuple[Config, Tables]) -> None:
    settings, made = run
    predict_frames(settings, faces_to_predict(made), [0, 1])
    cost = read_cost(settings.run_dir / "frames/cost_test.json")
    assert cost is not None and cost.n_videos == 2 * 4 and cost.seconds > 0
