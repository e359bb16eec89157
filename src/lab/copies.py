"""How well copies are found: clips changed in known ways, asked of an index that holds their originals.

Letters: H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake.media.clips import write_clip
from deepfake.media.video import sample

FPS = 25.0
SIDE_PX = 640  # of the sources' longer side, at most: x264 has half of the work of this measurement
CRF = 28
EXCERPT_S, AROUND_S = 2.0, 10.0
PIECE_S = 2.5  # of each of two spliced excerpts
Frames = list[np.ndarray]
Span = tuple[str, float, float, float, float]  # the original, its seconds from and to, the copy's


@dataclass(frozen=True)
class Copy:
    """A changed clip and what is to be found: for each piece the original, its seconds, and the copy's."""

    change: str
    path: Path
    spans: tuple[Span, ...]


def read_frames(path: Path) -> Frames:
    """All frames of a clip at FPS, no side longer than SIDE_PX, with even sides."""
    with sample(path, "fps", sample_fps=FPS) as sampled:
        return [_even(frame.small_rgb(SIDE_PX)) for frame in sampled]


def _even(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in frame_HWC.shape[:2])
    return np.ascontiguousarray(frame_HWC[:height, :width])


def _resized(frame_HWC: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    size = (width_px // 2 * 2, height_px // 2 * 2)
    return np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA))


def _at_360p(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    ratio = 360 / height if height > 360 else 0.5
    return _resized(frame_HWC, round(height * ratio), round(width * ratio))


def _cropped(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    top, left = round(height * 0.05), round(width * 0.05)
    return _even(frame_HWC[top : height - top, left : width - left])


def _cropped_aside(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = frame_HWC.shape[:2]
    return _even(frame_HWC[round(height * 0.1) :, round(width * 0.1) :])


def _letterboxed(frame_HWC: np.ndarray) -> np.ndarray:
    rows = round(frame_HWC.shape[0] * 0.16)
    return _even(cv2.copyMakeBorder(frame_HWC, rows, rows, 0, 0, cv2.BORDER_CONSTANT))


def _pillarboxed(frame_HWC: np.ndarray) -> np.ndarray:
    columns = round(frame_HWC.shape[1] * 0.17)
    return _even(cv2.copyMakeBorder(frame_HWC, 0, 0, columns, columns, cv2.BORDER_CONSTANT))


def _mirrored(frame_HWC: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frame_HWC[:, ::-1])


def _captioned(frame_HWC: np.ndarray) -> np.ndarray:
    shown = frame_HWC.copy()
    height, width = shown.shape[:2]
    logo = max(height, width) // 9
    cv2.rectangle(shown, (width - logo - 8, 8), (width - 8, 8 + logo), (200, 20, 30), -1)
    cv2.circle(shown, (width - 8 - logo // 2, 8 + logo // 2), logo // 3, (250, 250, 250), -1)
    top = round(height * 0.84)
    shown[top:] //= 3
    scale = width / 420
    cv2.putText(shown, "BREAKING: as seen on TV", (width // 20, top + height // 9), 0, scale, (255, 255, 255), 2)
    return shown


def _graded(frame_HWC: np.ndarray) -> np.ndarray:
    value = (frame_HWC.astype(np.float32) / 255) ** 0.8
    grey = value.mean(axis=2, keepdims=True)
    value = (grey + 1.3 * (value - grey) - 0.5) * 1.2 + 0.5
    value *= np.array([1.08, 1.0, 0.86], np.float32)
    return (np.clip(value, 0, 1) * 255).astype(np.uint8)


def _same(frame_HWC: np.ndarray) -> np.ndarray:
    return frame_HWC


# Changes of each frame; those of time are in `copies_of`.
OF_FRAMES: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "re-encode": (_same, 36),
    "360p": (_at_360p, CRF),
    "crop 10 %": (_cropped, CRF),
    "crop 10 % at one corner": (_cropped_aside, CRF),
    "letterbox": (_letterboxed, CRF),
    "pillarbox": (_pillarboxed, CRF),
    "mirror": (_mirrored, CRF),
    "logo and caption": (_captioned, CRF),
    "colour grading": (_graded, CRF),
}
OF_TIME = ("speed 1.1x", "excerpt of 2 s in 10 s", "two excerpts spliced")
CHANGES = (*OF_FRAMES, *OF_TIME)


def copies_of(name: str, frames: Frames, other: tuple[str, Frames], filler: Frames, folder: Path) -> Iterator[Copy]:
    """A clip changed in every way of CHANGES; `other` is spliced to it, `filler` stands around its excerpt.

    Each begins some frames later than the original, so that no grid of time fits both.
    """
    rng = np.random.default_rng(int.from_bytes(name.encode(), "big") % 2**32)
    for change, (changed, crf) in OF_FRAMES.items():
        first = int(rng.integers(1, 8))
        path = _write(folder / change / name, [changed(frame) for frame in frames[first:]], crf)
        yield Copy(change, path, ((name, first / FPS, len(frames) / FPS, 0.0, (len(frames) - first) / FPS),))
    first = int(rng.integers(1, 8))
    quick = frames[first:]
    places = np.arange(int(len(quick) / 1.1)) * 1.1
    path = _write(folder / OF_TIME[0] / name, [quick[int(place)] for place in places], CRF)
    yield Copy(OF_TIME[0], path, ((name, first / FPS, len(frames) / FPS, 0.0, len(places) / FPS),))
    yield _excerpt(name, frames, filler, folder, rng)
    yield _spliced(name, frames, other, folder, rng)


def _piece(frames: Frames, seconds: float, rng: np.random.Generator) -> tuple[int, int]:
    length = min(round(seconds * FPS), len(frames))
    first = int(rng.integers(0, len(frames) - length + 1))
    return first, first + length


def _excerpt(name: str, frames: Frames, filler: Frames, folder: Path, rng: np.random.Generator) -> Copy:
    first, end = _piece(frames, EXCERPT_S, rng)
    height, width = frames[0].shape[:2]
    around = [_resized(filler[i % len(filler)], height, width) for i in range(round((AROUND_S - EXCERPT_S) * FPS))]
    at = int(rng.integers(0, len(around) + 1))
    path = _write(folder / OF_TIME[1] / name, [*around[:at], *frames[first:end], *around[at:]], CRF)
    return Copy(OF_TIME[1], path, ((name, first / FPS, end / FPS, at / FPS, (at + end - first) / FPS),))


def _spliced(name: str, frames: Frames, other: tuple[str, Frames], folder: Path, rng: np.random.Generator) -> Copy:
    first, end = _piece(frames, PIECE_S, rng)
    second, second_end = _piece(other[1], PIECE_S, rng)
    height, width = frames[0].shape[:2]
    shown = [*frames[first:end], *(_resized(frame, height, width) for frame in other[1][second:second_end])]
    path = _write(folder / OF_TIME[2] / name, shown, CRF)
    joint = (end - first) / FPS
    return Copy(
        OF_TIME[2],
        path,
        (
            (name, first / FPS, end / FPS, 0.0, joint),
            (other[0], second / FPS, second_end / FPS, joint, len(shown) / FPS),
        ),
    )


def _write(path: Path, frames: Sequence[np.ndarray], crf: int) -> Path:
    path = path.with_suffix(".mp4")
    write_clip(path, frames, FPS, crf=crf, options={"preset": "veryfast"})
    return path
