"""What shows a watch: its page while it runs, and the report that it leaves."""

from __future__ import annotations

import argparse
import re
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from deepfake.detector.check import Band
from deepfake.detector.header import DetectorHeader
from deepfake.detector.verdict import detector_facts
from deepfake.errors import UserError
from deepfake.files import default_checks, printable, sha256_of, write_whole
from deepfake.live.hub import Hub
from deepfake.live.session import SessionSink
from deepfake.live.watch import Sink
from deepfake.outputs import refuse_inputs, try_file

WANTED = ("starlette", "uvicorn")  # by the page


@dataclass(frozen=True)
class Shown:
    """What else wants rows, and whether it wants pictures, too."""

    sinks: list[Sink] = field(default_factory=list)
    with_pictures: bool = False


def try_report(args: argparse.Namespace, source: Path | None, begin: datetime) -> Path | None:
    """Where the report goes, once its place was tried; None without one."""
    if args.no_report:
        if args.html is not None:
            raise UserError("--html and --no-report: leave one of them out")
        return None
    path: Path = args.html or default_checks() / f"watch-{_stem(args.source)}-{begin:%Y%m%d-%H%M%S}.html"
    refuse_inputs(path, [source] if source is not None else [])
    try_file(path)
    return path


def _stem(source: str) -> str:
    """What of a source may stand in a file's name: no password, no query."""
    plain = re.sub(r"^[a-z0-9+.-]+://(?:[^/]*@)?", "", source, flags=re.IGNORECASE).partition("?")[0]
    stem = Path(plain).stem if "://" not in source else plain
    return re.sub(r"[^A-Za-z0-9.-]+", "_", stem)[:60].strip(".-_") or "pipe"


@contextmanager
def shown(hub: Hub, args: argparse.Namespace, rules: DetectorHeader, name: str, report: Path | None) -> Iterator[Shown]:
    """Serve the page while this is open, and write the report once the watch has come to its end."""
    session = SessionSink(hub)
    sinks: list[Sink] = [session] if report is not None else []
    has_page = _has_page(args)
    low, high = rules.stack.band
    band = Band(low=low, high=high)
    more = Shown(sinks, with_pictures=has_page or report is not None)
    if has_page:
        from deepfake.live.page import Watched, serve

        gives_any = rules.promise is None or rules.promise.gives_any
        watched = Watched(name, band, None if report is None else str(report), gives_any)
        with serve(hub, watched, args.port) as address:
            _say(f"page: {address}")
            if args.open:
                webbrowser.open(address)
            yield more
    else:
        yield more
    last = session.session.last
    if report is not None and last is not None and last.kind == "end":
        from deepfake.report.session_page import page

        write_whole(report, page(session.session, name, band, detector_facts(rules, sha256_of(rules.path))))
        _say(f"report: {printable(report)}")
        if args.open and not has_page:
            webbrowser.open(report.resolve().as_uri())


def _has_page(args: argparse.Namespace) -> bool:
    """Whether there is a page: where nobody asked, if what it takes is installed."""
    missing = next((module for module in WANTED if find_spec(module) is None), None)
    if args.page or missing is None:
        return args.page is not False
    if args.page is None:
        _say(f"no page: {missing} is not installed; pip install 'deepfake[live]' brings it")
    return False


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
