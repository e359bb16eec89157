"""Groups and folds that share no publisher, person or generator."""

import numpy as np
import pandas as pd
import pytest

from deepfake.errors import UserError
from deepfake.training.source_groups import CLIPS, deal_folds, group_names, plain_generator, source_groups


def clips(*rows: tuple[int, str, str, str, str]) -> pd.DataFrame:
    """Clips by label, family, generator, identity, source."""
    table = [[f"clip{i}", *row, "dev"] for i, row in enumerate(rows)]
    return pd.DataFrame(table, columns=list(CLIPS))


def test_a_generator_is_one_whatever_it_ran_and_whatever_came_after() -> None:
    assert plain_generator("DeepFaceLive DFM (model of A)") == plain_generator("DeepFaceLive DFM (model of B)")
    assert plain_generator("AniTalker + face SR") == "AniTalker" == plain_generator("AniTalker")


def test_clips_are_one_group_however_indirectly_they_are_linked() -> None:
    table = clips(
        (0, "real", "-", "ann", "studio"),
        (1, "swap", "DFL (of a)", "bob", "studio"),  # the publisher of the first
        (1, "swap", "DFL (of b)", "eve", "web"),  # the generator of the second
        (0, "real", "-", "eve", "tube"),  # the person of the third
        (0, "real", "-", "", "else"),  # nobody's
        (0, "real", "-", "", "else2"),  # nobody's either: that is no link
        (1, "lipsync", "Wav2Lip", "-", "else3"),
    )
    assert source_groups(table).tolist() == [0, 0, 0, 0, 4, 5, 6]


def test_no_publisher_person_or_generator_is_in_two_folds() -> None:
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(150):
        label = int(rng.integers(2))
        generator = f"g{rng.integers(40)} (m{rng.integers(9)})" if label else "-"
        rows.append((label, "swap" if label else "real", generator, f"p{rng.integers(400)}", f"s{rng.integers(60)}"))
    table = clips(*rows)
    folds = deal_folds(table, 3)
    assert set(folds.tolist()) == {0, 1, 2}
    for column in ("source", "identity"):
        assert all(len(set(folds[table[column] == value])) == 1 for value in table[column].unique())
    fakes = (table["label"] == 1).to_numpy()
    generators = table["generator"].map(plain_generator)
    assert all(len(set(folds[fakes & (generators == value)])) == 1 for value in generators[fakes].unique())


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(UserError, match="cannot fill 3 folds"):
        deal_folds(clips((0, "real", "-", "a", "s"), (1, "swap", "g", "b", "s")), 3)


def test_a_group_is_named_by_its_largest_publisher() -> None:
    table = clips(
        (1, "swap", "g", "", "small"),
        (1, "swap", "g", "", "large"),
        (1, "swap", "g", "", "large"),
        (0, "real", "-", "", "alone"),
    )
    assert group_names(table) == ["large and 1 more"] * 3 + ["alone"]
