"""Clips damaged step by step, checked as any file is: what is lost must draw p_fake to the prior, and never past it.

A ladder is one kind of damage in rising levels; each begins with the clip written without damage. To add one, give it
a line in `LADDERS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.detector.check import FORGED, REAL, UNREADABLE, Verdict
from deepfake.ensemble.submission import csv_bytes
from deepfake.errors import UserError
from lab.distortions import Distortion
from lab.robustness import Clip, write_distorted

if TYPE_CHECKING:  # --help loads no torch
    from deepfake.detector.file import TrainedDetector

# A sixth of a blur's kernel is its sigma: 2.2, 4.2, 6.2, 10.2 px.
LADDERS: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("blur", (13, 25, 37, 61)),
    ("scale", (1 / 2, 1 / 4, 1 / 6)),
    ("cut", (2, 1)),
    ("brightness", (0.35, 0.15)),
    ("h264", (45,)),
)
WHOLE = Distortion("none")
SECONDS, CRF = 4.0, 6  # as `robustness` writes clips
SAME = 0.01  # what p_fake may move without being called a move
OPPOSITE = {FORGED: REAL, REAL: FORGED}
COLUMNS = ("clip", "damage", "p_fake", "verdict", "n_frames", "side_px", "sharpness", "remark", "reason")


@dataclass(frozen=True)
class Step:
    """A clip at one step of damage: what is made of it, and what there was to be seen of the face that decides.

    `reason` says why there is no score or no verdict.
    """

    clip: str
    damage: Distortion
    p_fake: float
    verdict: Verdict
    reason: str | None = None
    n_frames: int = 0
    side_px: float = 0.0
    sharpness: float = 0.0


def distortions() -> list[Distortion]:
    """All that is measured of a clip."""
    return [WHOLE, *(Distortion(kind, level) for kind, levels in LADDERS for level in levels)]


def write_steps(clips: Sequence[Path], folder: Path) -> list[tuple[str, Distortion, Path]]:
    """Write every step of every clip that is not there yet; clip, damage and file."""
    names = [clip.stem for clip in clips]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"clip {twice!r} is named twice: wanted clips of different names, for the table goes by them")
    made = []
    for clip in clips:
        for damage in distortions():
            target = folder / f"{clip.stem}-{damage.name.replace(' ', '-')}.mp4"
            one = Clip(name=clip.name, source=clip, target=target, distortion=damage, seconds=SECONDS, crf=CRF)
            reason = None if target.is_file() else write_distorted(one)
            if reason is not None:
                raise UserError(f"clip {clip.name!r} cannot be written with {damage.name}: {reason}")
            made.append((clip.stem, damage, target))
    return made


def check_steps(clips: Sequence[Path], detector: TrainedDetector, weights_sha256: str, out: Path) -> Iterator[Step]:
    """Yield every step of every clip, checked; clips and scores are kept below `out`."""
    from deepfake.detector.judged import judge
    from deepfake.detector.verdict import check_videos, seen

    made = write_steps(clips, out / "clips")
    paths = [path for _, _, path in made]
    for place, scored, check in check_videos(paths, detector, weights_sha256, out / "cache"):
        clip, damage, _ = made[place]
        step = Step(clip, damage, scored.p_fake, check.verdict, check.reason)
        if scored.tracks:
            judged = judge(scored.tracks, detector.stack, detector.ensemble)
            own = seen([scored.tracks[judged.most_telling(scored.tracks)]])
            step = Step(**vars(step) | {name: getattr(own, name) for name in ("n_frames", "side_px", "sharpness")})
        yield step


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Clip by clip, from light damage to heavy, ladder by ladder."""
    names = [damage.name for damage in distortions()]
    return sorted(steps, key=lambda step: (step.clip, names.index(step.damage.name)))


def remark(step: Step, before: Step, first: Step, prior: float) -> str:
    """What must not be, in words; empty where there is none. `before` is one level lighter, `first` undamaged."""
    if step.verdict == UNREADABLE:
        return "NO SCORE"
    found = []
    if step.verdict == OPPOSITE.get(first.verdict):
        found.append("VERDICT TURNED")
    side = 1 if first.p_fake >= prior else -1
    if side * (step.p_fake - prior) < -SAME:
        found.append("past the prior")
    elif side * (step.p_fake - before.p_fake) > SAME:
        found.append("farther than before")
    return ", ".join(found)


def remarks(steps: Sequence[Step], prior: float) -> list[str]:
    """`remark` of each of these, in their order; every clip has every step."""
    by_name = {(step.clip, step.damage.name): step for step in steps}
    before: dict[str, str] = {}
    for kind, levels in LADDERS:
        names = [WHOLE.name, *(Distortion(kind, level).name for level in levels)]
        before |= dict(zip(names[1:], names, strict=False))
    found = []
    for step in steps:
        first = by_name[step.clip, WHOLE.name]
        last = by_name[step.clip, before.get(step.damage.name, WHOLE.name)]
        found.append(remark(step, last, first, prior))
    return found


def as_csv(steps: Sequence[Step], prior: float) -> bytes:
    """A line a step, in the order they were given."""
    lines: list[Sequence[object]] = [COLUMNS]
    for step, words in zip(steps, remarks(steps, prior), strict=True):
        numbers = (step.n_frames, round(step.side_px, 1), round(step.sharpness, 2))
        p_fake = round(step.p_fake, 6)
        lines.append((step.clip, step.damage.name, p_fake, step.verdict, *numbers, words, step.reason or ""))
    return csv_bytes(lines)


def as_markdown(steps: Sequence[Step], prior: float) -> str:
    """A row a damage and a column a clip: p_fake, verdict, remark; then how many clips must not be as they are."""
    clips = list(dict.fromkeys(step.clip for step in steps))
    words = remarks(steps, prior)
    cells = {(step.clip, step.damage.name): _cell(step, one) for step, one in zip(steps, words, strict=True)}
    lines = ["| damage | " + " | ".join(clips) + " |", "|---|" + "---|" * len(clips)]
    for name in dict.fromkeys(step.damage.name for step in steps):
        lines.append(f"| {name} | " + " | ".join(cells[clip, name] for clip in clips) + " |")
    damaged = [one for step, one in zip(steps, words, strict=True) if step.damage != WHOLE]
    counts = {what: sum(what in one for one in damaged) for what in ("VERDICT", "past", "farther", "SCORE")}
    return "\n".join(
        [
            *lines,
            f"{len(damaged)} damaged clips, prior {prior:.2f}: {damaged.count('')} as near to the prior as the step "
            f"before or nearer, {counts['farther']} farther, {counts['past']} past it, "
            f"{counts['VERDICT']} of turned verdict, {counts['SCORE']} not scored",
        ]
    )


def _cell(step: Step, words: str) -> str:
    return f"{step.p_fake:.2f} {step.verdict}" + (f" **{words}**" if words else "")


def turned(steps: Sequence[Step], prior: float) -> int:
    """How many verdicts became their opposite."""
    return sum("VERDICT" in one for one in remarks(steps, prior))
