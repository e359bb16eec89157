"""What the targets of the Makefile hand over to commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake.files import PROJECT_ROOT

NAME = """/tmp/it's "so" $HOME $(x) ${y} `id` \\ $ #1 née.mp4"""


def make(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run make with a Python that writes its arguments and ends with `code`; the virtual environment stays as it is."""
    script = folder / "told.py"
    script.write_text(f"import json, sys; print(json.dumps(sys.argv[1:])); sys.exit({code})")
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VIDEO", "VIDEOS", "OUT"}  # those of `make test`
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    command = ["make", "--old-file=.venv/.made", f"PY={sys.executable} {script}", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, env=environment, timeout=60)


@pytest.mark.parametrize("name", ["clip.mp4", "-rf", NAME])
def test_make_hands_a_file_s_name_over_as_it_was_typed(tmp_path: Path, name: str) -> None:
    done = make(tmp_path, "check", f"VIDEO={name}")
    assert json.loads(done.stdout) == ["-m", "deepfake", "check", "--", name], done.stderr
    done = make(tmp_path, "predict", f"VIDEOS={name}", f"OUT={name}.csv")
    assert json.loads(done.stdout) == ["-m", "deepfake", "predict", "--out", f"{name}.csv", "--", name], done.stderr


def test_make_predict_writes_predictions_csv_if_nothing_else_is_said(tmp_path: Path) -> None:
    assert json.loads(make(tmp_path, "predict", "VIDEOS=a b").stdout)[3:] == ["--out", "predictions.csv", "--", "a b"]


def test_make_check_may_open_the_page_and_takes_every_verdict_for_a_success(tmp_path: Path) -> None:
    done = make(tmp_path, "check", "VIDEO=a", "OPEN=1", code=3)
    assert done.returncode == 0 and "--open" in json.loads(done.stdout)
    assert make(tmp_path, "check", "VIDEO=a", code=1).returncode == 2


@pytest.mark.parametrize("target", ["check", "predict"])
def test_make_says_what_is_missing(tmp_path: Path, target: str) -> None:
    done = make(tmp_path, target)
    assert done.returncode == 2 and done.stdout == "" and f"make {target}: say which" in done.stderr


def test_every_command_that_make_runs_is_there(tmp_path: Path) -> None:
    for target in ("demo", "kaggle", "network", "pack", "detector", "bench", "pictures"):
        done = make(tmp_path, target, f"PARTS={tmp_path}/parts")  # nothing counts as fetched in the checkout
        called = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        assert done.returncode == 0 and called, done.stderr
        for first, *rest in called:
            if rest[:1] in (["pip"], ["zipfile"]):  # not ours
                continue
            home = {"deepfake": "src/deepfake/commands", "lab": "src/lab/commands"}.get((rest or [""])[0], "")
            file = f"{home}/{rest[1].replace('-', '_')}.py" if first == "-m" else first
            assert (PROJECT_ROOT / file).is_file(), called
