"""Square crops: where they lie, and what stands where the frame ends."""

import numpy as np
import pytest

from deepfake.faces.crops import Square, cut_face, cut_square, sharpness, square_around


class Picture:
    """A frame out of an array that refuses regions outside itself."""

    def __init__(self, rgb_HWC: np.ndarray) -> None:
        self.rgb_HWC = rgb_HWC
        self.height_px, self.width_px = rgb_HWC.shape[:2]

    def rgb_region(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        assert 0 <= x0 < x1 <= self.width_px and 0 <= y0 < y1 <= self.height_px
        return self.rgb_HWC[y0:y1, x0:x1]


def ramp(width_px: int = 100, height_px: int = 60) -> Picture:
    """Red is x, green is y."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    return Picture(np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8))


def box(*sides: float) -> np.ndarray:
    return np.array(sides, np.float32)


def test_the_square_is_the_longer_side_with_the_margin_on_every_side() -> None:
    # 20 x 40 about (50, 40): 40 + 2 * 0.25 * 40 = 60
    assert square_around(box(40, 20, 60, 60), 0.25) == Square(20, 10, 60)


def test_without_a_margin_a_square_box_stays_itself() -> None:
    assert square_around(box(10, 20, 40, 50), 0.0) == Square(10, 20, 30)


def test_a_square_inside_the_frame_is_that_part_of_it() -> None:
    crop = cut_square(ramp(), Square(30, 10, 32), 32)
    assert np.array_equal(crop, ramp().rgb_HWC[10:42, 30:62])


def test_what_lies_outside_repeats_the_edge() -> None:
    crop = cut_square(ramp(), Square(-10, -20, 40), 40)
    assert np.array_equal(crop[20:, 10:], ramp().rgb_HWC[:20, :30])
    assert (crop[:, :10, 0] == 0).all() and (crop[:20, :, 1] == 0).all()
    crop = cut_square(ramp(), Square(80, 40, 40), 40)
    assert np.array_equal(crop[:20, :20], ramp().rgb_HWC[40:, 80:])
    assert (crop[:, 20:, 0] == 99).all() and (crop[20:, :, 1] == 59).all()


def test_a_square_larger_than_the_frame_shows_all_of_it_in_its_place() -> None:
    crop = cut_square(ramp(), Square(-50, -70, 200), 100)
    assert crop.shape == (100, 100, 3)
    assert (crop[:, :24, 0] <= 1).all() and (crop[:, 76:, 0] >= 97).all()
    assert abs(int(crop[50, 50, 0]) - 50) <= 2 and abs(int(crop[50, 50, 1]) - 30) <= 2


@pytest.mark.parametrize("side", [0.01, 1, 3, 7.5, 50, 999, 5000])
@pytest.mark.parametrize("corner", [(-0.5, -0.5), (20.3, 11.7), (98.9, 58.9)])
@pytest.mark.parametrize("crop_px", [32, 224])
def test_boxes_of_any_size_give_crops_of_one_size(side: float, corner: tuple[float, float], crop_px: int) -> None:
    crop = cut_square(ramp(), Square(*corner, side), crop_px)
    assert crop.shape == (crop_px, crop_px, 3) and crop.dtype == np.uint8


@pytest.mark.parametrize("x0", [-2999, -2990, 99])
def test_a_huge_square_that_shows_a_sliver_of_the_frame_is_still_a_crop(x0: int) -> None:
    assert cut_square(ramp(), Square(x0, -1500, 3000), 224).shape == (224, 224, 3)


def test_a_square_beside_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the frame of 100x60"):
        cut_square(ramp(), Square(200, 10, 20), 32)


def test_a_face_lies_at_the_same_place_of_the_crop_whatever_its_size() -> None:
    for side in (40, 200):
        frame_HWC = np.zeros((1000, 1000, 3), np.uint8)
        frame_HWC[300 : 300 + side, 500 : 500 + side] = 255
        square = square_around(box(500, 300, 500 + side, 300 + side), 0.5)
        crop = cut_square(Picture(frame_HWC), square, 64)
        assert crop[20:44, 20:44].min() > 250 and crop[:14].max() < 5 and crop[:, 50:].max() < 5


def test_blur_lowers_the_sharpness_and_flat_pictures_have_none() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    soft = np.repeat(np.repeat(noise[::8, ::8], 8, 0), 8, 1)
    assert sharpness(np.full((32, 32, 3), 90, np.uint8)) == 0
    assert sharpness(noise) > 2 * sharpness(soft) > 0


def test_a_face_is_cut_out_of_a_picture_into_the_middle_with_its_points() -> None:
    # The box is 20 px: the crop is 40 px from (10, 0), its upper 5 rows beyond the picture.
    picture = ramp().rgb_HWC
    crop, to_crop = cut_face(picture, box(20, 5, 40, 25), 0.5, 320)
    assert crop.shape == (40, 40, 3)
    assert crop[7, 12].tolist() == [22, 2, 0] and crop[2, 0].tolist() == [10, 0, 0]
    np.testing.assert_allclose(to_crop @ [22, 2, 1], [12, 7])


def test_a_face_is_reduced_and_never_enlarged() -> None:
    picture = ramp().rgb_HWC
    crop, to_crop = cut_face(picture, box(20, 10, 60, 50), 0.5, 40)
    assert crop.shape == (40, 40, 3)
    np.testing.assert_allclose(to_crop @ [40, 30, 1], [20, 20])
    assert cut_face(picture, box(20, 10, 22, 12), 0.5, 40)[0].shape == (4, 4, 3)
