"""Which of a file's video streams are looked at, and which one stands for it: arithmetic over what demuxing found.

A motion photo, a cover without its flag, a call recorder's slides beside its webcam: a player shows one stream, but
whoever forges may hide in any other. So every stream that moves is looked at, and pictures that do not move are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_STREAMS = 8  # looked at; so many angles has a DVD at most
STILL = "a still picture beside a video"
COVER = "a cover picture"
UNDECODABLE = "a codec that this FFmpeg cannot decode"
EMPTY = "no frame in it"
TOO_MANY = f"the file has more than {MAX_STREAMS} video streams; those longest and first are looked at"
_FEWER_FRAMES = 10  # times fewer than the stream with most: slides beside a webcam
_PREVIEW_PX = 90  # a picture less high or wide is a preview where there is a larger one


@dataclass(frozen=True)
class VideoStream:
    """One video stream of a file, by its number there; sides are of the upright picture.

    `left_out` says why it is not looked at, None where it is. Times are `VideoProbe`'s.
    """

    stream: int
    codec: str
    width_px: int
    height_px: int
    n_frames: int
    first_frame_s: float
    duration_s: float
    is_default: bool
    left_out: str | None = None


def looked_at(streams: Sequence[VideoStream]) -> list[int]:
    """Numbers of the streams to look at, first the one that stands for the file.

    That is one with many frames, about as long as the longest and no tiny preview; of several the one that the file
    marks as its default, as players show it, then the first. What is `left_out` already stays out.
    """
    readable = [one for one in streams if one.left_out is None]
    # Where nothing moves there is no video for the stills to stand beside.
    videos = [one for one in readable if one.n_frames > 1] or readable
    most = max((one.n_frames for one in videos), default=0)
    longest_s = max((one.duration_s for one in videos), default=0.0)
    tallest_px = max((min(one.width_px, one.height_px) for one in videos), default=0)

    def rank(one: VideoStream) -> tuple[bool, bool, bool, bool, int]:
        is_preview = min(one.width_px, one.height_px) < min(_PREVIEW_PX, tallest_px)
        few, short = one.n_frames * _FEWER_FRAMES < most, 2 * one.duration_s < longest_s
        return few, short, is_preview, not one.is_default, one.stream

    return [one.stream for one in sorted(videos, key=rank)[:MAX_STREAMS]]


def why_left_out(stream: VideoStream, chosen: Sequence[int]) -> str | None:
    """Why a stream is not among those chosen."""
    if stream.stream in chosen:
        return None
    return stream.left_out or (TOO_MANY if stream.n_frames > 1 else STILL)
