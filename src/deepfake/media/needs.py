"""What reading one video may cost, by the size of its file and picture: the limits of its process where none are set.

A limit is there for what hangs or grows without end, so it lies far above what an honest file needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psutil

from deepfake.media.demux import VideoProbe
from deepfake.media.source import KEPT_BYTES
from deepfake.settings import Extract
from deepfake.workers import Limits, allow

_READ_BYTES_PER_S = 1 << 20  # a slow share, at twice that, read twice
_PIXELS_PER_S = 20e6  # 1080p at 10 frames a second: a tenth of what one core decodes when nothing else runs
_FRAMES_IN_FLIGHT = 24  # a decoder's references and those it reorders (up to 17), frames held for their faces, copies
_WITHOUT_PICTURES_MB = 1200
_WIDE_BYTES = 256 << 20  # of frames held between two runs of the face detector


@dataclass(frozen=True)
class Needs:
    """Seconds and MB of resident memory after and above which a process is stopped."""

    deadline_s: float
    memory_mb: int


LEAST = Needs(300.0, 1500)


def needs(size_bytes: int, probe: VideoProbe | None = None) -> Needs:
    """The limits for a file, before and after it was demuxed; more than half of the machine's memory is for none."""
    deadline_s, memory_mb = LEAST.deadline_s + size_bytes / _READ_BYTES_PER_S, float(LEAST.memory_mb)
    kept = size_bytes if size_bytes <= KEPT_BYTES else 0
    if probe is not None:
        deadline_s += probe.n_frames * probe.width_px * probe.height_px / _PIXELS_PER_S
        memory_mb = max(memory_mb, _WITHOUT_PICTURES_MB + (kept + _FRAMES_IN_FLIGHT * picture_bytes(probe)) / 2**20)
    most_mb = max(psutil.virtual_memory().total / 2**21, LEAST.memory_mb)
    return Needs(round(deadline_s, 1), round(min(memory_mb, most_mb)))


def limits_of(settings: Extract) -> Limits:
    """What one video may cost; where the settings leave that open, its process raises it as the file asks for it."""
    deadline_s, memory_mb = settings.deadline_s or LEAST.deadline_s, settings.memory_mb or LEAST.memory_mb
    grow = settings.deadline_s is None, settings.memory_mb is None
    return Limits(settings.workers, deadline_s, memory_mb, grow=grow)


def allow_for(size_bytes: int, probe: VideoProbe | None = None) -> None:
    """Raise the limits of this process to what a file needs, where they are not set by hand."""
    wanted = needs(size_bytes, probe)
    allow(wanted.deadline_s, wanted.memory_mb)


def picture_bytes(probe: VideoProbe) -> float:
    """Bytes of one decoded picture."""
    samples = 1.5 if re.search("420|nv12|p01[0-6]", probe.pixel_format) else 2 if "422" in probe.pixel_format else 4
    is_deep = re.search("(9|10|12|14|16)(le|be)$", probe.pixel_format) is not None
    return probe.width_px * probe.height_px * samples * (2 if is_deep else 1)


def stride_within(stride: int, probe: VideoProbe) -> int:
    """How many sampled frames may lie between two that are searched for faces: fewer where pictures are huge."""
    return max(1, min(stride, int(_WIDE_BYTES / picture_bytes(probe)) - 1))
