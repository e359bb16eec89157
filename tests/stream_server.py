"""A live stream on the loopback from a process of its own: MPEG-TS over TCP or HTTP, H.264 over RTSP (RFC 7826, 6184).

`python tests/stream_server.py KIND CLIP` prints `port N` and sends CLIP (H.264 without B-frames) over and over, at its
own rate, from where a real camera would be by then: who connects later misses what was before. RTSP is what a client
asks for with RTP inside its TCP connection, and no more of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

CLOCK_HZ = 90_000
MOST_BYTES = 1400  # of an RTP packet
HTTP_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n"
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
)


@dataclass(frozen=True)
class Picture:
    """A coded picture with start codes; its time within one round of the clip."""

    data: bytes
    time_s: float
    is_keyframe: bool


class Camera:
    """A clip as a camera that never stops, from the moment this is made."""

    def __init__(self, clip: Path) -> None:
        self._container = av.open(str(clip))  # kept open: what is sent is of this stream's kind
        self.stream = self._container.streams.video[0]
        to_start_codes = av.BitStreamFilterContext("h264_mp4toannexb", self.stream)
        packets = [one for packet in self._container.demux(self.stream) for one in to_start_codes.filter(packet)]
        tick, self.fps = float(self.stream.time_base), float(self.stream.average_rate)
        self.pictures = [Picture(bytes(p), p.pts * tick, p.is_keyframe) for p in packets if p.size]
        self.length_s = self.pictures[-1].time_s + 1 / self.fps - self.pictures[0].time_s
        self._began_s = time.monotonic()

    def live(self) -> Iterator[tuple[Picture, float]]:
        """Pictures with their times, each when it is due, from the next keyframe on."""
        now_s = time.monotonic() - self._began_s
        number = int(now_s / self.length_s)
        is_begun = False
        while True:
            for picture in self.pictures:
                time_s = number * self.length_s + picture.time_s - self.pictures[0].time_s
                is_begun = is_begun or (picture.is_keyframe and time_s >= now_s)
                if is_begun:
                    time.sleep(max(self._began_s + time_s - time.monotonic(), 0))
                    yield picture, time_s
            number += 1


class _Sink:
    """A connection as PyAV writes to a file."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        self._connection.sendall(data)
        return len(data)


def send_transport_stream(camera: Camera, connection: socket.socket) -> None:
    """MPEG-TS until the reader goes."""
    with av.open(_Sink(connection), "w", format="mpegts", options={"flush_packets": "1"}) as container:
        stream = container.add_stream_from_template(camera.stream)
        for picture, time_s in camera.live():
            packet = av.Packet(picture.data)
            packet.stream, packet.time_base = stream, Fraction(1, CLOCK_HZ)
            packet.pts = packet.dts = round(time_s * CLOCK_HZ)
            packet.is_keyframe = picture.is_keyframe
            container.mux(packet)


def rtp_payloads(data: bytes) -> Iterator[tuple[bytes, bool]]:
    """Payloads of a coded picture's units, and whether one is its last (RFC 6184: single units, FU-A)."""
    units = [unit.rstrip(b"\0") for unit in re.split(b"\0\0\1", data) if unit.strip(b"\0")]
    for place, unit in enumerate(units):
        is_last = place == len(units) - 1
        if len(unit) <= MOST_BYTES:
            yield unit, is_last
            continue
        head, body = unit[0], unit[1:]
        parts = [body[start : start + MOST_BYTES] for start in range(0, len(body), MOST_BYTES)]
        for number, part in enumerate(parts):
            flags = 0x80 * (number == 0) | 0x40 * (number == len(parts) - 1) | (head & 0x1F)
            yield bytes([(head & 0xE0) | 28, flags]) + part, is_last and number == len(parts) - 1


def send_rtp(camera: Camera, connection: socket.socket, lock: threading.Lock) -> None:
    """RTP inside the connection until the reader goes."""
    number = 0
    with contextlib.suppress(OSError):
        for picture, time_s in camera.live():
            for payload, is_last in rtp_payloads(picture.data):
                stamp = round(time_s * CLOCK_HZ) & 0xFFFFFFFF
                packet = struct.pack(">BBHII", 0x80, 96 | (0x80 * is_last), number & 0xFFFF, stamp, 0x1234) + payload
                number += 1
                with lock:
                    connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def serve_rtsp(camera: Camera, connection: socket.socket) -> None:
    """Answer an RTSP client: DESCRIBE, SETUP, PLAY."""
    lock, pending = threading.Lock(), b""
    while data := connection.recv(4096):
        pending += data
        while b"\r\n\r\n" in pending:
            head, _, pending = pending.partition(b"\r\n\r\n")
            text = head.decode(errors="replace")
            if text[:1] == "$":  # a receiver's report, which may hold anything
                pending = b""
                continue
            method, url = text.split(" ", 2)[:2]
            found = re.search(r"CSeq: *(\d+)", text, re.IGNORECASE)
            lines = [f"RTSP/1.0 200 OK\r\nCSeq: {found.group(1) if found else 0}", "Session: 1"]
            body = SDP if method == "DESCRIBE" else ""
            if method == "OPTIONS":
                lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                lines += [f"Content-Base: {url}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            with lock:
                connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
            if method == "PLAY":
                threading.Thread(target=send_rtp, args=(camera, connection, lock), daemon=True).start()
            if method == "TEARDOWN":
                return


def serve(kind: str, clip: Path) -> None:
    """Serve every client in a thread of its own, for ever."""
    camera = Camera(clip)
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"port {listening.getsockname()[1]}", flush=True)
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_serve_one, args=(kind, camera, connection), daemon=True).start()


def _serve_one(kind: str, camera: Camera, connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, av.error.FFmpegError):
        if kind == "rtsp":
            serve_rtsp(camera, connection)
            return
        if kind == "http":
            connection.recv(65536)
            connection.sendall(HTTP_HEAD)
        send_transport_stream(camera, connection)


@contextmanager
def streaming(kind: str, clip: Path) -> Iterator[int]:
    """The port of such a server in a process of its own, while this is open."""
    command = [sys.executable, __file__, kind, str(clip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().split()[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
