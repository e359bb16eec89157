"""`deepfake watch` on streams from another process, over the loopback, cut and resumed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake.live.annotations import Row
from deepfake.media.clips import write_clip
from drawn_faces import person_frames
from lab.cheap_detector import write_cheap_detector
from run_command import ENVIRONMENT
from stream_server import streaming
from tcp_relay import Relay

pytestmark = pytest.mark.slow
ADDRESSES = {
    "tcp": "tcp://127.0.0.1:{port}",
    "http": "http://127.0.0.1:{port}/live.ts",
    "rtsp": "rtsp://127.0.0.1:{port}/camera",
}
CUT_S = 3.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "camera.ts"
    write_clip(path, person_frames(1, n_frames=96), 24, crf=23, options={"g": "24", "bf": "0"})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cheap.safetensors"
    write_cheap_detector(path, {})
    return path


def rows_in(path: Path) -> list[Row]:
    text = path.read_text() if path.is_file() else ""
    return [Row.from_line(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def until(
    path: Path, is_there: Callable[[list[Row]], bool], watching: subprocess.Popen[str], seconds: float = 60
) -> None:
    end_s = time.monotonic() + seconds
    while not is_there(rows_in(path)):
        assert watching.poll() is None, "the watch ended"
        assert time.monotonic() < end_s, [row.kind for row in rows_in(path)]
        time.sleep(0.1)


def n_updates(rows: list[Row]) -> int:
    return sum(row.kind == "update" and bool(row.faces) for row in rows)


@pytest.mark.parametrize("kind", ADDRESSES)
def test_a_stream_that_is_cut_goes_on_with_a_gap_and_no_old_frame(
    tmp_path: Path, clip: Path, weights: Path, kind: str
) -> None:
    rows_path, report = tmp_path / "rows.jsonl", tmp_path / "report.html"
    with streaming(kind, clip) as port, Relay(port) as relay:
        source = ADDRESSES[kind].format(port=relay.port)
        flags = ["--json", str(rows_path), "--html", str(report), "--weights", str(weights), "--no-page"]
        command = [sys.executable, "-m", "deepfake", "watch", source, *flags]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as watching:
            try:
                until(rows_path, lambda rows: n_updates(rows) >= 8, watching)
                n_before = relay.n_connections
                relay.cut()
                time.sleep(CUT_S)
                n_then = len(rows_in(rows_path))
                relay.join()
                until(rows_path, lambda rows: n_updates(rows[n_then:]) >= 8, watching)
                watching.send_signal(signal.SIGINT)
                _, said = watching.communicate(timeout=30)
            finally:
                if watching.poll() is None:
                    watching.kill()
        assert relay.n_connections > n_before
    assert watching.returncode in (0, 3, 4), said
    rows = rows_in(rows_path)
    assert [row.seconds for row in rows if row.kind == "gap" and (row.seconds or 0) >= CUT_S - 1.5]
    times = [row.time_s for row in rows if row.kind == "update"]
    assert times == sorted(set(times)), "times only rise"
    assert max(row.latency_ms or 0 for row in rows) <= 1000
    assert {person.person for row in rows for person in row.persons} <= {0, 1}
    assert rows[-1].kind == "end"
    assert "Nothing came for" in report.read_text()
