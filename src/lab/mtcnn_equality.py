"""MTCNN by ONNX Runtime beside facenet-pytorch in torch: are the faces of many pictures the same, what do they cost?"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import cv2
import numpy as np

from deepfake.errors import UserError
from deepfake.faces import extractor
from deepfake.faces.crop_store import ROWS
from deepfake.faces.extractor import Job, extract
from deepfake.faces.linker import overlap
from deepfake.faces.mtcnn import Engine, FaceDetector, Faces
from deepfake.files import sha256_of, visible_files
from deepfake.media.demux import VideoError
from deepfake.media.listing import EXTENSIONS
from deepfake.media.video import sample
from deepfake.settings import Extract
from lab.drawn_people import person

PHOTOS = {".jpg", ".jpeg", ".png"}
MOST_PX, MOST_SCORE = 0.5, 1e-3
SAME_IOU = 0.5
GENERATED_SIDES_PX = (96, 160, 240, 360, 640)
Picture = np.ndarray


@dataclass(frozen=True)
class Difference:
    """How far the faces of one picture lie apart; `unpaired`: those that only one of the two finds."""

    n_faces: int
    unpaired: int = 0
    box_px: float = 0.0
    landmark_px: float = 0.0
    score: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether it lies within the limits."""
        return not self.unpaired and max(self.box_px, self.landmark_px) <= MOST_PX and self.score <= MOST_SCORE


@dataclass(frozen=True)
class Compared:
    """All pictures of a kind, and milliseconds of a processor for one of them by either engine."""

    name: str
    differences: list[Difference]
    ms: dict[Engine, float]

    @property
    def n_different(self) -> int:
        """Pictures that lie outside the limits."""
        return sum(not difference.is_same for difference in self.differences)


def real_pictures(root: Path, n: int, side_px: int) -> Iterator[Picture]:
    """Pictures spread evenly over a folder's photos and clips, `n` at most; a clip gives its middle frame."""
    paths = sorted(path for path in visible_files(root) if path.suffix.lower() in PHOTOS | EXTENSIONS)
    if not paths:
        raise UserError(f"{root}: no photo and no clip; name a folder that has some")
    for path in spread(paths, n):
        picture = _picture(path, side_px)
        if picture is None:
            raise UserError(f"{path}: it cannot be read; name another folder")
        yield picture


def clips_of(root: Path) -> list[Path]:
    """The clips below a folder, sorted; it may hold none."""
    return sorted(path for path in visible_files(root) if path.suffix.lower() in EXTENSIONS)


def spread(paths: Sequence[Path], n: int) -> list[Path]:
    """The middles of `n` equal parts; all where there are fewer."""
    n = min(n, len(paths))
    return [paths[(2 * i + 1) * len(paths) // (2 * n)] for i in range(n)]


def _picture(path: Path, side_px: int) -> Picture | None:
    if path.suffix.lower() in PHOTOS:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        return None if photo is None else _shrunk(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), side_px)
    try:
        return next((frame.small_rgb(side_px) for frame in sample(path, "reference", 1)), None)
    except VideoError:
        return None


def _shrunk(picture_HWC: Picture, side_px: int) -> Picture:
    ratio = side_px / max(picture_HWC.shape[:2])
    if ratio >= 1:
        return picture_HWC
    height, width = (max(round(side * ratio), 1) for side in picture_HWC.shape[:2])
    return np.asarray(cv2.resize(picture_HWC, (width, height), interpolation=cv2.INTER_AREA))


def generated_pictures(n: int) -> Iterator[Picture]:
    """Drawn people of several sizes, each third one beside another, each fourth one with noise, each fifth one dark."""
    for number in range(n):
        side_px = GENERATED_SIDES_PX[number % len(GENERATED_SIDES_PX)]
        picture = person(number, number % 7 / 6, side_px)
        if number % 3 == 0:
            picture = np.concatenate([picture, person(number + 1, 0.5, side_px)], axis=1)
        rng = np.random.default_rng(number)
        if number % 4 == 0:
            picture = picture + rng.normal(0, 12, picture.shape)
        if number % 5 == 0:
            picture = picture * 0.4
        yield np.asarray(picture).clip(0, 255).astype(np.uint8)


def compare(name: str, pictures: Iterable[Picture]) -> Compared:
    """Show all pictures to both."""
    settings = Extract()
    engines: tuple[Engine, Engine] = ("onnxruntime", "torch")
    detectors = [FaceDetector(settings.min_face_ratio, settings.min_score, engine=engine) for engine in engines]
    seconds, differences = [0.0, 0.0], []
    for number, picture in enumerate(pictures):
        found = []
        for i, detector in enumerate(detectors):
            if not number:
                detector.detect([picture])  # loads the networks
            start = time.process_time()
            found += detector.detect([picture])
            seconds[i] += time.process_time() - start
        differences.append(difference(*found))
    n = max(len(differences), 1)
    return Compared(name, differences, {engine: 1000 * s / n for engine, s in zip(engines, seconds, strict=True)})


def difference(ours: Faces, theirs: Faces) -> Difference:
    """Pair the faces of a picture by their boxes and measure."""
    pairs = _pairs(ours, theirs)
    unpaired = len(ours) + len(theirs) - 2 * len(pairs)
    if not pairs:
        return Difference(len(theirs), unpaired)
    one, other = ours.keep(np.array([i for i, _ in pairs])), theirs.keep(np.array([k for _, k in pairs]))
    largest = [float(np.abs(getattr(one, n) - getattr(other, n)).max()) for n in ("boxes", "landmarks", "scores")]
    return Difference(len(theirs), unpaired, *largest)


def _pairs(ours: Faces, theirs: Faces) -> list[tuple[int, int]]:
    pairs = []
    iou = overlap(ours.boxes, theirs.boxes)
    while iou.size and iou.max() >= SAME_IOU:
        i, k = (int(place) for place in np.unravel_index(iou.argmax(), iou.shape))
        pairs.append((i, k))
        iou[i], iou[:, k] = 0, 0
    return pairs


@dataclass(frozen=True)
class Crops:
    """Crops of clips extracted by both: how many there are, and how many are the same to the last byte."""

    n: int
    n_same: int


def compare_crops(paths: Iterable[Path]) -> Crops:
    """Extract clips by both; the crops of a clip are compared in order."""
    n = n_same = 0
    for path in paths:
        ours, theirs = (_crops(path, engine) for engine in ("onnxruntime", "torch"))
        n += max(len(ours), len(theirs))
        n_same += sum(ours.get(name) == crop for name, crop in theirs.items())
    return Crops(n, n_same)


def _crops(path: Path, engine: Engine) -> dict[str, bytes]:
    """Name and bytes of every crop in a clip's shard."""
    settings = Extract()
    detector = FaceDetector(settings.min_face_ratio, settings.min_score, engine=engine)
    with TemporaryDirectory(prefix="crops-") as folder, patch.object(extractor, "_detector", lambda *_: detector):
        job = Job(path.name, path, Path(folder), "crops.tar", settings, sha256=sha256_of(path))
        if extract(job).failure is not None:
            return {}
        with tarfile.open(fileobj=io.BytesIO(job.shard_path.read_bytes())) as shard:
            files = {member.name: shard.extractfile(member) for member in shard if member.name != ROWS}
            return {name: file.read() for name, file in files.items() if file is not None}


def table(compared: Sequence[Compared]) -> str:
    """All kinds of pictures, a line each."""
    lines = ["| pictures | n | faces | different | box, px | landmark, px | score | ms, ONNX Runtime | ms, torch |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for kind in compared:
        faces = sum(one.n_faces for one in kind.differences)
        box, landmark, score = (
            max((getattr(one, name) for one in kind.differences), default=0.0)
            for name in ("box_px", "landmark_px", "score")
        )
        lines.append(
            f"| {kind.name} | {len(kind.differences)} | {faces} | {kind.n_different} | {box:.1e} | {landmark:.1e} | "
            f"{score:.1e} | {kind.ms['onnxruntime']:.1f} | {kind.ms['torch']:.1f} |"
        )
    return "\n".join(lines)
