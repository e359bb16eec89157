from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake import source_check
from deepfake.config import Selfblend, UserError
from deepfake.degrade import Degradation, jpeg_round_trip
from deepfake.forgeries import Face
from deepfake.mixture import Mixture
from deepfake.source_check import statistics, text_report, told_apart
from face_pictures import face, sources

# Cameras and sites of very different quality.
QUALITIES = (
    Degradation(),
    Degradation(scale=0.5, jpeg_quality=(35,)),
    Degradation(blur_sigma=1.5, gamma=0.7, saturation=0.6),
    Degradation(noise_std=9.0, gain=(1.1, 1.0, 0.9), gamma=1.4),
    Degradation(crf=34, saturation=1.3),
)
SAME, GOOD, BAD = (0, 1, 2, 3, 4), (0, 3), (1, 4)
N_ITEMS = 150
PEOPLE = 40
# One standard error of an AUC at chance is 0.033 with 150 pairs; three of them. The rest of the room is for the traces
# of forging itself (a fake is a trifle smoother). A source that shows gives 0.99, as the control asserts.
NEAR_CHANCE = 0.60


def of_quality(seed: int, quality: int) -> Face:
    one = face(seed, 112, grain=2.0)
    return Face(QUALITIES[quality]([one.picture])[0], one.landmarks)


def mixed(folder: Path, reals: tuple[int, ...], fakes: tuple[int, ...], **settings: object) -> Mixture:
    """Photos and clips of people, each of one of the given qualities."""

    def people(first: int, qualities: tuple[int, ...]) -> list[Face]:
        return [of_quality(first + i, qualities[i % len(qualities)]) for i in range(PEOPLE)]

    material = sources(
        folder,
        people(0, reals),
        {f"r{i}.mp4": [one] for i, one in enumerate(people(100, reals))},
        {f"f{i}.mp4": [one] for i, one in enumerate(people(200, fakes))},
    )
    return Mixture(material, Selfblend.model_validate(settings), 96, 0.7, 100, 0)


def aucs(mixture: Mixture, n_items: int = N_ITEMS) -> dict[str, float]:
    """The better classifier's AUC for each kind."""
    return {told.kind: max(told.auc.values()) for told in source_check.check(mixture, n_items)}


def test_a_picture_and_its_own_fake_are_not_told_apart_by_quality(tmp_path: Path) -> None:
    found = aucs(mixed(tmp_path, SAME, SAME, photo_share=0.5, clip_share=0.5, forged_share=0.0))
    assert set(found) == {"photo", "clip"}
    assert max(found.values()) < NEAR_CHANCE


def test_forged_clips_of_the_same_qualities_as_the_reals_are_not_told_apart_by_them(tmp_path: Path) -> None:
    assert aucs(mixed(tmp_path, SAME, SAME, photo_share=0.0, clip_share=0.0))["forged"] < NEAR_CHANCE


def test_damage_hides_much_of_a_source_that_gives_itself_away_without_it(tmp_path: Path) -> None:
    """The control: reals all of some sources, fakes all of others."""
    only_forged = {"photo_share": 0.0, "clip_share": 0.0, "forged_share": 1.0}
    undamaged = {"forged_degradation": 0.0, "equal_levels": 0.0}
    plain = aucs(mixed(tmp_path / "plain", GOOD, BAD, **undamaged, **only_forged), 100)["forged"]
    damaged = aucs(mixed(tmp_path / "damaged", GOOD, BAD, **only_forged), 100)["forged"]
    assert plain > 0.95
    assert damaged < 0.85


# --- Statistics ----------------------------------------------------------------------------------


def test_each_statistic_sees_what_it_is_named_for() -> None:
    picture = cv2.GaussianBlur(face(0, 128, grain=4.0).picture, (0, 0), 0.8)
    plain = statistics(picture)
    noise = np.random.default_rng(0).normal(0, 8, picture.shape)
    assert statistics((picture + noise).clip(0, 255).astype(np.uint8))["noise"] > 2 * plain["noise"]
    softer = statistics(cv2.GaussianBlur(picture, (0, 0), 2))
    assert softer["sharpness"] < plain["sharpness"] - 1
    assert softer["fine_share"] < plain["fine_share"]
    assert softer["spectrum_slope"] < plain["spectrum_slope"]
    assert statistics(picture // 2)["contrast"] == pytest.approx(plain["contrast"] / 2, rel=0.03)
    assert statistics(picture.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8))["saturation"] == 0
    assert statistics(jpeg_round_trip(picture, 10))["blockiness"] > plain["blockiness"] + 0.3


def test_repeated_edges_are_counted_from_each_border() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    assert statistics(picture)["repeated_edges"] == 0
    framed = cv2.copyMakeBorder(picture[:80, :90], 20, 0, 0, 10, cv2.BORDER_REPLICATE)
    assert statistics(framed)["repeated_edges"] == pytest.approx((20 + 10) / 400)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_colour_has_finite_statistics(level: int) -> None:
    found = statistics(np.full((96, 96, 3), level, np.uint8))
    assert np.isfinite(list(found.values())).all()


# --- Telling apart -------------------------------------------------------------------------------


def table(gap: float, owners: int = 30, kind: str = "photo") -> pd.DataFrame:
    """Owners with a real and a fake row each, of a statistic that is larger by `gap` for fakes."""
    rng = np.random.default_rng(0)
    rows = [
        {"kind": kind, "owner": f"o{i}", "is_fake": fake, "first": rng.normal(gap * fake), "second": rng.normal()}
        for i in range(owners)
        for fake in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_a_statistic_that_tells_is_found_and_named() -> None:
    (told,) = told_apart(table(gap=6.0))
    assert min(told.auc.values()) > 0.95
    assert told.best[0] == "first"
    assert (told.kind, told.n_items) == ("photo", 30)
    assert told.error == pytest.approx(1 / np.sqrt(180))


def test_an_owner_remembered_does_not_count() -> None:
    """Each owner's pictures look alike and are all real or all fake: nothing that holds for another owner."""
    rng = np.random.default_rng(1)
    rows = []
    for owner in range(40):
        looks = rng.normal(0, 5, 2)
        rows += [
            {"kind": "forged", "owner": f"o{owner}", "is_fake": owner % 2, "first": x, "second": y}
            for x, y in looks + rng.normal(0, 0.1, (10, 2))
        ]
    (told,) = told_apart(pd.DataFrame(rows))
    assert max(told.auc.values()) < 0.75


def test_too_few_owners_are_refused() -> None:
    with pytest.raises(UserError, match=r"photo: 4 people or videos .*, wanted at least 5"):
        told_apart(table(gap=0.0, owners=4))


def test_the_report_has_a_line_for_each_kind() -> None:
    lines = text_report(told_apart(pd.concat([table(6.0), table(0.0, kind="clip")]))).splitlines()
    assert [line.split()[0] for line in lines] == ["kind", "clip", "photo"]
    assert "0.500 +-0.075" in lines[1]
