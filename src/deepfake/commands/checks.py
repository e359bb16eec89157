"""`deepfake check`: verdicts, pages and JSON of some videos, each written as soon as it is known."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import READERS
from deepfake.detector.check import Check, CheckedFile, schema
from deepfake.detector.header import Networks, read_detector
from deepfake.detector.read_ahead import reading_ahead
from deepfake.detector.verdict import (
    check_with,
    evidence_lines,
    exit_code,
    face_lines,
    search_lines,
    stream_lines,
    unscored_check,
    verdict_line,
)
from deepfake.errors import UserError
from deepfake.files import digest, remove_whole, sha256_of, write_whole
from deepfake.models.detector_file import shipped_weights
from deepfake.outputs import SCREEN, is_same_place, refuse_inputs, try_file, try_folder
from deepfake.settings import Predict
from deepfake.workers import Kept, Started

if TYPE_CHECKING:  # --evidence alone imports it
    from deepfake.evidence.gathering import Gatherer


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
        page_path = self._one_page
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
        """The page of the video of this number, by its content; by its place where nothing is known of that."""
        if self._one_page is not None:
            return self._one_page
        return self._named(number, file, file.sha256[:8] if file.sha256 else _unread_name(file))

    def outdated(self, number: int, file: CheckedFile) -> list[Path]:
        """What an earlier run that could not read this file may have written in place of the page of now."""
        if file.sha256 is None or self._one_page is not None:
            return []
        page = self._named(number, file, _unread_name(file))
        return [page, page.with_suffix(".json")] if self.json is None and self.n_videos == 1 else [page]

    def _named(self, number: int, file: CheckedFile, content: str) -> Path:
        stem = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(file.name).stem)[:60].strip(".-_") or "video"
        again = f"-{number + 1}" if self.n_videos > 1 else ""
        return self.folder / f"{stem}-{content}{again}.html"

    @property
    def _one_page(self) -> Path | None:
        """The page, where it was named."""
        return self.html if self.n_videos == 1 and self.html is not None and not self.html.is_dir() else None

    @property
    def folder(self) -> Path:
        """Where pages of several videos and their index go."""
        return self.html or self.default_dir

    def json_path(self, page_path: Path) -> Path:
        """Where the JSON goes; beside the page by default."""
        if self.json is not None:
            return Path(self.json)
        return page_path.with_suffix(".json") if self.n_videos == 1 else self.folder / "index.json"


@dataclasses.dataclass(frozen=True)
class LookedFor:
    """What is looked for beside the score: which tracks show one person, and other signs (`evidence`).

    `trust_list`: a file of certificates of those who may certify signers of Content Credentials.
    """

    people: bool = True
    evidence: bool = False
    trust_list: Path | None = None


def _unread_name(file: CheckedFile) -> str:
    """What stands for the content of a file that could not be read; the same name elsewhere is another file."""
    return f"unread-{digest(os.fsencode(Path(file.path).absolute()).hex())[:8]}"


def check(
    videos: Sequence[Path],
    places: Places,
    weights: Path | None,
    cache_dir: Path,
    show: bool,
    limits: Mapping[str, float] | None = None,
    started: Started = (),
    predict: Predict | None = None,
    looked_for: LookedFor = LookedFor(),
) -> int:
    """Check videos, write and print the results, and return the exit code; `limits`, `started`: see `reading_ahead`."""
    path = weights or shipped_weights()
    workers = min(len(videos), READERS)
    kept: Kept | None = [] if looked_for.evidence else None
    with reading_ahead(videos[:workers], path, cache_dir, limits, started, kept) as ahead:
        from deepfake.report.check_page import index_page, page
        from deepfake.report.shown_crops import shown_crops

        networks = Networks(read_detector(path).within(limits or {}), predict or Predict())
        weights_sha256 = sha256_of(path)
        if ahead.n_videos:
            scorer = networks.scorer  # loaded while other processes read
            for pictures in ahead.pictures():
                scorer.look_ahead(pictures)
    done: dict[int, tuple[Check, Path]] = {}
    checked = check_with(networks, videos, weights_sha256, cache_dir, workers, ahead.readings, looked_for.people)
    with _gatherer(looked_for, kept) as gather:
        if gather is not None:
            for video, reading in ahead.readings.items():
                if reading.extraction.failure is None:
                    unscored = unscored_check(video, reading, networks.rules, weights_sha256)
                    gather.begin(unscored, reading.extraction, cache_dir)
        for number, scored, made in checked:
            page_path = places.page(number, made.file)
            crops = shown_crops(made, scored.reading.extraction, networks, cache_dir) if scored.reading else []
            found = None
            if gather and scored.reading:
                made, found = gather(made, scored.reading.extraction, cache_dir)
            write_whole(page_path, page(made, crops, page_path, found))
            for older in places.outdated(number, made.file):
                remove_whole(older)
            done[number] = made, page_path
            if places.json != SCREEN:
                lines = [verdict_line(made), *stream_lines(made), *search_lines(made), *face_lines(made)]
                print("\n".join([*lines, *evidence_lines(made), f"  page: {page_path}"]), flush=True)
    checks = [done[number] for number in sorted(done)]
    top = checks[0][1]
    if len(videos) > 1:
        top = places.folder / "index.html"
        write_whole(top, index_page([(made, page_path.name) for made, page_path in checks]))
    _write_json([made for made, _ in checks], places, top)
    if show:
        webbrowser.open(top.resolve().as_uri())
    return exit_code([made.verdict for made, _ in checks])


@contextmanager
def _gatherer(looked_for: LookedFor, kept: Kept | None) -> Iterator[Gatherer | None]:
    """What looks for other signs; None where they are not asked for."""
    if not looked_for.evidence:
        yield None
        return
    from deepfake.evidence.gathering import gathering

    with gathering(kept=kept, trust_list=looked_for.trust_list) as gather:
        yield gather


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
