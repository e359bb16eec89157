"""Named damage of whole videos in rising levels, after DeeperForensics' scheme: frames in, frames out.

Levels are in pixels and grey levels of the full frame. To add a kind, give it a line in `KINDS`. What is left
to the codec (h264) comes back unchanged: whoever writes the frames sets its level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from deepfake.errors import UserError
from deepfake.forging.damage import jpeg_round_trip

MIN_SIDE_PX = 16  # x264's smallest macroblock
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def scaled(frame_HWC: np.ndarray, ratio: float, _: np.random.Generator) -> np.ndarray:
    """The frame made smaller by area means; it stays small."""
    sides = [max(round(side * ratio), MIN_SIDE_PX) for side in frame_HWC.shape[1::-1]]
    return np.asarray(cv2.resize(frame_HWC, sides, interpolation=cv2.INTER_AREA))


def blurred(frame_HWC: np.ndarray, kernel_px: float, _: np.random.Generator) -> np.ndarray:
    """A Gaussian of that kernel (odd), a sixth of it as its deviation."""
    return np.asarray(cv2.GaussianBlur(frame_HWC, (int(kernel_px), int(kernel_px)), kernel_px / 6))


def noisy(frame_HWC: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of that variance (of values 0 to 1) on luma and on both colour differences."""
    noise = rng.standard_normal(frame_HWC.shape, np.float32) * np.float32(255 * variance**0.5)
    apart = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2YCrCb)
    return np.asarray(cv2.cvtColor(np.clip(apart + noise + 0.5, 0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB))


def darkened(frame_HWC: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    """All values times the factor."""
    return np.asarray(cv2.convertScaleAbs(frame_HWC, alpha=factor))


def flattened(frame_HWC: np.ndarray, factor: float, _: np.random.Generator) -> np.ndarray:
    """The distance from middle grey times the factor."""
    return np.asarray(cv2.convertScaleAbs(frame_HWC, alpha=factor, beta=128 * (1 - factor)))


def grey(frame_HWC: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """Luma alone, as a black and white version has it."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def gamma(frame_HWC: np.ndarray, power: float, _: np.random.Generator) -> np.ndarray:
    """Values of 0 to 1 to that power: above 1 is darker."""
    table = (255 * (np.arange(256) / 255) ** power + 0.5).astype(np.uint8)
    return np.asarray(table[frame_HWC])


def mirrored(frame_HWC: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """Left and right exchanged."""
    return np.ascontiguousarray(frame_HWC[:, ::-1])


def cropped(frame_HWC: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    """So large a share of the width and of the height cut off, half of it at either side."""
    height, width = (round(side * share / 2) for side in frame_HWC.shape[:2])
    return np.ascontiguousarray(frame_HWC[height or None : -height or None, width or None : -width or None])


@dataclass(frozen=True)
class Kind:
    """One kind of damage: its levels from light to heavy, what may be asked for, what a frame becomes.

    `harmless`: nobody would call it damage; it is measured by `stability`, or where it is named.
    """

    meaning: str
    levels: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None  # levels are low, low + step, ...; None: any value
    change: Change | None = None
    harmless: bool = False


KINDS: Mapping[str, Kind] = {
    "original": Kind("the file as it is, whole"),
    "none": Kind("the beginning, written as all below are"),
    "jpeg": Kind(
        meaning="JPEG quality of each frame",
        levels=(100, 80, 60, 40, 20, 10),
        low=1,
        high=100,
        step=1,
        change=lambda frame, quality, _: jpeg_round_trip(frame, int(quality)),
    ),
    "h264": Kind("x264's CRF", (23, 28, 32, 36, 40), 0, 51, 1),
    "scale": Kind(meaning="size times", levels=(0.75, 0.5, 0.33, 0.25), low=0.05, high=1, step=None, change=scaled),
    "blur": Kind(meaning="Gaussian kernel in px", levels=(7, 9, 13, 17, 21), low=1, high=99, step=2, change=blurred),
    "noise": Kind(
        meaning="variance of white noise",
        levels=(0.001, 0.002, 0.005, 0.01, 0.05),
        low=0,
        high=1,
        step=None,
        change=noisy,
    ),
    "fps": Kind("one frame in", (2, 4, 8), 1, 1000, 1),
    "cut": Kind("frames left, from the first", (16, 4, 2, 1), 1, 100_000, 1),
    "brightness": Kind(
        meaning="values times", levels=(0.85, 0.725, 0.6, 0.475, 0.35), low=0, high=4, step=None, change=darkened
    ),
    "contrast": Kind(
        meaning="distance from grey times",
        levels=(0.85, 0.725, 0.6, 0.475, 0.35),
        low=0,
        high=1,
        step=None,
        change=flattened,
    ),
    "grey": Kind("colours taken away", (1,), low=1, high=1, step=1, change=grey, harmless=True),
    "gamma": Kind("values to the power", (0.8, 1.25), low=0.1, high=10, change=gamma, harmless=True),
    "mirror": Kind("left and right exchanged", (1,), low=1, high=1, step=1, change=mirrored, harmless=True),
    "crop": Kind("share cut off at the edges", (0.02,), low=0, high=0.9, change=cropped, harmless=True),
}
ALWAYS = ("original", "none")  # what the others are compared with


@dataclass(frozen=True)
class Distortion:
    """A kind at one of its levels; None where the kind has none."""

    kind: str
    level: float | None = None

    @property
    def name(self) -> str:
        """Such as `jpeg 40`."""
        return self.kind if self.level is None else f"{self.kind} {self.level:g}"

    @property
    def slowdown(self) -> int:
        """One frame in so many is kept."""
        return int(self.level) if self.kind == "fps" and self.level else 1

    def apply(self, frames: Iterable[np.ndarray], seed: int) -> Iterator[np.ndarray]:
        """Damaged copies of frames (HWC uint8 RGB); `seed` is of the noise, which differs from frame to frame."""
        rng = np.random.default_rng(seed)
        change = KINDS[self.kind].change
        n_kept = int(self.level) if self.kind == "cut" and self.level else None
        for frame_HWC in islice(frames, 0, n_kept, self.slowdown):
            yield frame_HWC if change is None else change(frame_HWC, self.level or 0.0, rng)


def choose(kinds: Iterable[str] = (), levels: Iterable[str] = ()) -> list[Distortion]:
    """What to measure: `original`, `none`, then each level of the kinds (none named: all).

    `levels` are texts such as `jpeg=70,30` that replace a kind's own levels and name the kind, too.
    """
    named = [_known(kind, "--kinds") for kind in kinds]
    given = [(_known(text.partition("=")[0], "--levels"), text.partition("=")[2]) for text in levels]
    names = (
        named
        or [kind for kind, _ in given]
        or [kind for kind in KINDS if kind not in ALWAYS and not KINDS[kind].harmless]
    )
    wanted = {kind: KINDS[kind].levels for kind in names}
    for kind, values in given:
        wanted[kind] = tuple(dict.fromkeys(_level(kind, value) for value in values.split(",")))
    chosen = [Distortion(kind, level) for kind in KINDS if kind in wanted for level in wanted[kind]]
    return [*map(Distortion, ALWAYS), *chosen]


def _known(text: str, flag: str) -> str:
    name = text.strip()
    known = [kind for kind in KINDS if kind not in ALWAYS]
    if name not in known:
        raise UserError(
            f"{flag}: found {name!r}, wanted of {', '.join(known)} ({' and '.join(ALWAYS)} always come along)"
        )
    return name


def _level(kind: str, text: str) -> float:
    limits = KINDS[kind]
    try:
        level = float(text)
    except ValueError:
        level = float("nan")
    is_step = limits.step is None or (level - limits.low) % limits.step == 0
    if not (limits.low <= level <= limits.high and is_step):
        steps = f" in steps of {limits.step:g}" if limits.step else ""
        raise UserError(
            f"--levels {kind}: found {text!r}, wanted {limits.meaning}: {limits.low:g} to {limits.high:g}{steps}, "
            f"such as {kind}={','.join(f'{value:g}' for value in limits.levels)}"
        )
    return level
