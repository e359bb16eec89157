"""Lines through an encoder's tokens: what is left out teaches nothing, and further real pictures count."""

from __future__ import annotations

import numpy as np
import pytest

from lab.token_lines import left_out, line_logits
from little_tokens import two_collections


def test_each_collection_is_told_by_what_the_other_taught() -> None:
    table = two_collections()
    features = table["label"].to_numpy(float)[:, None] + np.linspace(0, 0.1, len(table))[:, None]
    found = {one.collection: one for one in left_out(table, table["split"].to_numpy(), features, features[:0])}
    assert found["here"].aucs == {"lipsync": 1.0, "swap": 1.0, "all": 1.0}
    assert [one.n_learnt for one in found.values()] == [12, 12]


def test_what_only_holds_within_a_collection_is_worth_nothing_or_less_elsewhere() -> None:
    table = two_collections()
    sign = np.where(table["split"] == "here", 1.0, -1.0)
    features = (sign * (2 * table["label"] - 1)).to_numpy()[:, None]
    assert [one.aucs["all"] for one in left_out(table, table["split"].to_numpy(), features, features[:0])] == [0.0, 0.0]


def test_clips_that_share_a_publisher_with_the_collection_left_out_teach_nothing() -> None:
    table = two_collections()
    table.loc[0, "source"] = "there-0"
    features = table["label"].to_numpy(float)[:, None]
    found = {one.collection: one.n_learnt for one in left_out(table, table["split"].to_numpy(), features, features[:0])}
    assert found == {"here": 11, "there": 11}


def test_further_real_pictures_draw_what_looks_like_them_towards_real() -> None:
    table = two_collections()
    features = np.column_stack([table["label"].to_numpy(float), np.zeros(len(table))])
    told = (table["split"] == "there").to_numpy()
    plain, pictured = (
        line_logits(table, features, ~told, told, reals)
        for reals in (features[:0], np.column_stack([np.ones(5), np.ones(5)]))
    )
    forged = table["label"].to_numpy()[told] == 1
    assert pictured[forged].mean() < plain[forged].mean()
    assert pictured[forged].min() > pictured[~forged].max()


@pytest.mark.parametrize("collection", ["here", "there"])
def test_a_collection_of_one_kind_of_forgery_has_no_other_in_its_figures(collection: str) -> None:
    table = two_collections()
    table.loc[(table["split"] == collection) & (table["label"] == 1), "family"] = "swap"
    features = table["label"].to_numpy(float)[:, None]
    found = {
        one.collection: set(one.aucs) for one in left_out(table, table["split"].to_numpy(), features, features[:0])
    }
    assert found[collection] == {"swap", "all"}
