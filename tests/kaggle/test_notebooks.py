"""The notebooks: up to date, without outputs, and run to their end without a network.

The one for Kaggle runs in a fresh virtual environment that has nothing but the bundle's wheels and the packages that
configs/kaggle.yaml takes Kaggle's image to have, linked from the environment of the tests in their versions there.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake import tables
from deepfake.detector.file import Part, save_detector
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.files import PROJECT_ROOT
from deepfake.kaggle import build
from deepfake.kaggle.notebooks import NOTEBOOKS, notebook_text
from deepfake.models.checkpoints import save_model
from deepfake.models.frames import FrameClassifier
from deepfake.settings_file import load_config, parse_config
from drawn_faces import write_person
from learning_data import invented

SETTINGS = PROJECT_ROOT / "configs/kaggle.yaml"
DRIVER = Path(__file__).parents[1].joinpath("run_notebook.py")
CLIENT = ("nbclient", "nbformat", "pip")  # what drives a notebook from outside, over there Kaggle's own
# Where the kernel gives no network namespaces, the fresh environment refuses all internet sockets itself.
REFUSE_SOCKETS = """
import socket
class Refusing(socket.socket):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise OSError("no network in this test")
        return super().connect(address)
socket.socket = Refusing
"""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebooks_are_those_the_package_writes(name: str) -> None:
    path = PROJECT_ROOT / "notebooks" / name
    assert path.read_text() == notebook_text(name), f"{path} is not up to date; run make kaggle"


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_kept_notebooks_show_nobody(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and not cell.get("execution_count")


# --- Running them ------------------------------------------------------------------------------------


def without_network() -> list[str] | None:
    """The command that runs another one without any network, if this machine has one."""
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "true"], capture_output=True).returncode:
            return command
    return None


@pytest.fixture
def listening_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run_notebook(python: Path, name: str, folder: Path, port: int, **environment: object) -> dict[str, Any]:
    """Run a notebook of the package in `folder` without a network; return it with its outputs."""
    source, out = folder / name, folder / "out.ipynb"
    source.write_text(notebook_text(name))
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    at_home = {"HOME": folder, "JUPYTER_RUNTIME_DIR": folder / "r", "IPYTHONDIR": folder / "i", "OMP_NUM_THREADS": 1}
    at_home |= {"PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": folder / "sockets"}
    (folder / "r").mkdir(mode=0o700)
    prefix = without_network()
    if prefix is None:
        (folder / "sockets").mkdir()
        (folder / "sockets/sitecustomize.py").write_text(REFUSE_SOCKETS)
    command = [*(prefix or []), str(python), str(DRIVER), str(source), str(out), str(port)]
    values = {**kept, **{key: str(value) for key, value in {**at_home, **environment}.items()}}
    done = subprocess.run(command, capture_output=True, text=True, env=values, timeout=550, cwd=folder)
    assert done.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)[-4000:]
    return dict(json.loads(out.read_text()))


def shown(notebook: dict[str, Any]) -> str:
    """All text and HTML a notebook put out."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    parts = [output.get("text", output.get("data", {}).get("text/html", "")) for output in outputs]
    return "\n".join("".join(part) for part in parts)


def pretend_image(folder: Path, names: tuple[str, ...], without: tuple[str, ...]) -> None:
    """Link packages and all they need into a folder, except `without`."""
    folder.mkdir()
    for name in build.with_dependencies(names, without):
        package = metadata.distribution(name)
        for top in {path.parts[0] for path in package.files or () if path.parts[0] not in ("..", "__pycache__")}:
            place = Path(str(package.locate_file(top)))
            if place.exists() and not (folder / top).exists():
                (folder / top).symlink_to(place)


def wheel_of_installed(name: str, version: str, python: str, folder: Path) -> None:
    """Pack an installed package as the wheel it came from: no test asks the registry."""
    package = metadata.distribution(name)
    assert package.version == version
    files = [f for f in package.files or () if f.parts[0] != ".." and f.suffix != ".pyc"]
    (tag,) = re.findall(r"^Tag: (.+)$", package.read_text("WHEEL") or "", flags=re.MULTILINE)[:1]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-{tag}.whl", "w") as archive:
        for file in files:
            if file.name not in ("INSTALLER", "REQUESTED", "direct_url.json"):
                archive.write(str(file.locate()), str(file))


def small_detector(folder: Path) -> Path:
    torch.manual_seed(0)
    model = FrameClassifier("test_efficientnet", 32)
    nn.init.normal_(model.head.weight, std=0.5)
    save_model(folder / "frames", "frames", model, fold=None, settings_digest="d", metrics={}, about={})
    stack = Stack(("small",), (1.0,), Calibration("platt", 0.7, -0.1, 40), 0.45, (0.4, 0.6))
    settings = parse_config({"extract": {"frames_per_video": 8, "crop_px": 96}})
    path = folder / "small.safetensors"
    save_detector(path, "small", [Part("small", folder / "frames")], stack, settings)
    return path


def attached(folder: Path) -> Path:
    """A competition's folder with two good videos, a broken one and a name without a video."""
    videos = folder / "test_videos"
    write_person(videos / "one.mp4", 7, n_frames=8)
    write_person(videos / "two <b>faces.mp4", 8, (True, False), n_frames=8)
    (videos / "broken.mp4").write_bytes((videos / "one.mp4").read_bytes()[:700])
    names = ["two <b>faces.mp4", "absent.mp4", "one.mp4", "broken.mp4"]
    pd.DataFrame({"filename": names, "label": 0.5}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def short_path() -> Iterator[Path]:
    """A folder whose name is short enough for sockets in it."""
    folder = Path(f"/tmp/nb{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def no_onnx_runtime(name: str, version: str, python: str, folder: Path) -> None:
    """The same where the registry has no wheel of ONNX Runtime."""
    if name == "onnxruntime":
        raise UserError(f"{name}: no wheel for Python {python}")
    wheel_of_installed(name, version, python, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fetch", "engine"), [(wheel_of_installed, "ONNX Runtime"), (no_onnx_runtime, "PyTorch")], ids=["onnx", "torch"]
)
def test_the_kaggle_notebook_runs_from_the_bundle_alone(
    fetch: build.Fetch, engine: str, short_path: Path, listening_port: int
) -> None:
    short_path = short_path / engine[:2]  # a folder of its own, its name as short
    short_path.mkdir()
    bundle = short_path / "bundle"
    build.build_bundle(SETTINGS, small_detector(short_path), bundle, "missing", short_path / "cache", fetch)
    settings = load_config(SETTINGS).kaggle
    venv.create(short_path / "fresh", symlinks=True)
    python = short_path / "fresh/bin/python"
    brought = (*settings.wheels, *settings.optional_wheels)
    pretend_image(short_path / "image", (*settings.image_has, *CLIENT), brought)
    site = sysconfig.get_path("purelib", vars={"base": str(short_path / "fresh")})
    Path(site, "image.pth").write_text(str(short_path / "image"))
    for module in ("av", "timm", "facenet_pytorch", "onnxruntime", "albumentations", "decord"):
        assert subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode, module

    notebook = run_notebook(
        python,
        "kaggle_inference.ipynb",
        short_path,
        listening_port,
        DEEPFAKE_BUNDLE=bundle,
        DEEPFAKE_COMPETITION=attached(short_path / "competition"),
        DEEPFAKE_WORK=short_path / "work",
        DEEPFAKE_OUT=short_path / "working",
        DEEPFAKE_SET="kaggle.workers=1 predict.device=cpu",
    )

    made = pd.read_csv(short_path / "working/submission.csv").set_index("filename")["label"]
    assert made.index.tolist() == ["two <b>faces.mp4", "absent.mp4", "one.mp4", "broken.mp4"]
    assert made["absent.mp4"] == made["broken.mp4"] == 0.45
    assert made["one.mp4"] != 0.45 and made["two <b>faces.mp4"] != 0.45
    details = pd.read_csv(short_path / "working/details.csv").set_index("filename")
    assert details.loc["two <b>faces.mp4", "n_tracks"] == 2
    assert details.loc["broken.mp4", "fallback"].startswith("unreadable: ")
    text = shown(notebook)
    assert re.search(rf">{engine} [0-9.+a-z]+ on CPU, fp32<", text)
    assert "detector: small" in text and "most forged: " in text and "<svg" in text
    assert "two &lt;b&gt;faces.mp4" in text and "<b>faces" not in text
    assert len(re.findall("data:image/jpeg;base64,", text)) == 16
    installed = (bundle / "wheels/requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in installed] == ["av", "facenet-pytorch", "timm"]


def test_the_notebook_of_tracks_runs(short_path: Path, listening_port: int) -> None:
    folder = short_path / "explore"
    work_dir, run_dir = folder / "data/work/drawn", folder / "data/runs/tiny"
    made = invented(work_dir)
    tables.write(tables.VIDEOS, made.videos, work_dir / "videos.parquet")
    tables.write(tables.FACES, made.faces, work_dir / "faces.parquet")
    keys = made.faces[["video_id", "track", "frame_index"]]
    scores = keys[keys["video_id"].str.contains("[0-3]")].assign(model="frames", logit=0.5)
    tables.write(tables.FRAME_SCORES, scores, run_dir / "frames_oof.parquet")
    (folder / "tiny.yaml").write_text(f"dataset: drawn\nrun: tiny\ndata_dir: {folder}/data\n")
    (folder / "src").symlink_to(PROJECT_ROOT / "src")

    notebook = run_notebook(
        Path(sys.executable), "explore_tracks.ipynb", folder, listening_port, DEEPFAKE_CONFIG=folder / "tiny.yaml"
    )

    text = shown(notebook)
    assert "12: 4 fake, 4 real, 4 without a label" in text
    assert "fake0.mp4, track 0" in text and "0.0 s: 0.62" in text
    assert text.count("<svg") == 3
    first = re.search('data:image/jpeg;base64,([^"]+)', text)
    assert first and base64.b64decode(first[1]).startswith(b"\xff\xd8")
