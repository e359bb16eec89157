"""Traces of a file's history in its coding: how it was made, and where it may have been put together.

Signs of the group `coding`: each is a number that grows with the trace (`measure`), a threshold, and a sentence.
Thresholds were chosen on one half of labelled clips by `python -m lab traces`, which prints how often each is wrong on
the other half; a trace that was wrong on more than 5 % of clips that nobody edited is not here.
To add one, give `measure` its number and `TRACES` its line. Letters: N frames, H rows, W columns, K pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from deepfake.detector.check import Sign
from deepfake.evidence.signs import Curve, Examined, Found, Part
from deepfake.media.coded import Coded, Picture, Samples, read_coded, read_pictures

N_PICTURES, MOST_DECODED_PX = 12, 32_000_000  # half of them or less are decoded where there are B frames
LEAST_QUANTISERS = 16  # of P frames, to call them constant
LEAST_PX = 96  # of a side, for what repeats along it
LEAST_PICTURES = 4  # of a shot, for what is looked for shot by shot
SOUND_HZ = 16_000
LANE = "How it is coded"
# Their filters across blocks are not the same on both sides: what an earlier grid leaves cannot be told from it.
_ONE_SIDED = {"vp8", "vp9", "av1"}
Floats = npt.NDArray[np.float64]
Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Trace:
    """How strongly a trace is there, and where; None where it could not be looked for."""

    value: float | None = None
    from_s: float | None = None
    to_s: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Kind:
    """A trace that is told from `threshold` on: in which words (with {detail}, {at}), and what it cannot tell.

    `wrong`: of so many clips that nobody edited, and that chose no threshold, it was told.
    """

    threshold: float
    words: str
    about: str
    wrong: str


TRACES: Mapping[str, Kind] = {
    "settings_change": Kind(
        1.0,
        "The settings of the coding change within the file, first {at} ({detail}): parts of different files were put "
        "together without coding them anew, or it is a recording of a broadcast.",
        "It does not say what was put together, nor that anything was forged.",
        "0 of 169",
    ),
    "constant_quantiser": Kind(
        0.99,
        "All frames of a kind are coded with one quantiser ({detail}): a program was told to, as neither cameras nor "
        "platforms are.",
        "It says that a program made the file, nothing of what was done before.",
        "0 of 122",
    ),
    "noise_change": Kind(
        0.66,
        "The picture's noise changes {at}, by a factor of {detail}: both parts were hardly recorded or treated alike.",
        "Another camera, light or filter after a cut does the same.",
        "0 of 169",
    ),
    "borders_change": Kind(
        0.04,
        "Black borders come or go {at}: material of another shape was put together.",
        "Montages in all honesty have them as well.",
        "0 of 169",
    ),
    "earlier_grid": Kind(
        6.9,
        "The blocks of an earlier coding lie {detail} beside those of the present one: the picture was coded, cropped "
        "or moved, and coded again.",
        "Cropping is no forgery. It is missed where the picture was scaled as well, or coded strongly.",
        "1 of 127",
    ),
    "enlarged": Kind(
        4.9,
        "Its sharpness repeats every {detail}: the picture was made larger, or scaled unevenly, before it was coded.",
        "Phones and editors enlarge, too. Enlarging to exactly twice the size is missed, and so is making smaller.",
        "1 of 169",
    ),
    "sound_band_change": Kind(
        9.0,
        "The sound's high frequencies change {at}, by {detail} in its pauses: both parts were hardly recorded alike.",
        "Music, another speaker or another room do the same.",
        "0 of 9",
    ),
}
# Measured by `lab traces`, and told of nobody: 9 plain clips cannot say how often it would be wrong.
NOT_TOLD = ("sound_band_change",)


def find(examined: Examined) -> Found:
    """Traces of a checked video, and how it is coded over time."""
    check = examined.check
    stream = next((one.stream for one in check.streams if one.is_looked_at), None)
    coded = read_coded(examined.path, check.video.first_frame_s if check.video is not None else 0.0, stream)
    pictures = read_pictures(examined.path, coded, N_PICTURES, MOST_DECODED_PX)
    shots = [(shot.from_s, shot.to_s) for shot in check.shots if stream is None or shot.stream == stream]
    found = measure(coded, pictures, Samples(np.zeros(0, np.float32)), shots)
    traces = {name: trace for name, trace in found.items() if name not in NOT_TOLD}
    signs = [_sign(name, trace) for name, trace in traces.items() if is_told(name, trace)]
    looked = sum(trace.value is not None for trace in traces.values())
    if not signs:
        words = f"None of the {looked} traces of editing that could be looked for was found."
        signs = [Sign(kind="coding.none_found", finding=words, strength=0.0, from_s=None, to_s=None, about=_NOT_FOUND)]
    parts = [
        Part(LANE, sign.from_s, sign.to_s, sign.finding.partition(":")[0])
        for sign in signs
        if sign.from_s is not None and sign.to_s is not None
    ]
    return Found(tuple(signs), (_curve(coded),), tuple(parts))


_NOT_FOUND = "Most editing leaves none of them, and coding anew wipes them out."


def is_told(name: str, trace: Trace) -> bool:
    """Whether a trace is strong enough to be told."""
    return trace.value is not None and trace.value >= TRACES[name].threshold


def _sign(name: str, trace: Trace) -> Sign:
    kind, value = TRACES[name], trace.value or 0.0
    at = f"{trace.from_s:.1f} s in" if trace.from_s is not None else "somewhere"
    return Sign(
        kind=f"coding.{name}",
        finding=kind.words.format(detail=trace.detail, at=at),
        strength=float(np.clip(value / kind.threshold / 2, 0.5, 1.0)),
        from_s=trace.from_s,
        to_s=trace.to_s,
        about=f"{kind.about} It was told of {kind.wrong} clips that nobody edited.",
    )


def _curve(coded: Coded) -> Curve:
    if np.isfinite(coded.quantisers_N).any():
        return Curve(LANE, "quantiser (coarser above)", coded.times_s_N, coded.quantisers_N, 0.0, 51.0)
    kilobytes = coded.n_bytes_N / 1000
    return Curve(LANE, "kB a frame", coded.times_s_N, kilobytes, 0.0, float(max(kilobytes.max(), 0.001)))


def measure(coded: Coded, pictures: Sequence[Picture], sound: Samples, shots: Spans = ()) -> dict[str, Trace]:
    """Every trace by its name, looked for in the whole file or shot by shot."""
    return {
        "settings_change": changed_settings(coded),
        "constant_quantiser": constant_quantiser(coded),
        "noise_change": changed_noise(pictures),
        "borders_change": changed_borders(pictures),
        "earlier_grid": Trace() if coded.codec in _ONE_SIDED else _by_shot(earlier_grid, pictures, shots),
        "enlarged": _by_shot(enlarged, pictures, shots),
        "sound_band_change": _later(sound_band(sound.samples_N), sound.start_s + coded.origin_s),
    }


def _later(trace: Trace, by_s: float) -> Trace:
    """The trace of sound at the times of the picture."""
    if trace.from_s is None or trace.to_s is None:
        return trace
    return replace(trace, from_s=max(trace.from_s + by_s, 0.0), to_s=max(trace.to_s + by_s, 0.0))


def _by_shot(look: Callable[[Sequence[Picture]], Trace], pictures: Sequence[Picture], shots: Spans) -> Trace:
    """The strongest trace of any shot with enough pictures; of the whole file where there is one shot, or none such."""
    inside = [[one for one in pictures if from_s <= one.time_s <= to_s] for from_s, to_s in shots]
    enough = [(span, some) for span, some in zip(shots, inside, strict=True) if len(some) >= LEAST_PICTURES]
    if len(shots) < 2 or not enough:
        return look(pictures)
    found = [replace(look(some), from_s=from_s, to_s=to_s) for (from_s, to_s), some in enough]
    return max(found, key=lambda trace: -1.0 if trace.value is None else trace.value)


def constant_quantiser(coded: Coded) -> Trace:
    """The share of P frames that have the quantiser which most of them have."""
    values = coded.quantisers_N[(coded.kinds_N == "P") & np.isfinite(coded.quantisers_N)].astype(int)
    if len(values) < LEAST_QUANTISERS:
        return Trace()
    return Trace(float(np.bincount(values).max()) / len(values), detail=str(np.bincount(values).argmax()))


def changed_settings(coded: Coded) -> Trace:
    """The number of places at which parameters of the coding change."""
    times_s = sorted({time for time, _ in coded.changes})
    if not times_s:
        return Trace(0.0)
    words = ", ".join(dict.fromkeys(words for _, words in coded.changes))
    return Trace(float(len(times_s)), times_s[0], float(coded.times_s_N[-1]), words)


def earlier_grid(pictures: Sequence[Picture]) -> Trace:
    """Significance of a grid of 8 px that lies beside that of the present coding; `detail` says by how many pixels.

    The present coding leaves the same on both sides of its own grid (its filter smooths as far as 3 px): what counts is
    by how much an offset differs from its mirror image.
    """
    if not pictures:
        return Trace()
    found = []
    for axis in (0, 1):
        profile = np.mean([_peaks(picture.luma_HW, axis) for picture in pictures], axis=0)
        if len(profile) < LEAST_PX:
            return Trace()
        found.append(_beside_grid(profile))
    value = math.hypot(*(max(score, 0.0) for score, _ in found))
    return Trace(value, detail=f"{found[0][1]} px across and {found[1][1]} px down")


def _peaks(luma_HW: npt.NDArray[np.uint8], axis: int) -> Floats:
    """How often the step to the next column (`axis` 1: row) is larger than those beside it, step by step."""
    lines = luma_HW if axis == 0 else np.ascontiguousarray(luma_HW.T)
    steps = cv2.absdiff(lines[::2, 1:], lines[::2, :-1])
    peaks = np.zeros(steps.shape[1])
    peaks[1:-1] = ((steps[:, 1:-1] > steps[:, :-2]) & (steps[:, 1:-1] > steps[:, 2:])).mean(axis=0)
    return peaks


def _beside_grid(profile: Floats) -> tuple[float, int]:
    """How significantly the likeliest offset (1..7, not 4) stands out against its mirror image; and which it is."""
    values = profile[8:-8]
    values = values - cv2.blur(values[None], (9, 1), borderType=cv2.BORDER_REFLECT)[0]
    values = np.clip(values, *np.percentile(values, [2, 98]))  # edges of what is shown
    offsets = (np.arange(8, 8 + len(values)) + 1) % 8
    means = np.array([values[offsets == offset].mean() for offset in range(8)])
    spread = float(values.std() / np.sqrt(len(values) / 8)) * np.sqrt(2) or 1.0
    scores = [((means[offset] - means[8 - offset]) / spread, offset) for offset in (1, 2, 3, 5, 6, 7)]
    return max(scores)


def enlarged(pictures: Sequence[Picture]) -> Trace:
    """How far a period stands out in the sharpness of columns and rows, where no coding block repeats."""
    if not pictures:
        return Trace()
    spectra = []
    for axis in (0, 1):
        profile = np.mean([_second(picture.luma_HW, axis) for picture in pictures], axis=0)
        if len(profile) < LEAST_PX:
            return Trace()
        spectra.append(_spectrum(profile))
    both = np.sqrt(spectra[0] * spectra[1])
    place = int(np.argmax(both))
    return Trace(float(both[place]), detail=f"{2 * (len(both) - 1) / max(place, 1):.1f} px")


def _second(luma_HW: npt.NDArray[np.uint8], axis: int) -> Floats:
    values = luma_HW[::2].astype(np.int16) if axis == 0 else luma_HW[:, ::2].T.astype(np.int16)
    second = np.abs(2 * values[:, 1:-1] - values[:, :-2] - values[:, 2:])
    return np.asarray(np.minimum(second, 24).mean(axis=0), np.float64)


_BINS = 256


def _spectrum(profile: Floats) -> Floats:
    """Amplitudes of a profile at _BINS + 1 frequencies up to .5, over their surroundings; 0 at those of blocks."""
    smooth = cv2.blur(profile[None], (31, 1), borderType=cv2.BORDER_REFLECT)[0]
    flat = (profile - smooth) * np.hanning(len(profile))
    amplitudes = np.abs(np.fft.rfft(flat, 8 * _BINS * -(-len(flat) // (8 * _BINS))))
    frequencies = np.linspace(0, 0.5, len(amplitudes))
    usual = cv2.blur(amplitudes[None], (len(amplitudes) // 16 * 2 + 1, 1), borderType=cv2.BORDER_REFLECT)[0]
    ratio = amplitudes / np.maximum(usual, 1e-9)
    blocks = np.abs(frequencies * 16 - np.round(frequencies * 16)) / 16
    ratio[(blocks < 0.006) | (frequencies < 0.07)] = 0
    edges = np.round(np.linspace(0, len(ratio), _BINS + 2)).astype(int)
    return np.maximum.reduceat(ratio, edges[:-1])


def noise_of(luma_HW: npt.NDArray[np.uint8]) -> float:
    """Standard deviation of the noise in the flattest blocks of a picture, by Immerkaer's difference of Laplacians."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    height, width = (side // 16 * 16 for side in luma_HW.shape)
    if height < 64 or width < 64:
        return float("nan")
    inside = luma_HW[:height, :width]
    residual = np.abs(cv2.filter2D(inside, cv2.CV_32F, kernel))
    blocks = cv2.resize(residual, (width // 16, height // 16), interpolation=cv2.INTER_AREA)
    light = cv2.resize(inside, (width // 16, height // 16), interpolation=cv2.INTER_AREA)
    usable = blocks[(light > 24) & (light < 232)]
    if len(usable) < 16:
        return float("nan")
    return float(np.percentile(usable, 25) * np.sqrt(np.pi / 2) / 6)


def changed_noise(pictures: Sequence[Picture]) -> Trace:
    """By what factor (log2) noise differs before and after a moment, less how much it varies otherwise."""
    noise = np.array([noise_of(picture.luma_HW) for picture in pictures])
    times_s = np.array([picture.time_s for picture in pictures])
    is_known = np.isfinite(noise)
    levels, times_s = np.log2(noise[is_known] + 0.15), times_s[is_known]
    found = _split(levels, times_s, 3)
    return replace(found, detail=f"{2 ** (found.value or 0):.1f} or more")


def _split(levels: Floats, times_s: Floats, least: int) -> Trace:
    """The split at which two parts differ most, less their ranges."""
    best = Trace(0.0) if len(levels) >= 2 * least else Trace()
    for place in range(least, len(levels) - least + 1):
        before, after = levels[:place], levels[place:]
        gap = max(after.min() - before.max(), before.min() - after.max())
        if best.value is not None and gap > best.value:
            best = Trace(float(gap), float(times_s[place]), float(times_s[-1]))
    return best


def borders_of(luma_HW: npt.NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Black borders as shares of the side: top, bottom, left, right."""
    height, width = luma_HW.shape
    found = []
    for lines, side in ((luma_HW, height), (luma_HW[::-1], height), (luma_HW.T, width), (luma_HW.T[::-1], width)):
        part = lines[: side // 3, ::4]
        black = (part > 28).mean(axis=1) <= 0.02
        dark = lines[: int(np.argmin(black)) if not black.all() else len(black), ::4]
        black[: len(dark)] &= dark.std(axis=1) < 3
        found.append(float(np.argmin(black) if not black.all() else len(black)) / side)
    return found[0], found[1], found[2], found[3]


def changed_borders(pictures: Sequence[Picture]) -> Trace:
    """The share of a side by which black borders grow or shrink, on both sides alike, and then stay."""
    shown = [picture for picture in pictures if picture.luma_HW.mean() > 30]
    if len(shown) < 4:
        return Trace()
    sides = np.array([borders_of(picture.luma_HW) for picture in shown])
    both = np.stack([sides[:, :2].min(axis=1), sides[:, 2:].min(axis=1)], axis=1)
    best = Trace(0.0)
    times_s = np.array([picture.time_s for picture in shown])
    for axis in (0, 1):
        found = _split(both[:, axis], times_s, 2)
        if found.value is not None and best.value is not None and found.value > best.value:
            best = found
    return best


def sound_band(samples: npt.NDArray[np.float32]) -> Trace:
    """By how many dB the share of high frequencies differs before and after a moment."""
    frame = 512
    n = len(samples) // frame
    if n < 64:
        return Trace()
    blocks = samples[: n * frame].reshape(n, frame) * np.hanning(frame).astype(np.float32)
    power = np.abs(np.fft.rfft(blocks, axis=1)) ** 2 + 1e-12
    window = 16
    k = n // window
    power = power[: k * window].reshape(k, window, -1)
    # The quietest third of each second: the room, not the word.
    total = power.sum(axis=2)
    order = np.argsort(total, axis=1)[:, : window // 3]
    quiet = np.take_along_axis(power, order[:, :, None], axis=1).mean(axis=1)
    high, low = quiet[:, 160:230].mean(axis=1), quiet[:, 8:64].mean(axis=1)
    found = _split(10 * np.log10(high / low), np.arange(k) * window * frame / SOUND_HZ, 2)
    return replace(found, detail=f"{found.value or 0:.0f} dB or more")
