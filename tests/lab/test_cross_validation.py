"""Folds that share no publisher, person or generator; AUC within, across and left out, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from deepfake.ensemble.pooling import Tracks
from deepfake.settings import Ensemble
from deepfake.training.source_groups import CLIPS, deal_folds
from lab.cross_validation import (
    Spread,
    as_markdown,
    collection_aucs,
    cross_auc,
    cross_validate,
    decisions_line,
    describe_groups,
    family_scores,
    fold_aucs,
    left_out_decisions,
    left_out_p,
    unseen,
    within_auc,
)


def clips(*rows: tuple[int, str, str, str, str]) -> pd.DataFrame:
    """Clips by label, family, generator, identity, source."""
    table = [[f"clip{i}", *row, "dev"] for i, row in enumerate(rows)]
    return pd.DataFrame(table, columns=list(CLIPS))


def many(n_sources: int = 12, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Sources of their own people and generators, four reals and four fakes each; logits that know half of it."""
    rng = np.random.default_rng(seed)
    rows = [
        (label, "swap" if label else "real", f"g{s}" if label else "-", f"p{s}-{k}", f"s{s}")
        for s in range(n_sources)
        for label in (0, 1)
        for k in range(4)
    ]
    table = clips(*rows)
    return table, table["label"].to_numpy() * 1.5 + rng.normal(0, 1, len(table))


def test_the_largest_group_is_told() -> None:
    table, _ = many(3)
    text = describe_groups(table, deal_folds(table, 3))
    assert "24 clips (12 forged) of 3 publishers in 3 groups, the largest of 8 clips" in text and "4+4" in text


def test_what_a_network_has_learnt_from_is_left_out_by_label() -> None:
    table = clips(*[(label, "swap" if label else "real", "-", "", "s") for label in (0, 1, 0, 1)])
    table["split"] = ["train", "train", "dev", "dev"]
    assert unseen(table, ["train"], []).tolist() == [False, True, True, True]
    assert unseen(table, ["train"], ["train", "dev"]).tolist() == [False, False, True, False]


def test_cross_auc_leaves_out_pairs_of_one_source() -> None:
    table = clips(
        (0, "real", "-", "", "a"),
        (0, "real", "-", "", "a"),
        (0, "real", "-", "", "b"),
        (1, "swap", "g", "", "a"),
        (1, "swap", "g", "", "c"),
    )
    logits = np.array([0.0, 2.0, 1.0, 0.5, 2.0])
    # Reals of a against fakes of c: 1 and a tie of 2, .75. Of b against a: 0; against c: 1.
    assert cross_auc(table, logits).mean == pytest.approx((0.75 + 0 + 1) / 3)
    assert cross_auc(table, logits).n == 3
    # Within a: .5 beats 0 and not 2.
    assert within_auc(table, logits) == Spread(0.5, pytest.approx(float("nan"), nan_ok=True), 1)


def test_a_fold_of_too_few_says_nothing() -> None:
    table, _ = many(2)
    folds = np.repeat([0, 1], 8)
    logits = table["label"].to_numpy(float)
    assert fold_aucs(table, logits, folds) == [1.0, 1.0]
    assert fold_aucs(table[:10], logits[:10], folds[:10]) == [1.0]


def test_a_spread_leaves_out_what_is_no_number() -> None:
    found = Spread.of([0.5, float("nan"), 0.7])
    assert (found.mean, found.n) == (pytest.approx(0.6), 2) and found.deviation == pytest.approx(math.sqrt(0.02))
    assert str(found) == "0.60 ± 0.14 (2)" and str(Spread.of([])) == "-" and str(Spread.of([0.5])) == "0.50 (1)"


def test_families_are_ranked_against_all_reals() -> None:
    table = clips(
        (0, "real", "-", "", "a"),
        (0, "real", "-", "", "b"),
        (1, "swap", "g", "", "a"),
        (1, "lipsync", "h", "", "b"),
    )
    found = family_scores(table, np.array([0.0, 2.0, 1.0, 3.0]), np.zeros(4, int))
    assert (found["swap"].pooled, found["lipsync"].pooled, found["all"].pooled) == (0.5, 1.0, 0.75)
    assert found["all"].n_fakes == 2 and found["swap"].folds.n == 0


def test_a_clip_does_not_decide_on_its_own_probability() -> None:
    table, logits = many()
    folds, labels = deal_folds(table, 4), table["label"].to_numpy()
    p = left_out_p(Tracks.one_each(logits[:, None], ["m"]), labels, folds, Ensemble())
    changed = labels.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    again = left_out_p(Tracks.one_each(logits[:, None], ["m"]), changed, folds, Ensemble())
    np.testing.assert_allclose(again[folds == 1], p[folds == 1])
    assert not np.allclose(again[folds != 1], p[folds != 1])


def decisions(logits: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    return left_out_decisions(Tracks.one_each(logits[:, None], ["m"]), labels, folds, Ensemble(error_rate=0.1))


def test_decisions_come_from_bands_of_other_folds() -> None:
    folds = np.repeat([0, 1], 40)
    labels = np.tile([0, 1], 40)
    clear = np.where(labels == 1, 2.0, -2.0)
    assert (decisions(clear, labels, folds) == labels).all()
    # In fold 0 the scores say nothing, so in fold 1 nothing is decided, though it is clear there.
    unclear = np.where(folds == 0, np.tile([-3.0, -3.0, 3.0, 3.0], 20), clear)
    assert (decisions(unclear, labels, folds)[folds == 1] == -1).all()


def test_scores_that_know_nothing_are_wrong_half_of_the_time_where_folds_hold_one_label_each() -> None:
    """A calibration that lacks a fold of reals leans to forged: pooled on one scale, that would tell the labels."""
    labels, folds = np.repeat([0, 1], 100), np.repeat([0, 1, 2, 3], 50)
    found = [decisions(np.random.default_rng(seed).normal(size=200), labels, folds) for seed in range(8)]
    decided = np.concatenate(found)
    wrong = decided != np.tile(labels, len(found))
    assert wrong[decided >= 0].mean() == pytest.approx(0.5, abs=0.08)


def test_collections_are_ranked_apart_and_small_ones_not() -> None:
    table = clips(*[(label, "swap" if label else "real", "-", "", "s") for label in (0, 0, 0, 1, 1, 1) * 2])
    table["split"] = ["train"] * 6 + ["dev"] * 6
    logits = np.array([0.0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0])
    assert collection_aucs(table, logits) == {"dev": 0.0, "train": 1.0}
    assert collection_aucs(table[:11], logits[:11]) == {"train": 1.0}


def test_a_report_names_where_the_promise_breaks() -> None:
    table, logits = many()
    table.loc[table["source"] == "s3", "family"] = ["real"] * 4 + ["reenactment"] * 4
    logits[(table["source"] == "s3") & (table["label"] == 1)] = -6.0  # surely taken for real
    report = cross_validate(table, Tracks.one_each(logits[:, None], ["m"]), deal_folds(table, 4), Ensemble())
    assert report.n_reals == 48 and set(report.families) == {"swap", "reenactment", "all"}
    assert report.families["reenactment"].pooled == 0.0 and report.families["swap"].pooled > 0.75
    assert "| net | swap | 44 |" in as_markdown("net", report)
    line = decisions_line("net", report)
    assert line.startswith("net, 48 reals: log loss 0.") and ". AUC by collection: dev 0." in line
    if report.decided:
        assert report.worst[0][0] in {"family reenactment", "source s3"}


def test_scores_without_knowledge_decide_little_and_lose_about_log_2() -> None:
    table, _ = many(20)
    logits = np.random.default_rng(1).normal(0, 1, len(table))
    report = cross_validate(table, Tracks.one_each(logits[:, None], ["m"]), deal_folds(table, 4), Ensemble())
    assert report.log_loss == pytest.approx(math.log(2), abs=0.03) and report.decided < 0.35


def test_a_table_that_lacks_a_column_is_refused() -> None:
    table, logits = many(3)
    with pytest.raises(ValueError, match="source"):
        cross_validate(
            table.drop(columns="source"), Tracks.one_each(logits[:, None], ["m"]), np.zeros(len(table), int), Ensemble()
        )
