"""Folds: whoever belongs together stays together, both classes in each, the same every time."""

import logging

import numpy as np
import pandas as pd
import pytest

from deepfake.errors import UserError
from deepfake.faces.hashes import perceptual_hash
from deepfake.tables import FOLDS, VIDEOS, check
from deepfake.training.folds import (
    deal,
    groups_of,
    make_folds,
    near_duplicates,
    refuse_overlap,
    wants_faces,
    warn_of_test_links,
    with_own_face,
)


def videos(*rows: dict[str, object]) -> pd.DataFrame:
    """Rows of the videos table; each row needs video_id and label only."""
    blank: dict[str, object] = {column.name: None for column in VIDEOS.columns}
    given = {"split": "train", "status": "ok"}
    frame = pd.DataFrame([blank | given | {"sha256": f"hash of {row['video_id']}"} | row for row in rows])
    return frame.astype({"label": float})


def extractions(**hashes: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"video_id": list(hashes), "frame_hashes": list(hashes.values())})


NO_HASHES = extractions()


def noise_hash(seed: int) -> str:
    return perceptual_hash(np.random.default_rng(seed).integers(0, 256, (36, 64), np.uint8))


def turned(text: str, n_bits: int) -> str:
    return f"{int(text, 16) ^ ((1 << n_bits) - 1):064x}"


def people(n: int) -> list[dict[str, object]]:
    """n reals, each with a fake made of it."""
    reals: list[dict[str, object]] = [{"video_id": f"real{i}", "label": 0} for i in range(n)]
    return reals + [{"video_id": f"fake{i}", "label": 1, "original": f"real{i}"} for i in range(n)]


def fold_of(frame: pd.DataFrame) -> dict[str, int]:
    return dict(zip(frame["video_id"], frame["fold"], strict=True))


def test_links_join_however_indirectly_and_the_smallest_id_names_the_group() -> None:
    groups = groups_of("edcba", [("a", "b"), ("d", "c"), ("b", "c")])
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e"}


def test_without_links_everybody_is_a_group() -> None:
    assert groups_of(["b", "a"], []) == {"a": "a", "b": "b"}


def test_a_link_to_itself_and_repeated_links_change_nothing() -> None:
    assert groups_of("ab", [("a", "a"), ("a", "b"), ("b", "a")]) == {"a": "a", "b": "a"}


def test_a_fake_and_its_original_share_a_fold() -> None:
    folds = fold_of(make_folds(videos(*people(6)), NO_HASHES, 3, 24, 0))
    assert all(folds[f"fake{i}"] == folds[f"real{i}"] for i in range(6))


def test_fakes_of_an_original_that_is_not_there_share_a_fold() -> None:
    rows = [
        *people(5),
        {"video_id": "x1", "label": 1, "original": "gone"},
        {"video_id": "x2", "label": 1, "original": "gone"},
    ]
    folds = make_folds(videos(*rows), NO_HASHES, 3, 24, 0).set_index("video_id")
    assert folds.loc["x1", "group"] == folds.loc["x2", "group"] == "x1"


def test_clips_of_one_identity_share_a_fold() -> None:
    rows = people(6)
    for i in (1, 4, 5):
        rows[i]["identity"] = "Ada"
    folds = fold_of(make_folds(videos(*rows), NO_HASHES, 2, 24, 0))
    assert len({folds[name] for i in (1, 4, 5) for name in (f"real{i}", f"fake{i}")}) == 1


def test_files_of_equal_bytes_share_a_fold() -> None:
    rows = people(4)
    rows[0]["sha256"] = rows[3]["sha256"] = "the same"
    folds = make_folds(videos(*rows), NO_HASHES, 2, 24, 0).set_index("video_id")
    assert folds.loc["fake0", "group"] == folds.loc["fake3", "group"]


def test_near_duplicates_share_a_fold_up_to_the_given_bits() -> None:
    near = turned(noise_hash(1), 10)
    extracted = extractions(real0=[noise_hash(0), noise_hash(1)], real2=[near], real3=[noise_hash(3)])
    assert near_duplicates(extracted, 10) == [("real0", "real2")]
    assert near_duplicates(extracted, 9) == []
    folds = make_folds(videos(*people(4)), extracted, 2, 10, 0).set_index("video_id")
    assert folds.loc["fake0", "group"] == folds.loc["fake2", "group"] == "fake0"


def test_black_frames_make_nobody_near_duplicates() -> None:
    flat = perceptual_hash(np.full((36, 64), 16, np.uint8))
    assert near_duplicates(extractions(a=[flat, "f" * 64], b=[flat, "f" * 64], c=[]), 24) == []


def test_links_of_different_kinds_chain() -> None:
    # fake0 - real0 (original), real0 - real1 (identity), real1 - real2 (near-duplicate), real2 - fake2 (original)
    rows = people(4)
    rows[0]["identity"] = rows[1]["identity"] = "Ada"
    extracted = extractions(real1=[noise_hash(7)], real2=[turned(noise_hash(7), 3)])
    folds = make_folds(videos(*rows), extracted, 2, 24, 0).set_index("video_id")
    assert folds.loc["fake0", "group"] == folds.loc["fake2", "group"]
    assert folds["group"].nunique() == 2


def test_each_fold_holds_its_share_of_both_classes() -> None:
    rows = people(9) + [{"video_id": f"more{i}", "label": 1, "original": f"real{i}"} for i in range(3)]
    folds = make_folds(videos(*rows), NO_HASHES, 3, 24, 0).merge(videos(*rows)[["video_id", "label"]])
    counts = folds.groupby("fold")["label"].agg(["count", "sum"])
    assert counts["count"].tolist() == [7, 7, 7] and counts["sum"].tolist() == [4, 4, 4]


def test_the_folds_are_a_valid_table_of_all_labelled_training_videos() -> None:
    rows = [*people(3), {"video_id": "unknown", "label": None}, {"video_id": "t", "label": 1, "split": "test"}]
    folds = make_folds(videos(*rows), NO_HASHES, 3, 24, 0)
    assert sorted(check(FOLDS, folds).column("video_id").to_pylist()) == sorted(
        str(row["video_id"]) for row in people(3)
    )


def test_the_order_of_the_rows_does_not_matter_and_two_runs_agree() -> None:
    frame = videos(*people(8))
    first = make_folds(frame, NO_HASHES, 3, 24, 5)
    assert first.equals(make_folds(frame, NO_HASHES, 3, 24, 5))
    assert first.equals(make_folds(frame.sample(frac=1, random_state=1), NO_HASHES, 3, 24, 5))


def test_too_few_groups_are_a_user_error_that_says_what_to_set() -> None:
    with pytest.raises(UserError, match=r"2 independent groups .* cannot fill 3 folds; set folds.n_folds to at most 2"):
        make_folds(videos(*people(2)), NO_HASHES, 3, 24, 0)


def test_a_single_class_is_a_user_error() -> None:
    with pytest.raises(UserError, match="both REAL"):
        make_folds(videos(*people(3)[:3]), NO_HASHES, 2, 24, 0)
    with pytest.raises(UserError, match="both REAL"):
        make_folds(videos({"video_id": "a", "label": None}), NO_HASHES, 2, 24, 0)


def test_a_fold_of_one_class_is_a_user_error_that_says_what_to_set() -> None:
    rows = [{"video_id": "r", "label": 0}, {"video_id": "f1", "label": 1}, {"video_id": "f2", "label": 1}]
    with pytest.raises(UserError, match=r"one class only; set folds.n_folds lower than 3"):
        make_folds(videos(*rows), NO_HASHES, 3, 24, 0)


def test_equal_groups_are_dealt_out_evenly_and_by_the_seed() -> None:
    groups = pd.DataFrame({"group": [f"g{i}" for i in range(12)], "n_real": 1, "n_fake": 1})
    dealt = [deal(groups, 3, seed) for seed in range(5)]
    assert all(sorted(d.values()) == [0] * 4 + [1] * 4 + [2] * 4 for d in dealt)
    assert any(d != dealt[0] for d in dealt)


def test_an_overlap_between_folds_is_refused() -> None:
    parted = pd.DataFrame({"video_id": ["a", "b"], "group": ["a", "b"], "fold": [0, 1]})
    with pytest.raises(ValueError, match=r"'a' \(fold 0\) and 'b' \(fold 1\) belong together"):
        refuse_overlap(parted, [("a", "b")])
    with pytest.raises(ValueError, match=r"group 'a' stands in 2 folds"):
        refuse_overlap(parted.assign(group="a"), [])
    refuse_overlap(parted, [])


def test_a_test_video_that_looks_like_a_training_video_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    frame = videos({"video_id": "a", "label": 0}, {"video_id": "t", "label": None, "split": "test"})
    extracted = extractions(a=[noise_hash(1)], t=[noise_hash(1)])
    with caplog.at_level(logging.WARNING):
        assert warn_of_test_links(frame, extracted, 24) == 1
    assert "look like training videos" in caplog.text


def test_where_no_identity_is_named_videos_of_one_face_share_a_fold() -> None:
    rows = people(4)
    assert wants_faces(videos(*rows))
    folds = make_folds(videos(*rows), NO_HASHES, 2, 24, 0, [("real0", "real3")]).set_index("video_id")
    assert folds.loc["fake0", "group"] == folds.loc["fake3", "group"] == "fake0"
    rows[2]["identity"] = "Ada"
    assert not wants_faces(videos(*rows))


def test_a_test_video_s_identity_says_nothing_of_the_training_videos() -> None:
    assert wants_faces(videos(*people(2), {"video_id": "t", "label": None, "split": "test", "identity": "Ada"}))


def test_a_fake_goes_by_its_original_and_by_its_own_face_only_without_one() -> None:
    rows = [*people(1), {"video_id": "orphan", "label": 1}, {"video_id": "made", "label": 1, "original": "gone"}]
    assert with_own_face(videos(*rows))["video_id"].tolist() == ["real0", "orphan", "made"]
