"""What shows a watch: its page where it can be had, the report at its end; where they go, what a mistake says."""

from __future__ import annotations

import argparse
import http.client
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deepfake.commands import watch, watch_shown
from deepfake.commands.watch_shown import shown, try_report
from deepfake.detector.header import read_detector
from deepfake.errors import UserError
from deepfake.live.hub import Hub
from deepfake.models.detector_file import shipped_weights
from watched_rows import PICTURE, update, word

BEGIN = datetime(2026, 1, 2, 3, 4, 5)


def given(*arguments: object) -> argparse.Namespace:
    return watch.arguments().parse_args(["camera", *map(str, arguments)])


def show(args: argparse.Namespace, report: Path | None, n_updates: int = 3, reason: str | None = "over") -> list[str]:
    """Publish a little watch while it is shown; the names of what wanted rows."""
    hub = Hub()
    with shown(hub, args, read_detector(shipped_weights()), "the camera", report) as more:
        rows = [(update(float(second), 0.5), PICTURE) for second in range(n_updates)]
        for row, picture in [*rows, *([(word("end", 9.0, reason), None)] if reason else [])]:
            hub.publish(row, picture)
            for sink in more.sinks:
                sink.write(row)
    return [type(sink).__name__ for sink in more.sinks]


def test_the_report_is_written_at_the_end_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "watch.html"
    assert show(given("--no-page"), report) == ["SessionSink"]
    assert "Watch of <span" in report.read_text() and "data:image/jpeg" in report.read_text()
    assert capsys.readouterr().err == f"report: {report}\n"


def test_a_watch_that_never_began_leaves_no_report(tmp_path: Path) -> None:
    show(given("--no-page"), tmp_path / "watch.html", 0, None)
    assert not list(tmp_path.iterdir())


def test_without_a_report_and_a_page_nobody_wants_pictures() -> None:
    with shown(Hub(), given("--no-page"), read_detector(shipped_weights()), "the camera", None) as more:
        assert more.sinks == [] and not more.with_pictures


def test_the_page_answers_at_the_printed_address_while_the_watch_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown(Hub(), given(), read_detector(shipped_weights()), "the camera", tmp_path / "w.html") as more:
        address = urlsplit(capsys.readouterr().err.removeprefix("page: ").strip())
        connection = http.client.HTTPConnection(address.netloc, timeout=5)
        connection.request("GET", address.path)
        text = connection.getresponse().read().decode()
        assert more.with_pictures
    assert "gives no verdict on anybody" in text, "the shipped detector promises none"
    assert "the camera" in text and str(tmp_path / "w.html") in text


def test_where_starlette_is_missing_a_watch_goes_without_a_page_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch_shown, "find_spec", lambda name: None)
    show(given(), None)
    assert "no page: starlette is not installed; pip install 'deepfake[live]' brings it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("rtsp://me:secret@cam.example:554/live?key=1", "cam.example_554_live"),
        ("clips/my film.mp4", "my_film"),
        ("-", "pipe"),
        ("/dev/video0", "video0"),
        ("camera:Built-in", "camera_Built-in"),
    ],
)
def test_a_report_is_named_by_its_source_without_its_secrets(
    monkeypatch, tmp_path: Path, source: str, stem: str
) -> None:
    monkeypatch.setattr(watch_shown, "default_checks", lambda: tmp_path)
    args = argparse.Namespace(source=source, html=None, no_report=False)
    assert try_report(args, None, BEGIN) == tmp_path / f"watch-{stem}-20260102-030405.html"


def test_a_report_is_written_over_no_source_and_wanted_or_not(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"film")
    with pytest.raises(UserError, match="written over"):
        try_report(given("--html", clip), clip, BEGIN)
    with pytest.raises(UserError, match="leave one of them out"):
        try_report(given("--html", clip, "--no-report"), None, BEGIN)
    assert try_report(given("--no-report"), None, BEGIN) is None
