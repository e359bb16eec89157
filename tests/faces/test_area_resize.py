"""Small pictures are means of areas: worked by hand, and as torch computes them, to the last bit."""

import numpy as np
import pytest

from deepfake.faces import area_resize
from deepfake.faces.area_resize import AreaResizer


def grey(rows: list[list[int]]) -> np.ndarray:
    return np.repeat(np.array(rows, np.uint8)[..., None], 3, axis=2)


def random_picture(height_px: int, width_px: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3), np.uint8)


def test_a_pixel_that_two_areas_touch_counts_whole_in_both() -> None:
    small = AreaResizer(grey([[0, 30, 60]])).whole(1, 2)
    assert small.shape == (1, 3, 1, 2) and small[0, 0].tolist() == [[15, 45]]


def test_rows_are_averaged_as_columns_are() -> None:
    assert AreaResizer(grey([[0, 10], [20, 30], [100, 200]])).whole(2, 1)[0, 2].tolist() == [[15], [87.5]]


def test_a_larger_picture_repeats_pixels() -> None:
    assert AreaResizer(grey([[0, 60]])).whole(2, 3)[0, 1].tolist() == [[0, 30, 60], [0, 30, 60]]


@pytest.mark.parametrize("size", [(40, 70), (39, 67), (12, 12), (2, 3), (7, 70), (55, 91)])
def test_the_whole_picture_is_torch_s_to_the_last_bit(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    picture = random_picture(40, 70)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(planes, size=size, mode="area").numpy()
    assert (AreaResizer(picture).whole(*size) == wanted).all()


def test_a_square_is_the_cut_region_resized_alone() -> None:
    picture = random_picture(40, 70)
    boxes = np.array([(0, 0, 70, 40), (5, 7, 6, 8), (60, 30, 70, 40), (10, 3, 29, 36)])
    squares = AreaResizer(picture).squares(boxes, 24)
    for square, (x0, y0, x1, y1) in zip(squares, boxes, strict=True):
        assert (square == AreaResizer(picture[y0:y1, x0:x1].copy()).whole(24, 24)[0]).all()


def test_no_boxes_are_no_squares() -> None:
    assert AreaResizer(random_picture(9, 9)).squares(np.zeros((0, 4), int), 24).shape == (0, 3, 24, 24)


def test_a_picture_too_large_for_sums_of_32_bits_is_summed_in_wider_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, boxes = random_picture(40, 70), np.array([(3, 4, 50, 30)])
    usual = AreaResizer(picture)
    monkeypatch.setattr(area_resize, "INT32_SUM_PX", 40 * 70 - 1)
    large = AreaResizer(picture)
    assert (large.whole(9, 13) == usual.whole(9, 13)).all()
    assert (large.squares(boxes, 24) == usual.squares(boxes, 24)).all()


def test_the_largest_picture_with_sums_of_32_bits_is_white() -> None:
    assert area_resize.INT32_SUM_PX * 255 < 2**31 <= (area_resize.INT32_SUM_PX + 1) * 255
