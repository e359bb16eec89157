"""Clips with sound: a drawn face that opens its mouth by a known curve, and a voice that is loud by a known curve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from scipy.signal import lfilter

from drawn_faces import SKINS, drawn_face, paste

RATE_HZ = 16_000
# The first three formants of vowels in hertz, and for how long one of them is spoken.
VOWELS = np.array([[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410]])
VOWEL_S = 0.22
BLOCK = 64  # samples for which a formant stays where it is
WIDE = 2.5
Curve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Track:
    """One sound track: samples (N,) or (channels, N) at a rate, played from `start_s` on."""

    samples: np.ndarray
    rate_hz: int = RATE_HZ
    start_s: float = 0.0
    layout: str = "mono"
    codec: str = "aac"


def syllables(seed: int) -> Curve:
    """How far open a mouth is at times in seconds, 0..1: three to five bumps a second of uneven height."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.uniform(0.2, 0.34, 400))
    heights = rng.uniform(0.3, 1.0, 400) * (rng.uniform(size=400) > 0.12)

    grid_s = np.arange(-2, 60, 0.005)
    at = (grid_s[:, None] - starts[starts < 60]) / 0.09
    values = np.clip((heights[starts < 60] * np.exp(-(at**2))).sum(axis=-1), 0, 1)

    def opening(times_s: np.ndarray) -> np.ndarray:
        return np.interp(times_s, grid_s, values)

    return opening


def voice(opening: Curve, length_s: float, late_s: float = 0.0, seed: int = 0) -> np.ndarray:
    """Invented speech: pulses of a voice through the formants of vowels, as loud as the mouth is open 80 ms before.

    Hisses fill some of the time between the syllables. The voice activity network takes it for speech.
    """
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    pitch = 130 * (1 + 0.12 * np.sin(2 * np.pi * 0.4 * times_s) + 0.05 * np.sin(2 * np.pi * 2.3 * times_s))
    pulses = (np.diff(np.floor(np.cumsum(pitch / RATE_HZ)), prepend=0) > 0).astype(float)
    source = np.diff(np.convolve(pulses, np.exp(-np.arange(80) / 12))[: len(times_s)], prepend=0)
    source += 0.02 * rng.standard_normal(len(times_s))
    vowels = VOWELS[rng.integers(0, len(VOWELS), int(length_s / VOWEL_S) + 2)]
    at = times_s / VOWEL_S
    share = np.clip((at % 1 - 0.7) / 0.3, 0, 1)[:, None]
    formants = vowels[at.astype(int)] * (1 - share) + vowels[at.astype(int) + 1] * share
    spoken = sum(
        gain * _resonance(source, formants[:, i], width)
        for i, (gain, width) in enumerate(((1, 80), (0.7, 100), (0.4, 140)))
    )
    loud = opening(times_s - 0.08 - late_s) ** 1.2
    hiss = np.diff(rng.standard_normal(len(times_s)), prepend=0) * np.clip(1 - 3 * loud, 0, 1)
    hiss *= np.sin(2 * np.pi * 1.7 * times_s) > 0.3
    return np.asarray(0.5 * spoken * loud / np.abs(spoken * loud).max() + 0.006 * hiss, np.float32)


def _resonance(source: np.ndarray, hertz: np.ndarray, width_hz: float) -> np.ndarray:
    """A sound through one formant that moves."""
    radius = float(np.exp(-np.pi * width_hz / RATE_HZ))
    state, found = np.zeros(2), []
    for start in range(0, len(source), BLOCK):
        turn = 2 * radius * np.cos(2 * np.pi * hertz[start] / RATE_HZ)
        part, state = lfilter([1 - radius], [1, -turn, radius**2], source[start : start + BLOCK], zi=state)
        found.append(part)
    return np.concatenate(found)


def talking(
    openings: Sequence[Curve], length_s: float, fps: int = 25, side_px: int = 140, still: Sequence[int] = ()
) -> Iterable[np.ndarray]:
    """Frames (HWC uint8 RGB) of drawn people side by side whose mouths follow these curves; those of `still` are shut.

    Mouths are drawn wider than the others of these tests: the mesh makes little of flat ones.
    """
    rng = np.random.default_rng(1)
    wall = cv2.resize(rng.uniform(60, 200, (5, 7, 3)).astype(np.float32), (220 * len(openings), 220))
    for i in range(round(length_s * fps)):
        scene = wall + rng.normal(0, 2, wall.shape).astype(np.float32)
        for place, opening in enumerate(openings):
            wide = 0.0 if place in still else WIDE * float(opening(np.array(i / fps)))
            face, mask = drawn_face(side_px, SKINS[(4 * place) % len(SKINS)], wide)
            paste(scene, face, mask, 220 * place + 40 + int(3 * np.sin(i / 9 + place)), 30)
        yield scene.clip(0, 255).astype(np.uint8)


def write_sound_clip(path: Path, frames: Iterable[np.ndarray], fps: int, tracks: Sequence[Track]) -> Path:
    """Encode frames and sound tracks as H.264 and what the tracks name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        assert isinstance(video, av.VideoStream)
        video.pix_fmt, video.options, video.thread_count = "yuv420p", {"crf": "16", "preset": "veryfast"}, 1
        sounds = [container.add_stream(track.codec, rate=track.rate_hz, layout=track.layout) for track in tracks]
        for i, frame_HWC in enumerate(frames):
            if i == 0:
                video.width, video.height = frame_HWC.shape[1], frame_HWC.shape[0]
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), "rgb24")))
        container.mux(video.encode(None))
        for track, stream in zip(tracks, sounds, strict=True):
            assert isinstance(stream, av.AudioStream)
            _mux_sound(container, stream, track)
    return path


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, track: Track) -> None:
    samples = np.atleast_2d(track.samples).astype(np.float32)
    size = 1024
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=track.layout, rate=track.rate_hz)
    for start in range(0, samples.shape[1] - size + 1, size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + size]), "fltp", track.layout)
        frame.sample_rate, frame.time_base = track.rate_hz, Fraction(1, track.rate_hz)
        frame.pts = start + round(track.start_s * track.rate_hz)
        for part in resampler.resample(frame):
            container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def drawn_face_box(place: int, side_px: int = 140) -> tuple[float, float, float, float, tuple[float, ...]]:
    """Box and landmarks of a face of `talking`, but for its sway of three pixels."""
    x, y = 220 * place + 40, 30
    points = ((0.36, 0.44), (0.64, 0.44), (0.5, 0.6), (0.42, 0.76), (0.58, 0.76))
    landmarks = tuple(value for px, py in points for value in (x + px * side_px, y + py * side_px))
    return x + 0.2 * side_px, y + 0.15 * side_px, x + 0.8 * side_px, y + 0.93 * side_px, landmarks
