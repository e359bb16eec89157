"""What a person should know of a video file beside its score: how it is coded, what is odd about it, what made it.

Nothing here judges a video. A hint says what was found and how far it may be trusted.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

import av
from pydantic import Field, TypeAdapter

from deepfake import __version__
from deepfake.files import State, printable, state_of
from deepfake.media.demux import Demuxed, LostFileError, VideoError, VideoProbe, open_video, require_file, scan
from deepfake.media.needs import allow_for
from deepfake.media.source import Source
from deepfake.values import Seconds, Value

log = logging.getLogger(__name__)
# Below these bits a pixel a codec blurs what forging leaves; half of H.264's do for the codecs after it.
SCARCE_BITS_PER_PIXEL = {"h264": 0.03, "hevc": 0.015, "vp9": 0.015, "av1": 0.015}
ENCODERS = ("x264", "x265", "svtav1", "libaom", "libvpx", "HandBrake", "Premiere", "CapCut", "Davinci", "Mainconcept")
PLATFORMS = {"Google": "a download from YouTube or another Google service"}
CAMERA_TAGS = ("com.apple.quicktime.make", "com.apple.quicktime.model", "com.android.manufacturer", "com.android.model")
LATE_S = 0.5  # a later start of the picture is worth a word
# Who said what is noted of a file: another version may read what this one cannot.
READ_BY = f"deepfake {__version__}, PyAV {av.__version__}, notes 1"
_EIGHT_BITS = {"yuv420p", "yuvj420p"}
_SHOWN_TAGS = ("encoder", "handler_name", "creation_time", "encoder_settings", *CAMERA_TAGS)


@dataclass(frozen=True)
class VideoFile:
    """A file as it was read once: the digest of its bytes, and what a pass over its packets returned.

    `probe` is None where it is no readable video; `reason` says why. `sha256` is None where it could not be read to
    its end, or changed meanwhile: then the reason says nothing of the content and is not to be remembered.
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
        return _stored().dump_json(self.at(Path()))

    @classmethod
    def from_json(cls, data: bytes, path: Path) -> VideoFile:
        """Undo `to_json`; ValueError for anything else, such as a note of an older version."""
        return _stored().validate_json(data).at(path)


@functools.cache
def _stored() -> TypeAdapter[VideoFile]:
    return TypeAdapter(VideoFile)


def read_file(path: Path) -> tuple[VideoFile, Demuxed | None]:
    """Hash and demux a file in one reading; a file that is no readable video says why.

    What was demuxed holds the file open (`source`), to be decoded by whoever closes it.
    """
    file = VideoFile(path, 0)
    demuxed = None
    try:
        require_file(path)
        state = state_of(path)
        file = replace(file, size_bytes=path.stat().st_size)
        allow_for(file.size_bytes)
        source = Source(path)
        try:
            demuxed = scan(path, source)
        except LostFileError:
            raise
        except VideoError as error:
            file = replace(file, reason=str(error))
        file = replace(file, size_bytes=source.size_bytes, sha256=source.sha256())
    except LostFileError as error:
        return lost_file(path, str(error)), None
    except OSError as error:
        return lost_file(path, unread(path, error)), None
    except Exception as error:  # whatever a library makes of one odd file, the other videos go on
        log.warning("video %r: unexpected error", path.name, exc_info=True)
        return lost_file(path, f"unexpected {type(error).__name__}: {error}"), None
    change = change_of(path, state)
    if change is not None:
        return lost_file(path, change), None
    if demuxed is None:
        return file, None
    return replace(file, probe=demuxed.probe, tags=dict(demuxed.tags)), demuxed


def unread(path: Path, error: OSError) -> str:
    """Why a file could not be read, in words."""
    return f"video {path.name!r}: could not be read ({error.strerror or error}); try again when it can be"


def change_of(path: Path, state: State) -> str | None:
    """What happened to a file since it was in that state, in words; None where nothing did."""
    try:
        now = state_of(path)
    except OSError as error:
        return unread(path, error)
    if now == state:
        return None
    how = f"from {state[2]} to {now[2]} bytes" if now[2] != state[2] else f"but not its size of {now[2]} bytes"
    return f"video {path.name!r}: it changed while it was read, {how}; try again once it is written to its end"


def probe_file(path: Path) -> VideoFile:
    """`read_file` without the packets, which only decoding needs."""
    return read_file(path)[0]


def lost_file(path: Path, reason: str) -> VideoFile:
    """A file that nothing is known of but its size: it could not be read, or its process was stopped."""
    try:
        return VideoFile(path, path.stat().st_size, reason=reason)
    except OSError:
        return VideoFile(path, 0, reason=reason)


def describe_path(path: Path) -> VideoFacts:
    """`describe` of a file that nothing is known of yet; VideoError for what is no video."""
    demuxed = scan(path)
    return describe(VideoFile(path, path.stat().st_size, probe=demuxed.probe, tags=demuxed.tags))


def describe(file: VideoFile) -> VideoFacts:
    """Facts, warnings and hints of a readable video."""
    probe, path = file.probe, file.path
    if probe is None:
        raise ValueError(f"video {path.name!r}: {file.reason}; there is nothing to describe")
    tags = {name: printable(value, " ").strip() for name, value in file.tags.items()}
    # The whole file's bits are shared by all its streams; stills and covers among them count as their one frame.
    n_pixels = max(sum(s.width_px * s.height_px * s.n_frames for s in probe.streams), 1)
    bits_per_pixel = 8 * file.size_bytes / n_pixels
    return VideoFacts(
        container=probe.container,
        codec=probe.codec,
        pixel_format=probe.pixel_format,
        width_px=probe.width_px,
        height_px=probe.height_px,
        rotation=cast(Rotation, probe.rotation),
        is_mirrored=probe.is_mirrored,
        fps=round(probe.fps, 4),
        is_vfr=probe.is_vfr,
        n_frames=probe.n_frames,
        duration_s=round(probe.duration_s, 4),
        first_frame_s=round(probe.first_frame_s, 4),
        timeline_start_s=round(probe.timeline_start_s, 4),
        has_audio=probe.has_audio,
        kbit_per_s=round(8 * file.size_bytes / probe.duration_s / 1000, 1) if probe.duration_s > 0 else None,
        bits_per_pixel=round(bits_per_pixel, 5),
        plays_in_browsers=plays_in_browsers(path.suffix, probe.container, probe.codec, probe.pixel_format),
        warnings=tuple(warnings(probe)),
        hints=tuple(hints(probe, bits_per_pixel, tags)),
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


def warnings(probe: VideoProbe) -> list[str]:
    """What is odd about a file and may have cost frames."""
    messages = []
    if probe.is_cut_short:
        wanted = f"{probe.n_declared} frames" if probe.n_declared else "a longer video"
        messages.append(f"The file is cut short or damaged: it promises {wanted}, {probe.n_frames} can be played.")
    if probe.n_discarded:
        messages.append(
            f"An edit list hides {probe.n_discarded} frames: they are in the file, but no player shows them."
        )
    if probe.n_missing_pts:
        messages.append(f"{probe.n_missing_pts} frames have no time of their own: times here are counted by frame.")
    late_s = probe.first_frame_s - probe.timeline_start_s
    if late_s > LATE_S:
        messages.append(f"The picture begins {late_s:.1f} s after the file: until then there is sound, or nothing.")
    if probe.n_frames == 1:
        messages.append("The file holds a single frame: nothing can be said of motion.")
    return messages


def hints(probe: VideoProbe, bits_per_pixel: float, tags: dict[str, str]) -> list[str]:
    """What compression and tags suggest of the file's history; anybody can write or remove tags."""
    messages = []
    scarce = SCARCE_BITS_PER_PIXEL.get(probe.codec)
    if scarce is not None and bits_per_pixel < scarce:
        messages.append(
            f"Strongly compressed: {bits_per_pixel:.3f} bits a pixel, where {probe.codec} keeps fine detail from about "
            f"{scarce} on. Compression wipes out traces of forging, and makes some of its own."
        )
    messages += _encoder_hint(tags)
    maker = next((name for mark, name in PLATFORMS.items() if mark in tags.get("handler_name", "")), None)
    if maker:
        messages.append(f"Its tags look like {maker}: the file was coded anew there.")
    camera = " ".join(tags[name] for name in CAMERA_TAGS if name in tags)
    if camera:
        messages.append(f"Its tags name a camera: {camera[:80]}. Tags can be copied into any file.")
    return messages


def _encoder_hint(tags: dict[str, str]) -> list[str]:
    encoder = " ".join(tags.get(name, "") for name in ("encoder_settings", "encoder", "handler_name"))
    name = next((name for name in ENCODERS if name.lower() in encoder.lower()), None)
    if name is None:
        muxer = tags.get("encoder", "")
        return [f"Packed by software ({muxer[:60]}), not straight from a camera."] if muxer.startswith("Lavf") else []
    strength = re.search(r"\bcrf=([\d.]+)", encoder)
    at = f" at crf {float(strength[1]):g}" if strength and re.fullmatch(r"\d+(\.\d+)?", strength[1]) else ""
    return [f"Coded by software ({name}{at}): if a camera recorded it, it has been coded at least twice."]


Rotation = Literal[0, 90, 180, 270]


Playable = Literal["widely", "some", "rarely"]


class VideoFacts(Value):
    """How the file is coded, what is odd about it and what made it."""

    container: str
    codec: str
    pixel_format: str
    width_px: int = Field(description="Of the upright picture.")
    height_px: int
    rotation: Rotation = Field(description="Clockwise degrees that turn the stored picture upright.")
    is_mirrored: bool = Field(False, description="Whether left and right are changed after that.")
    fps: float
    is_vfr: bool = Field(description="Whether frames stand for unequal times.")
    n_frames: int
    duration_s: Seconds = Field(description="From the first frame to the end of the last.")
    first_frame_s: Seconds = Field(
        0.0, description="When players show the first frame: later than 0 after sound alone."
    )
    timeline_start_s: Seconds = Field(0.0, description="When they show or play anything first.")
    has_audio: bool
    kbit_per_s: float | None = Field(description="Of the whole file, sound included.")
    bits_per_pixel: float = Field(description="Of the whole file.")
    plays_in_browsers: Playable
    warnings: tuple[str, ...]
    hints: tuple[str, ...] = Field(description="What compression and tags suggest of the file's history.")
    tags: dict[str, str] = Field(description="Written by whoever made the file: untrusted.")


def read_tags(path: Path, most: int = 200, most_characters: int = 4000) -> dict[str, str]:
    """All tags of the file and its streams by `name` or `stream.name`, values cut; anybody can write these."""
    with open_video(path) as container:
        named = [("", container.metadata), *((f"{one.type}.", one.metadata) for one in container.streams)]
        tags: dict[str, str] = {}
        for begin, metadata in named:
            for name, value in metadata.items():
                if len(tags) < most:
                    tags.setdefault(f"{begin}{str(name)[:80]}", str(value)[:most_characters])
    return tags
