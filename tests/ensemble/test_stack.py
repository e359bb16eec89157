"""Stacking: no member counts against itself, none is learnt from its own fold, every prior has a reason."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepfake.ensemble import stack as ensemble_stack
from deepfake.ensemble.calibration import Calibration, fit
from deepfake.ensemble.pooling import Line, Tracks, mixtures, video_logits
from deepfake.ensemble.stack import (
    ENSEMBLE,
    Stack,
    calibrated_anew,
    class_weights,
    fallback_reasons,
    group_counts,
    out_of_fold,
    score_rows,
)
from deepfake.settings import Ensemble
from deepfake.tables import VIDEO_SCORES, check
from member_logits import GOOD, LABELS, RNG, USELESS, columns, fit_stack, table

SETTINGS = Ensemble()


def p_of(stack: Stack, logits: np.ndarray) -> np.ndarray:
    return stack.p_fake(Tracks.one_each(logits, stack.members))


def test_equal_members_get_equal_weights() -> None:
    stack = fit_stack(columns(GOOD, GOOD), LABELS, ["a", "b"], SETTINGS)
    assert stack.weights[0] == pytest.approx(stack.weights[1], rel=1e-4) and stack.weights[0] > 0


def test_a_useless_member_loses_weight() -> None:
    good, useless = fit_stack(columns(GOOD, USELESS), LABELS, ["good", "useless"], SETTINGS).weights
    assert useless < 0.2 * good and useless < 0.5 < good


def test_a_member_that_is_upside_down_gets_no_negative_weight() -> None:
    upside_down = np.where(LABELS == 1, -1.5, 1.5) + np.random.default_rng(1).normal(0, 1, 80)
    good, wrong = fit_stack(columns(GOOD, upside_down), LABELS, ["good", "wrong"], SETTINGS).weights
    assert wrong == 0 and good > 0


def test_members_that_are_all_upside_down_stay_equal() -> None:
    assert fit_stack(columns(-GOOD, -GOOD), LABELS, ["a", "b"], SETTINGS).weights == (0.5, 0.5)


def test_a_strong_pull_keeps_the_weights_equal() -> None:
    stack = fit_stack(columns(GOOD, USELESS), LABELS, ["a", "b"], Ensemble(stack_l2=1e6))
    assert stack.weights == pytest.approx((0.5, 0.5), abs=1e-3)


def test_one_member_has_weight_one() -> None:
    assert fit_stack(columns(GOOD), LABELS, ["a"], SETTINGS).weights == (1.0,)


def test_fakes_score_higher_than_reals_and_all_scores_are_probabilities() -> None:
    p = p_of(fit_stack(columns(GOOD, USELESS), LABELS, ["a", "b"], SETTINGS), columns(GOOD, USELESS))
    assert ((p > 0) & (p < 1)).all() and p[LABELS == 1].mean() > 0.7 > 0.3 > p[LABELS == 0].mean()


def test_a_single_class_calibrates_nothing_and_says_so() -> None:
    stack = fit_stack(columns(GOOD, USELESS), np.ones(80, int), ["a", "b"], SETTINGS)
    assert stack.calibration.slope == 1 and "both labels" in str(stack.calibration.reason)
    assert np.isfinite(stack.weights).all() and min(stack.weights) >= 0


def test_class_weights_bring_the_share_of_fakes_to_the_wanted_one() -> None:
    labels = np.array([1, 1, 1, 0])
    weights = class_weights(labels, 0.5)
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2]) and weights.mean() == 1
    assert class_weights(labels, None).tolist() == [1] * 4 == class_weights(np.ones(4, int), 0.5).tolist()


def test_a_group_of_sources_counts_by_the_root_of_its_videos() -> None:
    counts = group_counts(np.array(["a", "b", "b", "b", "b"]))
    assert counts == pytest.approx([1, 0.5, 0.5, 0.5, 0.5])
    weights = class_weights(np.array([0, 1, 1, 0, 0]), 0.5, counts)
    assert weights == pytest.approx(np.array([1.25, 1.25, 1.25, 0.625, 0.625])), "fakes .5 + .5, reals 1 + .5 + .5"


def test_many_clear_videos_of_one_source_do_not_make_scores_as_sure_of_others() -> None:
    labels = np.array([0, 1] * 100 + [0, 1] * 20)
    clear = np.where(labels == 1, 2.0, -2.0)
    unclear = np.where(np.arange(40) % 4 < 2, 2.0, -2.0)  # half of them wrong, elsewhere
    logits = np.concatenate([clear[:200], unclear])[:, None]
    groups = np.array([0] * 200 + list(range(1, 41)))
    stack, tracks = Stack(("a",), (1.0,), Calibration("none"), 0.5), Tracks.one_each(logits, ["a"])
    as_videos, as_groups, one_each = (
        calibrated_anew(stack, tracks, labels, SETTINGS, who).calibration for who in (None, groups, np.arange(240))
    )
    assert 0 < as_groups.slope < 0.6 * as_videos.slope
    assert (one_each.slope, one_each.intercept) == pytest.approx((as_videos.slope, as_videos.intercept))


def test_scores_are_centred_on_the_share_of_fakes_that_is_expected() -> None:
    labels = np.array([1] * 60 + [0] * 20)
    flat = RNG.normal(0, 0.01, 80)
    half, as_trained = (fit_stack(columns(flat), labels, ["a"], Ensemble(fake_share=share)) for share in (0.5, None))
    assert p_of(half, columns(flat)).mean() == pytest.approx(0.5, abs=0.02)
    assert p_of(as_trained, columns(flat)).mean() > 0.7


def test_the_prior_is_the_expected_share_or_that_of_the_training_videos() -> None:
    labels = np.array([1] * 60 + [0] * 20)
    assert fit_stack(columns(GOOD), labels, ["a"], Ensemble(fake_share=0.3)).prior == 0.3
    assert fit_stack(columns(GOOD), labels, ["a"], Ensemble(fake_share=None)).prior == 0.75


def test_a_stack_comes_back_from_its_manifest() -> None:
    stack = fit_stack(columns(GOOD, USELESS), LABELS, ["a", "b"], SETTINGS)
    assert Stack.from_dict(stack.to_dict()) == stack
    with pytest.raises(ValueError, match="one finite weight each"):
        Stack.from_dict({**stack.to_dict(), "weights": [1.0]})
    with pytest.raises(ValueError, match="one finite weight each"):
        Stack.from_dict({**stack.to_dict(), "weights": [1.0, float("nan")]})


def test_no_video_is_scored_by_a_stack_that_saw_its_label() -> None:
    folds = np.arange(80) % 4
    honest = out_of_fold(table(GOOD, USELESS), LABELS, folds, SETTINGS)
    wild = LABELS.copy()
    wild[folds == 2] = 1 - wild[folds == 2]
    poisoned = out_of_fold(table(GOOD, USELESS), wild, folds, SETTINGS)
    for name in (ENSEMBLE, "m0", "m1"):
        assert np.array_equal(honest[name][folds == 2], poisoned[name][folds == 2])
        assert not np.allclose(honest[name][folds != 2], poisoned[name][folds != 2])


def test_no_videos_logit_reaches_another_video_of_its_fold() -> None:
    folds = np.arange(80) % 4
    before = out_of_fold(table(GOOD), LABELS, folds, SETTINGS)[ENSEMBLE]
    changed = GOOD.copy()
    changed[0] = 50
    after = out_of_fold(table(changed), LABELS, folds, SETTINGS)[ENSEMBLE]
    rest = (folds == 0) & (np.arange(80) != 0)
    assert np.array_equal(before[rest], after[rest]) and after[0] > before[0]


# --- Several tracks ----------------------------------------------------------------------------------


def two_tracks(n: int = 60, seed: int = 3) -> tuple[Tracks, np.ndarray]:
    """Videos of one to three tracks, of which two members find different ones worst; trusts differ."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    sizes = rng.integers(1, 4, n)
    video = np.repeat(np.arange(n), sizes)
    logits = rng.normal(0, 1.5, (len(video), 2)) + (labels[video] - 0.5)[:, None]
    numbers = np.concatenate([np.arange(size) for size in sizes])
    tracks = Tracks(
        tuple(f"v{i:03d}" for i in range(n)),
        ("a", "b"),
        video,
        numbers,
        np.full(len(video), 9),
        logits,
        rng.uniform(0.3, 1.0, len(video)),
        np.ones(len(video), bool),
        np.ones(len(video), int),
    )
    return tracks, labels


@pytest.mark.parametrize("seed", range(3))
def test_no_line_beside_the_fitted_one_gives_videos_of_several_tracks_a_lower_loss(seed: int) -> None:
    tracks, labels = two_tracks(seed=seed)
    stack = ensemble_stack.fit_stack(tracks, labels, Ensemble(drop_margin=None, stack_l2=1e6))
    assert stack.weights == pytest.approx((0.5, 0.5), abs=1e-3)
    fitted = stack.line

    def cost(slope: float, intercept: float) -> float:
        served = video_logits(tracks, replace(fitted, slope=slope, intercept=intercept))[0]
        # The pull of one video towards the identity: see `calibration.fit`.
        return float(np.logaddexp(0, np.where(labels == 1, -served, served)).sum() + pull(slope, intercept))

    def pull(slope: float, intercept: float) -> float:
        scale = np.sqrt(np.mean((mixtures(tracks, fitted).logits_NM @ fitted.weights) ** 2))
        return float(((slope - 1) * scale / max(1, scale)) ** 2 + intercept**2) / 8

    least = cost(fitted.slope, fitted.intercept)
    for step in (0.02, -0.02):
        assert cost(fitted.slope + step, fitted.intercept) > least
        assert cost(fitted.slope, fitted.intercept + step) > least
    assert np.ptp(stack.p_fake(tracks)) > 0.3


def test_a_mixture_is_what_the_line_makes_of_the_tracks() -> None:
    tracks, _ = two_tracks()
    line = Line((0.4, 0.6), slope=1.7, intercept=-0.4, neutral=0.2)
    mixed = mixtures(tracks, line)
    assert mixed.is_mixed and len(mixed.shift_N) == len(tracks)
    assert line.logits(mixed.logits_NM, mixed.trust_N) + mixed.shift_N == pytest.approx(video_logits(tracks, line)[0])
    single = Tracks.one_each(np.array([[2.0, 1.0], [0.5, -3.0]]), ["a", "b"])
    alone = mixtures(single, line)
    assert not alone.is_mixed and alone.shift_N.tolist() == [0, 0]
    assert np.array_equal(alone.logits_NM, single.logits_KM) and alone.trust_N.tolist() == [1, 1]


def test_a_video_of_two_tracks_counts_as_the_mean_of_the_odds_of_their_sums() -> None:
    # Track 0 sums to .5 * (4 - 3) = .5, track 1 to .5 * (-2 + 6) = 2: calibrated 0 and 3, odds 1 and 20.09.
    tracks = Tracks(
        ("v",),
        ("a", "b"),
        np.zeros(2, int),
        np.arange(2),
        np.full(2, 9),
        np.array([[4.0, -3.0], [-2.0, 6.0]]),
        np.ones(2),
        np.ones(2, bool),
        np.ones(2, int),
    )
    stack = Stack(("a", "b"), (0.5, 0.5), Calibration("platt", 2.0, -1.0), 0.5)
    odds = (1 + np.exp(3.0)) / 2
    assert stack.p_fake(tracks) == pytest.approx([odds / (1 + odds)])


def test_a_fit_is_the_same_each_time_and_ends() -> None:
    for seed in range(5):
        tracks, labels = two_tracks(seed=seed)
        assert ensemble_stack.fit_stack(tracks, labels, SETTINGS) == ensemble_stack.fit_stack(tracks, labels, SETTINGS)


def test_what_nobody_can_see_teaches_nothing_and_gets_the_prior() -> None:
    tracks, labels = two_tracks()
    unseen = replace(tracks, trust_K=np.zeros_like(tracks.trust_K))
    stack = ensemble_stack.fit_stack(unseen, labels, Ensemble(fake_share=0.3))
    assert stack.calibration.reason and stack.p_fake(unseen) == pytest.approx([0.3] * len(labels))


def test_trust_lets_small_faces_teach_less() -> None:
    logits, trust = columns(np.where(LABELS == 1, 1.0, -1.0))[:, 0], np.ones(80)
    logits[:20] *= -1  # upside down, and hardly to be seen
    trust[:20] = 0.01
    trusting, wary = fit(logits, LABELS, "platt"), fit(logits, LABELS, "platt", trust=trust)
    assert wary.slope > 3 * trusting.slope
    assert fit(logits, LABELS, "platt", trust=np.ones(80)) == trusting, "wholly trusted is as without"


def test_videos_without_a_score_get_the_prior_with_the_reason() -> None:
    known = pd.DataFrame(
        {
            "video_id": ["a", "b", "c", "d"],
            "status": ["ok", "no_face", "failed", "ok"],
            "reason": [None, "no face in 8 frames", "cut short", None],
        }
    )
    reasons = fallback_reasons(["a", "b", "c", "d", "e"], known, {"a"})
    assert reasons == {"b": "no_face", "c": "unreadable: cut short", "d": "not_scored", "e": "not_extracted"}
    counts = pd.DataFrame({"n_faces": [12], "n_tracks": [2]}, index=["a"])
    rows = score_rows("m", pd.Series([0.9], index=["a"]), counts, reasons, 0.4)
    back = check(VIDEO_SCORES, rows).to_pandas().set_index("video_id")
    assert back["p_fake"].tolist() == [0.9, 0.4, 0.4, 0.4, 0.4]
    assert pd.isna(back.loc["a", "fallback"]) and back.loc["b", "fallback"] == "no_face"
    assert back["n_faces"].tolist() == [12, 0, 0, 0, 0]


def test_all_or_none_of_the_videos_may_have_a_score() -> None:
    counts = pd.DataFrame({"n_faces": [1, 2], "n_tracks": [1, 1]}, index=["a", "b"])
    all_scored = score_rows("m", pd.Series([0.1, 0.2], index=["a", "b"]), counts, {}, 0.5)
    assert check(VIDEO_SCORES, all_scored).num_rows == 2
    none_scored = score_rows("m", pd.Series([], index=counts.index[:0], dtype=float), counts, {"x": "no_face"}, 0.5)
    assert check(VIDEO_SCORES, none_scored).to_pylist()[0]["p_fake"] == 0.5
