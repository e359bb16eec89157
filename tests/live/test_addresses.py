"""What a source may be, and what people are told where it is none; passwords are never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake.errors import UserError
from deepfake.live import addresses
from deepfake.live.addresses import is_paced, read_source, without_password
from deepfake.media.live_streams import cameras


def test_network_addresses_are_opened_for_little_delay_and_shown_without_passwords() -> None:
    one = read_source("rtsp://me:secret@cam.local:554/live?token=abc", 5, 60)
    assert (one.kind, one.url) == ("network", "rtsp://me:secret@cam.local:554/live?token=abc")
    assert one.name == "rtsp://cam.local:554/live"
    assert one.options["rtsp_transport"] == "tcp"
    assert without_password("https://u:p@h/a.m3u8?k=v#x") == "https://h/a.m3u8"


def test_a_sender_that_calls_is_waited_for_as_long_as_a_frame_is() -> None:
    assert read_source("tcp://0.0.0.0:9000?listen=1", 5, 77).open_s == 77
    assert read_source("tcp://studio:9000", 5, 77).open_s == 10


@pytest.mark.parametrize(
    ("source", "paced"),
    [("http://a/live.m3u8", True), ("-", True), ("rtsp://a/b", False), ("udp://:1234", False), ("tcp://a:1", False)],
)
def test_what_a_player_would_wait_for_is_paced(source: str, paced: bool) -> None:
    assert is_paced(read_source(source, 5, 60)) is paced


def test_a_file_is_one_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a:b.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    one = read_source("a:b.mp4", 5, 60)
    assert (one.kind, one.url, one.name) == ("file", str(tmp_path / "a:b.mp4"), "a:b.mp4")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.mp4", "no such file"),
        ("camera.local:554/live", "is a scheme missing"),
        ("ftp://me:secret@a/b.mp4", r"'ftp://a/b.mp4': found ftp://, wanted one of rtsp"),
        ("file:///etc/passwd", "found file://"),
    ],
)
def test_what_is_no_source_is_an_error_that_says_what_is(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_source(source, 5, 60)
    assert "secret" not in str(error.value)


def test_folders_and_pipes_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, wanted a video"):
        read_source(str(tmp_path), 5, 60)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UserError, match=r"is a pipe; give it by `deepfake watch - < "):
        read_source(str(tmp_path / "fifo"), 5, 60)


def linux_with(tmp_path: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        folder = tmp_path / f"sys/class/video4linux/video{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
    return tmp_path


def test_cameras_of_linux_are_listed_by_device_and_name(tmp_path: Path) -> None:
    assert cameras("linux", linux_with(tmp_path, "Integrated Camera", "USB Cam")) == [
        "/dev/video0 (Integrated Camera)",
        "/dev/video1 (USB Cam)",
    ]
    assert cameras("linux", tmp_path / "elsewhere") == []


def test_a_camera_that_is_not_there_is_an_error_that_lists_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "camera_format", lambda: "v4l2")
    monkeypatch.setattr(addresses, "cameras", lambda: ["/dev/video0 (Integrated Camera)"])
    for source in ("/dev/video77", "camera:77", "camera:Logitech"):
        with pytest.raises(UserError, match=r"there is none such; there is /dev/video0 \(Integrated Camera\)"):
            read_source(source, 5, 60)
    monkeypatch.setattr(addresses, "cameras", list)
    with pytest.raises(UserError, match="none was found here"):
        read_source("camera", 5, 60)


def test_a_camera_is_found_by_a_part_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "camera_format", lambda: "avfoundation")
    monkeypatch.setattr(addresses, "cameras", lambda: ["camera:FaceTime HD"])
    one = read_source("camera:FaceTime HD", 5, 60)
    assert (one.kind, one.url, one.input_format) == ("camera", "FaceTime HD", "avfoundation")
    assert read_source("camera", 5, 60).url == "FaceTime HD"
    monkeypatch.setattr(addresses, "camera_format", lambda: "dshow")
    assert read_source("camera:USB Cam", 5, 60).url == "video=USB Cam"
