"""Sends a clip at its own rate, over and over, as a camera or a studio does: MPEG-TS over TCP, HTTP or a pipe.

python tests/stream_sender.py CLIP tcp|http|pipe --port N --for-s 5 --away-s 3 --for-s 5: whoever connects is sent the
clip for 5 s, then nobody is for 3 s, then again. `http` answers with 503 while it is away.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

import av


class _Flushed:
    """A file whose every write goes out at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._file.flush()
        return len(data)


def send(clips: list[Path], out: BinaryIO, until_s: float, start_at_s: float = -1.0) -> None:
    """Write clips, one after the other and over again, until a time of `time.monotonic`; the first one's coding."""
    began_s, at_s = time.monotonic(), 0.0
    target = av.open(_Flushed(out), "w", format="mpegts", options={"flush_packets": "1", "pes_payload_size": "0"})
    stream = None
    while True:
        for clip in clips:
            with av.open(str(clip)) as container:
                source = container.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(source)
                tick, end_s = float(source.time_base), 0.0
                for packet in container.demux(source):
                    if packet.dts is None or (at_s == 0 and packet.dts * tick < start_at_s):
                        continue
                    due_s = began_s + at_s + packet.dts * tick - max(start_at_s, 0)
                    if due_s >= until_s:
                        return
                    time.sleep(max(due_s - time.monotonic(), 0))
                    end_s = max(end_s, float((packet.pts + (packet.duration or 1)) * tick))
                    shift = round(at_s / tick)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    target.mux_one(packet)
            at_s += end_s


def _tcp(args: argparse.Namespace) -> None:
    for number, for_s in enumerate(args.for_s):
        with socket.create_server(("127.0.0.1", args.port)) as listening:
            connection, _ = listening.accept()
        with connection, connection.makefile("wb") as out:
            try:
                send(args.clips, out, time.monotonic() + for_s, args.start_at_s)
            except (OSError, av.error.FFmpegError):
                return  # whoever watched is gone
        if number + 1 < len(args.for_s):
            time.sleep(args.away_s)


def _http(args: argparse.Namespace) -> None:
    began_s: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            began_s.append(time.monotonic())
            at_s = began_s[0]
            for for_s in args.for_s:
                if began_s[-1] < at_s + for_s:
                    break
                at_s += for_s + args.away_s
                if began_s[-1] < at_s:
                    return self.send_error(503)
            else:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                send(args.clips, self.wfile, at_s + for_s, args.start_at_s)
            except (OSError, av.error.FFmpegError):
                return None
            return None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.daemon_threads = True
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--by", choices=["tcp", "http", "pipe"], required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--for-s", type=float, action="append", required=True)
    parser.add_argument("--away-s", type=float, default=3.0)
    parser.add_argument("--start-at-s", type=float, default=-1.0, help="begin in the middle, between keyframes")
    args = parser.parse_args()
    if args.by == "pipe":
        send(args.clips, sys.stdout.buffer, time.monotonic() + args.for_s[0], args.start_at_s)
    else:
        {"tcp": _tcp, "http": _http}[args.by](args)


if __name__ == "__main__":
    main()
