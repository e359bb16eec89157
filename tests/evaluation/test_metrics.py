"""Metrics against hand-worked answers and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from deepfake.evaluation import bootstrap, metrics
from deepfake.settings import Validation

SETTINGS = Validation(bootstrap=200, ece_bins=5)


def scores(n: int, seed: int = 0, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Labels and overlapping scores; rounding makes many ties."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=n)
    p = np.clip(generator.normal(0.4 + 0.25 * labels, 0.2), 0.01, 0.99).round(digits)
    return labels, p


def measured(labels: np.ndarray, p: np.ndarray, groups: np.ndarray | None = None) -> dict[str, metrics.Measure]:
    return bootstrap.measure(labels, p, np.arange(len(p)) if groups is None else groups, SETTINGS, clip_p=0.01)


def test_log_loss_of_one_half_is_log_two() -> None:
    assert metrics.log_loss(np.array([0, 1, 1]), np.full(3, 0.5)) == pytest.approx(math.log(2))


def test_a_sure_wrong_answer_is_infinite_without_clipping_and_costs_a_known_sum_with_it() -> None:
    labels, p = np.array([1, 0]), np.array([0.0, 0.0])
    assert metrics.log_loss(labels, p) == math.inf
    assert metrics.log_loss(labels, p, clip_p=0.01) == pytest.approx((-math.log(0.01) - math.log(0.99)) / 2)


def test_a_sure_right_answer_costs_nothing() -> None:
    assert metrics.log_loss(np.array([1, 0]), np.array([1.0, 0.0])) == 0


def test_balanced_log_loss_gives_both_labels_half_of_the_say() -> None:
    labels, p = np.array([0, 1, 1, 1]), np.array([0.2, 0.9, 0.9, 0.9])
    assert metrics.balanced_log_loss(labels, p) == pytest.approx((-math.log(0.8) - math.log(0.9)) / 2)


def test_a_tie_between_a_fake_and_a_real_counts_half() -> None:
    assert metrics.roc_auc(np.array([0, 1]), np.array([0.3, 0.3])) == 0.5
    assert metrics.roc_auc(np.array([0, 1, 1]), np.array([0.3, 0.3, 0.4])) == 0.75


@pytest.mark.parametrize("seed", range(5))
def test_ranking_metrics_equal_those_of_scikit_learn(seed: int) -> None:
    labels, p = scores(200, seed, digits=1 + seed % 3)
    weights = np.random.default_rng(seed).integers(0, 4, size=200)
    assert metrics.roc_auc(labels, p) == pytest.approx(oracle.roc_auc_score(labels, p))
    assert metrics.pr_auc(labels, p) == pytest.approx(oracle.average_precision_score(labels, p))
    assert metrics.roc_auc(labels, p, weights) == pytest.approx(oracle.roc_auc_score(labels, p, sample_weight=weights))
    assert metrics.pr_auc(labels, p, weights) == pytest.approx(
        oracle.average_precision_score(labels, p, sample_weight=weights)
    )


def test_means_equal_those_of_scikit_learn() -> None:
    labels, p = scores(300)
    measures = {name: measure.value for name, measure in measured(labels, p).items()}
    assert measures["log_loss"] == pytest.approx(oracle.log_loss(labels, p))
    assert measures["brier"] == pytest.approx(oracle.brier_score_loss(labels, p))
    assert measures["accuracy"] == pytest.approx(oracle.accuracy_score(labels, p > 0.5))
    assert measures["balanced_accuracy"] == pytest.approx(oracle.balanced_accuracy_score(labels, p > 0.5))
    assert measures["recall"] == pytest.approx(oracle.recall_score(labels, p > 0.5))


def test_equal_error_rate_is_interpolated_between_thresholds() -> None:
    assert metrics.equal_error_rate(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == 0
    assert metrics.equal_error_rate(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == pytest.approx(0.5)
    # One score for all: the ROC is the diagonal and meets the other one in its middle.
    assert metrics.equal_error_rate(np.array([0, 1, 1]), np.full(3, 0.7)) == pytest.approx(0.5)
    # ROC (0, 2/3) -> (1/2, 2/3) -> (1/2, 1): false alarms equal misses at 1/3, between two thresholds.
    labels, p = np.array([1, 1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert metrics.equal_error_rate(labels, p) == pytest.approx(1 / 3)


def test_weighted_precision_counts_a_false_alarm_a_hundred_times() -> None:
    labels, p = np.array([1, 1, 0, 1, 1, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    precision = metrics.log_weighted_precision(labels, p)
    assert precision[0.1] == precision[0.5] == 0
    assert precision[0.9] == pytest.approx(math.log(4 / 104))


def test_a_fake_and_a_real_of_equal_score_are_found_together() -> None:
    precision = metrics.log_weighted_precision(np.array([1, 0]), np.array([0.9, 0.9]))
    assert precision[0.1] == pytest.approx(math.log(1 / 101))


def test_calibration_error_of_a_hand_worked_table() -> None:
    labels = np.array([0, 0, 1, 1, 1, 1])
    p = np.array([0.1, 0.3, 0.4, 0.8, 0.9, 1.0])
    bins = metrics.reliability(labels, p, 2)
    assert [(b.n, round(b.mean_p, 4), round(b.share_fake, 4)) for b in bins] == [(3, 0.2667, 0.3333), (3, 0.9, 1.0)]
    assert metrics.expected_calibration_error(bins) == pytest.approx((1 / 15 + 0.1) / 2)


def test_equal_scores_share_a_reliability_bin() -> None:
    labels = np.array([0, 1, 0, 1, 1])
    assert [b.n for b in metrics.reliability(labels, np.full(5, 0.6), 5)] == [5]
    assert metrics.expected_calibration_error(metrics.reliability(labels, np.full(5, 0.6), 5)) == pytest.approx(0)
    assert [b.n for b in metrics.reliability(labels, np.array([0.1, 0.1, 0.1, 0.2, 0.3]), 5)] == [3, 1, 1]


def test_one_class_gives_reasons_and_the_numbers_that_still_mean_something() -> None:
    measures = measured(np.zeros(4, int), np.array([0.1, 0.2, 0.6, 0.5]))
    assert measures["roc_auc"] == metrics.Measure(None, "no fake among 4 videos")
    assert measures["recall"].value is None
    assert measures["false_alarm_rate"].value == 0.25
    assert measures["log_loss"].value is not None
    with pytest.raises(metrics.UncomputableError, match="no real among 2 videos"):
        metrics.roc_auc(np.ones(2), np.array([0.1, 0.2]))


def test_no_videos_give_reasons_only() -> None:
    measures = measured(np.array([], int), np.array([]))
    assert {measure.reason for measure in measures.values()} == {"no videos"}


def test_every_metric_is_measured() -> None:
    assert tuple(measured(*scores(50))) == tuple(metrics.BY_NAME)


def test_an_infinite_loss_is_given_in_words_and_is_no_number_in_json() -> None:
    loss = measured(np.array([1, 0, 1]), np.array([0.0, 0.2, 0.7]))["log_loss"]
    assert loss.value == math.inf
    assert loss.to_dict()["value"] is None
    assert loss.to_dict()["reason"] == "infinite: 1 videos have p_fake 0 or 1 and the other label"


def test_resampling_by_counts_equals_resampling_the_rows() -> None:
    labels, p = scores(60)
    group_of = np.arange(60) % 7
    counts = np.array([[2, 0, 1, 1, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1]], float)
    by_counts = bootstrap._resampled(labels.astype(bool), p, group_of, counts, 0.01)
    for row, count in enumerate(counts):
        take = np.concatenate([np.repeat(np.flatnonzero(group_of == g), int(c)) for g, c in enumerate(count)])
        points = metrics._points(labels[take].astype(bool), p[take], 5, 0.01)
        for name in by_counts:
            assert by_counts[name][row] == pytest.approx(points[name].value), name


def test_intervals_hold_the_value_and_are_the_same_for_the_same_seed() -> None:
    labels, p = scores(200)
    groups = np.arange(200) // 4
    measures = measured(labels, p, groups)
    for name, measure in measures.items():
        if name == "ece":
            continue
        assert measure.value is not None and measure.low is not None and measure.high is not None
        assert measure.low <= measure.value <= measure.high, name
    assert measures == measured(labels, p, groups)


def test_copies_of_a_video_in_one_group_do_not_narrow_its_interval() -> None:
    labels, p = scores(60)
    groups = np.arange(60)
    once = measured(labels, p, groups)["roc_auc"]
    tenfold = measured(np.tile(labels, 10), np.tile(p, 10), np.tile(groups, 10))["roc_auc"]
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_an_interval_says_how_many_groups_stand_behind_it() -> None:
    labels, p = scores(40)
    measures = measured(labels, p, np.where(labels == 1, np.arange(40), 0))
    assert measures["recall"].n_groups == labels.sum()
    assert measures["false_alarm_rate"].n_groups == 1
    assert measures["false_alarm_rate"].interval_reason == "no interval: it needs two groups or more"
    assert measures["roc_auc"].n_groups == 1


def test_resamples_without_a_class_are_not_swept_under_the_interval() -> None:
    labels = np.array([1, 1, 0, 0])
    measures = measured(labels, np.array([0.9, 0.8, 0.1, 0.2]), np.array(list("aabb")))
    assert measures["roc_auc"].low is None
    assert measures["balanced_accuracy"].interval_reason is not None


def test_resamples_that_all_agree_give_no_interval_of_zero_width() -> None:
    measures = measured(np.tile([0, 1], 50), np.tile([0.1, 0.9], 50))
    assert measures["roc_auc"].value == 1 and measures["roc_auc"].low is None
    assert measures["roc_auc"].interval_reason == "no interval: all resamples agree and show no spread"


def test_chunks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(bootstrap._draws(10, 25, 3)))
    generator = np.random.default_rng(3)
    rows = [np.bincount(generator.integers(10, size=10), minlength=10) for _ in range(25)]
    assert (whole == np.array(rows)).all()
    assert (whole.sum(1) == 10).all()


def test_roc_curve_runs_from_corner_to_corner() -> None:
    labels, p = scores(100)
    alarms, hits = metrics.roc_curve(labels, p)
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(hits, alarms) == pytest.approx(metrics.roc_auc(labels, p))


@pytest.mark.parametrize(
    ("labels", "p", "words"),
    [
        ([0, 1], [0.5], "one length"),
        ([0, 2], [0.5, 0.5], "wanted 0"),
        ([0, 1], [0.5, 1.5], "outside 0..1"),
        ([0, 1], [0.5, math.nan], "outside 0..1"),
    ],
)
def test_wrong_arrays_are_reported_in_words(labels: list[int], p: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.log_loss(np.array(labels), np.array(p))


def test_a_difference_of_two_detectors_is_paired_by_group() -> None:
    labels, p = scores(200)
    groups = np.arange(200) // 2
    better = np.clip(p + np.where(labels == 1, 0.05, -0.05), 0.01, 0.99)
    difference = bootstrap.measure_difference(labels, better, p, groups, SETTINGS, 0.01)["brier"]
    alone = bootstrap.measure(labels, p, groups, SETTINGS, 0.01)["brier"]
    assert difference.value == pytest.approx(metrics.brier(labels, better) - metrics.brier(labels, p))
    assert (
        difference.low is not None
        and difference.high is not None
        and difference.low < difference.value < difference.high < 0
    )
    assert alone.low is not None and alone.high is not None
    assert difference.high - difference.low < alone.high - alone.low


def test_a_difference_from_oneself_is_nothing_and_one_from_an_infinite_loss_has_a_reason() -> None:
    labels, p = scores(40)
    same = bootstrap.measure_difference(labels, p, p, np.arange(40), SETTINGS, 0.01)["roc_auc"]
    assert (same.value, same.low) == (0, None)
    sure = np.where(np.arange(40) == int(np.flatnonzero(labels)[0]), 0.0, np.clip(p, 0.1, 0.9))
    other = bootstrap.measure_difference(labels, sure, np.clip(p, 0.1, 0.9), np.arange(40), SETTINGS, 0.01)
    assert other["log_loss"].value is None and "infinite" in str(other["log_loss"].reason)
    assert other["log_loss_clipped"].value is not None
