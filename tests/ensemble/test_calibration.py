"""Calibration: known lines are found again, little data is not overrated, the band keeps its promise."""

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from deepfake.ensemble import calibration
from deepfake.evaluation.metrics import log_loss


def sample(n: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn so that P(fake) = sigmoid(slope * logit + intercept)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, size=n)
    return logits, (generator.random(n) < expit(slope * logits + intercept)).astype(int)


def test_platt_finds_the_line_the_labels_were_drawn_from() -> None:
    line = calibration.fit(*sample(20000, 0.5, -1.0), "platt")
    assert (line.slope, line.intercept) == pytest.approx((0.5, -1.0), abs=0.05)


def test_temperature_finds_the_slope_and_leaves_the_middle_where_it_is() -> None:
    line = calibration.fit(*sample(20000, 0.25, 0.0), "temperature")
    assert line.slope == pytest.approx(0.25, abs=0.02)
    assert line.apply(np.array([0.0]))[0] == 0.5


def test_platt_without_pull_equals_scikit_learn() -> None:
    logits, labels = sample(500, 0.7, 0.3)
    weights = np.random.default_rng(1).uniform(0, 2, size=500)
    line = calibration.fit(logits, labels, "platt", weights, pull=1e-9)
    oracle = LogisticRegression(C=1e9, tol=1e-10).fit(logits[:, None], labels, weights)
    assert (line.slope, line.intercept) == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), rel=1e-4)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_any_scale_of_logits_is_as_easy(factor: float) -> None:
    logits, labels = sample(5000, 1.0, 0.5)
    line = calibration.fit(logits * factor, labels, "platt")
    assert log_loss(labels, line.apply(logits * factor)) == pytest.approx(
        log_loss(labels, calibration.fit(logits, labels, "platt").apply(logits)), abs=1e-3
    )


def test_overconfident_logits_of_any_size_are_brought_down() -> None:
    labels = np.tile([0, 0, 0, 1], 50)
    p = calibration.fit(np.tile([-300.0, 300.0], 100), labels, "platt").apply(np.array([-300.0, 300.0]))
    assert p == pytest.approx([0.0, 0.5], abs=0.03)


def test_four_separable_videos_do_not_become_certain() -> None:
    line = calibration.fit(np.array([-1.0, -1, 1, 1]), np.array([0, 0, 1, 1]), "platt")
    assert 1 < line.slope < 6
    assert line.apply(np.array([1.0]))[0] < 0.99


def test_the_pull_fades_as_videos_are_added() -> None:
    few, many = (calibration.fit(*sample(n, 0.2, 0.0), "temperature") for n in (4, 4000))
    assert abs(many.slope - 0.2) < 0.02
    assert abs(few.slope - 0.2) > abs(many.slope - 0.2)


def test_a_detector_that_ranks_upside_down_is_not_turned_round() -> None:
    logits, labels = sample(2000, -1.0, 0.0)
    for kind in ("temperature", "platt"):
        line = calibration.fit(logits, labels, kind)
        assert line.slope == pytest.approx(calibration.MIN_SLOPE / np.sqrt((logits**2).mean()))
        assert (np.diff(line.apply(np.array([-1.0, 0.0, 1.0]))) > 0).all()


def test_one_label_or_equal_logits_give_the_identity_with_a_reason() -> None:
    logits = np.array([1.0, 2.0])
    for labels, values, words in (([1, 1], logits, "all 2 videos are fake"), ([0, 1], np.ones(2), "logits equal 1")):
        line = calibration.fit(values, np.array(labels), "platt")
        assert (line.slope, line.intercept) == (1, 0)
        assert line.reason is not None and words in line.reason


def test_none_is_the_plain_sigmoid() -> None:
    line = calibration.fit(np.array([0.0, 1.0]), np.array([0, 1]), "none")
    assert line.reason is None
    assert line.apply(np.array([0.0, 800.0, -800.0])).tolist() == [0.5, 1.0, 0.0]


def test_a_calibration_survives_json() -> None:
    line = calibration.fit(*sample(50, 0.5, 0.5), "platt")
    assert calibration.Calibration.from_dict(json.loads(json.dumps(line.to_dict()))) == line


@pytest.mark.parametrize("change", [{"kind": "isotonic"}, {"slope": -1.0}, {"intercept": float("nan")}])
def test_a_calibration_no_fit_could_have_made_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        calibration.Calibration.from_dict(calibration.Calibration("platt").to_dict() | change)


def test_each_fold_is_calibrated_by_the_others() -> None:
    logits, labels = sample(300, 0.5, 0.0)
    folds = np.arange(300) % 3
    p, calibrations = calibration.out_of_fold_calibrated(logits, labels, folds, "platt")
    assert sorted(calibrations) == [0, 1, 2]
    flipped = np.where(folds == 1, 1 - labels, labels)
    p_flipped, _ = calibration.out_of_fold_calibrated(logits, flipped, folds, "platt")
    assert (p[folds == 1] == p_flipped[folds == 1]).all()
    assert (p[folds == 0] != p_flipped[folds == 0]).all()


def test_a_single_fold_cannot_calibrate_itself() -> None:
    with pytest.raises(ValueError, match="two or more"):
        calibration.out_of_fold_calibrated(*sample(10, 1, 0), np.zeros(10), "platt")


def test_calibration_lowers_the_loss_of_an_overconfident_detector() -> None:
    logits, labels = sample(600, 0.2, -0.5)
    p, _ = calibration.out_of_fold_calibrated(logits, labels, np.arange(600) % 4, "platt")
    assert log_loss(labels, p) < log_loss(labels, expit(logits)) - 0.1


@pytest.mark.parametrize("error_rate", [0.05, 0.2])
def test_outside_the_band_the_promised_error_rate_holds(error_rate: float) -> None:
    false_alarms, misses = [], []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        labels = generator.integers(2, size=300)
        p = expit(generator.normal(labels * 2.0 - 1, 1.5))
        low, high = calibration.inconclusive_band(p[:100], labels[:100], error_rate)
        new_p, new_labels = p[100:], labels[100:]
        false_alarms.append((new_p[new_labels == 0] > high).mean())
        misses.append((new_p[new_labels == 1] < low).mean())
    assert np.mean(false_alarms) <= error_rate + 0.005
    assert np.mean(misses) <= error_rate + 0.005
    assert np.mean(false_alarms) > error_rate / 2  # and it is no wider than it must be


def test_a_band_of_hand_worked_scores() -> None:
    reals, fakes = np.arange(1, 10) / 10, np.arange(2, 11) / 10
    p, labels = np.concatenate([reals, fakes]), np.repeat([0, 1], 9)
    assert calibration.inconclusive_band(p, labels, 0.1) == pytest.approx((0.2, 0.9))
    assert calibration.inconclusive_band(p, labels, 0.2) == pytest.approx((0.3, 0.8))


def test_too_few_videos_leave_everything_inconclusive() -> None:
    assert calibration.inconclusive_band(np.array([0.1, 0.9]), np.array([0, 1]), 0.05) == (0, 1)
    assert calibration.inconclusive_band(np.array([]), np.array([]), 0.05) == (0, 1)


def test_a_perfect_detector_has_no_inconclusive_band() -> None:
    p, labels = np.repeat([0.02, 0.98], 30), np.repeat([0, 1], 30)
    assert calibration.inconclusive_band(p, labels, 0.05) == (0.5, 0.5)
    assert calibration.inconclusive_band(p * 0.3, labels, 0.05) == pytest.approx((0.294, 0.294))


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [([1.0], [0, 1], "one length"), ([np.inf, 0], [0, 1], "not finite"), ([0.0, 1], [0, 3], "labels 0")],
)
def test_wrong_arrays_are_reported_in_words(logits: list[float], labels: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        calibration.fit(np.array(logits), np.array(labels), "platt")
