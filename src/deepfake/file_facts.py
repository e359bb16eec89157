"""What a person should know of a video file beside its score: how it is coded, what is odd about it, what made it.

Nothing here judges a video. A hint says what was found and how far it may be trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from deepfake.check import Playable, Rotation, VideoFacts
from deepfake.demux import Demuxed, VideoError, VideoProbe, scan
from deepfake.files import printable, sha256_of

# Below these bits a pixel a codec blurs what forging leaves; half of H.264's do for the codecs after it.
SCARCE_BITS_PER_PIXEL = {"h264": 0.03, "hevc": 0.015, "vp9": 0.015, "av1": 0.015}
ENCODERS = ("x264", "x265", "svtav1", "libaom", "libvpx", "HandBrake", "Premiere", "CapCut", "Davinci", "Mainconcept")
PLATFORMS = {"Google": "a download from YouTube or another Google service"}
CAMERA_TAGS = ("com.apple.quicktime.make", "com.apple.quicktime.model", "com.android.manufacturer", "com.android.model")
_EIGHT_BITS = {"yuv420p", "yuvj420p"}
_SHOWN_TAGS = ("encoder", "handler_name", "creation_time", "encoder_settings", *CAMERA_TAGS)


@dataclass(frozen=True)
class VideoFile:
    """A file as it was found once: the digest of its bytes, and what a pass over its packets tells.

    `probe` is None where it is no readable video; `reason` says why. `sha256` is None where it could not be read to
    its end.
    """

    path: Path
    size_bytes: int
    sha256: str | None = None
    probe: VideoProbe | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None

    def at(self, path: Path) -> VideoFile:
        """The same under another path."""
        return replace(self, path=path, probe=self.probe and replace(self.probe, path=path))

    def to_json(self) -> bytes:
        """The file without its path, which may hold bytes that are no text."""
        return _STORED.dump_json(self.at(Path()))

    @classmethod
    def from_json(cls, data: bytes, path: Path) -> VideoFile:
        """Undo `to_json`; ValueError for anything else, such as a note of an older version."""
        return _STORED.validate_json(data).at(path)


_STORED = TypeAdapter(VideoFile)


def read_file(path: Path) -> tuple[VideoFile, Demuxed | None]:
    """Hash and demux a file, each once; a file that is no readable video says why."""
    found = VideoFile(path, 0)
    try:
        found = replace(found, size_bytes=path.stat().st_size)
        found = replace(found, sha256=sha256_of(path))
        demuxed = scan(path)
    except (VideoError, OSError) as error:
        return replace(found, reason=str(error)), None
    return replace(found, probe=demuxed.probe, tags=dict(demuxed.tags)), demuxed


def probe_file(path: Path) -> VideoFile:
    """`read_file` without the packets, which only decoding needs."""
    return read_file(path)[0]


def lost_file(path: Path, reason: str) -> VideoFile:
    """A file whose process was stopped before it told anything."""
    return VideoFile(path, path.stat().st_size if path.exists() else 0, reason=reason)


def describe_path(path: Path) -> VideoFacts:
    """`describe` of a file that nothing is known of yet; VideoError for what is no video."""
    demuxed = scan(path)
    return describe(VideoFile(path, path.stat().st_size, probe=demuxed.probe, tags=demuxed.tags))


def describe(file: VideoFile) -> VideoFacts:
    """Facts, warnings and hints of a readable video."""
    found, path = file.probe, file.path
    if found is None:
        raise ValueError(f"video {path.name!r}: {file.reason}; there is nothing to describe")
    tags = {name: printable(value, " ").strip() for name, value in file.tags.items()}
    bits_per_pixel = 8 * file.size_bytes / (found.width_px * found.height_px * found.n_frames)
    return VideoFacts(
        container=found.container,
        codec=found.codec,
        pixel_format=found.pixel_format,
        width_px=found.width_px,
        height_px=found.height_px,
        rotation=cast(Rotation, found.rotation),
        fps=round(found.fps, 4),
        is_vfr=found.is_vfr,
        n_frames=found.n_frames,
        duration_s=round(found.duration_s, 4),
        has_audio=found.has_audio,
        kbit_per_s=round(8 * file.size_bytes / found.duration_s / 1000, 1) if found.duration_s > 0 else None,
        bits_per_pixel=round(bits_per_pixel, 5),
        plays_in_browsers=plays_in_browsers(path.suffix, found.container, found.codec, found.pixel_format),
        warnings=tuple(warnings(found)),
        hints=tuple(hints(found, bits_per_pixel, tags)),
        tags={name: tags[name][:200] for name in _SHOWN_TAGS if name in tags},
    )


def plays_in_browsers(suffix: str, container: str, codec: str, pixel_format: str) -> Playable:
    """How widely browsers play such a file: widely, some or rarely."""
    names = set(container.split(","))
    is_webm = "webm" in names and suffix.lower() == ".webm"
    if not (names & {"mp4", "mov"} or is_webm) or codec not in ("h264", "hevc", "vp8", "vp9", "av1"):
        return "rarely"
    if codec in ("h264", "hevc") and is_webm:
        return "rarely"
    if codec == "hevc" or pixel_format not in _EIGHT_BITS:
        return "rarely" if codec == "h264" else "some"
    return "widely" if codec == "h264" or is_webm else "some"


def warnings(found: VideoProbe) -> list[str]:
    """What is odd about a file and may have cost frames."""
    told = []
    if found.is_cut_short:
        wanted = f"{found.n_declared} frames" if found.n_declared else "a longer video"
        told.append(f"The file is cut short or damaged: it promises {wanted}, {found.n_frames} can be played.")
    if found.n_discarded:
        told.append(f"An edit list hides {found.n_discarded} frames: they are in the file, but no player shows them.")
    if found.n_missing_pts:
        told.append(f"{found.n_missing_pts} frames have no time of their own: times here are counted by frame.")
    if found.n_frames == 1:
        told.append("The file holds a single frame: nothing can be said of motion.")
    return told


def hints(found: VideoProbe, bits_per_pixel: float, tags: dict[str, str]) -> list[str]:
    """What compression and tags suggest of the file's history; anybody can write or remove tags."""
    told = []
    scarce = SCARCE_BITS_PER_PIXEL.get(found.codec)
    if scarce is not None and bits_per_pixel < scarce:
        told.append(
            f"Strongly compressed: {bits_per_pixel:.3f} bits a pixel, where {found.codec} keeps fine detail from about "
            f"{scarce} on. Compression wipes out traces of forging, and makes some of its own."
        )
    told += _encoder_hint(tags)
    maker = next((name for mark, name in PLATFORMS.items() if mark in tags.get("handler_name", "")), None)
    if maker:
        told.append(f"Its tags look like {maker}: the file was coded anew there.")
    camera = " ".join(tags[name] for name in CAMERA_TAGS if name in tags)
    if camera:
        told.append(f"Its tags name a camera: {camera[:80]}. Tags can be copied into any file.")
    return told


def _encoder_hint(tags: dict[str, str]) -> list[str]:
    told = " ".join(tags.get(name, "") for name in ("encoder_settings", "encoder", "handler_name"))
    name = next((name for name in ENCODERS if name.lower() in told.lower()), None)
    if name is None:
        muxer = tags.get("encoder", "")
        return [f"Packed by software ({muxer[:60]}), not straight from a camera."] if muxer.startswith("Lavf") else []
    strength = re.search(r"\bcrf=([\d.]+)", told)
    at = f" at crf {float(strength[1]):g}" if strength and re.fullmatch(r"\d+(\.\d+)?", strength[1]) else ""
    return [f"Coded by software ({name}{at}): if a camera recorded it, it has been coded at least twice."]
