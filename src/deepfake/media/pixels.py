"""From a decoded frame to arrays: upright RGB, a region of it, a small copy, a grey thumb.

Colour matrix and range are those the file names; where it names none, BT.709 from 720 lines on and
BT.601 below, as players guess. Conversions touch only what is asked for.
"""

from __future__ import annotations

import threading
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

Picture = npt.NDArray[np.uint8]

THUMB_SIDES_PX = (64, 36)
HD_LINES = 720
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_MARGIN_PX = 16  # chroma filters of 10-bit and 4:2:2 formats reach over a region's edge
_contexts = threading.local()


def _convert(picture: Any, width_px: int, height_px: int, interpolation: Interpolation) -> Picture:
    """Scaled RGB of a frame; the scaler is kept, for setting one up costs 0.15 ms."""
    kept: dict[Any, VideoReformatter] = _contexts.__dict__
    key = f"{width_px}x{height_px} {picture.width}x{picture.height} {picture.format.name}"
    if len(kept) > 16:
        kept.clear()
    scaler = kept.setdefault(key, VideoReformatter())
    known = picture.colorspace != _UNSPECIFIED
    guess = Colorspace.ITU709 if picture.height >= HD_LINES else Colorspace.ITU601
    converted = scaler.reformat(
        picture,
        width_px,
        height_px,
        "rgb24",
        src_colorspace=None if known or _is_rgb(picture) else guess,
        interpolation=interpolation,
        threads=1,
    )
    return np.asarray(converted.to_ndarray(), np.uint8)


def _is_rgb(picture: Any) -> bool:
    return bool(picture.format.is_rgb)


def turn(picture_HWC: npt.NDArray[Any], rotation: int, is_mirrored: bool = False) -> npt.NDArray[Any]:
    """Turn a stored picture upright; `rotation` is clockwise, 0, 90, 180 or 270, and comes before the mirror."""
    if rotation == 0 and not is_mirrored:
        return picture_HWC
    turned = np.rot90(picture_HWC, -rotation // 90)
    return np.ascontiguousarray(turned[:, ::-1] if is_mirrored else turned)


def rgb(picture: Any, rotation: int, is_mirrored: bool = False) -> Picture:
    """The whole frame, upright."""
    return turn(_convert(picture, picture.width, picture.height, Interpolation.BILINEAR), rotation, is_mirrored)


def small_rgb(picture: Any, rotation: int, side_px: int, is_mirrored: bool = False) -> Picture:
    """The whole frame with its longer side at most `side_px`, never enlarged, upright."""
    ratio = min(1.0, side_px / max(picture.width, picture.height))
    if ratio == 1.0:
        return rgb(picture, rotation, is_mirrored)
    width_px, height_px = (max(1, round(side * ratio)) for side in (picture.width, picture.height))
    return turn(_convert(picture, width_px, height_px, Interpolation.AREA), rotation, is_mirrored)


def _stored_region(
    region: tuple[int, int, int, int], rotation: int, width_px: int, height_px: int, is_mirrored: bool
) -> list[int]:
    """An upright region as x0, y0, x1, y1 of the stored picture, whose sides are given."""
    x0, y0, x1, y1 = region
    if is_mirrored:
        upright_px = width_px if rotation % 180 == 0 else height_px
        x0, x1 = upright_px - x1, upright_px - x0
    if rotation == 90:
        return [y0, height_px - x1, y1, height_px - x0]
    if rotation == 180:
        return [width_px - x1, height_px - y1, width_px - x0, height_px - y0]
    if rotation == 270:
        return [width_px - y1, x0, width_px - y0, x1]
    return [x0, y0, x1, y1]


def rgb_region(picture: Any, rotation: int, region: tuple[int, int, int, int], is_mirrored: bool = False) -> Picture:
    """`rgb()[y0:y1, x0:x1]` within two grey levels, without converting the rest of the frame."""
    upright = (picture.width, picture.height) if rotation % 180 == 0 else (picture.height, picture.width)
    x0, y0, x1, y1 = region
    if not (0 <= x0 < x1 <= upright[0] and 0 <= y0 < y1 <= upright[1]):
        raise ValueError(f"region {region} does not lie in the frame of {upright[0]}x{upright[1]} px")
    x0, y0, x1, y1 = _stored_region(region, rotation, picture.width, picture.height, is_mirrored)
    planes = _planes(picture)
    if planes is None:
        whole = _convert(picture, picture.width, picture.height, Interpolation.BILINEAR)
        return turn(np.ascontiguousarray(whole[y0:y1, x0:x1]), rotation, is_mirrored)
    # Multiples of 16: every chroma grid starts there, and the fast converter works in such blocks.
    left, top = max(0, x0 - _MARGIN_PX) // 16 * 16, max(0, y0 - _MARGIN_PX) // 16 * 16
    right = min(picture.width, (x1 + _MARGIN_PX + 15) // 16 * 16)
    bottom = min(picture.height, (y1 + _MARGIN_PX + 15) // 16 * 16)
    part = av.VideoFrame(right - left, bottom - top, picture.format.name)
    for source, target in zip(planes, _planes(part) or [], strict=True):
        step_x, step_y = round(picture.width / source.shape[1]), round(picture.height / source.shape[0])
        rows, columns = target.shape[:2]
        target[:] = source[top // step_y :, left // step_x :][:rows, :columns]
    part.color_range = picture.color_range
    known = picture.colorspace != _UNSPECIFIED
    part.colorspace = picture.colorspace if known else (1 if picture.height >= HD_LINES else 5)
    array = _convert(part, part.width, part.height, Interpolation.BILINEAR)
    return turn(np.ascontiguousarray(array[y0 - top : y1 - top, x0 - left : x1 - left]), rotation, is_mirrored)


def _planes(picture: Any) -> list[npt.NDArray[Any]] | None:
    """Views of a planar YUV or grey frame's planes, (rows, columns); None for any other format."""
    form = picture.format
    is_packed = not form.is_planar and len(form.components) > 1
    if is_packed or form.is_rgb or form.has_palette or form.is_bit_stream:
        return None
    bits = form.components[0].bits
    kind = np.dtype(np.uint8 if bits == 8 else ">u2" if form.is_big_endian else "<u2")
    if len(picture.planes) != len(form.components):  # NV12 keeps both chroma parts in one plane
        return None
    views = []
    for plane in picture.planes:
        rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
        views.append(rows[:, : plane.width])
    return views


def luma_thumb(
    picture: Any,
    rotation: int,
    is_mirrored: bool = False,
    sides_px: tuple[int, int] = THUMB_SIDES_PX,
    samples: int = 4,
) -> Picture:
    """A grey picture, 64 x 36 or, upright, 36 x 64, from every few luma samples; `sides_px`: of another size.

    So many `samples` a side are averaged over, or a few more.
    """
    sides = sides_px if picture.width >= picture.height else sides_px[::-1]
    planes = _planes(picture)
    if planes is None:
        grey = cv2.cvtColor(_convert(picture, *sides, Interpolation.AREA), cv2.COLOR_RGB2GRAY)
        return turn(grey, rotation, is_mirrored)
    luma = planes[0]
    # Four samples a side are enough to average over; skipping the rest cuts 0.76 ms to 0.1 ms at 1080p.
    step_y, step_x = (max(1, have // (want * samples)) for have, want in zip(luma.shape, sides[::-1], strict=True))
    few = np.ascontiguousarray(luma[::step_y, ::step_x])
    bits = picture.format.components[0].bits
    grey = few if bits == 8 else (few >> (bits - 8)).astype(np.uint8)
    return turn(cv2.resize(grey, sides, interpolation=cv2.INTER_AREA), rotation, is_mirrored)
