"""Videos to measure on, made once from a demo clip with a face and kept: 1080p, 4K and two hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfake.errors import UserError
from deepfake.faces.mtcnn import FaceDetector
from deepfake.media.clips import loop_clip, write_clip
from deepfake.media.demux import VideoError
from deepfake.media.listing import find_videos
from deepfake.media.video import sample
from deepfake.settings import Extract

FPS = 30
LOOKS = 4  # frames of a demo clip that must all show a face
NOISE_LEVELS = 3
# Players' defaults: x264 medium, crf 23, a keyframe every 250 frames, three B-frames.
ENCODED = {"preset": "medium", "g": "250"}
LONG_SIZE_PX, LONG_PART_S, LONG_S = (320, 180), 3, 7200


@dataclass(frozen=True)
class Clips:
    """The videos of a benchmark, and the demo clips they come from."""

    hd: Path
    uhd: Path
    two_hours: Path
    demo: list[Path]


def make_clips(root: Path, folder: Path, quick: bool) -> Clips:
    """Make what is not there yet; `root` is the demo's raw data, `quick` makes 2 s instead of 10 s."""
    demo = demo_clips(root)
    hd_s, uhd_s = (2, 1) if quick else (10, 3)
    hd, uhd = folder / f"1080p_{hd_s}s.mp4", folder / f"4k_{uhd_s}s.mp4"
    two_hours = folder / "two_hours.mp4"
    if not all(path.is_file() for path in (hd, uhd, two_hours)):
        frames = _frames(_clip_with_face(demo))
        for path, size_px, duration_s in ((hd, (1920, 1080), hd_s), (uhd, (3840, 2160), uhd_s)):
            if not path.is_file():
                write_clip(path, _enlarged(frames, size_px, duration_s * FPS), FPS, crf=23, options=ENCODED)
        if not two_hours.is_file():
            part = folder / ".two_hours_part.mp4"
            small = _enlarged(frames, LONG_SIZE_PX, LONG_PART_S * FPS, noise_levels=0)
            write_clip(part, small, FPS, crf=32, options={"g": str(FPS), "bf": "0"})
            loop_clip(part, two_hours, LONG_S // LONG_PART_S)
            part.unlink()
    return Clips(hd, uhd, two_hours, demo)


def demo_clips(root: Path) -> list[Path]:
    """The demo's videos to learn from, sorted."""
    if not root.is_dir():
        raise UserError(f"{root} does not exist, and the benchmark's videos are made from it; run `make demo` first")
    paths = [path for path in find_videos(root) if "test_videos" not in path.parts]
    if not paths:
        raise UserError(f"{root} holds no videos; run `make demo` first")
    return sorted(paths)


def _clip_with_face(paths: list[Path]) -> Path:
    settings = Extract()
    detector = FaceDetector(settings.min_face_ratio, settings.min_score)
    for path in paths:
        try:
            pictures = [frame.small_rgb(settings.detection_side_px) for frame in sample(path, n_frames=LOOKS)]
        except VideoError:
            continue
        if pictures and all(len(faces) == 1 for faces in detector.detect(pictures)):
            return path
    raise UserError(f"none of {len(paths)} demo videos shows one face all the time; run `make demo` again")


def _frames(path: Path) -> list[np.ndarray]:
    return [frame.rgb() for frame in sample(path, "fps", sample_fps=FPS)]


def _enlarged(
    frames: list[np.ndarray], size_px: tuple[int, int], n_frames: int, noise_levels: int = NOISE_LEVELS
) -> Iterator[np.ndarray]:
    """Frames forth and back, so that no cut comes in, at another size and with the noise of a camera."""
    rng = np.random.default_rng(0)
    width_px, height_px = size_px
    noise = rng.integers(-noise_levels, noise_levels + 1, (height_px + 64, width_px + 64, 1)).astype(np.int16)
    there_and_back = [*frames, *frames[-2:0:-1]]
    for number in range(n_frames):
        large = cv2.resize(there_and_back[number % len(there_and_back)], size_px, interpolation=cv2.INTER_CUBIC)
        x, y = rng.integers(0, 64, 2)
        yield np.clip(large + noise[y : y + height_px, x : x + width_px], 0, 255).astype(np.uint8)
