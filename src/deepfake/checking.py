"""The `check_video` command: verdicts, pages and JSON of some videos, each written as soon as it is known."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfake.config import PROJECT_ROOT, UserError
from deepfake.detector_file import find_weights
from deepfake.files import sha256_of, write_whole
from deepfake.read_ahead import reading_ahead
from deepfake.report.check import index_page, page
from deepfake.verdict import SCHEMA_PATH, check_videos, exit_code, face_lines, verdict_line
from deepfake.video import VideoError, probe

SCREEN = "-"


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
        if self.html is not None and self.n_videos > 1 and (self.html.is_file() or self.html.suffix == ".html"):
            raise UserError(f"--html {self.html}: names one page; {self.n_videos} videos get one each: name a folder")
        if self.json not in (None, SCREEN) and Path(str(self.json)).is_dir():
            raise UserError(f"--json {self.json}: is a folder; name a file, or - for the screen")

    def page(self, number: int, found: Mapping[str, Any]) -> Path:
        """The page of the video of this number."""
        if self.html is not None and self.n_videos == 1 and not self.html.is_dir():
            return self.html
        stem = re.sub(r"[^A-Za-z0-9.-]+", "_", Path(found["file"]["name"]).stem)[:60].strip(".-_") or "video"
        again = f"-{number + 1}" if self.n_videos > 1 else ""
        return self.folder / f"{stem}-{found['file']['sha256'][:8]}{again}.html"

    @property
    def folder(self) -> Path:
        """Where pages of several videos and their index go."""
        return self.html or self.default_dir

    def json_path(self, page_path: Path) -> Path:
        """Where the JSON goes; beside the page if nothing was said."""
        if self.json is not None:
            return Path(self.json)
        return page_path.with_suffix(".json") if self.n_videos == 1 else self.folder / "index.json"


def check(videos: Sequence[Path], places: Places, weights: Path | None, cache_dir: Path, show: bool) -> int:
    """Check videos, write what was found, say it, and return the exit code."""
    path = weights or find_weights(PROJECT_ROOT / "data/weights")
    workers = min(len(videos), 2)
    with reading_ahead(videos[:workers], path, cache_dir):
        from deepfake.bundle import load_detector
        from deepfake.evidence import telling_crops

        detector = load_detector(path)
    done: dict[int, tuple[dict[str, Any], Path]] = {}
    for number, found in check_videos(videos, detector, sha256_of(path), cache_dir, workers):
        page_path = places.page(number, found)
        write_whole(page_path, page(found, telling_crops(found, detector, cache_dir), page_path))
        done[number] = found, page_path
        if places.json != SCREEN:
            print("\n".join([verdict_line(found), *face_lines(found), f"  page: {page_path}"]), flush=True)
    checks = [done[number] for number in sorted(done)]
    top = checks[0][1]
    if len(videos) > 1:
        top = places.folder / "index.html"
        write_whole(top, index_page([(found, page_path.name) for found, page_path in checks]))
    _write_json([found for found, _ in checks], places, top)
    if show:
        webbrowser.open(top.resolve().as_uri())
    return exit_code([found["verdict"] for found, _ in checks])


def _write_json(checks: Sequence[Mapping[str, Any]], places: Places, top: Path) -> None:
    text = json.dumps(checks if places.n_videos > 1 else checks[0], indent=1) + "\n"
    if places.json == SCREEN:
        sys.stdout.write(text)
        return
    path = places.json_path(top)
    write_whole(path, text.encode())
    print(f"{f'index: {top}, ' if places.n_videos > 1 else '  '}JSON: {path}")


def print_schema() -> int:
    """Print the JSON schema of a check."""
    sys.stdout.write(SCHEMA_PATH.read_text(encoding="utf-8"))
    return 0


def print_probes(videos: Sequence[Path]) -> int:
    """Print what the files are made of."""
    try:
        found = [dataclasses.asdict(probe(path)) for path in videos]
    except VideoError as error:
        raise UserError(str(error)) from None
    print(json.dumps(found if len(found) > 1 else found[0], indent=1, default=str))
    return 0
