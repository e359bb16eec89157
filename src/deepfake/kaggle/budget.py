"""How many frames of each video to sample, so that all videos are done in time: pure, the clock is the caller's.

Work goes in batches. After each the pace is known better, and the frames a video fall, or rise again, with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RECENT_VIDEOS = 32  # the pace is that of so many last videos: machines and videos change
# Opening and decoding a video is taken to cost as much as so many of its frames. Of a clip of 1.9 MB, finding faces and
# scoring took 0.60, 0.46 and 0.41 of the time of 32 frames with 16, 8 and 4; this says 0.67, 0.50 and 0.42.
OPENING_FRAMES = 16
RISE_MARGIN = 1.2  # more frames than before only where there is room to spare, so that the number does not flutter


@dataclass(frozen=True)
class Pace:
    """A batch that was done: so many videos at so many frames each took so many seconds."""

    n_frames: int
    n_videos: int
    seconds: float


@dataclass(frozen=True)
class Step:
    """The next batch: so many videos at so many frames each."""

    n_frames: int
    n_videos: int


def ladder(most: int, least: int) -> tuple[int, ...]:
    """Numbers of frames to choose from, each half of the one before: 32, 16, 8, 4."""
    levels = [most]
    while levels[-1] > least:
        levels.append(max(levels[-1] // 2, least))
    return tuple(levels)


def seconds_per_video(n_frames: int, paces: Sequence[Pace]) -> float:
    """What a video at so many frames should take, by the last batches, whatever their number of frames was."""
    n_videos, seconds = 0, 0.0
    for pace in reversed(paces):
        n_videos += pace.n_videos
        seconds += pace.seconds * (OPENING_FRAMES + n_frames) / (OPENING_FRAMES + pace.n_frames)
        if n_videos >= RECENT_VIDEOS:
            break
    return seconds / n_videos


def next_step(
    levels: Sequence[int], paces: Sequence[Pace], n_left: int, seconds_left: float, batch_s: float, first_videos: int
) -> Step | None:
    """The next batch, of about `batch_s` seconds; None where nothing is left to do or no time to do it in.

    The number of frames is the most of `levels` (falling) with which all `n_left` videos fit into `seconds_left`, else
    the least. Without a pace the first batch is `first_videos` at the most frames.
    """
    if not n_left or not levels or seconds_left <= 0:
        return None
    if not paces:
        return Step(levels[0], min(first_videos, n_left))
    n_frames = _most_frames(levels, paces, n_left, seconds_left)
    cost_s = max(seconds_per_video(n_frames, paces), 1e-6)
    return Step(n_frames, min(max(int(min(batch_s, seconds_left) / cost_s), 1), n_left))


def _most_frames(levels: Sequence[int], paces: Sequence[Pace], n_left: int, seconds_left: float) -> int:
    for n_frames in levels:
        margin = RISE_MARGIN if n_frames > paces[-1].n_frames else 1.0
        if n_left * seconds_per_video(n_frames, paces) * margin <= seconds_left:
            return n_frames
    return levels[-1]
