"""How well copies are found: clips changed in known ways, asked of an index that holds their originals.

Letters: H rows, W columns, C channels.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from deepfake.catalog.copies import Found, find_like, index_videos
from deepfake.catalog.copy_index import Row, parts_of, read_index, write_part
from deepfake.catalog.hashing import Asked, Hashed, Settings, asked_of
from deepfake.errors import UserError
from deepfake.media.clips import write_clip
from deepfake.media.video import sample

FPS = 25.0
SIDE_PX = 640  # of the sources' longer side, at most: x264 has half of the work of this measurement
CRF = 28
EXCERPT_S, AROUND_S = 2.0, 10.0
PIECE_S = 2.5  # of each of two spliced excerpts
SHORTEST_S, LONGEST_S = 2.4, 6.0  # of the clips that are changed, and what of them is
NOT_INDEXED = 0.5  # of the number of changed clips: others that are changed, too
ROOT = "clips"
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
    return np.asarray(np.clip(value, 0, 1) * 255, np.uint8)


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
    if path.is_file():
        return path
    write_clip(path, frames, FPS, crf=crf, options={"preset": "veryfast"})
    return path


@dataclass(frozen=True)
class Chosen:
    """Clips by name: those that are changed and indexed, changed but not indexed, and indexed beside them."""

    root: Path
    originals: Sequence[str]
    strangers: Sequence[str]
    others: Sequence[str]


def choose(root: Path, labels_csv: Path, n: int, seed: int) -> Chosen:
    """One clip of each identity, so that none is a copy of another; only real ones are changed."""
    table = pd.read_csv(labels_csv)
    apart = table[(table["label"] == "REAL") | (table["family"] == "talking_head")]
    apart = apart.sample(frac=1, random_state=seed).drop_duplicates("identity")
    long = apart[(apart["label"] == "REAL") & (apart["frames"] / apart["fps"] >= SHORTEST_S)]["file"].tolist()
    n_strangers = round(NOT_INDEXED * n)
    if len(long) < n + n_strangers:
        raise UserError(f"copies: {len(long)} real clips of different people; wanted {n + n_strangers}: set --n lower")
    originals, strangers = long[:n], long[n : n + n_strangers]
    return Chosen(root, originals, strangers, [one for one in apart["file"] if one not in {*originals, *strangers}])


def make(chosen: Chosen, folder: Path) -> list[Copy]:
    """All changed clips; what lies there already is not made again."""
    copies: list[Copy] = []
    before = chosen.originals[-1]
    strangers = [*chosen.strangers, *chosen.others][: max(len(chosen.strangers), 1)]
    for number, name in enumerate(tqdm(chosen.originals, desc="copies", disable=None)):
        other, filler = (_read(chosen, one) for one in (before, strangers[number % len(strangers)]))
        copies += copies_of(name, _read(chosen, name), (before, other), filler, folder / "copies")
        before = name
    for name in tqdm(chosen.strangers, desc="strangers", disable=None):
        frames = _read(chosen, name)
        for change, (changed, crf) in OF_FRAMES.items():
            path = _write(folder / "strangers" / change / name, [changed(frame) for frame in frames], crf)
            copies.append(Copy("of nothing", path, ()))
    return copies


def _read(chosen: Chosen, name: str) -> Frames:
    return read_frames(chosen.root / name)[: round(LONGEST_S * FPS)]


@dataclass
class _Tally:
    n_wanted: int = 0
    n_found: int = 0
    n_right: int = 0
    n_wrong: int = 0
    errors_s: list[float] = field(default_factory=list)

    def row(self, change: str) -> Mapping[str, object]:
        n_said = self.n_right + self.n_wrong
        return {
            "change": change,
            "wanted": self.n_wanted,
            "recall": self.n_found / self.n_wanted if self.n_wanted else None,
            "found": n_said,
            "precision": self.n_right / n_said if n_said else None,
            "within .5 s": float(np.mean(np.array(self.errors_s) <= 0.5)) if self.errors_s else None,
            "median error s": float(np.median(self.errors_s)) if self.errors_s else None,
        }


def measure(chosen: Chosen, copies: Sequence[Copy], folder: Path) -> pd.DataFrame:
    """Recall and precision of pairs of a copy and an original, and how far the ends of ranges are off, by change.

    An error is the largest of the four ends of a found pair.
    """
    paths = {(ROOT, name): chosen.root / name for name in (*chosen.originals, *chosen.others)}
    with tqdm(total=len(paths), desc="index", disable=None) as bar:
        index_videos(paths, folder, 2, Settings(), bar.update)
    index = read_index(folder, Settings())
    tallies = {change: _Tally() for change in (*CHANGES, "of nothing")}
    for copy in tqdm(copies, desc="asked", disable=None):
        _count(tallies[copy.change], copy, find_like(asked_of(copy.path, index.settings), index))
    every = _Tally()
    for tally in tallies.values():
        for name in ("n_wanted", "n_found", "n_right", "n_wrong", "errors_s"):
            setattr(every, name, getattr(every, name) + getattr(tally, name))
    return pd.DataFrame([*(tally.row(change) for change, tally in tallies.items()), every.row("all")])


def _count(tally: _Tally, copy: Copy, found: Sequence[Found]) -> None:
    names = {one.key[1] for one in found}
    wanted = {span[0] for span in copy.spans}
    tally.n_right += len(names & wanted)
    tally.n_wrong += len(names - wanted)
    for name, *ends in copy.spans:
        tally.n_wanted += 1
        ranges = [one.range for one in found if one.key[1] == name]
        if ranges:
            tally.n_found += 1
            said = (
                *(min(one.from_s for one in ranges), max(one.to_s for one in ranges)),
                *(min(one.clip_from_s for one in ranges), max(one.clip_to_s for one in ranges)),
            )
            tally.errors_s.append(max(abs(a - b) for a, b in zip(said, ends, strict=True)))


def generated(n_videos: int, folder: Path) -> str:
    """What an index of so many videos of ten seconds costs: bytes, seconds of reading and of asking, memory."""
    settings, rng = Settings(), np.random.default_rng(0)
    n_hashes = round(AROUND_S * settings.sample_fps)
    times = (np.arange(n_hashes) / settings.sample_fps).astype(np.float32)
    folder = folder / f"generated-{n_videos}"
    first = None
    for begin in range(0, n_videos, 10_000):
        rows = []
        for number in range(begin, min(begin + 10_000, n_videos)):
            words = rng.integers(0, 2**64, (n_hashes, 4), dtype=np.uint64)
            first = words if first is None else first
            rows.append(Row(ROOT, f"{number:09d}.mp4", 1, 1, Hashed(times, words, AROUND_S)))
        if len(parts_of(folder)) <= begin // 10_000:
            write_part(folder, rows, settings)
    assert first is not None, "one video at least"
    size_mb = sum(path.stat().st_size for path in parts_of(folder)) / 2**20
    start = time.perf_counter()
    index = read_index(folder, settings)
    read_s = time.perf_counter() - start
    asked = _invented_clip(first, times, rng)
    find_like(asked, index)  # compiled, too
    taken = []
    for _ in range(3):
        start, begun_s = time.perf_counter(), time.process_time()
        found = find_like(asked, index, threads=2)
        taken.append((time.perf_counter() - start, time.process_time() - begun_s))
    wall_s, processor_s = min(taken)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = ", ".join(f"{one.key[1]} {one.range.from_s:.1f}-{one.range.to_s:.1f} s" for one in found)
    return (
        f"{n_videos} videos, {len(index.words_N4)} hashes: {size_mb:.0f} MB on disk, read in {read_s:.2f} s, a clip of "
        f"{asked.duration_s:g} s asked in {wall_s:.2f} s ({processor_s:.2f} s of processors), peak {peak_mb:.0f} MB; "
        f"found {said or 'nothing'}"
    )


def _invented_clip(words_N4: np.ndarray, times_N: np.ndarray, rng: np.random.Generator) -> Asked:
    """The first video's third to seventh second in ten seconds of others, asked as a clip is."""
    times = np.arange(round(AROUND_S * 8)) / 8
    plain, mirrored = (rng.integers(0, 2**64, (len(times), 3, 4), dtype=np.uint64) for _ in range(2))
    for place in np.flatnonzero((times >= 3) & (times < 7)):
        plain[place, 0] = words_N4[np.abs(times_N - times[place]).argmin()]
    return Asked(times, plain, mirrored, AROUND_S)
