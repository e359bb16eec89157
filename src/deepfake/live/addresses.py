"""What `deepfake watch SOURCE` may be given: a file, a camera, a network stream, a pipe."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

from deepfake.errors import UserError
from deepfake.media.live_streams import Opening, camera_format, cameras

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp", "rtp", "rtmp", "srt")
PIPE, CAMERA = "-", "camera"
# As a player does: what is fetched, or comes by a pipe, is shown at its own rate; of all else the newest is shown.
PACED_SCHEMES = ("http", "https")


def read_source(text: str, read_s: float, wait_s: float) -> Opening:
    """How the source is opened, with so many seconds for a read; a sender that calls us is waited for `wait_s`."""
    if text == PIPE:
        return Opening("pipe", PIPE, "the pipe", read_s=read_s)
    if text.partition(":")[0] == CAMERA or re.fullmatch(r"/dev/video\d+", text):
        return _camera(text, read_s)
    scheme = text.partition("://")[0].lower()
    if scheme != text.lower() and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        return _network(text, scheme, read_s, wait_s)
    return _file(text, read_s)


def is_paced(opening: Opening) -> bool:
    """Whether its frames come faster than they are shown, unless somebody waits."""
    return opening.kind in ("file", "pipe") or opening.url.partition("://")[0].lower() in PACED_SCHEMES


def without_password(url: str) -> str:
    """An address as it may be shown: without user, password and what may be a token."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    kept = parts.query if "listen" in parse_qs(parts.query) else ""
    return urlunsplit((parts.scheme, host, parts.path, kept, ""))


def _network(text: str, scheme: str, read_s: float, wait_s: float) -> Opening:
    if scheme not in SCHEMES:
        raise UserError(f"source {without_password(text)!r}: found {scheme}://, wanted one of {', '.join(SCHEMES)}")
    options = {"rtsp_transport": "tcp"} if scheme in ("rtsp", "rtsps") else {}
    if scheme == "udp":
        options = {"overrun_nonfatal": "1"}
    is_listening = parse_qs(urlsplit(text).query).get("listen", ["0"])[0] not in ("", "0")
    open_s = wait_s if is_listening else 10.0
    return Opening("network", text, without_password(text), options=options, open_s=open_s, read_s=read_s)


def _camera(text: str, read_s: float) -> Opening:
    form, have = camera_format(), cameras()
    wanted = text if text.startswith("/dev/") else text.partition(":")[2]
    if not wanted:
        if not have:
            raise UserError("camera: none was found here; connect one, or name another source")
        first = have[0]
        wanted = first.partition(" ")[0] if form == "v4l2" else first.partition(":")[2]
    if form == "v4l2":
        url = wanted if wanted.startswith("/dev/") else _device_named(wanted, have)
        if not Path(url).exists():
            raise no_such_camera(text, have)
    else:
        url = f"video={wanted}" if form == "dshow" else wanted
    return Opening("camera", url, f"camera {wanted}", form, read_s=read_s)


def _device_named(wanted: str, have: list[str]) -> str:
    if wanted.isdecimal():
        return f"/dev/video{wanted}"
    found = [one for one in have if wanted.lower() in one.lower()]
    if not found:
        raise no_such_camera(wanted, have)
    return found[0].partition(" ")[0]


def no_such_camera(name: str, have: list[str]) -> UserError:
    """The error of a camera that is not there, with those that are."""
    listed = f"there is {', '.join(have)}" if have else "no camera was found here"
    return UserError(f"camera {name!r}: there is none such; {listed}")


def _file(text: str, read_s: float) -> Opening:
    path = Path(text)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        hint = "; is a scheme missing, as in rtsp://?" if re.search(r"^[\w.-]+:\d+", text) else ""
        raise UserError(f"source {text!r}: no such file{hint}; `deepfake watch --help` lists what there is") from None
    except OSError as error:
        raise UserError(f"source {text!r}: {error.strerror}") from None
    if stat.S_ISFIFO(mode):
        raise UserError(f"source {text!r} is a pipe; give it by `deepfake watch - < {text}`")
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a socket or a device"
        raise UserError(f"source {text!r} is {found}, wanted a video, a camera, an address or - for a pipe")
    return Opening("file", str(path.absolute()), path.name, read_s=read_s)
