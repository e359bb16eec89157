"""How well people are told apart: shares of pairs and persons by hand."""

from pathlib import Path

import numpy as np
import pytest

from deepfake.errors import UserError
from invented_people import towards
from lab.people import Known, grouping_table, known_photos, merged_identities, pair_table


def known(*rows: tuple[str, float], kinds: str = "") -> Known:
    """Embeddings in these directions, of these identities; `kinds` has a letter each."""
    identities, degrees = zip(*rows, strict=True)
    names = [f"{number}.mp4" for number in range(len(rows))]
    return Known(
        names,
        np.stack([towards(one) for one in degrees]),
        np.array(identities),
        np.array(list(kinds or "r" * len(rows))),
    )


TWO = (("ann", 0.0), ("ann", 30.0), ("ben", 50.0), ("ben", 130.0))


def test_shares_of_pairs_are_counted_above_each_similarity() -> None:
    """cos of 30, 80 (one person); 50, 130, 20, 100 (two): .87, .17; .64, -.64, .94, -.17."""
    table = pair_table(known(*TWO), (0.0, 0.5, 0.9))
    assert table["false_matches"].tolist() == [0.5, 0.5, 0.25] and table["n_pairs_of_two"].tolist() == [4] * 3
    assert table["found"].tolist() == [1.0, 0.5, 0.0] and table["n_pairs_of_one"].tolist() == [2] * 3


def test_pairs_may_be_of_two_collections_only() -> None:
    table = pair_table(known(*TWO, kinds="aabb"), (0.5,), across_kinds=True)
    assert table["n_pairs_of_one"].tolist() == [0] and table["n_pairs_of_two"].tolist() == [4]


def test_persons_beside_identities_are_judged_by_pairs() -> None:
    """At .9 the second of ann and the first of ben are one person: a false merge, and both are parted."""
    (row,) = grouping_table(known(*TWO), (0.9,)).to_dict("records")
    assert (row["tracks"], row["identities"], row["persons"]) == (4, 2, 3)
    assert (row["precision"], row["recall"], row["f1"]) == (0, 0, 0)
    assert (row["false_merges"], row["parted"]) == (1, 2)
    (right,) = grouping_table(known(("ann", 0.0), ("ann", 5.0), ("ben", 90.0)), (0.9,)).to_dict("records")
    assert (right["precision"], right["recall"], right["f1"], right["false_merges"]) == (1, 1, 1, 0)


def test_persons_that_bear_several_names_are_listed() -> None:
    table = merged_identities(known(*TWO), 0.9)
    assert table[["identity", "clip"]].to_numpy().tolist() == [["ann", "1.mp4"], ["ben", "2.mp4"]]
    assert table["likeness"].to_numpy() == pytest.approx(np.cos(np.deg2rad(20)))


def test_photos_want_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_text("file,identity\na.jpg,ann\n")
    with pytest.raises(UserError, match="no column lm0_x"):
        known_photos(path)
    with pytest.raises(UserError, match="not a readable CSV"):
        known_photos(tmp_path / "absent.csv")
