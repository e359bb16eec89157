"""The stages as a picture: one band a stage, one line a file from the stage that makes it to the last that reads it.

Made from `deepfake.stages.STAGES` alone, so a new stage or file shows up by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from deepfake.settings import Config
from deepfake.stages import STAGES, Stage

WIDTH, LINES_X, LABEL_PX = 1000, 440, 172  # the first line's place; the room a file's name needs
HEAD, FILE_PX, BAND_PX, PADDING_PX = 46, 19, 46, 15
FOLDERS = (("work", "data/work"), ("run", "data/runs"), ("submission", "submissions"))
STYLE = """
svg { --paper: #fff; --band: #f4f6f8; --ink: #22262b; --soft: #5c636b;
  --work: #2b6c8f; --run: #7a5195; --submission: #b3431f }
@media (prefers-color-scheme: dark) { svg { --paper: #16191d; --band: #1e2328; --ink: #e8eaed; --soft: #a5adb5;
  --work: #6db3d8; --run: #c39bdf; --submission: #f0906c } }
text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: var(--ink) }
.paper { fill: var(--paper) } .band { fill: var(--band) } .soft { fill: var(--soft); font-size: 12px }
.name { font-size: 14.5px; font-weight: 600 } .file { font-size: 12px }
.work { --own: var(--work) } .run { --own: var(--run) } .submission { --own: var(--submission) }
line { stroke: var(--own); stroke-width: 1.6; opacity: .55 } .made { fill: var(--own) }
.read { fill: var(--paper); stroke: var(--own); stroke-width: 1.8 }
"""


@dataclass(frozen=True)
class File:
    """A file, a network's files of all folds or the tables, with the rows of the stages that make and read it."""

    folder: str
    name: str
    made: int
    read: tuple[int, ...]


def files_of(config: Config) -> list[File]:
    """What the stages hand on, in the order it is made."""
    stages = list(STAGES.values())
    read = [set(_names(stage.input_paths(config), config)) for stage in stages]
    return [
        File(*key, made, tuple(row for row, keys in enumerate(read) if key in keys))
        for made, stage in enumerate(stages)
        for key in dict.fromkeys(_names(stage.output_paths(config), config))
    ]


def _names(paths: list[Path], config: Config) -> Iterator[tuple[str, str]]:
    places = {"work": config.work_dir, "run": config.run_dir, "submission": config.submission_dir}
    for path in paths:
        folder = next(name for name, place in places.items() if path.is_relative_to(place))
        name = re.sub(r"fold\d+", "fold*", path.relative_to(places[folder]).as_posix())
        yield folder, re.sub(r"^tables/\w+", "tables/*", name)


def stage_diagram(config: Config) -> str:
    """The picture as a whole SVG file, for light and dark pages."""
    stages, files = list(STAGES.values()), files_of(config)
    counts = [max(sum(file.made == row for file in files), 1) for row in range(len(stages))]
    heights = [max(BAND_PX, n * FILE_PX + PADDING_PX) for n in counts]
    tops = [HEAD + sum(heights[:row]) for row in range(len(stages))]
    step = (WIDTH - LINES_X - LABEL_PX) / max(len(files) - 1, 1)
    drawn = [
        *_legend(),
        *(part for row, stage in enumerate(stages) for part in _band(stage, row, tops[row], heights[row])),
    ]
    nth = dict.fromkeys(range(len(stages)), 0)
    for place, file in enumerate(files):
        drawn += _line(file, round(LINES_X + place * step, 1), tops, nth[file.made])
        nth[file.made] += 1
    height = tops[-1] + heights[-1] + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t d">\n'
        f'<title id="t">The stages and the files between them</title>\n'
        f'<desc id="d">{escape(described(config))}</desc>\n'
        f'<style>{STYLE}</style>\n<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def described(config: Config) -> str:
    """The same in words, one sentence a stage."""
    files, sentences = files_of(config), []
    for row, stage in enumerate(STAGES.values()):
        read = ", ".join(file.name for file in files if row in file.read) or "the videos"
        made = ", ".join(file.name for file in files if file.made == row)
        sentences.append(f"{stage.name} reads {read} and makes {made}.")
    return " ".join(sentences)


def _legend() -> Iterator[str]:
    yield '<text class="soft" x="18" y="29">each stage reads the rings in its band and makes the dots</text>'
    for place, (folder, shown) in enumerate(FOLDERS):
        x = LINES_X + 130 * place
        yield f'<circle class="made {folder}" cx="{x}" cy="25" r="4.5"/>'
        yield f'<text class="soft" x="{x + 11}" y="29">{shown}/…</text>'


def _band(stage: Stage, row: int, top: int, height: int) -> Iterator[str]:
    if row % 2 == 0:
        yield f'<rect class="band" x="8" y="{top}" width="{WIDTH - 16}" height="{height}" rx="6"/>'
    yield f'<text class="name" x="18" y="{top + 20}">{escape(stage.name)}</text>'
    yield f'<text class="soft" x="18" y="{top + 37}">{escape(stage.makes)}</text>'


def _line(file: File, x: float, tops: list[int], nth: int) -> Iterator[str]:
    """A file's dot and name, its line down, and a ring in the band of each stage that reads it."""
    start = tops[file.made] + 17 + nth * FILE_PX
    if file.read:
        yield f'<line class="{file.folder}" x1="{x}" x2="{x}" y1="{start}" y2="{tops[file.read[-1]] + 17}"/>'
    yield f'<circle class="made {file.folder}" cx="{x}" cy="{start}" r="4.5"/>'
    yield f'<text class="file" x="{x + 10}" y="{start + 4}">{escape(file.name)}</text>'
    for row in file.read:
        yield f'<circle class="read {file.folder}" cx="{x}" cy="{tops[row] + 17}" r="3.6"/>'
