"""Networks over tracks at work: any length, bounded memory, abstentions."""

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake import tables
from deepfake.config import Config, Predict, UserError
from deepfake.costs import read_cost
from deepfake.datasets import Tables
from deepfake.models import HEADS
from deepfake.models.heads import AttentionHead, TrackHead
from deepfake.models.sequences import SequenceClassifier
from deepfake.scoring import fold_features
from deepfake.track_inputs import TrackFeatures
from deepfake.track_scoring import head_logits, oof_heads, predict_heads, score_tracks
from deepfake.training import train_frames_fold, train_head_fold
from deepfake.tubes import LARGE_TUBE_PX, TUBE_PX
from learning_data import awake_head, config, invented, one_thread, track_of  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = Predict(device="cpu", precision="fp32", batch_size=4)
FACE = np.array([(40.0, 50.0), (60.0, 50.0), (50.0, 60.0), (42.0, 72.0), (58.0, 72.0)])
HEAD_NAMES = ("sequences", "motion")


def track(n_frames: int, seed: int = 0, fps: float = 25, **changes: object) -> TrackFeatures:
    """A track with all a head may ask for; `fps` 0: a static picture."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.5 * (fps > 0), (n_frames, 5, 2))
    frame = rng.integers(0, 256, (1, TUBE_PX, TUBE_PX, 3), dtype=np.uint8)

    def pictures(places: np.ndarray) -> np.ndarray:
        return np.repeat(frame, len(places), axis=0) if fps == 0 else rolled(frame, places)

    values = {
        "landmarks_T52": FACE + moves,
        "boxes_T4": np.tile([30.0, 30, 70, 90], (n_frames, 1)),
        "times_T": np.arange(n_frames) / (fps or 25),
        "tubes": {TUBE_PX: pictures, LARGE_TUBE_PX: pictures},
    }
    features_TD = rng.normal(size=(n_frames, 5)).astype(np.float16)
    return track_of(f"v{seed}", None, features_TD, rng.normal(size=n_frames), **(values | changes))


def rolled(frame: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.concatenate([np.roll(frame, int(place) % 7, axis=2) for place in places])


def woken(name: str) -> TrackHead:
    return awake_head(name, n_features=5, hidden=8, seed=0)


SLOW = ("r2plus1d_18", "mc3_18")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in HEADS])
def test_a_head_scores_every_kind_of_track_or_abstains(name: str) -> None:
    head = woken(name)
    gaps = track(9, 5, times_T=np.sort(np.random.default_rng(0).uniform(0, 30, 9)))
    lost = track(6, 6, landmarks_T52=np.full((6, 5, 2), np.nan))
    kinds = [track(1), track(2, 1), track(5, 2, fps=0), track(5, 3, fps=5), track(12, 4, fps=120), gaps, lost]
    found = head_logits(head, kinds, CPU)
    assert [len(one.frame_logits_T) for one in found] == [1, 2, 5, 5, 12, 9, 6]
    for one in found:
        assert np.isfinite([one.logit, *one.frame_logits_T]).all()
    silent = [i for i, one in enumerate(found) if one.n_frames == 0]
    wanted = {"sequences": [], "two_stream": [], "inflated": [], "motion": [0, 6]}.get(name, [0])
    assert silent == wanted
    assert all(found[i].logit == 0 and not found[i].frame_logits_T.any() for i in silent)
    assert all(found[i].logit != 0 for i in range(len(kinds)) if i not in silent)


@pytest.mark.parametrize("name", ["sequences", "motion"])
def test_ten_thousand_frames_go_through_in_parts(name: str) -> None:
    head = woken(name)
    sizes: list[int] = []
    inner = head.frame_logits

    def spy(*inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(inputs[-1].numel())
        return inner(*inputs)

    head.frame_logits = spy  # type: ignore[method-assign]
    (found,) = head_logits(head, [track(10_000)], CPU)
    assert len(found.frame_logits_T) == found.n_frames == 10_000
    assert np.isfinite(found.logit)
    assert max(sizes) <= 4 * head.window


class Counting(AttentionHead):
    """Says of each frame its number in the track."""

    inputs = ("features",)
    window = 4

    def __init__(self) -> None:
        super().__init__(1, 0.0)

    def frame_logits(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features_BTD, mask_BT, _ = inputs
        logits_BT = features_BTD[..., 0] * mask_BT
        return logits_BT.sum(dim=1) / mask_BT.sum(dim=1), logits_BT


def test_parts_of_a_long_track_come_together_in_order_and_weigh_by_their_length() -> None:
    tracks = [track_of(f"v{n}", None, np.arange(n, dtype=np.float32)[:, None], np.zeros(n)) for n in (10, 3, 4, 5, 1)]
    for tracks_given in (tracks, tracks[::-1]):
        for given, found in zip(tracks_given, head_logits(Counting(), tracks_given, CPU), strict=True):
            assert found.frame_logits_T.tolist() == list(range(len(given)))
            assert found.logit == pytest.approx((len(given) - 1) / 2)


def test_tracks_of_all_lengths_are_scored_alike_alone_or_together() -> None:
    torch.manual_seed(0)
    model = SequenceClassifier(5, 4)
    torch.nn.init.normal_(model.head.weight)
    tracks = [track(n, seed) for seed, n in enumerate([7, 1, 3, 20, 2])]
    together = score_tracks(model, tracks, Predict(device="cpu", batch_size=2), "sequences")
    assert together["n_frames"].tolist() == [7, 1, 3, 20, 2]
    alone = [score_tracks(model, [t], CPU, "sequences")["logit"][0] for t in tracks]
    assert together["logit"].to_numpy() == pytest.approx(alone, abs=1e-5)
    assert len(tables.check(tables.TRACK_SCORES, score_tracks(model, [], CPU, "sequences"))) == 0


def test_a_logit_that_is_no_number_names_its_track() -> None:
    one = track(3)
    spoilt = TrackFeatures(**{**vars(one), "logits_T": np.full(3, np.nan)})
    with pytest.raises(UserError, match="the logit of 'v0' track 0 is no number"):
        head_logits(woken("sequences"), [spoilt], CPU)


# --- Out of fold, and videos to predict --------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> tuple[Config, Tables]:  # noqa: F811 - the fixture
    settings = config(
        tmp_path_factory.mktemp("run"), frames={"epochs": 1, "validation_pairs": 0}, sequences={"heads": HEAD_NAMES}
    )
    made = invented(settings.work_dir)
    for name, value in zip(tables.LANDMARKS, FACE.ravel(), strict=True):
        made.faces[name] = value + np.random.default_rng(len(name)).normal(0, 1, len(made.faces))
    for fold in (0, 1):
        train_frames_fold(settings, made, fold)
        tracks = fold_features(settings, made, fold, held_out=False)
        for name in HEAD_NAMES:
            train_head_fold(settings, name, tracks, fold)
    return settings, made


def test_tracks_are_scored_out_of_fold_by_every_head(run: tuple[Config, Tables]) -> None:
    settings, made = run
    found = oof_heads(settings, made)
    assert tuple(found) == HEAD_NAMES
    for name, scores in found.items():
        tables.check(tables.TRACK_SCORES, scores)
        assert scores["video_id"].tolist() == sorted(made.labelled()["video_id"])
        assert set(scores["model"]) == {name}
        assert set(scores["n_frames"]) == {4}
    costs = {name: read_cost(settings.run_dir / name / "cost_oof.json") for name in HEAD_NAMES}
    assert all(cost is not None and cost.n_videos == 8 and cost.seconds > 0 for cost in costs.values())
    assert {name: cost and cost.needs for name, cost in costs.items()} == {"sequences": ("frames",), "motion": ()}


def test_videos_to_predict_get_the_mean_logit_of_the_folds(run: tuple[Config, Tables]) -> None:
    settings, made = run
    faces = made.faces_of(list(made.videos.loc[made.videos["split"] == "test", "video_id"]))
    both = predict_heads(settings, faces, [0, 1])
    for name in HEAD_NAMES:
        tables.check(tables.TRACK_SCORES, both[name])
        assert len(both[name]) == 4
        single = [predict_heads(settings, faces, [fold])[name]["logit"].to_numpy() for fold in (0, 1)]
        assert both[name]["logit"].to_numpy() == pytest.approx((single[0] + single[1]) / 2, abs=1e-6)
        cost = read_cost(settings.run_dir / name / "cost_test.json")
        assert cost is not None and cost.n_videos == 4, "of the last call, by one network"
    none = predict_heads(settings, made.faces.iloc[:0], [0, 1])
    assert all(len(tables.check(tables.TRACK_SCORES, rows)) == 0 for rows in none.values())


def test_whoever_abstains_everywhere_has_not_learnt_nothing(run: tuple[Config, Tables]) -> None:
    settings, made = run
    faces = pd.concat(
        [made.faces[made.faces["video_id"] == "real0.mp4"].iloc[:1].assign(video_id=f"v{i:02}") for i in range(12)],
        ignore_index=True,
    )
    alone = settings.model_copy(update={"sequences": settings.sequences.model_copy(update={"heads": ("motion",)})})
    scores = predict_heads(alone, faces, [0])["motion"]
    assert scores["n_frames"].tolist() == [0] * 12
