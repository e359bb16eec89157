"""A verdict is given only where it was right on sources that its bounds did not know; by hand, on planted scores."""

import math

import numpy as np
import pytest

from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.left_out import Known, beyond, broken, edge, find, upper_bound, wrong_share
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.promise import Broken
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.settings import Ensemble

SETTINGS = Ensemble(error_rate=0.1, fake_share=0.5)
STACK = Stack(("a",), (1.0,), Calibration("none"), 0.5)
N_GROUPS, OF_EACH = 12, 15  # so many reals, and so many forged videos, in each
N = N_GROUPS * OF_EACH


def known(labels: list[int], groups: list[int] | None = None, fake_share: float | None = None) -> Known:
    return Known(np.array(labels), np.arange(len(labels)) if groups is None else np.array(groups), fake_share)


def planted(of_real: np.ndarray, of_forged: np.ndarray) -> tuple[Tracks, Known, np.ndarray]:
    """Groups of as many reals as forged videos, with these logits (groups, OF_EACH); two groups a fold."""
    logits = np.concatenate([of_real, of_forged], axis=1).ravel()
    labels = np.tile(np.repeat([0, 1], OF_EACH), N_GROUPS)
    groups = np.repeat(np.arange(N_GROUPS), 2 * OF_EACH)
    return Tracks.one_each(logits[:, None], ["a"]), Known(labels, groups, 0.5), groups % 6


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (N_GROUPS, OF_EACH))


def test_the_share_of_wrong_ones_is_weighed_to_the_share_of_forged_videos() -> None:
    labels, decided = [0, 1, 1, 1], np.array([True, True, True, False])
    assert wrong_share(known(labels), decided, 1) == pytest.approx(1 / 3)
    # Weighed alike, one real counts as three forged ones: 3 wrong of 3 + 1 + 1.
    assert wrong_share(known(labels, fake_share=0.5), decided, 1) == pytest.approx(3 / 5)
    assert wrong_share(known(labels, fake_share=0.5), decided, 0) == pytest.approx(2 / 5)
    assert math.isnan(wrong_share(known(labels), np.zeros(4, bool), 1))


def test_no_error_in_few_videos_promises_little() -> None:
    """Clopper and Pearson: 0 wrong of n leave room for 1 - .05 ** (1 / n)."""
    for n, bound in ((1, 0.95), (5, 0.4507), (29, 0.0981)):
        assert upper_bound(known([1] * n), np.ones(n, bool), 1, 0.95) == pytest.approx(bound, abs=1e-4)
    assert upper_bound(known([0, 1]), np.zeros(2, bool), 1, 0.95) == 1
    assert upper_bound(known([0, 0]), np.ones(2, bool), 1, 0.95) == 1, "all wrong"


def test_errors_of_one_source_promise_less_than_the_same_errors_here_and_there() -> None:
    labels = [0] * 10 + [1] * 190
    together = [0] * 20 + [1 + i // 20 for i in range(180)]
    scattered = [i % 10 for i in range(200)]
    all_of_them = np.ones(200, bool)
    apart = upper_bound(known(labels, scattered), all_of_them, 1, 0.95)
    assert apart == pytest.approx(0.0838, abs=1e-3), "Clopper and Pearson's of 10 of 200"
    # One group of ten holds them all: drawn three times among ten, 30 of 200.
    assert upper_bound(known(labels, together), all_of_them, 1, 0.95) == pytest.approx(0.15)


def test_the_bound_lies_where_the_share_of_wrong_ones_ends() -> None:
    p = np.array([0.1, 0.2, 0.6, 0.7, 0.8, 0.9])
    truth = known([0, 0, 1, 0, 1, 1])
    assert edge(p, truth, 1, 0.0) == pytest.approx(0.75), "in the middle of .8 and .7, which is a real's"
    assert edge(p, truth, 1, 0.25) == pytest.approx(0.4), "one of the four above .4 is wrong"
    assert edge(p, truth, 0, 0.0) == pytest.approx(0.4)
    assert beyond(p, 0.7, 1).tolist() == [False] * 4 + [True] * 2, "on the bound is not beyond it"
    assert beyond(p, 0.6, 0).tolist() == [True] * 2 + [False] * 4
    assert edge(p, known([0, 1, 1, 1, 0, 0]), 1, 0.3) is None, "the surest are wrong"
    assert not beyond(p, None, 1).any() and not beyond(p, None, 0).any()
    everything = edge(p, known([1] * 6), 1, 0.1)
    assert everything is not None and beyond(p, everything, 1).all()


def test_equal_scores_are_decided_alike() -> None:
    p = np.array([0.9, 0.9, 0.5])
    assert edge(p, known([1, 0, 1]), 1, 0.0) is None, "a real has the score of the surest forged one"


def test_a_detector_that_separates_gives_both_verdicts() -> None:
    tracks, truth, folds = planted(noise(1) - 4, noise(2) + 4)
    found = find(tracks, truth, folds, STACK, SETTINGS)
    assert found.promise.forged.is_given and found.promise.real.is_given
    low, high = found.stack.band
    assert 0 < low <= high < 1
    assert found.promise.forged.n_decided >= 0.95 * N and found.promise.forged.bound is not None
    assert found.promise.forged.bound <= SETTINGS.error_rate
    assert (found.promise.n_videos, found.promise.n_forged, found.promise.n_groups) == (2 * N, N, N_GROUPS)
    assert found.decisions.tolist().count(-1) < 0.1 * N and found.promise.broken == ()
    assert found.stack.weights == STACK.weights and found.stack.calibration.n_videos == 2 * N


def test_a_detector_at_chance_is_always_inconclusive() -> None:
    tracks, truth, folds = planted(noise(1), noise(2))
    found = find(tracks, truth, folds, STACK, SETTINGS)
    assert found.stack.band == (0.0, 1.0)
    assert not found.promise.forged.is_given and not found.promise.real.is_given
    assert set(found.decisions.tolist()) == {-1}


def test_a_detector_that_knows_some_forgeries_never_says_real() -> None:
    """Half of the forged videos stand out, the other half look like reals: so looking real says little."""
    forged = np.minimum(noise(2), 0)
    forged[:, : OF_EACH // 2] += 10
    tracks, truth, folds = planted(noise(1), forged)
    found = find(tracks, truth, folds, STACK, SETTINGS)
    assert found.promise.forged.is_given and not found.promise.real.is_given
    assert found.stack.band[0] == 0 and 0.5 < found.stack.band[1] < 1
    assert 84 <= found.promise.forged.n_decided <= 95, "84 stand out"
    assert (found.decisions == 0).sum() == 0


def test_what_was_learnt_of_some_sources_is_not_promised_for_others() -> None:
    """Scores of each group lie about a level of its own: within a group they separate, across groups they do not."""
    level = np.random.default_rng(5).normal(0, 8, (N_GROUPS, 1))
    tracks, truth, folds = planted(noise(1) - 2 + level, noise(2) + 2 + level)
    found = find(tracks, truth, folds, STACK, SETTINGS)
    assert found.stack.band == (0.0, 1.0)


def test_a_verdict_that_few_sources_earn_is_not_given() -> None:
    """Forged videos of four groups alone stand out: 60 of 60 are right, and say little of a fifth way to forge."""
    forged = np.minimum(noise(2), 0)
    forged[:4] += 20
    tracks, truth, folds = planted(noise(1), forged)
    found = find(tracks, truth, folds, STACK, SETTINGS)
    assert found.promise.forged.model_dump() == {
        "is_given": False,
        "n_decided": 60,
        "n_wrong": 0,
        "n_groups": 4,
        "wrong_share": 0.0,
        "bound": pytest.approx(1 - 0.01 ** (1 / 60)),  # 1 % is a fifth of 5 %: five ways to find a bound were tried
    }
    assert found.stack.band[1] == 1


def test_where_the_promise_breaks_is_named() -> None:
    labels = np.array([1] * 30 + [0] * 10)
    decisions = np.array([1] * 26 + [0] * 3 + [-1] + [0] * 8 + [1] * 2)
    family = ["swap"] * 20 + ["lipsync"] * 10 + ["real"] * 10
    found = broken(decisions, labels, [("family", family), ("sources", ["s"] * 40)], 0.1)
    assert [(one.kind, one.name, one.n_wrong, one.n_decided) for one in found] == [
        ("family", "lipsync", 3, 9),
        ("family", "real", 2, 10),
        ("sources", "s", 5, 39),
    ]
    assert found[0] == Broken(kind="family", name="lipsync", n_decided=9, n_wrong=3)
    assert broken(np.array([0, 0]), np.array([1, 1]), [("family", ["swap"] * 2)], 0.1) == [], "two say nothing yet"


def test_one_source_or_one_label_is_refused() -> None:
    tracks, truth, folds = planted(noise(1) - 4, noise(2) + 4)
    with pytest.raises(UserError, match="all videos are of one group of sources"):
        find(tracks, truth, np.zeros(2 * N, int), STACK, SETTINGS)
    forged = Known(np.ones(2 * N, int), truth.groups, 0.5)
    with pytest.raises(UserError, match="none of them real or none forged"):
        find(tracks, forged, folds, STACK, SETTINGS)
