"""Where `deepfake check` writes, and reading ahead."""

from __future__ import annotations

import json
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_factory import pictures
from deepfake.commands import probe
from deepfake.commands.checks import Places, print_schema
from deepfake.detector import read_ahead
from deepfake.detector.check import CheckedFile
from deepfake.detector.read_ahead import reading_ahead
from deepfake.errors import UserError
from deepfake.faces.extraction import read_videos
from deepfake.faces.extractor import shard_name
from deepfake.faces.reading import ReadJob, read, read_note
from deepfake.files import probe_note, sha256_of, write_whole
from deepfake.media.clips import write_clip
from deepfake.settings import Extract

FOUND = CheckedFile(path="c.mp4", name="a <b> ../c.mp4", sha256="0123456789" * 6 + "abcd", size_bytes=3)


def test_one_video_s_page_goes_where_it_is_asked_for() -> None:
    places = Places(None, Path("out/p.html"), Path("checks"), 1)
    assert places.page(0, FOUND) == Path("out/p.html")
    assert places.json_path(places.page(0, FOUND)) == Path("out/p.json")


def test_a_page_is_named_after_its_video_and_stays_in_its_folder() -> None:
    places = Places(None, None, Path("checks"), 1)
    assert places.page(0, FOUND) == Path("checks/c-01234567.html")
    odd = FOUND.model_copy(update={"name": "ä/.."})
    assert places.page(0, odd).parent == Path("checks")


def test_several_videos_get_pages_of_their_own_in_one_folder() -> None:
    places = Places(None, Path("out"), Path("checks"), 2)
    pages = [places.page(n, FOUND) for n in (0, 1)]
    assert pages == [Path("out/c-01234567-1.html"), Path("out/c-01234567-2.html")], "also of equal files"
    assert places.json_path(Path("out/index.html")) == Path("out/index.json")
    assert Places("x.json", None, Path("checks"), 2).json_path(Path("i.html")) == Path("x.json")


def test_a_place_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name a folder"):
        Places(None, tmp_path / "one.html", Path("checks"), 2)
    with pytest.raises(UserError, match="is a folder; name a file"):
        Places(str(tmp_path), None, Path("checks"), 1)
    assert Places("-", tmp_path, Path("checks"), 1).page(0, FOUND) == tmp_path / "c-01234567.html"


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_schema() == 0
    assert json.loads(capsys.readouterr().out)["properties"]["schema_version"]["const"] == 1


def test_a_file_that_is_no_video_cannot_be_described(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("text\n")
    with pytest.raises(UserError, match="found text"):
        probe.run(Namespace(videos=[tmp_path / "v.mp4"]))


def test_what_is_read_ahead_lies_where_the_detector_reads_it(tmp_path: Path) -> None:
    path, settings = tmp_path / "v.mp4", Extract(frames_per_video=2)
    write_clip(path, pictures(10), 10)
    made = read(ReadJob("v", path, tmp_path / "cache", settings))
    assert made.file == read_note(path, tmp_path / "cache") and made.file.probe and made.file.probe.n_frames == 10
    assert made.file.sha256 == sha256_of(path) and made.extraction.status == "no_face"
    assert made.extraction.shard == shard_name(sha256_of(path), settings)
    assert (tmp_path / "cache" / made.extraction.shard).is_file()
    (again,) = read_videos({"v": path}, tmp_path / "cache", settings)
    assert again == made


def test_what_cannot_be_read_ahead_is_noted_and_not_tried_again(tmp_path: Path) -> None:
    path, settings = tmp_path / "v.mp4", Extract(frames_per_video=2)
    path.write_text("text")
    made = read(ReadJob("v", path, tmp_path / "cache", settings))
    assert made.extraction.status == "failed" and "found text" in (made.extraction.reason or "")
    assert list(read_videos({"v": path}, tmp_path / "cache", settings)) == [made]


def test_reading_ahead_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(read_ahead, "run_each", broken)
    monkeypatch.setattr(read_ahead, "read_header", lambda _: {"extract": {}})
    (tmp_path / "v.mp4").touch()
    with reading_ahead([tmp_path / "v.mp4"], tmp_path, tmp_path):
        pass


def test_a_block_that_fails_stops_the_reading_and_leaves_no_thread_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = threading.Event()

    def endless(*given: Any) -> Iterator[None]:
        *_, is_stopped = given
        while not is_stopped():
            started.set()
            time.sleep(0.01)
        return iter(())

    monkeypatch.setattr(read_ahead, "run_each", endless)
    monkeypatch.setattr(read_ahead, "read_header", lambda _: {"extract": {}})
    (tmp_path / "v.mp4").touch()
    before = threading.active_count()
    with pytest.raises(UserError, match="of the block"), reading_ahead([tmp_path / "v.mp4"], tmp_path, tmp_path):
        assert started.wait(10)
        raise UserError("of the block")
    assert threading.active_count() == before


def test_what_was_read_before_is_not_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, new, earlier = tmp_path / "known.mp4", tmp_path / "new.mp4", tmp_path / "earlier.mp4"
    for path in (known, new, earlier):
        path.write_text("no video")
    read(ReadJob("known", known, tmp_path, Extract()))
    write_whole(probe_note(earlier, tmp_path), b"{}")  # of another version
    seen: list[Path] = []
    monkeypatch.setattr(read_ahead, "run_each", lambda _, jobs, *__: seen.extend(job.path for job in jobs) or [])
    monkeypatch.setattr(read_ahead, "read_header", lambda _: {"extract": {}})
    with reading_ahead([known, new, earlier], tmp_path, tmp_path):
        pass
    assert seen == [new, earlier]
