"""What cameras, sites and messengers do to a picture: sizes, blur, noise, colours, JPEG, H.264.

Real and fake get the same kinds of damage, so that no source is known by its quality. One draw serves
one picture, a real and its fake, or all frames of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np

INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def to_levels(values: np.ndarray) -> np.ndarray:
    """Values of any size as uint8, rounded and cut to 0..255."""
    return np.asarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))


def jpeg_round_trip(picture_HWC: np.ndarray, quality: int, full_colour: bool = False) -> np.ndarray:
    """The picture (uint8 RGB) written as JPEG and read again; `full_colour`: 4:4:4 instead of 4:2:0."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_colour else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    done, data = cv2.imencode(".jpg", picture_HWC[..., ::-1], options)
    assert done, "OpenCV writes every uint8 picture"
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture is not None, "OpenCV reads what it wrote"
    return np.ascontiguousarray(picture[..., ::-1])


@dataclass(frozen=True)
class Levels:
    """Brightness, contrast and colour cast brought to drawn values, whatever the source's were.

    Mean and spread of the luma in levels, means of Cr and Cb away from grey.
    """

    luma_mean: float
    luma_std: float
    red: float
    blue: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """Drawn from what faces in photos and videos have."""
        mean, spread, red, blue = rng.uniform([80, 32, 0, -22], [165, 68, 24, 2]).tolist()
        return cls(mean, spread, red, blue)

    def __call__(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The picture (uint8 RGB) with these levels, measured on its middle."""
        ycc = cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2YCrCb).astype(np.float32)
        height, width = picture_HWC.shape[:2]
        middle = ycc[height // 4 : -(height // 4), width // 4 : -(width // 4)]
        mean, std = middle.mean((0, 1)), float(middle[..., 0].std())
        gain = float(np.clip(self.luma_std / max(std, 1.0), 0.5, 2.0))
        ycc[..., 0] = (ycc[..., 0] - mean[0]) * gain + self.luma_mean
        ycc[..., 1] += 128 + self.red - mean[1]
        ycc[..., 2] += 128 + self.blue - mean[2]
        return np.asarray(cv2.cvtColor(to_levels(ycc), cv2.COLOR_YCrCb2RGB))


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """One draw of damage; the steps without a value are left out."""

    scale: float = 1.0
    interpolations: tuple[int, int] = (cv2.INTER_AREA, cv2.INTER_CUBIC)
    blur_sigma: float | None = None
    sharpen: float | None = None
    noise_std: float | None = None
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    saturation: float = 1.0
    crf: int | None = None
    jpeg_quality: tuple[int, ...] = ()
    noise_seed: int = 0
    steps: int = field(default=1)  # frames that go before a lone picture in its H.264 stream

    @classmethod
    def draw(cls, rng: np.random.Generator, h264: bool = True, strength: float = 1.0) -> Self:
        """A draw from light to heavy; `strength` 0 is nearly none, `h264` False leaves the codec out."""

        def chance(p: float) -> bool:
            return bool(rng.random() < p * strength)

        scale = float(np.exp(rng.uniform(np.log(0.4), 0))) if chance(0.6) else 1.0
        interpolations = (INTERPOLATIONS[int(rng.integers(4))], INTERPOLATIONS[int(rng.integers(4))])
        blur = float(rng.uniform(0.3, 1.6)) if chance(0.25) else None
        sharpen = float(rng.uniform(0.2, 0.8)) if chance(0.15) else None
        noise = float(rng.uniform(1, 9)) if chance(0.25) else None
        red, green, blue = np.exp(rng.uniform(-0.08, 0.08, 3) * strength).tolist()
        light = float(np.exp(rng.uniform(-0.15, 0.15) * strength))
        gamma = float(np.exp(rng.uniform(-0.25, 0.25))) if chance(0.4) else 1.0
        saturation = float(rng.uniform(0.6, 1.3)) if chance(0.4) else 1.0
        crf = int(rng.integers(16, 36)) if h264 and chance(0.55) else None
        qualities = [int(rng.integers(35, 98)) for _ in range(2) if chance(0.35)]
        return cls(
            scale=scale,
            interpolations=interpolations,
            blur_sigma=blur,
            sharpen=sharpen,
            noise_std=noise,
            gain=(red * light, green * light, blue * light),
            gamma=gamma,
            saturation=saturation,
            crf=crf,
            jpeg_quality=tuple(qualities),
            noise_seed=int(rng.integers(2**31)),
            steps=int(rng.integers(0, 3)),
        )

    def __call__(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Frames of one clip (HWC uint8 RGB of one size), damaged; they come back at their size."""
        noises = np.random.default_rng(self.noise_seed)
        height, width = frames[0].shape[:2]
        small = (max(round(width * self.scale), 24), max(round(height * self.scale), 24))
        changed = [self._changed(frame, small, noises) for frame in frames]
        if self.crf is not None:
            # Here, not above: machines that only learn from a pack need not have PyAV.
            from deepfake.media.clips import h264_round_trip

            if len(changed) == 1 and self.steps:
                # A lone picture as part of a video: what is predicted from its neighbours looks unlike a keyframe.
                drift = [np.roll(changed[0], step, 1) for step in range(self.steps, 0, -1)]
                changed = h264_round_trip([*drift, changed[0]], self.crf, first=len(drift))
            else:
                changed = h264_round_trip(changed, self.crf)
        for quality in self.jpeg_quality:
            changed = [jpeg_round_trip(frame, quality) for frame in changed]
        if small == (width, height):
            return changed
        return [
            np.asarray(cv2.resize(frame, (width, height), interpolation=self.interpolations[1])) for frame in changed
        ]

    def _changed(self, frame_HWC: np.ndarray, small: tuple[int, int], noises: np.random.Generator) -> np.ndarray:
        if frame_HWC.shape[1::-1] != small:
            frame_HWC = cv2.resize(frame_HWC, small, interpolation=self.interpolations[0])
        if self.blur_sigma is not None:
            frame_HWC = cv2.GaussianBlur(frame_HWC, (0, 0), self.blur_sigma)
        if self.sharpen is not None:
            blurred = cv2.GaussianBlur(frame_HWC, (0, 0), 1.2)
            frame_HWC = cv2.addWeighted(frame_HWC, 1 + self.sharpen, blurred, -self.sharpen, 0)
        if self.gain != (1.0, 1.0, 1.0) or self.gamma != 1.0:
            levels = 255 * (np.arange(256, dtype=np.float32) / 255) ** self.gamma
            table = to_levels(levels[:, None] * np.array(self.gain, np.float32))
            frame_HWC = cv2.LUT(frame_HWC, table[:, None, :])
        if self.saturation != 1.0:
            grey = cv2.cvtColor(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            frame_HWC = cv2.addWeighted(frame_HWC, self.saturation, grey, 1 - self.saturation, 0)
        if self.noise_std is not None:
            noise = noises.standard_normal(frame_HWC.shape, np.float32)
            frame_HWC = to_levels(frame_HWC + self.noise_std * noise)
        return np.asarray(frame_HWC)
