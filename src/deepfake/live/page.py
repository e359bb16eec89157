"""The page of a running watch: served to this machine alone, at an address that nobody can guess.

`serve` gives the address. Readers wait on the server's own thread, and none of them holds up the watch: one that is
slow misses pictures, and one that takes nothing for a while is let go. Who is refused stands in `_Guard`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import jinja2
import numpy as np
import uvicorn
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepfake.detector.check import Band
from deepfake.errors import UserError
from deepfake.files import printable
from deepfake.live.hub import Hub, Picture

HERE = Path(__file__).parent
HOST = "127.0.0.1"
HOST_NAMES = ("127.0.0.1", "localhost")  # literal: a name that somebody else's DNS leads here is not among them
OLD_S = 1.0  # an older picture is not handed out, and greyed where it is shown
MAX_SIZE_PX = (1280, 720)
JPEG_QUALITY = 80
MAX_READERS = 8
MAX_CONNECTIONS = 48
ALIVE_S = 1.0  # how often a page hears that the watch is there
SEND_S = 10.0  # a reader that takes nothing for so long is let go
PUMP_S = 0.25
START_S, STOP_S = 10.0, 4.0
SHOWN_S = 300.0  # of the timelines
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Watched:
    """What the page says beside rows: of which stream they are, how scores are read, and where the report will lie.

    `gives_verdicts` is False where the detector can promise none, whatever it sees.
    """

    name: str
    band: Band
    report: str | None = None
    gives_verdicts: bool = True


@contextmanager
def serve(hub: Hub, watched: Watched, port: int = 0) -> Iterator[str]:
    """Serve a watch's page from a thread while this is open; yields its address. Port 0: any that is free."""
    listening = _listen(port)
    served = _Served(hub, watched, listening)
    try:
        served.start()
        yield served.address
    finally:
        served.stop()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or error
        raise UserError(f"--port {port}: {why}; name another port, or leave --port out: a free one is found") from error
    return listening


class _Bell:
    """Wakes all that wait in the server's loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)


class _Served:
    """The server and its thread."""

    def __init__(self, hub: Hub, watched: Watched, listening: socket.socket) -> None:
        self.hub = hub
        self.is_stopping = False
        self.bell: _Bell | None = None
        self._listening = listening
        port, token = listening.getsockname()[1], secrets.token_urlsafe(32)
        self.address = f"http://{HOST}:{port}/{token}/"
        guarded = _Guard(Starlette(routes=_routes(self, page(watched))), token)
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="critical",  # its lines would hold the address
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def start(self) -> None:
        self._thread.start()
        end_s = time.monotonic() + START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < end_s:
            time.sleep(0.01)
        if not self._server.started:
            raise UserError(f"the page's server did not start within {START_S:.0f} s; --no-page goes without")

    def stop(self) -> None:
        self.is_stopping = self._server.should_exit = True
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(STOP_S)
        self._listening.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.bell = _Bell()
        pump = threading.Thread(
            target=self._pump, args=(asyncio.get_running_loop(), self.bell), name="page pump", daemon=True
        )
        pump.start()
        await self._server.serve(sockets=[self._listening])

    def _pump(self, loop: asyncio.AbstractEventLoop, bell: _Bell) -> None:
        """Ring for every new row: the one thread that waits on the hub, whatever the number of readers."""
        number = -1
        while not self.is_stopping:
            rows = self.hub.rows_after(number, PUMP_S)
            if rows:
                number = rows[-1][0]
                with suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(bell.ring)
            elif self.hub.is_ended:
                time.sleep(PUMP_S)


class _Guard:
    """Refuses whoever does not come from this machine's browser with the token; sets every answer's headers."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        _, _, rest = scope["path"].partition("/")
        token, slash, route = rest.partition("/")
        refusal = self._refusal(Request(scope), token, slash)
        answered = _with_headers(send)
        with suppress(TimeoutError, OSError):  # the reader is slow, or gone
            if refusal is not None:
                await refusal(scope, receive, answered)
            else:
                await self._app({**scope, "path": f"/{route}", "raw_path": None}, receive, answered)

    def _refusal(self, request: Request, token: str, slash: str) -> Response | None:
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _name_of(hosts[0]) not in HOST_NAMES:
            return _says(421, f"This page is shown on this machine only, at http://{HOST}.")
        if request.method != "GET":
            return _says(405, "This page is only read.", {"Allow": "GET"})
        if not hmac.compare_digest(token.encode(errors="surrogateescape"), self._token):
            return _says(404, "Not found. The watch printed the whole address of its page, with a token in it.")
        site, origin = headers.get("sec-fetch-site", "none"), headers.get("origin")
        is_own = site in ("none", "same-origin") or headers.get("sec-fetch-dest") == "document"
        if not is_own or (origin is not None and origin != f"http://{hosts[0]}"):
            return _says(403, "Pages of other origins may not read this one.")
        if not slash:
            return Response(status_code=308, headers={"Location": f"/{token}/"})
        return None


def _name_of(host: str) -> str:
    name, colon, port = host.partition(":")
    return name.lower() if not colon or port.isdigit() else ""


def _says(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{sentence}\n", status, headers)


def _with_headers(send: Send) -> Send:
    async def answered(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [name.lower() for name, _ in message["headers"]]
            more = {**HEADERS, "Content-Security-Policy": NOTHING}
            added = [(name.lower().encode(), value.encode()) for name, value in more.items()]
            message = {**message, "headers": [*message["headers"], *(one for one in added if one[0] not in own)]}
        await asyncio.wait_for(send(message), SEND_S)

    return answered


def _routes(served: _Served, made: tuple[str, str]) -> list[Route]:
    text, policy = made
    encoder = _Encoder()
    n_readers = 0

    async def whole(_: Request) -> Response:
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})

    async def frame(request: Request) -> Response:
        return await _frame(served, encoder, _number(request.query_params.get("after")))

    async def events(request: Request) -> Response:
        nonlocal n_readers
        if n_readers >= MAX_READERS:
            return _says(503, f"{MAX_READERS} pages show this watch already; close one.", {"Retry-After": "5"})
        last = request.headers.get("last-event-id") or request.query_params.get("after")

        async def counted() -> AsyncIterator[str]:
            nonlocal n_readers
            n_readers += 1
            try:
                async for text in _events(served, _number(last)):
                    yield text
            finally:
                n_readers -= 1

        return StreamingResponse(counted(), media_type="text/event-stream")

    return [
        Route("/", whole),
        Route("/frame.jpg", frame),
        Route("/events", events),
    ]


def _number(text: str | None) -> int:
    """The number of a row, -1 where there is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else -1


async def _frame(served: _Served, encoder: _Encoder, after: int) -> Response:
    """The newest picture as soon as it is newer than `after`; no content where none came for a second."""
    assert served.bell is not None
    end_s = time.monotonic() + OLD_S
    while not served.is_stopping and not served.hub.is_ended:
        picture = served.hub.picture
        if picture is not None and picture.number > after and time.monotonic() - picture.came_s < OLD_S:
            jpeg = await encoder.jpeg(picture)
            age_s = time.monotonic() - picture.came_s
            if age_s < OLD_S:
                facts = {"X-Row": str(picture.number), "X-Age-Ms": f"{1000 * age_s:.0f}"}
                return Response(jpeg, media_type="image/jpeg", headers=facts)
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            break
        await served.bell.wait(min(left_s, PUMP_S))
    return Response(status_code=204)


async def _events(served: _Served, last: int) -> AsyncIterator[str]:
    """Rows after this number as they come, with their numbers; when there is none, word that the watch is there."""
    assert served.bell is not None
    newest = served.hub.newest
    if newest is None or not 0 <= last <= newest.number:
        last = _before(served.hub, SHOWN_S)
    while True:
        is_stopping = served.is_stopping or served.hub.is_ended
        rows = served.hub.rows_after(last)
        for last, row in rows:
            yield f"id: {last}\nevent: row\ndata: {row.to_line()}\n\n"
        if not rows:
            yield "event: alive\ndata: {}\n\n"
            if is_stopping:
                return
            await served.bell.wait(ALIVE_S)


def _before(hub: Hub, seconds: float) -> int:
    """The number of the last row that lies further back than so many seconds of the stream; -1 where none does."""
    rows = hub.rows_after(-1)
    older = [number for number, row in rows if row.time_s < rows[-1][1].time_s - seconds]
    return older[-1] if older else -1


class _Encoder:
    """Pictures as JPEG, each encoded once for all readers, and only where there is one."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._kept: tuple[int, bytes] = (-1, b"")

    async def jpeg(self, picture: Picture) -> bytes:
        """The picture no larger than `MAX_SIZE_PX`."""
        async with self._lock:
            if self._kept[0] != picture.number:
                self._kept = picture.number, await asyncio.to_thread(_jpeg, picture.picture_HWC)
            return self._kept[1]


def _jpeg(picture_HWC: np.ndarray) -> bytes:
    height, width = picture_HWC.shape[:2]
    scale = min(1.0, MAX_SIZE_PX[0] / width, MAX_SIZE_PX[1] / height)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        picture_HWC = cv2.resize(picture_HWC, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )[1]
    return encoded.tobytes()


def page(watched: Watched) -> tuple[str, str]:
    """The page and its Content-Security-Policy: this very style and script run, and only this server is asked."""
    style, script = (_asset(name) for name in ("watch.css", "watch.js"))
    band = watched.band
    data = {"low": band.low, "high": band.high, "shown_s": SHOWN_S, "old_ms": 1000 * OLD_S}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("watch.html.jinja").render(
        name=printable(watched.name),
        report=None if watched.report is None else printable(watched.report),
        gives_verdicts=watched.gives_verdicts,
        low=band.low,
        high=band.high,
        minutes=round(SHOWN_S / 60),
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        data=Markup(json.dumps(data)),  # noqa: S704 - numbers
    )
    policy = (
        f"{NOTHING}; img-src data:; connect-src 'self'; style-src 'sha256-{_hash(style)}'; "
        f"script-src 'sha256-{_hash(script)}'; require-trusted-types-for 'script'"
    )
    return text, policy


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
