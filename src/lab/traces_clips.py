"""Clips with a known history: untouched, coded anew as two platforms do, and altered in known ways.

Letters: T frames, H rows, W columns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from deepfake.errors import UserError
from deepfake.media.clips import append_clips, write_clip, write_sound
from deepfake.media.coded import read_samples
from deepfake.media.demux import VideoError
from deepfake.media.video import sample

log = logging.getLogger(__name__)
MOST_FRAMES, MOST_PX = 100, 960  # of what is coded anew: x264 has half of the work of this measurement
FPS = 25.0
FAST = {"preset": "veryfast"}
WHATSAPP = {"profile": "baseline", "b": "1000k", "maxrate": "1200k", "bufsize": "2000k", "crf": "28", **FAST}
VP9 = {"deadline": "realtime", "cpu-used": "8", "b": "500k"}
SOUND_HZ = 16_000
Frames = list[np.ndarray]
UNTOUCHED, WHATSAPP_LIKE, YOUTUBE_LIKE, YOUTUBE_VP9 = "untouched", "WhatsApp-like", "YouTube-like", "YouTube-like VP9"
PLAIN = (UNTOUCHED, WHATSAPP_LIKE, YOUTUBE_LIKE, YOUTUBE_VP9, "sound coded anew")


@dataclass(frozen=True)
class Source:
    """A labelled clip as it was found, and its group: signs are fitted on one half of the groups."""

    path: Path
    group: str
    label: str


@dataclass(frozen=True)
class Made:
    """A clip, what was done to it, and the half that it belongs to (0: thresholds are chosen by it)."""

    path: Path
    change: str
    group: str
    half: int


def choose(clips: Path, labels: Path, n: int) -> tuple[list[Source], list[Source]]:
    """Up to `n` clips to change, three real ones to a forged one, groups in turn; and all, for those with sound.

    Each person once among the real ones, and once among the forged.
    """
    table = pd.read_csv(labels).sort_values("file")
    table = table[~table["file"].str.endswith(".gif")].drop_duplicates(["label", "identity"])
    if table.empty:
        raise UserError(f"traces: {labels} names no clip; wanted columns file, label, identity, source")
    table = table.assign(turn=table.groupby(["label", "source"]).cumcount()).sort_values(["turn", "file"])
    sources = [Source(clips / row.file, str(row.source), str(row.label)) for row in table.itertuples()]
    real = [source for source in sources if source.label == "REAL"]
    forged = [source for source in sources if source.label != "REAL"]
    n_forged = min(n // 4, len(forged))
    chosen = [*real[: n - n_forged], *forged[:n_forged]]
    return chosen, [*chosen, *(source for source in sources if source not in set(chosen))]


def halves(sources: list[Source]) -> dict[str, int]:
    """The half (0 or 1) of each group; the largest group goes to the emptier half."""
    sizes = pd.Series([source.group for source in sources]).value_counts()
    filled, half = [0, 0], {}
    for group in sorted(sizes.index, key=lambda name: (-sizes[name], name)):
        half[group] = int(filled[1] < filled[0])
        filled[half[group]] += int(sizes[group])
    return half


def make(chosen: list[Source], everything: list[Source], folder: Path) -> Iterator[Made]:
    """Every clip of every change; what lies in the folder already is taken as it is."""
    half = halves(everything)
    for number, source in enumerate(everything):
        # The other one is of the same half, so that nothing of one half is seen in the other.
        others = [one for one in chosen if half[one.group] == half[source.group] and one.group != source.group]
        other = others[number % len(others)] if others else source
        within = folder / f"{number:03d}-{source.path.stem}"
        if number < len(chosen):
            yield Made(source.path, UNTOUCHED, source.group, half[source.group])
            yield from _changed(source, other, within, half[source.group])
        yield from _with_other_sound(source, within, half[source.group])


def _changed(source: Source, other: Source, folder: Path, half: int) -> Iterator[Made]:
    folder.mkdir(parents=True, exist_ok=True)
    frames: Frames = []
    rng = np.random.default_rng(int(folder.name[:3]))
    for change, (suffix, write) in CHANGES.items():
        path = folder / f"{change.replace(' ', '-')}{suffix}"
        seed = int(rng.integers(1 << 30))
        if not path.exists():
            frames = frames or read_frames(source.path)
            if len(frames) < MOST_FRAMES // 2:
                return
            write(path, frames, other, np.random.default_rng(seed))
        yield Made(path, change, source.group, half)


def read_frames(path: Path) -> Frames:
    """The first frames of a clip, at FPS, with even sides of at most MOST_PX."""
    with sample(path, "fps", sample_fps=FPS) as sampled:
        return [_even(frame.small_rgb(MOST_PX)) for frame in islice(sampled, MOST_FRAMES)]


def _even(frame_HWC: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in frame_HWC.shape[:2])
    return np.ascontiguousarray(frame_HWC[:height, :width])


def _scaled(frames: Frames, ratio: float, how: int) -> Frames:
    height, width = (round(side * ratio / 2) * 2 for side in frames[0].shape[:2])
    return [np.asarray(cv2.resize(frame, (width, height), interpolation=how)) for frame in frames]


def _to(frames: Frames, like_HWC: np.ndarray) -> Frames:
    """Frames cut to the shape of another's and scaled to its size."""
    height, width = like_HWC.shape[:2]
    fitted = []
    for frame in frames:
        ratio = max(height / frame.shape[0], width / frame.shape[1])
        size = (max(round(frame.shape[1] * ratio), width), max(round(frame.shape[0] * ratio), height))
        fitted.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)[:height, :width])
    return fitted


def _small(frames: Frames, side_px: int, shorter: bool = False) -> Frames:
    side = (min if shorter else max)(frames[0].shape[:2])
    return _scaled(frames, side_px / side, cv2.INTER_AREA) if side > side_px else frames


def _whatsapp(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    write_clip(path, _small(frames, 848), FPS, options=WHATSAPP)


def _youtube(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    side = 720 if min(frames[0].shape[:2]) > 720 else 360
    write_clip(path, _small(frames, side, True), FPS, crf=24, options={"g": "125", **FAST})


def _youtube_vp9(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    write_clip(path, _small(frames, 360, True), FPS, "libvpx-vp9", 34, options={"g": "128", **VP9})


def _again(path: Path, frames: Frames, crf: int, options: Mapping[str, str]) -> Frames:
    """The frames after one more coding."""
    first = path.with_name("first.mp4")
    write_clip(first, frames, FPS, crf=crf, options={**FAST, **options})
    with sample(first, "fps", sample_fps=FPS) as sampled:
        coded = [frame.rgb() for frame in sampled]
    first.unlink()
    return coded


def _twice(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    every = str(rng.choice([9, 12, 15]))
    coded = _again(path, frames, 26, {"g": every, "sc_threshold": "0", "bf": "0"})
    write_clip(path, coded, FPS, crf=22, options={"g": "250", "sc_threshold": "0", **FAST})


def _constant(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    write_clip(path, frames, FPS, options={"crf": "-1", "qp": str(rng.integers(20, 32)), **FAST})


def _enlarged(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    ratio = float(rng.choice([1.25, 1.5, 2.0]))
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    small = _small(frames, round(MOST_PX / ratio))
    write_clip(path, _scaled(small, ratio, how), FPS, crf=21, options=FAST)


def _cropped(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    coded = _again(path, frames, 28, {})
    top, left = (int(value) for value in rng.integers(1, 8, 2))
    write_clip(path, [_even(frame[top:, left:]) for frame in coded], FPS, crf=20, options=FAST)


def _appended(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    parts = [path.with_name(f"part{number}.ts") for number in (0, 1)]
    second = _to(read_frames(other.path), frames[0])[: MOST_FRAMES // 2]
    write_clip(parts[0], frames[: MOST_FRAMES // 2], FPS, crf=20, options=FAST)
    write_clip(parts[1], second, FPS, crf=24, options={"preset": "ultrafast", "profile": "baseline"})
    append_clips(parts, path)
    for part in parts:
        part.unlink()


def _spliced(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    second = _to(read_frames(other.path), frames[0])
    length = len(frames) // 2
    write_clip(path, frames[:length] + second[:length], FPS, crf=20, options=FAST)


def _grainy(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    half = len(frames) // 2
    noise = rng.normal(0, 5, (8, *frames[0].shape[:2], 1))
    noisy = [
        np.clip(frame + noise[int(rng.integers(8))], 0, 255).astype(np.uint8) if number >= half else frame
        for number, frame in enumerate(frames)
    ]
    write_clip(path, noisy, FPS, crf=20, options=FAST)


def _with_borders(path: Path, frames: Frames, other: Source, rng: np.random.Generator) -> None:
    height, width = frames[0].shape[:2]
    rows, columns = (round(height * 0.12) // 2 * 2, 0) if rng.random() < 0.5 else (0, round(width * 0.15) // 2 * 2)
    half, shown = len(frames) // 2, []
    for number, frame in enumerate(frames):
        if number >= half:
            inner = cv2.resize(frame, (width - 2 * columns, height - 2 * rows), interpolation=cv2.INTER_AREA)
            frame = cv2.copyMakeBorder(inner, rows, rows, columns, columns, cv2.BORDER_CONSTANT)
        shown.append(frame)
    write_clip(path, shown, FPS, crf=22, options=FAST)


Write = Callable[[Path, Frames, Source, np.random.Generator], None]
CHANGES: Mapping[str, tuple[str, Write]] = {
    WHATSAPP_LIKE: (".mp4", _whatsapp),
    YOUTUBE_LIKE: (".mp4", _youtube),
    YOUTUBE_VP9: (".webm", _youtube_vp9),
    "twice, another GOP": (".mp4", _twice),
    "enlarged": (".mp4", _enlarged),
    "cropped": (".mp4", _cropped),
    "appended without coding": (".ts", _appended),
    "spliced": (".mp4", _spliced),
    "grain from the middle on": (".mp4", _grainy),
    "borders from the middle on": (".mp4", _with_borders),
    "constant quantiser": (".mp4", _constant),
}


def _with_other_sound(source: Source, folder: Path, half: int) -> Iterator[Made]:
    try:
        samples = read_samples(source.path, SOUND_HZ).samples_N
    except VideoError:
        return
    if len(samples) < 2 * SOUND_HZ:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int(folder.name[:3]))
    at = int(len(samples) * rng.uniform(0.4, 0.6))
    louder = samples[at:] * 0.9 + rng.normal(0, 0.004, len(samples) - at)
    muffled = samples[at:]
    for _ in range(4):
        muffled = _smooth(muffled)
    made = {
        "sound coded anew": samples,
        "sound of two rooms": np.concatenate([samples[:at], louder]),
        "sound of two bandwidths": np.concatenate([samples[:at], muffled]),
    }
    for change, sound in made.items():
        path = folder / f"{change.replace(' ', '-')}.mp4"
        if not path.exists():
            write_sound(path, np.clip(sound, -1, 1), SOUND_HZ)
        yield Made(path, change, source.group, half)


def _smooth(samples: np.ndarray) -> np.ndarray:
    return np.convolve(samples, [0.25, 0.5, 0.25], "same")
