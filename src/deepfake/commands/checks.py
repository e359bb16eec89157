"""`deepfake check`: verdicts, pages and JSON of some videos, each written as soon as it is known."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepfake.detector.check import Check, CheckedFile, schema
from deepfake.detector.read_ahead import reading_ahead
from deepfake.detector.verdict import (
    check_videos,
    exit_code,
    face_lines,
    search_lines,
    stream_lines,
    verdict_line,
)
from deepfake.errors import UserError
from deepfake.files import sha256_of, write_whole
from deepfake.models.detector_file import shipped_weights
from deepfake.outputs import SCREEN, is_same_place, refuse_inputs, try_file, try_folder
from deepfake.report.check_page import index_page, page
from deepfake.settings import Predict


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the outputs of `n_videos` go: `json` a file, - or None; `html` a page or a folder, or None.

    Several videos need a folder.
    """

    json: str | None
    html: Path | None
    default_dir: Path
    n_videos: int

    def __post_init__(self) -> None:
        if str(self.html) == SCREEN:
            raise UserError("--html -: a page is not shown on the screen; name a file, or use --json -")
        if self.html is not None and self.n_videos > 1 and (self.html.is_file() or self.html.suffix == ".html"):
            raise UserError(f"--html {self.html}: names one page; {self.n_videos} videos get one each: name a folder")
        if self.json not in (None, SCREEN) and Path(str(self.json)).is_dir():
            raise UserError(f"--json {self.json}: is a folder; name a file, or - for the screen")

    def try_all(self, inputs: Sequence[Path]) -> None:
        """Raise UserError where an output has no place, or would lie over another one or over something that is read.

        The names of pages that go to a folder are not known yet; the folder is tried.
        """
        page_path = self.html if self.n_videos == 1 and self.html is not None and not self.html.is_dir() else None
        top = page_path or self.folder / "index.html"
        json_path = None if self.json == SCREEN else self.json_path(top)
        if json_path is not None and is_same_place(json_path, top):
            raise UserError(f"{str(top)!r} would be the page and the JSON; name two files")
        for path in (page_path, json_path):
            refuse_inputs(path, inputs)
        try_file(page_path) if page_path else try_folder(self.folder)
        if json_path is not None:
            try_file(json_path)

    def page(self, number: int, file: CheckedFile) -> Path:
        """The page of the video of this number."""
        if self.html is not None and self.n_videos == 1 and not self.html.is_dir():
            return self.html
        stem = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(file.name).stem)[:60].strip(".-_") or "video"
        again = f"-{number + 1}" if self.n_videos > 1 else ""
        return self.folder / f"{stem}-{(file.sha256 or 'unread')[:8]}{again}.html"

    @property
    def folder(self) -> Path:
        """Where pages of several videos and their index go."""
        return self.html or self.default_dir

    def json_path(self, page_path: Path) -> Path:
        """Where the JSON goes; beside the page by default."""
        if self.json is not None:
            return Path(self.json)
        return page_path.with_suffix(".json") if self.n_videos == 1 else self.folder / "index.json"


def check(
    videos: Sequence[Path],
    places: Places,
    weights: Path | None,
    cache_dir: Path,
    show: bool,
    limits: Mapping[str, float] | None = None,
    predict: Predict | None = None,
) -> int:
    """Check videos, write and print the results, and return the exit code; `limits`: see `reading_ahead`."""
    path = weights or shipped_weights()
    workers = min(len(videos), 2)
    with reading_ahead(videos[:workers], path, cache_dir, limits) as known:
        from deepfake.detector.file import open_detector
        from deepfake.evidence.crops import salient_crops

        predict = predict or Predict()
        detector = open_detector(path, predict).within(limits or {})
    done: dict[int, tuple[Check, Path]] = {}
    sha256 = sha256_of(path)
    for number, scored, made in check_videos(videos, detector, sha256, cache_dir, workers, known, predict):
        page_path = places.page(number, made.file)
        crops = salient_crops(made, scored.reading.extraction, detector, cache_dir) if scored.reading else []
        write_whole(page_path, page(made, crops, page_path))
        done[number] = made, page_path
        if places.json != SCREEN:
            lines = [verdict_line(made), *stream_lines(made), *search_lines(made), *face_lines(made)]
            print("\n".join([*lines, f"  page: {page_path}"]), flush=True)
    checks = [done[number] for number in sorted(done)]
    top = checks[0][1]
    if len(videos) > 1:
        top = places.folder / "index.html"
        write_whole(top, index_page([(made, page_path.name) for made, page_path in checks]))
    _write_json([made for made, _ in checks], places, top)
    if show:
        webbrowser.open(top.resolve().as_uri())
    return exit_code([made.verdict for made, _ in checks])


def _write_json(checks: Sequence[Check], places: Places, top: Path) -> None:
    several = places.n_videos > 1
    text = (json.dumps([check.plain() for check in checks], indent=1) if several else checks[0].to_json()) + "\n"
    if places.json == SCREEN:
        sys.stdout.write(text)
        return
    path = places.json_path(top)
    write_whole(path, text.encode())
    print(f"{f'index: {top}, ' if several else '  '}JSON: {path}")


def print_schema() -> int:
    """Print the JSON schema of a check."""
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
    return 0
