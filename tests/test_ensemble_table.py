"""What members are worth: which sets are compared, against whom, what they cost, and what drops out."""

import numpy as np
import pytest

from deepfake import metrics
from deepfake.config import Ensemble, Validation
from deepfake.ensemble import ENSEMBLE, Stack, held_out, out_of_fold
from deepfake.ensemble_table import Evidence, as_markdown, compare, sets_of
from test_ensemble import GOOD, LABELS, USELESS, columns, fit_stack, table

FOLDS = np.arange(80) // 2 % 4  # a fake and a real in turn
VALIDATION = Validation(bootstrap=50)
SETTINGS = Ensemble(drop_margin=0.002)
# Two halves of the videos, each seen by one member only: neither is as good as both.
SEEN_BY_A = np.arange(80) < 40
TRUTH = np.where(LABELS == 1, 2.0, -2.0)
A_HALF, OTHER_HALF = np.where(SEEN_BY_A, TRUTH, 0.0), np.where(SEEN_BY_A, 0.0, TRUTH)


def evidence(*members: np.ndarray, **costs: dict[str, float]) -> Evidence:
    return Evidence(table(*members), LABELS, FOLDS, [f"g{i // 2}" for i in range(80)], costs)


# --- Who drops out -----------------------------------------------------------------------------------


def test_a_copy_of_a_member_drops_out_and_the_first_one_stays() -> None:
    stack = fit_stack(columns(GOOD, GOOD), LABELS, ["a", "copy"], SETTINGS, FOLDS)
    assert stack.weights == (1.0, 0.0)
    ((name, why),) = stack.dropped
    assert name == "copy"
    assert "more than 0.002 and its standard error 0.0000 is wanted" in why


def test_a_copy_drops_out_however_small_or_large_the_logits_are() -> None:
    for scale in (0.01, 0.2, 5.0):
        stack = fit_stack(scale * columns(GOOD, GOOD), LABELS, ["a", "copy"], SETTINGS, FOLDS)
        assert stack.weights == (1.0, 0.0), "two weights are no second chance to calibrate"


def test_a_random_member_drops_out_whichever_its_place() -> None:
    for members, weights in (((GOOD, USELESS), (1.0, 0.0)), ((USELESS, GOOD), (0.0, 1.0))):
        assert fit_stack(columns(*members), LABELS, ["a", "b"], SETTINGS, FOLDS).weights == weights


def test_a_member_that_sees_what_another_does_not_stays() -> None:
    stack = fit_stack(columns(A_HALF, OTHER_HALF), LABELS, ["a", "b"], SETTINGS, FOLDS)
    assert stack.dropped == ()
    assert min(stack.weights) > 0.4


def test_those_that_stay_are_weighed_and_calibrated_as_if_the_others_had_never_been() -> None:
    stack = fit_stack(columns(A_HALF, USELESS, OTHER_HALF), LABELS, ["a", "b", "c"], SETTINGS, FOLDS)
    alone = fit_stack(columns(A_HALF, OTHER_HALF), LABELS, ["a", "c"], SETTINGS)
    assert [name for name, _ in stack.dropped] == ["b"]
    assert stack.weights == (alone.weights[0], 0.0, alone.weights[1])
    assert stack.calibration == alone.calibration


def test_the_last_member_never_drops_out() -> None:
    stack = fit_stack(columns(USELESS, USELESS, -USELESS), LABELS, ["a", "b", "c"], SETTINGS, FOLDS)
    assert sorted(stack.weights) == [0, 0, 1]
    assert len(stack.dropped) == 2
    assert fit_stack(columns(USELESS), LABELS, ["a"], SETTINGS, FOLDS).weights == (1.0,)


def test_a_margin_that_nobody_reaches_leaves_the_best_and_none_leaves_all() -> None:
    harsh, none = (SETTINGS.model_copy(update={"drop_margin": margin}) for margin in (1.0, None))
    assert fit_stack(columns(A_HALF, TRUTH), LABELS, ["a", "b"], harsh, FOLDS).weights == (0.0, 1.0)
    assert min(fit_stack(columns(GOOD, GOOD), LABELS, ["a", "b"], none, FOLDS).weights) > 0.4


def test_the_reason_tells_the_losses_with_and_without() -> None:
    def loss(*members: np.ndarray) -> float:
        p = held_out(table(*members), LABELS, FOLDS, SETTINGS)
        return metrics.log_loss(LABELS, p, SETTINGS.clip_p)

    ((_, why),) = fit_stack(columns(GOOD, USELESS), LABELS, ["a", "b"], SETTINGS, FOLDS).dropped
    assert f"{loss(GOOD):.4f} without it, {loss(GOOD, USELESS):.4f} with it" in why


def test_nothing_drops_out_without_two_folds_to_learn_it_from() -> None:
    for folds in (None, np.zeros(80, int)):
        assert fit_stack(columns(GOOD, GOOD), LABELS, ["a", "b"], SETTINGS, folds).dropped == ()


def test_who_drops_out_is_learnt_without_the_fold_that_is_told() -> None:
    members, held = [A_HALF, OTHER_HALF], FOLDS == 2
    honest = out_of_fold(table(*members), LABELS, FOLDS, SETTINGS)[ENSEMBLE]
    wild = np.where(held, 1 - LABELS, LABELS)
    assert np.array_equal(out_of_fold(table(*members), wild, FOLDS, SETTINGS)[ENSEMBLE][held], honest[held])


def test_what_dropped_out_comes_back_from_the_manifest_and_older_ones_dropped_nothing() -> None:
    stack = fit_stack(columns(GOOD, USELESS), LABELS, ["a", "b"], SETTINGS, FOLDS)
    plain = stack.to_dict()
    assert Stack.from_dict(plain) == stack
    assert list(plain["dropped"]) == ["b"]
    del plain["dropped"]
    assert Stack.from_dict(plain).dropped == ()


# --- The table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "sets"),
    [
        ("a", ["a"]),
        ("ab", ["a", "b", "a + b"]),
        ("abc", ["a", "b", "c", "a + b", "a + c", "b + c", "all"]),
    ],
)
def test_singles_pairs_and_all_come_once(members: str, sets: list[str]) -> None:
    assert list(sets_of(tuple(members))) == sets


def test_of_four_or_more_each_is_left_out_once() -> None:
    sets = sets_of("abcd")
    assert sets["all but b"] == ("a", "c", "d")
    assert len(sets) == 4 + 6 + 1 + 4 == len(set(sets.values()))


def test_rows_tell_what_a_fit_on_the_other_folds_gives() -> None:
    rows = {row.what: row for row in compare(evidence(GOOD, USELESS), SETTINGS, VALIDATION)}
    assert list(rows) == ["m0", "m1", "m0 + m1", ENSEMBLE]
    p = out_of_fold(table(GOOD, USELESS), LABELS, FOLDS, SETTINGS)
    for name in ("m0", "m1", ENSEMBLE):
        assert rows[name].roc_auc.value == metrics.roc_auc(LABELS, p[name])
        assert rows[name].log_loss.value == pytest.approx(metrics.log_loss(LABELS, p[name], SETTINGS.clip_p))
    assert rows["m0"].roc_auc.low is not None


def test_gains_are_over_the_best_single_member_and_both_halves_gain() -> None:
    rows = {row.what: row for row in compare(evidence(A_HALF, OTHER_HALF), SETTINGS, VALIDATION)}
    both, best = rows["m0 + m1"], max((rows["m0"], rows["m1"]), key=lambda row: row.roc_auc.value or 0)
    assert (best.roc_auc.value, both.roc_auc.value) == (0.875, 1.0), "a quarter of a member's pairs is a tie"
    assert (both.roc_auc_gain.value, best.roc_auc_gain.value) == (0.125, 0)
    assert both.roc_auc_gain.low is not None and both.roc_auc_gain.low > 0, "sure to be a gain"
    assert both.log_loss_gain.high is not None and both.log_loss_gain.high < -0.1


def test_parts_that_members_share_are_paid_once_and_an_unknown_cost_stays_unknown() -> None:
    found = evidence(GOOD, USELESS, A_HALF, m0={"frames": 10.0}, m1={"frames": 10.0, "head": 2.0})
    rows = {row.what: row for row in compare(found, SETTINGS, VALIDATION)}
    costs = {what: row.cost_ms for what, row in rows.items()}
    assert (costs["m0"], costs["m1"], costs["m0 + m1"], costs["m2"], costs["all"]) == (10, 12, 12, None, None)


def test_the_table_for_people_has_a_line_a_row() -> None:
    rows = compare(evidence(GOOD, USELESS, m0={"net": 10.4}), SETTINGS, VALIDATION)
    lines = as_markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[2].startswith("| m0 | ") and lines[2].endswith("| 10 |")
    assert lines[4].endswith("| - |")
    assert rows[0].to_dict()["roc_auc"]["value"] == rows[0].roc_auc.value
