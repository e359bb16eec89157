"""Clips of a drawn face with flipped bits, and what becomes of each: the table that `report_damage.py` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake.faces.extracted import Extraction
from deepfake.faces.extractor import Job, extract
from deepfake.media.clips import write_clip
from deepfake.settings import Extract
from drawn_faces import person_frames

N_FLIPPED = (1, 3, 10, 30, 100, 200, 500, 1000)
OUTCOMES = ("judged", "shown, damaged", "no face", "refused: all damaged", "refused otherwise")


@dataclass(frozen=True)
class Form:
    """How the clip is coded before bits are flipped."""

    name: str
    suffix: str
    codec: str = "libx264"
    options: tuple[tuple[str, str], ...] = ()


FORMS = (
    Form("h264 in MP4, one group of pictures", ".mp4"),
    Form("h264 in MP4, groups of 12", ".mp4", options=(("g", "12"),)),
    Form("h264 in MKV, groups of 24", ".mkv", options=(("g", "24"),)),
    Form("HEVC in MP4", ".mp4", "libx265"),
    Form("HEVC in MKV", ".mkv", "libx265"),
)


def flip_bits(path: Path, n_bits: int, seed: int) -> None:
    """Flip bits anywhere in a file, none twice."""
    data = bytearray(path.read_bytes())
    for bit in np.random.default_rng(seed).choice(8 * len(data), n_bits, replace=False):
        data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


def damaged_clips(folder: Path, n_flipped: Sequence[int] = N_FLIPPED) -> Iterator[tuple[Form, int, Path]]:
    """Each form with each number of flipped bits, of `N_FLIPPED`; the seed is the clip's place in the whole table."""
    frames = person_frames(1, n_frames=72)
    for place, form in enumerate(FORMS):
        for n_bits in n_flipped:
            path = folder / f"{place}_{n_bits}{form.suffix}"
            write_clip(path, frames, 24, form.codec, 14, options=dict(form.options))
            flip_bits(path, n_bits, 100 * place + N_FLIPPED.index(n_bits))
            yield form, n_bits, path


def outcome_of(extraction: Extraction) -> str:
    """In which of `OUTCOMES` an extraction falls."""
    if extraction.failure is not None:
        return "refused: all damaged" if "sampled frames are damaged" in extraction.failure else "refused otherwise"
    if not extraction.faces:
        return "no face"
    return "shown, damaged" if extraction.is_damaged else "judged"


def outcomes(folder: Path, n_flipped: Sequence[int] = N_FLIPPED) -> Iterator[tuple[Form, int, str]]:
    """What becomes of each clip."""
    for form, n_bits, path in damaged_clips(folder, n_flipped):
        yield form, n_bits, outcome_of(extract(Job(path.name, path, folder, f"crops/{path.name}.tar", Extract())))


def table(found: Sequence[tuple[Form, int, str]]) -> str:
    """The outcomes, a form a row and a number of flipped bits a column, and how often each came."""
    n_flipped = sorted({n_bits for _, n_bits, _ in found})
    cells = {(form.name, n_bits): outcome for form, n_bits, outcome in found}
    lines = [f"| clip | {' | '.join(f'{n} bits' for n in n_flipped)} |", "| --- |" + " --- |" * len(n_flipped)]
    names = dict.fromkeys(form.name for form, _, _ in found)
    lines += [f"| {name} | {' | '.join(cells[name, n_bits] for n_bits in n_flipped)} |" for name in names]
    count = Counter(outcome for _, _, outcome in found)
    return "\n".join([*lines, "", ", ".join(f"{count[outcome]} {outcome}" for outcome in OUTCOMES)])
