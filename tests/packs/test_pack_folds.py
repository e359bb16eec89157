"""Forged clips in a training from a pack: never of the fold left out, generators alike, beside a real one of theirs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake.errors import UserError
from deepfake.packs.file import VALIDATE, Pack
from deepfake.packs.folds import ALL, FOLDS, ForgedClips, left_out, measured_rows
from deepfake.packs.items import PackPairs
from deepfake.packs.pictures import Pictures
from deepfake.packs.settings import PackTraining, parse_settings
from deepfake.packs.training import start_model
from deepfake.packs.validation import Validation
from learning_data import one_thread  # noqa: F401 - a fixture
from little_pack import wide_pack

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = PackTraining(backbone="test_efficientnet", start="random", input_px=32, forged_share=0.5, fold=0)


def drawn(pack: Pack, fold: int, n: int = 600) -> pd.DataFrame:
    forged, rng = ForgedClips(pack, fold), np.random.default_rng(0)
    pairs = [forged.draw(rng) for _ in range(n)]
    own = pack.faces[["clip", "label", "source", "generator"]]
    real, fake = (own.iloc[[pair[k] for pair in pairs]].reset_index(drop=True) for k in (0, 1))
    return real.join(fake.add_suffix("_fake"))


def test_every_clip_is_left_out_by_one_fold_together_with_its_publisher() -> None:
    pack = wide_pack()
    folds = np.stack([left_out(pack, fold) for fold in range(FOLDS)])
    clips = (pack.faces["kind"] == "clip").to_numpy()
    assert (folds[:, clips].sum(0) == 1).all() and not folds[:, ~clips].any()
    for _, rows in pack.faces[clips].groupby("source"):
        assert len({tuple(folds[:, i]) for i in rows.index}) == 1
    assert not left_out(pack, ALL).any()


def test_sources_may_be_dealt_to_other_numbers_of_folds() -> None:
    pack = wide_pack()
    halves = np.stack([left_out(pack, fold, 2) for fold in range(2)])
    assert (halves.sum(0) == (pack.faces["kind"] == "clip")).all() and halves.sum(1).min() > 10
    settings = parse_settings({"folds": 2, "fold": 1, "forged_share": 0.5}, "here")
    learnt = ForgedClips(pack, settings.fold, settings.folds)
    drawn_from = {pair[1] for pair in (learnt.draw(np.random.default_rng(i)) for i in range(200))}
    assert not halves[1][list(drawn_from)].any()
    with pytest.raises(UserError, match=r"fold: found 2; wanted a number from -1 to 1, for there are 2 folds"):
        parse_settings({"folds": 2, "fold": 2}, "here")


def test_no_pair_shows_a_clip_of_the_fold_left_out_and_none_is_measured_on_twice() -> None:
    pack = wide_pack()
    held = set(pack.faces["clip"][left_out(pack, 2)])
    pairs = drawn(pack, 2)
    assert held and not held & {*pairs["clip"], *pairs["clip_fake"]}
    told = pack.faces.iloc[measured_rows(pack, 2, True)]
    assert set(told["clip"]) == held - {"clip901"}  # a clip to learn from is never measured on
    assert len(measured_rows(pack, ALL, True)) == 0
    assert len(measured_rows(pack, ALL, False)) == (pack.faces["role"] == VALIDATE).sum()


def test_generators_are_drawn_alike_and_a_real_of_the_same_publisher_goes_beside() -> None:
    pairs = drawn(wide_pack(), ALL, 2200)
    assert (pairs["label"] == 0).all() and (pairs["label_fake"] == 1).all()
    counts = Counter(pairs["generator_fake"])
    assert len(counts) == 11 and max(counts.values()) < 1.5 * min(counts.values())
    lone = pairs["source_fake"] == "lone"
    assert (pairs["source"] == pairs["source_fake"])[~lone].all()
    assert set(pairs["source"][lone]) == {"taught", *(f"publisher{i}" for i in range(10))}


def test_pairs_of_clips_have_no_mask_and_the_others_are_forged_as_ever() -> None:
    pack = wide_pack()
    pictures = Pictures(pack, range(len(pack.faces)))
    items = PackPairs(pack, pictures, SETTINGS)
    masks = [items[(number, 0.0)][2] for number in range(60)]
    unknown = [bool(mask.isnan().all()) for mask in masks]
    assert 15 < sum(unknown) < 45
    assert all(mask.isfinite().all() for mask, is_unknown in zip(masks, unknown, strict=True) if not is_unknown)
    again, alone = items[(7, 0.0)], PackPairs(pack, pictures, SETTINGS)[(7, 0.0)]
    assert all(one.equal(other) or one.isnan().all() for one, other in zip(again, alone, strict=True))


def test_a_training_of_one_fold_is_measured_on_that_fold_alone() -> None:
    pack = wide_pack()
    validation = Validation(pack, Pictures(pack, range(len(pack.faces))), SETTINGS)
    assert set(validation.faces["clip"]) == set(pack.faces["clip"][left_out(pack, 0)]) - {"clip901"}


def test_a_pack_without_forged_clips_says_what_is_missing() -> None:
    pack = wide_pack()
    faces = pack.faces.assign(label=0)
    with pytest.raises(UserError, match=r"0 pictures of forged and .* forged_share=0"):
        ForgedClips(Pack(faces, pack.landmarks_N52, pack.mesh_NP2, pack.encoded, {}, pack.digest), 1)


@pytest.mark.parametrize("start", ["pack", "random"])
def test_class_tokens_start_from_a_file_alone(start: str) -> None:
    settings = PackTraining(backbone="clip_b16_token2", start=start)
    with pytest.raises(UserError, match=r"clip_b16_token2 has no weights .* set start to that file"):
        start_model(settings, wide_pack())


def test_folds_are_numbers_below_five(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fold: found 5; wanted a number from -1 to 4"):
        parse_settings({"fold": 5}, "here")
