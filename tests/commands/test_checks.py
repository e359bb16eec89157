"""Where `deepfake check` writes, and reading ahead."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from clip_factory import pictures
from deepfake import workers
from deepfake.commands import check as check_command
from deepfake.commands import checks, probe
from deepfake.commands.checks import Places, print_schema
from deepfake.detector import read_ahead
from deepfake.detector.check import CheckedFile
from deepfake.detector.read_ahead import Ahead, reading_ahead
from deepfake.errors import UserError
from deepfake.faces import extraction
from deepfake.faces.chunk_tasks import Work
from deepfake.faces.extraction import read_videos
from deepfake.faces.extractor import shard_name
from deepfake.faces.reading import ReadJob, read, read_note
from deepfake.files import probe_note, sha256_of, write_whole
from deepfake.media.clips import write_clip
from deepfake.settings import Extract
from deepfake.workers import Failed
from lab.cheap_detector import write_cheap_detector

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


UNREAD = FOUND.model_copy(update={"sha256": None})


def test_the_page_of_a_file_that_could_not_be_read_is_named_after_its_place() -> None:
    places = Places(None, None, Path("checks"), 1)
    elsewhere, absolute = (
        UNREAD.model_copy(update={"path": path}) for path in ("d/c.mp4", str(Path("c.mp4").absolute()))
    )
    names = [places.page(0, one).name for one in (UNREAD, elsewhere, absolute)]
    assert all(re.fullmatch(r"c-unread-[0-9a-f]{8}\.html", name) for name in names)
    assert names[0] == names[2] != names[1]


def test_a_page_of_a_file_that_is_read_at_last_takes_the_place_of_the_one_that_says_it_could_not_be() -> None:
    one, several = Places(None, None, Path("checks"), 1), Places(None, Path("out"), Path("checks"), 2)
    page = one.page(0, UNREAD)
    assert one.outdated(0, FOUND) == [page, page.with_suffix(".json")] and one.outdated(0, UNREAD) == []
    assert several.outdated(1, FOUND) == [several.page(1, UNREAD)], "their JSON is one for all"
    assert Places("x.json", None, Path("checks"), 1).outdated(0, FOUND) == [page]
    assert Places(None, Path("p.html"), Path("checks"), 1).outdated(0, FOUND) == [], "it is named"


def test_a_check_whose_worker_was_killed_and_the_same_check_again_leave_one_page_and_one_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, video, out = tmp_path / "cheap.safetensors", tmp_path / "broken.mp4", tmp_path / "pages"
    write_cheap_detector(weights, {"frames_per_video": 4})
    video.write_bytes(bytes(700))
    monkeypatch.setattr(checks, "reading_ahead", lambda *_: nullcontext(Ahead(0)))

    def check() -> list[str]:
        places = Places(None, None, out, 1)
        assert checks.check([video], places, weights, tmp_path / "cache", show=False) == 5
        return sorted(path.name for path in out.iterdir())

    died = Failed("its process died")
    monkeypatch.setattr(extraction, "run_each", lambda _, works, *__, **___: ((work, died) for work in works))
    killed = check()
    assert len(killed) == 2 and all("-unread-" in name for name in killed)
    monkeypatch.setattr(extraction, "run_each", lambda do, works, *_, **__: ((work, do(work)) for work in works))
    assert check() == [f"broken-{sha256_of(video)[:8]}.{kind}" for kind in ("html", "json")]


def test_frames_says_how_many_are_looked_at_and_another_number_is_another_answer(tmp_path: Path) -> None:
    weights, video = tmp_path / "cheap.safetensors", tmp_path / "v.mp4"
    write_cheap_detector(weights, {})
    write_clip(video, pictures(40), 10)
    looked_at = []
    for flags in ([], ["--frames", "4"]):
        out, cache = tmp_path / "v.json", tmp_path / "cache"
        given = ["--weights", weights, "--cache", cache, "--json", out, "--html", tmp_path / "v.html", *flags, video]
        args = check_command.arguments().parse_args(list(map(str, given)))
        assert check_command.run(args) == 5, "no face"
        looked_at.append(json.loads(out.read_text())["looked_at"]["n_frames"])
    assert looked_at == [32, 4]
    with pytest.raises(SystemExit):
        check_command.arguments().parse_args(["--frames", "0", "v.mp4"])


def test_a_place_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name a folder"):
        Places(None, tmp_path / "one.html", Path("checks"), 2)
    with pytest.raises(UserError, match="is a folder; name a file"):
        Places(str(tmp_path), None, Path("checks"), 1)
    assert Places("-", tmp_path, Path("checks"), 1).page(0, FOUND) == tmp_path / "c-01234567.html"


VIDEO = Path("clip.mp4")


def places(json: str | None = None, html: str | None = None, n_videos: int = 1, folder: str = "checks") -> Places:
    return Places(json, None if html is None else Path(html), Path(folder), n_videos)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"json": "x", "html": "x"}, "would be the page and the JSON; name two files"),
        ({"json": "./x", "html": "x"}, "would be the page and the JSON"),
        ({"html": "page.json"}, "would be the page and the JSON"),
        ({"json": "out/index.html", "html": "out", "n_videos": 2}, "would be the page and the JSON"),
        ({"json": "clip.mp4"}, "is read by this command"),
        ({"html": "clip.mp4"}, "is read by this command"),
        ({"html": "file/x.html"}, "file' is a file; name a file elsewhere"),
        ({"html": "x.html", "json": "file/x.json"}, "file' is a file; name a file elsewhere"),
        ({"html": "file", "n_videos": 2}, "names one page"),
        ({"json": "x.json", "folder": "file/checks"}, "file' is a file; name a folder elsewhere"),
        ({"folder": "file/checks"}, "file' is a file"),
        ({"html": "-"}, "--html -: a page is not shown on the screen"),
    ],
)
def test_every_place_of_a_check_is_tried_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    VIDEO.touch()
    with pytest.raises(UserError, match=message):
        places(**asked).try_all([VIDEO])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "file"]


def test_places_that_can_be_written_are_tried_without_a_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    VIDEO.touch()
    for asked in (places(), places("-", "new/x.html"), places("x.json", "new", 2), places("x.json")):
        asked.try_all([VIDEO])
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_link_to_nothing_a_pipe_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe.mp4")
    found = {"link.mp4": "a link that leads to no file", "pipe.mp4": "a pipe", "gone.mp4": "does not exist"}
    for name, words in found.items():
        with pytest.raises(UserError, match=words):
            check_command.run(check_command.arguments().parse_args([str(tmp_path / name)]))


def test_what_is_no_file_is_read_to_a_reason_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    for name, words in (("pipe.mp4", "a pipe"), ("loop.mp4", "a link that leads to no file"), ("gone.mp4", "nothing")):
        made = read(ReadJob(name, tmp_path / name, tmp_path / "cache", Extract()))
        assert f"found {words}" in str(made.extraction.failure)
        assert read_note(tmp_path / name, tmp_path / "cache") is None


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_schema() == 0
    assert json.loads(capsys.readouterr().out)["properties"]["schema_version"]["const"] == 4


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


def test_crops_are_there_while_the_video_is_still_read_and_those_nobody_takes_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, is_seen = [], threading.Event()

    def reader(_: object, works: Iterable[Work], *__: object, on_part: Any, **___: object) -> Iterator[None]:
        (work,) = works
        assert isinstance(work.what, ReadJob) and work.what.hand_on
        on_part(work, [b"first"])
        assert is_seen.wait(10), "the first crop is looked at before the second is cut"
        for number in range(2 * read_ahead.MOST_WAITING):
            on_part(work, [b"%d" % number])
        return iter(())

    monkeypatch.setattr(read_ahead, "run_each", reader)
    monkeypatch.setattr(read_ahead, "read_header", lambda _: {"extract": {}})
    (tmp_path / "v.mp4").touch()
    with reading_ahead([tmp_path / "v.mp4"], tmp_path, tmp_path) as ahead:
        for pictures in ahead.pictures():
            seen.append(pictures)
            is_seen.set()
    assert seen[0] == [b"first"] and len(seen) <= 2 * read_ahead.MOST_WAITING + 1


def test_reading_ahead_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
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

    def endless(*given: Any, **_: Any) -> Iterator[None]:
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
    monkeypatch.setattr(
        read_ahead, "run_each", lambda _, works, *__, **___: seen.extend(work.what.path for work in works) or []
    )
    monkeypatch.setattr(read_ahead, "read_header", lambda _: {"extract": {}})
    with reading_ahead([known, new, earlier], tmp_path, tmp_path):
        pass
    assert seen == [new, earlier]


def test_a_reader_is_started_ahead_for_each_video_that_was_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new = tmp_path / "known.mp4", tmp_path / "new.mp4"
    for path in (known, new):
        path.write_text("no video")
    read(ReadJob("known", known, tmp_path, Extract()))
    begun: list[int] = []
    monkeypatch.setattr(workers, "start_ahead", lambda n, *_: begun.append(n) or ["process"] * n)
    given: list[object] = []
    monkeypatch.setattr(checks, "check", lambda *arguments: given.append(arguments[6]) or 0)
    for videos in ([known], [known, new], [new, new, new]):
        check_command.run(
            check_command.arguments().parse_args([*map(str, videos), "--cache", str(tmp_path), "--html", str(tmp_path)])
        )
    assert begun == [1, 2] and given == [(), ["process"], ["process"] * 2]
