"""Watch a stream as it comes: a row of annotations for each update, a verdict and an alarm for each person.

SOURCE is a video (shown at its own rate), a camera (/dev/video0, camera, camera:NAME), a network stream
(rtsp://, http:// with HLS, udp:// or tcp:// with MPEG-TS, tcp://0.0.0.0:PORT?listen=1 to be called), or - for a
pipe. What cannot be looked at in time is dropped and counted: no frame older than a second is judged. Ctrl-C ends
the session. Its page is shown on this machine only, its report goes to data/work/checks unless --html says where;
nothing is sent. Exit codes; of several persons the gravest verdict, top line first:

  3  likely forged
  4  inconclusive
  5  no face found, or no frame came
  0  likely real: no sign of forgery was found
  2  a mistake in the command
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepfake.commands.arguments import add_engine, output_file, predict_given, seconds, share, whole_number
from deepfake.errors import UserError

UNLIMITED = "unlimited"


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="file, camera, address or -")
    parser.add_argument(
        "--budget-ms",
        type=_budget_ms,
        default=300.0,
        metavar="MS",
        help=f"from a frame's arrival to its row (300); 0 or {UNLIMITED}: all that a check does, and of a file all its "
        "frames",
    )
    parser.add_argument(
        "--first-verdict-s", type=seconds, default=3.0, metavar="S", help="until a new face was seen enough (3)"
    )
    parser.add_argument("--every-s", type=seconds, default=0.25, metavar="S", help="between two updates (0.25)")
    parser.add_argument(
        "--alarm-above",
        type=share,
        metavar="P",
        help="alarm where the score of the last 10 s is above this (the detector's own bound)",
    )
    parser.add_argument("--json", metavar="F", help="where a line of JSON a row goes; - is the screen")
    parser.add_argument(
        "--record", type=Path, metavar="F", help="keep the stream as it is: F.mkv, .ts or .mp4, and captions in F.vtt"
    )
    parser.add_argument(
        "--stall-s", type=seconds, default=5.0, metavar="S", help="without data until it is opened anew (5)"
    )
    parser.add_argument(
        "--give-up-s", type=seconds, default=60.0, metavar="S", help="without a frame until the session ends (60)"
    )
    parser.add_argument("--weights", type=Path, help="detector file (the one in data/weights)")
    parser.add_argument("--no-people", action="store_true", help="do not compare faces: who returns is somebody new")
    add_engine(parser)
    _add_shown(parser)
    parser.add_argument("--schema", action="store_true", help="print the schema of a line of JSON and stop")
    return parser


def _budget_ms(text: str) -> float | None:
    """None: unlimited."""
    if text in ("0", UNLIMITED):
        return None
    return 1000 * seconds(text) / 1000


def _add_shown(parser: argparse.ArgumentParser) -> None:
    """The flags of the page that shows the watch, and of its report."""
    parser.add_argument(
        "--page",
        action=argparse.BooleanOptionalAction,
        help="show the watch in the browser, on this machine only (if deepfake[live] is installed)",
    )
    parser.add_argument("--port", type=whole_number, default=0, metavar="N", help="of the page (one that is free)")
    parser.add_argument("--open", action="store_true", help="show the page, or without it the report, in the browser")
    parser.add_argument("--html", type=Path, metavar="F", help="where the report of the session goes")
    parser.add_argument("--no-report", action="store_true", help="leave no report behind, nor a crop of a face")


def run(args: argparse.Namespace) -> int:
    from deepfake.commands import watching

    if args.schema:
        return watching.print_schema()
    if args.source is None:
        raise UserError("no source given; `deepfake watch --help` lists what there is")
    if args.json is not None and args.json != "-":
        output_file_of(args.json)
    return watching.watch(args, predict_given(args))


def output_file_of(text: str) -> Path:
    """The file that a flag names, once its place was tried."""
    try:
        return output_file(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(str(error)) from None
