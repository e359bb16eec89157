import warnings

import numpy as np
import pytest

from deepfake.datasets.views import TrainTransform, blur_surroundings, resize, see, strict


def crop(seed: int = 0, side: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_equal_seeds_give_equal_pictures_in_any_order() -> None:
    transform = TrainTransform(32)
    first = transform([crop()], (1, 2, 3))[0]
    transform([crop(5)], (9, 9, 9))
    assert np.array_equal(first, transform([crop()], (1, 2, 3))[0])
    assert np.array_equal(first, TrainTransform(32)([crop()], (1, 2, 3))[0])
    assert not np.array_equal(first, transform([crop()], (1, 2, 4))[0])


def test_a_real_crop_and_its_fake_get_the_same_draw() -> None:
    transform = TrainTransform(48)
    for seed in range(20):
        real, fake = transform([crop(), crop()], (seed,))
        assert np.array_equal(real, fake)


def test_flips_and_noise_are_drawn_apart_from_each_other() -> None:
    transform = TrainTransform(48)
    sure = [t for t in transform.changes.transforms if type(t).__name__ in ("HorizontalFlip", "ImageCompression")]
    transform.changes.transforms = sure
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:, :16] = crop(1)[:, :16]
    seen = set()
    for seed in range(60):
        out = transform([picture], (seed,))[0]
        flipped = bool(out[:, 40:].mean() > out[:, :8].mean())
        exact = picture[:, ::-1] if flipped else picture
        seen.add((flipped, np.array_equal(out, exact)))
    assert len(seen) == 4


def test_pictures_stay_uint8_rgb_of_the_wanted_side() -> None:
    for seed in range(30):
        out = TrainTransform(40)([crop(side=64)], (seed,))[0]
        assert out.shape == (40, 40, 3)
        assert out.dtype == np.uint8


def test_resizing_to_the_same_side_changes_nothing() -> None:
    assert np.array_equal(resize(crop(), 48), crop())
    assert resize(crop(), 20).shape == (20, 20, 3)
    flat = np.full((30, 30, 3), 77, np.uint8)
    assert np.unique(resize(flat, 64)).tolist() == [77]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("GaussNoise", {"var_limit": (10, 50)}),
        ("ImageCompression", {"quality_lower": 60}),
        ("HorizontalFlip", {"pp": 1}),
    ],
)
def test_unknown_arguments_are_errors(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not valid for transform"):
        strict(name, **arguments)


def test_an_unknown_transform_is_named() -> None:
    with pytest.raises(ValueError, match="no transform 'JpegCompresion'"):
        strict("JpegCompresion")


def test_our_own_transforms_are_built_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TrainTransform(32)


# --- Without the surroundings ------------------------------------------------------------------------


@pytest.mark.parametrize("side", [24, 101, 240])
def test_eyes_nose_and_mouth_stay_and_all_around_them_is_blurred(side: int) -> None:
    before = crop(side=side)
    after = blur_surroundings(before, 0.05)
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    middle, inner = side // 2, slice(int(0.43 * side), int(0.57 * side))
    assert np.array_equal(after[inner, inner], before[inner, inner])
    for row, column in ((0, 0), (middle, 0), (0, middle), (side - 1, side - 1)):
        around = slice(max(row - side // 8, 0), row + side // 8), slice(max(column - side // 8, 0), column + side // 8)
        assert after[around].std() < 0.7 * before[around].std()


def test_a_picture_of_one_colour_has_no_surroundings_to_blur() -> None:
    plain = np.full((64, 64, 3), [10, 128, 255], np.uint8)
    assert np.array_equal(blur_surroundings(plain, 0.025), plain)


def test_a_crop_is_reduced_before_it_is_shown_and_a_smaller_one_is_left_alone() -> None:
    large, small = crop(side=96), crop(side=48)
    seen = see(large, 0.5, 64, surroundings_blur=0.025, crop_px=48)
    assert np.array_equal(seen, see(resize(large, 48), 0.5, 64, surroundings_blur=0.025))
    assert not np.array_equal(seen, see(large, 0.5, 64, surroundings_blur=0.025))
    assert np.array_equal(see(small, 0.5, 64, crop_px=48), see(small, 0.5, 64))
    assert np.array_equal(see(small, 0.5, 64, crop_px=96), see(small, 0.5, 64)), "nothing is enlarged for it"


def test_the_stored_crop_is_not_changed_by_looking_at_it_without_surroundings() -> None:
    before = crop(side=64)
    seen = see(before, 0.7, 32, surroundings_blur=0.025)
    assert seen.shape == (32, 32, 3)
    assert np.array_equal(before, crop(side=64))
    assert np.array_equal(seen, see(blur_surroundings(before, 0.025), 0.7, 32))
    assert not np.array_equal(seen, see(before, 0.7, 32))
