"""Display matrices, eight upright ones and others."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake.media.orientation import of_matrix
from deepfake.media.pixels import turn

ONE = 1 << 16
EIGHT = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1)]
EIGHT += [(0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("matrix", EIGHT)
def test_each_point_is_shown_where_the_matrix_puts_it(matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = matrix
    stored = np.arange(6).reshape(2, 3)
    places = {(a * x + c * y, b * x + d * y): stored[y, x] for y in range(2) for x in range(3)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shown = turn(stored, *of_matrix(*(ONE * value for value in matrix)))
    assert {(x - left, y - top): value for (x, y), value in places.items()} == {
        (x, y): shown[y, x] for y in range(shown.shape[0]) for x in range(shown.shape[1])
    }


def test_all_eight_differ() -> None:
    assert len({of_matrix(*matrix) for matrix in EIGHT}) == 8


def test_a_scaled_matrix_turns_all_the_same() -> None:
    assert of_matrix(0, 3 * ONE, -3 * ONE, 0) == (90, False)


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (1, 1, -1, 1), (1, 0, 1, 0)])
def test_other_matrices_are_taken_for_none(matrix: tuple[int, int, int, int]) -> None:
    assert of_matrix(*matrix) == (0, False)
