"""What large pictures cost a check: 10-bit HEVC clips of a drawn face, with B-frames and four references.

Each is checked by `deepfake check` within its default limits, in processes that are watched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake.media.clips import REPEATABLE, write_clip
from deepfake.media.needs import needs, stride_within
from deepfake.media.video import probe
from deepfake.settings import Extract
from lab.drawn_faces import SKINS, drawn_face, paste
from lab.fuzzing import GRACE_S, watch

SIZES_PX = {"1080p": (1920, 1080), "4K": (3840, 2160), "8K": (7680, 4320)}
N_FRAMES, FPS = 24, 8
DRAWN_PX, FACE_PX = (960, 540), 200  # drawn so, and made larger
CODEC, PIX_FMT = "libx265", "yuv420p10le"
X265 = "bframes=3:b-adapt=0:ref=4:keyint=24:min-keyint=24:scenecut=0"
SCORED = ("likely forged", "likely real", "inconclusive")


@dataclass(frozen=True)
class Row:
    """What a check of one size cost, and what it said; memory is resident, in MB, of the process that read the clip.

    `stride`: a picture in so many is searched for faces, and so many are held at a time.
    """

    size: str
    file_mb: float
    seconds: float
    memory_mb: float
    limit_mb: int
    stride: int
    n_frames: int
    n_faces: int
    verdict: str
    reason: str

    @property
    def is_fault(self) -> bool:
        """Whether a clip with a face got no score."""
        return self.verdict not in SCORED or not self.n_faces


def write_large(path: Path, sides_px: tuple[int, int], n_frames: int = N_FRAMES) -> None:
    """Write a clip of a drawn face of that size."""
    params = f"{REPEATABLE[CODEC]['x265-params']}:{X265}"
    options = {"preset": "ultrafast", "x265-params": params}
    write_clip(path, _frames(sides_px, n_frames), FPS, CODEC, 28, PIX_FMT, options)


def _frames(sides_px: tuple[int, int], n_frames: int) -> Iterator[np.ndarray]:
    wall = cv2.resize(np.random.default_rng(0).uniform(60, 200, (5, 7, 3)).astype(np.float32), DRAWN_PX)
    faces = [drawn_face(FACE_PX, SKINS[0], mouth) for mouth in (0.0, 0.5, 1.0)]
    for number in range(n_frames):
        scene = wall.copy()
        paste(scene, *faces[number % 3], 300 + 2 * number, 150)
        yield cv2.resize(scene.clip(0, 255).astype(np.uint8), sides_px, interpolation=cv2.INTER_LINEAR)


def measure(names: Sequence[str], folder: Path, weights: Path) -> Iterator[Row]:
    """Write a clip of each size and check it; all files go below `folder`."""
    for name in names:
        own = folder / name
        own.mkdir(parents=True)
        clip, told = own / "clip.mp4", own / "check.json"
        write_large(clip, SIZES_PX[name])
        size_bytes, probed = clip.stat().st_size, probe(clip)
        limits = needs(size_bytes, probed)
        command = [sys.executable, "-m", "deepfake", "check", str(clip), "--json", str(told)]
        command += ["--html", str(own / "check.html"), "--weights", str(weights), "--cache", str(own / "cache")]
        watched = watch(command, own, GRACE_S + limits.deadline_s)
        check = json.loads(told.read_text()) if told.is_file() else {}
        video = check.get("looked_at") or {}
        yield Row(
            size=name,
            file_mb=size_bytes / 2**20,
            seconds=watched.seconds,
            memory_mb=watched.worker_peak_mb or watched.peak_mb,
            limit_mb=limits.memory_mb,
            stride=stride_within(Extract().detection_stride, probed),
            n_frames=video.get("n_frames", 0),
            n_faces=check.get("n_faces_counted", 0),
            verdict=check.get("verdict", f"exit code {watched.exit_code}"),
            reason=check.get("reason") or watched.stderr.strip()[-200:],
        )


def as_markdown(rows: Sequence[Row]) -> str:
    """The table for people."""
    lines = [
        "| size | file | seconds | memory | its limit | searched | frames | faces | said |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        said = row.verdict + (f" ({row.reason})" if row.reason else "")
        lines.append(
            f"| {row.size} | {row.file_mb:.1f} MB | {row.seconds:.1f} | {row.memory_mb:.0f} MB | {row.limit_mb} MB "
            f"| 1 in {row.stride} | {row.n_frames} | {row.n_faces} | {said} |"
        )
    return "\n".join(lines)
