"""The server of a watch's page: who is refused, what a reader gets, and that no reader holds anything up."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.live.annotations import Row
from deepfake.live.hub import Hub
from deepfake.live.page import MAX_READERS, OLD_S, Watched, serve
from watched_rows import BAND, PICTURE, update, word

WATCHED = Watched("rtsp://camera/<script>alert(1)</script>", BAND)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def address(hub: Hub) -> Iterator[str]:
    with serve(hub, WATCHED) as address:
        yield address


def ask(address: str, path: str | None = None, method: str = "GET", **headers: str) -> Any:
    """The answer, its `body` read unless it is a stream; `path` lies below the token, one with a slash in front not."""
    split = urlsplit(address)
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=5)
    target = path if path and path.startswith("/") else split.path + (path or "")
    connection.putrequest(method, target, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    is_stream = (answer.getheader("content-type") or "").startswith("text/event")
    vars(answer)["body"] = b"" if is_stream else answer.read()
    return answer


@contextmanager
def following(address: str, **headers: str) -> Iterator[Iterator[tuple[int | None, str, str]]]:
    """The events, one after the other: id, name, data."""
    answer = ask(address, "events", **headers)

    def events() -> Iterator[tuple[int | None, str, str]]:
        fields: dict[str, str] = {}
        for raw in answer:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            else:
                yield int(fields["id"]) if "id" in fields else None, fields["event"], fields["data"]
                fields = {}

    try:
        yield events()
    finally:
        answer.close()


def test_the_page_is_on_the_loopback_with_a_token_and_tells_nobody_of_it(address: str) -> None:
    answer = ask(address)
    text = answer.body.decode()
    assert answer.status == 200 and urlsplit(address).hostname == "127.0.0.1"
    assert len(urlsplit(address).path) > 40
    assert "&lt;script&gt;alert(1)" in text and "<script>alert" not in text
    policy = answer.getheader("content-security-policy", "")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert answer.getheader("cache-control") == "no-store"
    assert answer.getheader("referrer-policy") == "no-referrer"
    assert answer.getheader("x-content-type-options") == "nosniff"
    assert answer.getheader("server") is None


def test_every_watch_has_another_token(address: str) -> None:
    with serve(Hub(), WATCHED) as other:
        assert urlsplit(other).path != urlsplit(address).path


@pytest.mark.parametrize("path", ["/", "/x/", "/events", "/x/frame.jpg", "/%00/", "/%ff/", "/%C3%A9/"])
def test_who_has_no_token_gets_nothing(address: str, path: str) -> None:
    answer = ask(address, path)
    assert answer.status == 404 and b"token" in answer.body
    assert answer.getheader("content-security-policy", "").startswith("default-src 'none'")


def test_a_wrong_end_of_the_token_is_refused_and_a_forgotten_slash_forgiven(address: str) -> None:
    path = urlsplit(address).path
    assert ask(address, path[:-2] + ("a" if path[-2] != "a" else "b") + "/").status == 404
    answer = ask(address, path[:-1])
    assert (answer.status, answer.getheader("location")) == (308, path)


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.7:80", "127.0.0.1.evil.example", "127.0.0.1:x", ""])
def test_a_name_that_leads_here_by_somebody_elses_dns_is_refused(address: str, host: str) -> None:
    answer = ask(address, Host=host)
    assert answer.status in (400, 421) and b"rtsp" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:8000"])
def test_a_forwarded_port_of_this_machine_is_served(address: str, host: str) -> None:
    assert ask(address, Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "image"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "empty"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_other_origins_are_refused(address: str, headers: dict[str, str]) -> None:
    assert ask(address, "frame.jpg", **headers).status == 403


def test_the_own_origin_and_a_followed_link_are_served(address: str) -> None:
    own = f"http://{urlsplit(address).netloc}"
    assert ask(address, Origin=own, Sec_Fetch_Site="same-origin").status == 200
    assert ask(address, Sec_Fetch_Site="cross-site", Sec_Fetch_Dest="document").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_the_page_is_only_read(address: str, method: str) -> None:
    answer = ask(address, method=method)
    assert (answer.status, answer.getheader("allow")) == (405, "GET")
    assert answer.getheader("access-control-allow-origin") is None


def test_the_newest_picture_comes_with_its_row_and_its_age(hub: Hub, address: str) -> None:
    hub.publish(update(0.0))
    hub.publish(update(1.0, latency_ms=250.0), PICTURE)
    answer = ask(address, "frame.jpg")
    picture = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == PICTURE.shape
    assert picture[90, 160, ::-1] == pytest.approx(PICTURE[90, 160], abs=6), "RGB"
    assert answer.getheader("x-row") == "1"
    assert 250 <= float(answer.getheader("x-age-ms") or 0) < 1000


def test_a_row_without_a_picture_does_not_make_the_picture_young(hub: Hub, address: str) -> None:
    hub.publish(update(1.0, latency_ms=1000 * OLD_S), PICTURE)
    hub.publish(update(2.0))
    assert ask(address, "frame.jpg").status == 204


def test_a_picture_is_given_once_and_the_next_one_as_it_comes(hub: Hub, address: str) -> None:
    hub.publish(update(1.0), PICTURE)
    threading.Timer(0.2, lambda: hub.publish(update(2.0), PICTURE)).start()
    answer = ask(address, "frame.jpg?after=0")
    assert answer.getheader("x-row") == "1"
    begin = time.monotonic()
    assert ask(address, "frame.jpg?after=1").status == 204
    assert time.monotonic() - begin < 2


def test_a_large_picture_is_made_smaller(hub: Hub, address: str) -> None:
    hub.publish(update(1.0), np.zeros((1080, 1920, 3), np.uint8))
    answer = ask(address, "frame.jpg")
    assert cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR).shape == (720, 1280, 3)


def test_rows_come_as_they_are_published_and_end_with_the_end(hub: Hub, address: str) -> None:
    hub.publish(update(0.0, 0.5))
    with following(address) as events:
        number, name, data = next(events)
        assert (number, name, Row.from_line(data)) == (0, "row", update(0.0, 0.5))
        assert next(events)[1] == "alive"
        hub.publish(update(1.0, 0.9))
        assert next(event for event in events if event[1] == "row")[0] == 1
        hub.publish(word("end", 2.0, "over"))
        rest = list(events)
    assert [event[0] for event in rest if event[1] == "row"] == [2]
    assert json.loads(rest[-2][2])["reason"] == "over" and rest[-1][1] == "alive"


@pytest.mark.parametrize(("last", "first"), [("1", 2), ("9", 0), ("-5", 0), ("1e3", 0), ("", 0)])
def test_a_browser_that_comes_back_goes_on_after_its_last_row(hub: Hub, address: str, last: str, first: int) -> None:
    for second in range(4):
        hub.publish(update(float(second)))
    with following(address, Last_Event_ID=last) as events:
        assert next(events)[0] == first


def test_a_new_reader_of_a_long_watch_gets_the_last_minutes(hub: Hub, address: str) -> None:
    for second in range(700):
        hub.publish(update(float(second)))
    with following(address) as events:
        assert next(events)[0] == 699 - 300


def test_readers_are_bounded_and_one_that_leaves_makes_room(hub: Hub, address: str) -> None:
    hub.publish(update(0.0))
    open_ones = [ask(address, "events") for _ in range(MAX_READERS)]
    for one in open_ones:
        one.readline()
    refused = ask(address, "events")
    assert refused.status == 503 and b"close one" in refused.body
    open_ones[0].close()
    end_s = time.monotonic() + 5
    while (answer := ask(address, "events")).status == 503 and time.monotonic() < end_s:
        time.sleep(0.05)
    assert answer.status == 200
    for one in open_ones:
        one.close()


def test_a_reader_that_takes_nothing_holds_up_neither_watch_nor_others_nor_the_end(hub: Hub) -> None:
    with serve(hub, WATCHED) as address:
        split = urlsplit(address)
        stuck = socket.create_connection((split.hostname, split.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        stuck.sendall(f"GET {split.path}events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        begin = time.monotonic()
        for number in range(2000):
            hub.publish(update(0.01 * number, *[0.5] * 8))
        assert time.monotonic() - begin < 2
        assert ask(address).status == 200
        begin = time.monotonic()
    assert time.monotonic() - begin < 3
    stuck.close()


def test_a_port_that_is_taken_or_none_is_said(address: str) -> None:
    for port in (urlsplit(address).port or 0, 70000):
        with pytest.raises(UserError, match=f"--port {port}: .*leave --port out"), serve(Hub(), WATCHED, port):
            pass


def test_nothing_answers_once_the_watch_is_over(hub: Hub) -> None:
    with serve(hub, WATCHED) as address:
        assert ask(address).status == 200
    with pytest.raises(ConnectionRefusedError):
        ask(address)


def test_the_token_is_in_no_log(hub: Hub, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(0)
    with serve(hub, WATCHED) as address:
        ask(address)
        ask(address, "nothing")
        ask(address, "/wrong/")
    said = caplog.text + "".join(capfd.readouterr())
    assert urlsplit(address).path.strip("/") not in said
