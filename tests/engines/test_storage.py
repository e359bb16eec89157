"""Files by path and by URL; videos that are fetched one at a time, and shards that lie in a store."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from deepfake.engines.storage import Folder, is_url
from deepfake.errors import UserError
from deepfake.faces.crop_store import encode_crop, read_crop, write_shard
from deepfake.faces.shard_store import note_store
from deepfake.media.demux import LostFileError
from deepfake.media.remote import RemoteVideo, fetched, list_remote, scratch_folder

pytest.importorskip("fsspec")


@pytest.fixture(scope="session")
def s3() -> Iterator[None]:
    """moto's server on the loopback, in a process of its own, with a bucket; found by the environment."""
    boto3 = pytest.importorskip("boto3")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    names = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    names |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        client = boto3.client("s3")
        end = time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket="bucket")
                break
            except Exception:
                assert time.monotonic() < end and server.poll() is None, "moto's server does not answer"
                time.sleep(0.2)
        yield
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(params=["disk", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        request.getfixturevalue("s3")
    name = f"{request.param}-{tmp_path.name}-{os.getpid()}"
    return {"disk": str(tmp_path / "store"), "memory": f"memory://{name}", "s3": f"s3://bucket/{name}"}[request.param]


def test_a_file_is_written_read_listed_and_removed_anywhere(place: str, tmp_path: Path) -> None:
    folder = pickle.loads(pickle.dumps(Folder(place)))
    assert folder.names("a") == []
    folder.write("a/two", [b"12", b"345"])
    folder.write("a/one", [b""])
    folder.write("b/deep/er", [b"x"])
    folder.write("a/two", [b"123", b"45"])
    assert folder.names("a") == ["one", "two"]
    assert (folder.read("a/two"), folder.read("a/two", 1, 3), folder.read("a/two", 3)) == (b"12345", b"234", b"45")
    assert folder.has("a/two") and not folder.has("a/three") and not folder.has("a")
    assert sorted((name, size) for name, size, _ in folder.files()) == [("a/one", 0), ("a/two", 5), ("b/deep/er", 1)]
    folder.fetch("a/two", tmp_path / "here", 5)
    assert (tmp_path / "here").read_bytes() == b"12345"
    with pytest.raises(OSError, match="grown beyond"):
        folder.fetch("a/two", tmp_path / "here", 4)
    with pytest.raises(FileNotFoundError):
        folder.read("a/three")
    folder.remove("a/two")
    folder.remove("a/two")
    assert folder.names("a") == ["one"]
    folder.remove_all()
    folder.remove_all()
    assert folder.names("a") == []


def test_what_is_a_url() -> None:
    assert [is_url(text) for text in ("s3://b/x", "file:///x", "/x", "x:y", "C:\\x", "")] == [True, True, *[False] * 4]


def test_a_protocol_that_nothing_speaks_is_named() -> None:
    with pytest.raises(UserError, match=r"'nonsense://x/y': .*nonsense"):
        Folder("nonsense://x/y").names("a")


@pytest.mark.slow
def test_a_store_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"'s3://nowhere/x' cannot be (reached|listed): .*"):
        list_remote("s3://nowhere/x", {".mp4"}, 1)


def test_videos_are_listed_with_their_labels_and_hidden_ones_left_out(place: str) -> None:
    for name in ("part/b.mp4", "a.MKV", "notes.txt", "part/.c.mp4", ".d/e.mp4", "part/metadata.json"):
        Folder(place).write(name, [name.encode()])
    if not is_url(place):
        place = Path(place).as_uri()
    listing = list_remote(place, {".mp4", ".mkv"}, 1)
    assert listing.videos == {
        "a.MKV": RemoteVideo(place, "a.MKV", 5, 1 << 20),
        "part/b.mp4": RemoteVideo(place, "part/b.mp4", 10, 1 << 20),
    }
    assert listing.labels == ("part/metadata.json",)
    with pytest.raises(UserError, match=r"holds no video: no name below it ends in one of \.avi"):
        list_remote(place, {".avi"}, 1)


def test_a_video_is_fetched_under_its_name_and_goes_afterwards(place: str) -> None:
    Folder(place).write("part/b.mp4", [b"0123456789"])
    with fetched(RemoteVideo(place, "part/b.mp4", 10, 10)) as path:
        assert path.name == "b.mp4" and path.read_bytes() == b"0123456789"
    assert not path.parent.exists()
    with (
        pytest.raises(LostFileError, match=r"video 'part/b\.mp4': .* raise engine\.max_video_mb"),
        fetched(RemoteVideo(place, "part/b.mp4", 10, 9)),
    ):
        pass
    with (
        pytest.raises(LostFileError, match=r"'part/b\.mp4' could not be fetched from .*grown"),
        fetched(RemoteVideo(place, "part/b.mp4", 9, 9)),
    ):
        pass
    with (
        pytest.raises(LostFileError, match=r"'gone\.mp4' could not be fetched"),
        fetched(RemoteVideo(place, "gone.mp4", 9, 9)),
    ):
        pass


def test_what_a_killed_process_fetched_goes_with_the_next_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, living = tmp_path / "deepfake-fetched-999999999-x", tmp_path / f"deepfake-fetched-{os.getpid()}-x"
    for folder in (left, living):
        folder.mkdir()
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == [living]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_not_the_video_s_fault(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"0" * 100_000)
    with pytest.raises(OSError, match="/dev/full") as error:
        Folder(str(tmp_path)).fetch("b.mp4", Path("/dev/full"), 1 << 30)
    assert error.value.errno == errno.ENOSPC


def test_a_crop_that_is_not_on_this_disk_is_fetched_with_its_shard(tmp_path: Path, place: str) -> None:
    picture = np.full((8, 8, 3), 77, np.uint8)
    ((offset, size),) = write_shard(tmp_path / "a.tar", [("0.png", encode_crop(picture, "png", 95))], {"faces": [{}]})
    Folder(place).write("crops/ab/a.tar", [(tmp_path / "a.tar").read_bytes()])
    work = tmp_path / "work"
    with pytest.raises(UserError, match="run 02_extract_faces again"):
        read_crop(work, "crops/ab/a.tar", offset, size)
    note_store(work, place)
    assert (read_crop(work, "crops/ab/a.tar", offset, size) == picture).all()
    assert (work / "crops/ab/a.tar").read_bytes() == (tmp_path / "a.tar").read_bytes()
    with pytest.raises(UserError, match=r"'crops/ab/b\.tar' is not in .*; run 02_extract_faces again"):
        read_crop(work, "crops/ab/b.tar", offset, size)
    note_store(work, None)
    note_store(work, None)
