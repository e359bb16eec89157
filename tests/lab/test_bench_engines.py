"""Engines side by side: on a little detector, with what is installed here."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake.errors import UserError
from lab.bench import engines
from lab.commands import bench_engines
from learning_data import one_thread  # noqa: F401 - a fixture
from little_detector import two_members

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_engine_gets_a_row_of_each_kind_and_a_missing_one_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.ENGINES, "Another", ("no_such_library", engines._torch))
    path, _ = two_members(tmp_path)
    (tmp_path / "crops").mkdir()
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"crops/{number}.png"), picture)
    flags = ["--threads", "1", "--batches", "1,2", "--rounds", "1", "--crops", str(tmp_path / "crops")]
    bench_engines.run(bench_engines.arguments().parse_args(["--weights", str(path), *flags]))
    printed = capsys.readouterr().out
    assert "Another: not installed, not measured" in printed
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    same = [row for row in rows if row[0] == "ONNX Runtime fp32"]
    assert [row[1:4] for row in same] == [
        [name, kind, n] for name in ("frames.0", "frames.1") for kind, n in (("made-up", "50"), ("real", "3"))
    ]
    assert all(float(row[4]) < 1e-4 for row in same)
    times = [row for row in rows if len(row) == 8 and row[3] == "PyTorch fp32"]
    assert [row[:3] for row in times] == [[f"frames.{i}", "1", batch] for i in (0, 1) for batch in ("1", "2")]
    assert all(float(row[4]) > 0 and row[6:] == ["1.00", "1.00"] for row in times)


def test_crops_are_pictures_that_are_there(tmp_path: Path) -> None:
    path, _ = two_members(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no picture below it"):
        engines.real_crops(tmp_path / "none", engines.networks_of(path)[0])
