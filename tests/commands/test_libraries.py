"""Which libraries the processes of `deepfake check` and `predict` import: none that only learning, fits or tables need.

Each costs a person who waits for one verdict its import, a tenth of a second to some seconds, and its memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake.faces.reading import ReadJob
from deepfake.files import PROJECT_ROOT
from deepfake.media.clips import write_clip
from deepfake.settings import Extract
from deepfake.workers import Failed, Limits, run_each
from lab.cheap_detector import write_cheap_detector
from lab.drawn_people import moving_person
from learning_data import one_thread  # noqa: F401 - a fixture
from run_command import ENVIRONMENT
from worker_tasks import libraries_after_reading

UNWANTED = {"torch", "torchvision", "timm", "facenet_pytorch", "pandas", "sklearn", "numba", "scipy", "matplotlib"}
UNWANTED |= {"pyarrow", "accelerate", "albumentations", "onnx", "PIL"}  # nor is any of these in the base of the wheel
# Prints the libraries that a command imported, after whatever the command prints.
PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))))
from deepfake.commands.main import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector, a clip, and a folder of one other clip."""
    folder = tmp_path_factory.mktemp("libraries")
    write_cheap_detector(folder / "cheap.safetensors", {"frames_per_video": 4, "workers": 1})
    for number, name in enumerate(("face.mp4", "videos/face.mp4")):
        write_clip(folder / name, moving_person(number, 6, 72), 6)
    return folder


def unwanted_of(folder: Path, *arguments: object, exit_codes: tuple[int, ...] = (0, 3, 4)) -> set[str]:
    """Which of the unwanted libraries a command imports in its own process."""
    flags = ["--weights", folder / "cheap.safetensors", "--cache", folder / "cache"]
    command = [sys.executable, "-c", PROGRAM, *map(str, [*arguments, *flags])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PROJECT_ROOT, env=ENVIRONMENT)
    assert done.returncode in exit_codes, done.stderr
    libraries = set(json.loads(done.stdout.splitlines()[-1]))
    assert "numpy" in libraries, "the command did its work"
    return libraries & UNWANTED


@pytest.mark.usefixtures("one_thread")
def test_a_check_imports_what_its_networks_need_and_nothing_where_the_video_is_known(folder: Path) -> None:
    check = ("check", folder / "face.mp4", "--html", folder / "page.html")
    assert unwanted_of(folder, *check) == set()
    page = (folder / "page.html").read_bytes()
    assert unwanted_of(folder, *check) == set()
    assert (folder / "page.html").read_bytes() == page


@pytest.mark.usefixtures("one_thread")
def test_so_does_predict_over_a_folder(folder: Path) -> None:
    predict = ("predict", folder / "videos", "--out", folder / "scores.csv", "--workers", 1)
    assert unwanted_of(folder, *predict, exit_codes=(0,)) == set()
    scores = (folder / "scores.csv").read_text()
    assert ",1," in scores, "a face was scored"
    assert unwanted_of(folder, *predict, exit_codes=(0,)) == set()
    assert (folder / "scores.csv").read_text() == scores


@pytest.mark.usefixtures("one_thread")
def test_so_does_a_watch(folder: Path) -> None:
    """It keeps no crops, so it is given a cache by nobody."""
    rows = folder / "rows.jsonl"
    outputs = ["--json", rows, "--html", folder / "watch.html", "--no-page"]
    command = ["watch", folder / "face.mp4", *outputs, "--weights", folder / "cheap.safetensors"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=PROJECT_ROOT,
        env=ENVIRONMENT,
    )
    assert done.returncode in (0, 3, 4, 5), done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) & (UNWANTED | {"starlette", "uvicorn"}) == set()
    assert json.loads(rows.read_text().splitlines()[-1])["reason"] == "its end"


def test_a_process_that_reads_videos_imports_a_detector_of_faces_and_none_of_the_rest(folder: Path) -> None:
    job = ReadJob("v", folder / "face.mp4", folder / "read", Extract(frames_per_video=4))
    ((_, libraries),) = run_each(libraries_after_reading, [job], Limits(1, 120))
    assert not isinstance(libraries, Failed)
    assert set(libraries) & UNWANTED == set()
    assert {"av", "cv2"} <= set(libraries)
