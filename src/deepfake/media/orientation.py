"""How a stored picture becomes upright: turned clockwise by quarters, then mirrored left to right or not.

These eight are all that a display matrix of right angles can say; front cameras write the mirrored ones.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_MATRIX = "DISPLAYMATRIX"
_TOLERANCE_DEG = 2.0


def orientation(picture: Any) -> tuple[int, bool]:
    """Rotation (clockwise degrees) and whether a mirror follows, by a decoded picture's display matrix."""
    for data in picture.side_data:
        if data.type.name == _MATRIX:
            return of_matrix(*(int(value) for value in np.frombuffer(data, np.int32)[[0, 1, 3, 4]]))
    return 0, False


def of_matrix(a: int, b: int, c: int, d: int) -> tuple[int, bool]:
    """The same by a matrix that shows the stored point x, y at a x + c y, b x + d y.

    A matrix of other angles, or of none, is taken for none at all, as most players do.
    """
    is_mirrored = a * d - b * c < 0
    # Undone first, the mirror leaves a rotation: of a, b the cosine and the sine.
    angle = math.degrees(math.atan2(b, -a if is_mirrored else a))
    rotation = round(angle / 90) * 90
    if a * d == b * c or abs(angle - rotation) > _TOLERANCE_DEG:
        return 0, False
    return rotation % 360, is_mirrored
