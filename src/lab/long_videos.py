"""What long videos cost and who is seen in them: clips of drawn faces, from seconds to hours.

A speaker is there all the time, and guests come for a quarter of a second to five. The groups of pictures are encoded
once and put together by copying packets, so that three hours take seconds to make. `measure_repeated` does so with the
beginning of any clip: what hours cost in its size and frame rate.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from deepfake.faces.extracted import Extraction, StoredFace
from deepfake.faces.extractor import Job, extract
from deepfake.media.clips import join_groups, loop_clip, write_clip
from deepfake.media.video import sample
from deepfake.settings import Extract
from lab.drawn_faces import SKINS, drawn_face, paste
from lab.robustness import EVERY_FRAME

FPS = 8
GROUP_S = 5  # between two keyframes: encoders leave 250 frames at most, so that most looks fall between them
WIDTH_PX, HEIGHT_PX = 320, 180
FACE_PX = 110
GUEST_X_PX = 190
STAYS_S = (0.25, 0.5, 1, 2, 3, 4, 5)
PLACES = 3  # where in a group a guest may come
MOST_GUESTS = 6  # of each stay, in one clip
MIN_TRIES = 4  # of each stay, over as many clips as that takes
JUDGED_FRAMES = 3  # a shorter track does not count beside longer ones (ensemble.min_track_frames)
LENGTHS_S = {"10 s": 10, "1 min": 60, "10 min": 600, "1 h": 3600, "3 h": 10800}


@dataclass(frozen=True)
class Guest:
    """Somebody who is in the picture beside the speaker."""

    from_s: float
    stays_s: float


@dataclass(frozen=True)
class Row:
    """What extraction of one length cost and found; `seconds` and counts are the mean of its clips.

    `smallest_s`: everybody who stayed so long, or longer, got enough frames to be judged; None: not even the longest.
    """

    length: str
    n_clips: int
    seconds: float
    n_searched: float
    n_sampled: float
    n_crops: float
    gap_s: float
    n_guests: int
    smallest_s: float | None
    found: dict[float, str]


def measure(names: Sequence[str], settings: Extract, report: Callable[[str], None]) -> Iterator[Row]:
    """Measure each length, on clips made for it in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        report("drawing the groups of pictures")
        source = Path(folder) / "groups.mp4"
        options = {"preset": "veryfast", "g": str(GROUP_S * FPS), "sc_threshold": "0", "bf": "0"}
        write_clip(source, _frames(), FPS, crf=30, options=options)
        for name in names:
            yield _measure_length(name, source, settings, report)


def _measure_length(name: str, source: Path, settings: Extract, report: Callable[[str], None]) -> Row:
    n_groups = LENGTHS_S[name] // GROUP_S
    tries: dict[float, list[int]] = {stay: [] for stay in STAYS_S}
    seconds: list[float] = []
    made: list[Extraction] = []
    clip = source.with_name("clip.mp4")
    while min(map(len, tries.values())) < MIN_TRIES:
        report(f"{name}, clip {len(made) + 1}")
        order, guests = plan_clip(n_groups, len(made))
        join_groups(source, clip, order)
        start = time.process_time()
        made.append(extract(Job(name, clip, source.parent, "clip.tar", settings)))
        seconds.append(time.process_time() - start)
        for guest in guests:
            tries[guest.stays_s].append(_frames_of(guest, made[-1]))
    return Row(
        length=name,
        n_clips=len(made),
        seconds=float(np.mean(seconds)),
        n_searched=float(np.mean([one.searched.n_frames if one.searched else 0 for one in made])),
        n_sampled=float(np.mean([one.n_sampled for one in made])),
        n_crops=float(np.mean([len(one.faces) for one in made])),
        gap_s=max(one.searched.gap_s if one.searched else _widest(one, LENGTHS_S[name]) for one in made),
        n_guests=sum(map(len, tries.values())),
        smallest_s=smallest_judged(tries),
        found={stay: f"{sum(n >= JUDGED_FRAMES for n in counts)}/{len(counts)}" for stay, counts in tries.items()},
    )


def measure_repeated(
    clip: Path, names: Sequence[str], settings: Extract, report: Callable[[str], None]
) -> Iterator[Row]:
    """Measure each length on a clip's first seconds, encoded anew and repeated; nobody comes or goes there."""
    with tempfile.TemporaryDirectory() as folder:
        report(f"encoding the first {GROUP_S} s of {clip.name}")
        source, repeated = Path(folder) / "group.mp4", Path(folder) / "clip.mp4"
        group_s = write_group(clip, source)
        for name in names:
            report(name)
            loop_clip(source, repeated, max(round(LENGTHS_S[name] / group_s), 1))
            start = time.process_time()
            made = extract(Job(name, repeated, source.parent, "clip.tar", settings))
            seconds = time.process_time() - start
            yield Row(
                length=name,
                n_clips=1,
                seconds=seconds,
                n_searched=made.searched.n_frames if made.searched else 0,
                n_sampled=made.n_sampled,
                n_crops=len(made.faces),
                gap_s=made.searched.gap_s if made.searched else _widest(made, LENGTHS_S[name]),
                n_guests=0,
                smallest_s=None,
                found={},
            )


def write_group(clip: Path, target: Path) -> float:
    """Write a clip's first seconds as one group of pictures without B-frames; return how many seconds it lasts."""
    with sample(clip, "uniform", EVERY_FRAME) as video:
        fps = video.probe.fps or 25.0
        frames = (frame.rgb() for frame in islice(video, round(GROUP_S * fps)))
        options = {"preset": "veryfast", "g": str(round(GROUP_S * fps)), "sc_threshold": "0", "bf": "0"}
        n_frames = write_clip(target, frames, fps, crf=23, options=options)
    return n_frames / fps


def smallest_judged(tries: dict[float, list[int]]) -> float | None:
    """The shortest stay of which, as of all longer ones, everybody got enough frames; `tries` are their frames."""
    smallest = None
    for stay in sorted(tries, reverse=True):
        if min(tries[stay], default=0) < JUDGED_FRAMES:
            break
        smallest = stay
    return smallest


def plan_clip(n_groups: int, number: int) -> tuple[list[int], list[Guest]]:
    """Which group of pictures follows which in a clip of so many, and who is seen in it; `number` varies them.

    Guests are spread over the whole length, at most every second group; group 0 shows the speaker alone.
    """
    n_guests = min(max(n_groups // 2, 1), MOST_GUESTS * len(STAYS_S))
    kinds = islice(cycle(range(len(STAYS_S))), number * n_guests % len(STAYS_S), None)
    slots = np.floor((np.arange(n_guests) + 0.99) * n_groups / n_guests).astype(int)
    order, guests = [0] * n_groups, []
    for turn, (slot, kind) in enumerate(zip(slots.tolist(), kinds, strict=False)):
        place = (turn + number) % PLACES
        order[slot] = 1 + kind * PLACES + place
        guests.append(Guest(slot * GROUP_S + _comes_s(STAYS_S[kind], place), STAYS_S[kind]))
    return order, guests


def _comes_s(stays_s: float, place: int) -> float:
    """When in its group a guest comes, on a frame: early, in the middle or as late as it can be."""
    return round((GROUP_S - stays_s) * place / (PLACES - 1) * FPS) / FPS


def _frames() -> Iterator[np.ndarray]:
    """The groups of pictures one after the other: the speaker alone, then each stay at each place."""
    for number in range(GROUP_S * FPS):
        yield _scene(number, has_guest=False)
    for stays_s in STAYS_S:
        for place in range(PLACES):
            comes = round(_comes_s(stays_s, place) * FPS)
            for number in range(GROUP_S * FPS):
                yield _scene(number, has_guest=comes <= number < comes + round(stays_s * FPS))


def _scene(number: int, has_guest: bool) -> np.ndarray:
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.uniform(60, 200, (5, 7, 3)).astype(np.float32), (WIDTH_PX, HEIGHT_PX))
    mouth = 0.5 + 0.5 * np.sin(number * np.pi / 10)  # a whole number of times a group: it joins on
    sway_px = round(5 * np.sin(2 * np.pi * number / (GROUP_S * FPS)))
    paste(wall, *drawn_face(FACE_PX, SKINS[0], float(mouth)), 20 + sway_px, 30)
    if has_guest:
        paste(wall, *drawn_face(FACE_PX, SKINS[3], float(1 - mouth)), GUEST_X_PX + sway_px, 30)
    return np.asarray(wall.clip(0, 255), np.uint8)


def _frames_of(guest: Guest, made: Extraction) -> int:
    """How many frames the guest's track has."""

    def is_guest(face: StoredFace) -> bool:
        within = guest.from_s - 1e-3 <= face.time_s < guest.from_s + guest.stays_s
        return within and (face.x0_px + face.x1_px) / 2 > WIDTH_PX / 2

    return max((sum(map(is_guest, track)) for track in made.tracks), default=0)


def _widest(made: Extraction, length_s: float) -> float:
    """The longest time between two sampled frames, of a clip that was not searched."""
    return float(np.diff([0.0, *made.times_s, length_s]).max())


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    titles = ["length", "clips", "seconds", "searched", "sampled", "crops", "longest gap", "smallest judged"]
    stays = STAYS_S if any(row.n_guests for row in rows) else ()
    lines = [titles + [f"{stay:g} s" for stay in stays], ["---"] * (len(titles) + len(stays))]
    for row in rows:
        smallest = "none" if row.smallest_s is None else f"{row.smallest_s:g} s"
        smallest = smallest if row.n_guests else "-"
        counts = [f"{value:.0f}" for value in (row.n_searched, row.n_sampled, row.n_crops)]
        cells = [row.length, str(row.n_clips), f"{row.seconds:.1f}", *counts, f"{row.gap_s:.2f} s", smallest]
        lines.append(cells + list(row.found.values()))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
