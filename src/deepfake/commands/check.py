"""Check videos with the shipped detector: a verdict on each, with its reasons, as a line, a page and JSON.

Pages and JSON go to data/work/checks unless --html and --json say where; several videos get an index.html
beside their pages. Nothing is fetched or sent. Exit codes; of several videos the gravest verdict, top line first:

  3  likely forged
  4  inconclusive
  5  no face found, or the file could not be read
  0  likely real: no sign of forgery was found
  2  a mistake in the command
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake.commands.arguments import READERS, add_engine, add_limits, limits_given, output_folder, predict_given
from deepfake.errors import UserError
from deepfake.files import default_cache, default_checks, probe_note

if TYPE_CHECKING:
    from deepfake.workers import Started


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, metavar="FILE", help="video file")
    parser.add_argument("--json", metavar="F", help="where the JSON goes; - is the screen; of several videos, a list")
    parser.add_argument("--html", type=Path, metavar="F", help="where the page goes; of several videos, a folder")
    parser.add_argument("--open", action="store_true", help="show the page, or the index, in the browser")
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--cache", type=output_folder, default=str(default_cache()), help="where crops are kept")
    parser.add_argument(
        "--no-people", action="store_true", help="do not compare faces to tell which tracks show one person"
    )
    parser.add_argument(
        "--evidence", action="store_true", help="look for other signs, too; no score or verdict depends on them"
    )
    parser.add_argument(
        "--trust-list",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) of those who may certify signers of Content Credentials; with --evidence",
    )
    add_limits(parser)
    add_engine(parser)
    parser.add_argument("--schema", action="store_true", help="print the JSON's schema and stop")
    return parser


def run(args: argparse.Namespace) -> int:
    if args.schema:
        from deepfake.commands import checks

        return checks.print_schema()
    if not args.videos:
        raise UserError("no video given; `deepfake check --help` lists the arguments")
    for path in args.videos:
        if path.is_dir():
            raise UserError(f"video {str(path)!r} is a folder; use `deepfake predict`")
        if not path.is_file():
            nothing = "is a link that leads to no file" if path.is_symlink() else "does not exist"
            kind = "is a pipe, a socket or a device" if path.exists() else nothing
            raise UserError(f"video {str(path)!r} {kind}")
    if args.trust_list:
        _refuse_trust_list(args.trust_list, args.evidence)
    started = _start_readers([path for path in args.videos[:READERS] if not _is_noted(path, args.cache)])
    gc.disable()  # modules are no garbage, and looking for some takes a twentieth of a second
    from deepfake.commands import checks

    gc.enable()
    places = checks.Places(args.json, args.html, default_checks(), len(args.videos))
    places.try_all([*args.videos, *(path for path in (args.weights, args.trust_list) if path)])
    given, predict = limits_given(args), predict_given(args)
    looked_for = checks.LookedFor(not args.no_people, args.evidence, args.trust_list)
    return checks.check(args.videos, places, args.weights, args.cache, args.open, given, started, predict, looked_for)


def _refuse_trust_list(path: Path, evidence: bool) -> None:
    """A list that nothing can be read of is a mistake, and so is one that nothing would be done with."""
    if not evidence:
        raise UserError("--trust-list says whose Content Credentials count, which --evidence looks for; add --evidence")
    from deepfake.evidence.credentials import read_trust_list

    read_trust_list(path)


def _is_noted(path: Path, cache_dir: Path) -> bool:
    try:
        return probe_note(path, cache_dir).is_file()
    except OSError:  # reading it will say why
        return False


def _start_readers(new: Sequence[Path]) -> Started:
    """Start the processes that will read videos, which takes them as long as this one's own imports do."""
    if not new:
        return ()
    from deepfake.workers import ONE_THREAD, start_ahead

    return start_ahead(len(new), ONE_THREAD, ["deepfake.faces.reading", "deepfake.faces.extractor"])
