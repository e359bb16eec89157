import numpy as np
import pytest

from deepfake import forgeries
from deepfake.forgeries import FAMILIES, HULLS, Face, Material, aligned_misfit, box_mask, forge, hull_mask
from face_pictures import face

SEEDS = range(6)
FACE, DONOR = face(0), face(3)


def made(family: str, seed: int) -> forgeries.Forged:
    return FAMILIES[family](FACE, Material(lambda: DONOR), np.random.default_rng(seed))


def changes(forged: forgeries.Forged) -> np.ndarray:
    return np.asarray(np.abs(forged.picture.astype(int) - FACE.picture).max(2))


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"self_blend"}))
def test_a_family_changes_the_picture_only_where_its_mask_is_above_nothing(family: str) -> None:
    for seed in SEEDS:
        forged = made(family, seed)
        outside = forged.mask == 0
        assert changes(forged)[outside].max(initial=0) <= 1
        assert changes(forged).max() > 4, "and there it changes something"


def test_a_self_blend_may_recolour_the_surroundings_instead_but_not_the_picture_s_corners() -> None:
    outside, corner = [], np.zeros(FACE.picture.shape[:2], bool)
    corner[:8, :8] = corner[-8:, -8:] = True
    for seed in range(20):
        forged = made("self_blend", seed)
        assert changes(forged)[corner].max() == 0
        outside.append(changes(forged)[forged.mask == 0].max())
    assert 3 < sum(most == 0 for most in outside) < 17, "about half of the draws change the face, half the rest"


def test_a_change_of_surroundings_fades_out_before_the_region_ends() -> None:
    inside = np.full((60, 80, 3), 100, np.uint8)
    region = forgeries.Region(10, 20, 90, 80)
    picture = np.full((100, 100, 3), 100, np.uint8)
    changed = forgeries._like_changed(picture, inside, inside + 50, region)
    assert changed[50, 50, 0] == 150
    assert abs(int(changed[21, 50, 0]) - 100) < 20
    before = np.ones((100, 100), bool)
    before[20:80, 10:90] = False
    assert (changed[before] == 100).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_seeds_give_equal_bytes_and_other_seeds_other_ones(family: str) -> None:
    one, same, other = made(family, 1), made(family, 1), made(family, 2)
    assert one.picture.tobytes() == same.picture.tobytes()
    assert one.mask.tobytes() == same.mask.tobytes()
    assert one.family == same.family
    assert one.picture.tobytes() != other.picture.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forgery_has_the_picture_s_size_a_mask_from_0_to_1_and_its_family_s_name(family: str) -> None:
    for seed in SEEDS:
        forged = made(family, seed)
        assert forged.picture.shape == FACE.picture.shape
        assert forged.picture.dtype == np.uint8
        assert forged.mask.shape == FACE.picture.shape[:2]
        assert forged.mask.dtype == np.float32
        assert 0 <= forged.mask.min() <= forged.mask.max() <= 1
        assert forged.family.split("/")[0] == family


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_given_is_left_as_it_was(family: str) -> None:
    before = FACE.picture.copy()
    made(family, 0)
    assert (before == FACE.picture).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_works_without_donor(family: str) -> None:
    for seed in SEEDS:
        forged = FAMILIES[family](FACE, Material(), np.random.default_rng(seed))
        wanted = "self_blend" if family == "cross_identity" else family
        assert forged.family.split("/")[0] == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_face_cut_off_by_the_border_or_far_too_small_is_forged_without_an_error(family: str) -> None:
    side = len(FACE.picture)
    cut = Face(FACE.picture, FACE.landmarks + np.array([0.45, 0.4]) * side)
    tiny = Face(FACE.picture, (FACE.landmarks - side / 2) * 0.02 + side / 2)
    for one in (cut, tiny):
        forged = FAMILIES[family](one, Material(lambda: DONOR), np.random.default_rng(0))
        assert forged.picture.shape == FACE.picture.shape


def test_a_twin_s_name_says_by_which_look_it_was_made_and_half_are_smoothed() -> None:
    looks = [made("twin", seed).family.split("/")[1].removesuffix("+grid") for seed in range(60)]
    assert set(looks) == {"smooth", "down_up", "jpeg_sharpen"}
    assert 20 <= looks.count("smooth") <= 40  # 30 expected


def test_surroundings_keep_the_middle_of_the_face_and_change_the_rest() -> None:
    forged = made("surroundings", 0)
    x, y = FACE.landmarks[2].astype(int)
    assert forged.mask[y, x] < 0.05
    assert forged.mask[0, 0] == 1


def test_lip_sync_stays_below_the_eyes() -> None:
    eyes = round(FACE.landmarks[:2, 1].max())
    for seed in SEEDS:
        assert made("lip_sync", seed).mask[: eyes - 4].max() < 0.02


@pytest.mark.parametrize("hull", HULLS)
def test_a_hull_lies_inside_its_canvas_between_0_and_1(hull: str) -> None:
    for seed in range(20):
        mask = hull_mask(hull, np.random.default_rng(seed))
        assert mask.shape == (forgeries.MASK_PX, forgeries.MASK_PX)
        assert 0 <= mask.min() <= mask.max() <= 1
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()


@pytest.mark.parametrize("hull", sorted(set(HULLS) - {"blob"}))
def test_a_hull_with_an_outline_is_never_empty(hull: str) -> None:
    assert min(hull_mask(hull, np.random.default_rng(seed)).max() for seed in range(60)) == 1


def test_a_box_lies_inside_its_canvas_too() -> None:
    for seed in range(20):
        mask = box_mask(np.random.default_rng(seed))
        assert mask.max() > 0.5
        assert not mask[[0, -1]].any()


def test_an_unknown_hull_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'nose': wanted one of face, inner"):
        hull_mask("nose", np.random.default_rng(0))


def test_families_are_drawn_by_their_shares_and_those_without_a_share_never() -> None:
    shares = {"local_warp": 3.0, "surroundings": 1.0, "twin": 0.0}
    rng = np.random.default_rng(0)
    names = [forge(FACE, shares, Material(), rng).family.split("/")[0] for _ in range(60)]
    assert set(names) == {"local_warp", "surroundings"}
    assert 35 <= names.count("local_warp") <= 54  # 45 expected


@pytest.mark.parametrize("shares", [{"self_blent": 1.0}, {"self_blend": 1.0, "neural": 0.5}])
def test_an_unknown_family_is_refused_with_the_known_ones(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"here are self_blend, cross_identity"):
        forge(FACE, shares, Material(), np.random.default_rng(0))


@pytest.mark.parametrize("shares", [{}, {"self_blend": 0.0}])
def test_shares_that_are_all_nothing_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one above 0"):
        forge(FACE, shares, Material(), np.random.default_rng(0))


def test_a_face_fits_itself_at_any_size_and_fits_a_turned_one_less() -> None:
    larger = Face(FACE.picture, FACE.landmarks * 1.7 + 5)
    turned = Face(FACE.picture, FACE.landmarks + np.array([[0, 0], [0, 0], [14.0, 0], [6, 0], [6, 0]]))
    assert aligned_misfit(FACE, larger) == pytest.approx(0, abs=1e-9)
    assert aligned_misfit(FACE, turned) > 0.01


@pytest.mark.parametrize("look", [forgeries.smooth_skin, forgeries.coarse_grid, forgeries.change_sharpness])
def test_a_look_keeps_size_and_mean(look: object) -> None:
    for seed in SEEDS:
        changed = look(FACE.picture, np.random.default_rng(seed))  # type: ignore[operator]
        assert changed.shape == FACE.picture.shape
        assert abs(float(changed.mean()) - float(FACE.picture.mean())) < 3
