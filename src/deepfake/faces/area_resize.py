"""Pictures made small by averaging areas, from one table of sums: whole, or many squares cut out of one.

A target pixel is the mean of all source pixels that its area touches, each counted whole, so that neighbouring areas
may share one. That is torch's `interpolate(mode="area")`, on which MTCNN learnt, to the last bit; `cv2.INTER_AREA`
counts pixels by the part that lies inside.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

INT32_SUM_PX = (2**31 - 1) // 255  # the most white pixels that an int32 holds the sum of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def _areas(length: Ints, n: int) -> tuple[Ints, Ints]:
    """Begin and end of `n` areas along lengths of so many pixels; the last axis counts areas."""
    number = np.arange(n)
    return number * length[..., None] // n, -(-(number + 1) * length[..., None] // n)


class AreaResizer:
    """One HWC uint8 picture, its sums taken once for any number of small ones."""

    def __init__(self, picture_HWC: np.ndarray) -> None:
        self.height_px, self.width_px, n_colours = picture_HWC.shape
        is_large = self.height_px * self.width_px > INT32_SUM_PX
        depth, kind = (cv2.CV_64F, np.float64) if is_large else (cv2.CV_32S, np.int32)
        # [colour, y, x]: the sum of what lies above and left of the pixel. Colour by colour, as networks want them.
        self._sums_CHW = np.empty((n_colours, self.height_px + 1, self.width_px + 1), kind)
        for sums_HW, plane_HW in zip(self._sums_CHW, cv2.split(picture_HWC), strict=True):
            cv2.integral(plane_HW, sums_HW, sdepth=depth)

    def whole(self, height_px: int, width_px: int) -> Floats:
        """The whole picture in another size: (1, colours, height, width), 0..255."""
        top, bottom = _areas(np.array(self.height_px), height_px)
        left, right = _areas(np.array(self.width_px), width_px)
        strips = self._sums_CHW.take(bottom, axis=1) - self._sums_CHW.take(top, axis=1)
        means = (strips.take(right, axis=2) - strips.take(left, axis=2)).astype(np.float32)
        means /= (bottom - top).astype(np.float32)[:, None]
        means /= (right - left).astype(np.float32)
        return np.asarray(means[None])

    def squares(self, boxes_N4: Ints, side_px: int) -> Floats:
        """Regions as squares of one side: (n, colours, side, side), 0..255.

        `boxes_N4`: x0 y0 x1 y1 inside the picture, the ends not included, no side empty.
        """
        left, right = _areas(boxes_N4[:, 2] - boxes_N4[:, 0], side_px)
        top, bottom = _areas(boxes_N4[:, 3] - boxes_N4[:, 1], side_px)
        widths, heights = (right - left).astype(np.float32), (bottom - top).astype(np.float32)
        left, right = left + boxes_N4[:, :1], right + boxes_N4[:, :1]
        top, bottom = ((edge + boxes_N4[:, 1:2]) * (self.width_px + 1) for edge in (top, bottom))
        sums_CP = self._sums_CHW.reshape(len(self._sums_CHW), -1)

        def at(y: Ints, x: Ints) -> np.ndarray:
            return sums_CP.take(y[:, :, None] + x[:, None, :], axis=1, mode="clip")  # faster than to check

        means = ((at(bottom, right) - at(top, right)) - (at(bottom, left) - at(top, left))).astype(np.float32)
        means /= heights[:, :, None]
        means /= widths[:, None, :]
        return np.ascontiguousarray(means.transpose(1, 0, 2, 3))
