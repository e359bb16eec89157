"""The wheel: what is in it, and that it works alone, in an environment of its own outside the repository."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from safetensors.numpy import load_file, save_file

from deepfake import __version__
from deepfake.commands.guard import EXTRAS, LOOKED_FOR
from deepfake.commands.main import COMMANDS
from deepfake.files import PROJECT_ROOT, sha256_of
from deepfake.kaggle.build import pins, with_dependencies
from deepfake.models.detector_file import HEADER, read_header, shipped_weights
from deepfake.models.graphs import is_graph
from drawn_faces import write_person
from run_command import ENVIRONMENT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRA_LINES = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
OPTIONAL = [wanted for lines in EXTRA_LINES.values() for wanted in lines]
PROGRAM = """
import deepfake
if __name__ == "__main__":
    print(deepfake.check("clip.mp4").p_fake)
    print(deepfake.load_detector().score("clip.mp4").p_fake)
    print(len(deepfake.find_faces("clip.mp4")))
    with deepfake.open_video("clip.mp4", n_frames=2) as frames:
        print([frame.rgb().shape for frame in frames][0])
"""
RECORDED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # what could lead back to the checkout
REAL_CLIPS = [
    path
    for folder in (PROJECT_ROOT / "data/raw/demo/test_videos", PROJECT_ROOT.parent / "shared/data/clips/dev")
    for path in sorted(folder.rglob("*.mp4"))
]


@pytest.mark.parametrize("wanted", [*DECLARED, *OPTIONAL], ids=str)
def test_the_pinned_version_is_in_the_range_that_the_package_asks_for(wanted: Requirement) -> None:
    if wanted.name != "deepfake":
        lists = [(PROJECT_ROOT / f"requirements{kind}.txt").read_text() for kind in ("", "-spark")]
        pinned = pins("\n".join(lists))
        version = pinned.get(wanted.name.lower().replace("_", "-")) or metadata.version(wanted.name)
        assert wanted.specifier.contains(version)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
    done = subprocess.run([*command, PROJECT_ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def environment(folder: Path, wheel: Path, wanted: Iterable[Requirement]) -> Path:
    """Make a virtual environment `venv` in a folder: the wheel, and packages as they are installed here; the folder.

    They are linked, not installed again: torch alone would be gigabytes. What they do not need is not there.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = (folder / "venv/lib").glob("python3*/site-packages")
    for name in with_dependencies(one.name for one in wanted):
        for entry in metadata.distribution(name).files or ():
            first = Path(entry.parts[0])
            if first.name not in ("..", "__pycache__") and not (site / first).exists():
                (site / first).symlink_to(Path(str(entry.locate())).parents[len(entry.parts) - 1] / first)
    command = [sys.executable, "-m", "pip", "--python", folder / "venv/bin/python", "install", "--quiet", "--no-deps"]
    done = subprocess.run([*command, wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in an environment of what it declares to need, and nothing of any extra; and a clip."""
    folder = environment(tmp_path_factory.mktemp("home"), wheel, DECLARED)
    write_person(folder / "clip.mp4", 0)
    return folder


def run(home: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment, its user at home there."""
    environment = {name: value for name, value in os.environ.items() if name not in RECORDED}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [home / "venv/bin" / program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)


def verdict_of(done: subprocess.CompletedProcess[str]) -> tuple[str, float, str]:
    """Verdict, p_fake and the library that ran the networks, as `deepfake check --json -` has them."""
    assert done.returncode in (0, 3, 4), done.stderr
    check = json.loads(done.stdout)
    assert check["shots"][0]["tracks"], "a face was scored"
    return check["verdict"], check["p_fake"], check["engine"]["name"]


def checked_here(clip: Path, folder: Path, engine: str) -> tuple[str, float, str]:
    """The same of the checkout, which has PyTorch, on its processor."""
    places = ("--html", folder / "page.html", "--cache", folder / "cache")
    command = [sys.executable, "-m", "deepfake", "check", clip, "--json", "-", "--engine", engine, *places]
    environment = {**ENVIRONMENT, "CUDA_VISIBLE_DEVICES": ""}
    return verdict_of(subprocess.run(command, capture_output=True, text=True, env=environment, cwd=PROJECT_ROOT))


@pytest.mark.slow
def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        note = f"deepfake-{__version__}.dist-info"
        assert {name.split("/")[0] for name in names} == {"deepfake", note}
        assert packed.read(f"{note}/entry_points.txt").decode().split() == [
            "[console_scripts]",
            "deepfake",
            "=",
            "deepfake.commands.main:main",
        ]
        metadata = packed.read(f"{note}/METADATA").decode()
    package = PROJECT_ROOT / "src/deepfake"
    own = {f"deepfake/{path.relative_to(package).as_posix()}" for path in package.rglob("*") if path.is_file()}
    own = {name for name in own if "__pycache__" not in name}
    weights = {f"deepfake/weights/{path.name}" for path in (PROJECT_ROOT / "data/weights").iterdir()}
    assert {"deepfake/py.typed", "deepfake/report/check.html.jinja", "deepfake/report/check.css"} < own
    assert {name for name in names if name.startswith("deepfake/")} == own | weights
    assert f"{note}/licenses/LICENSE" in names
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    names = {canonicalize_name(Requirement(line.partition(": ")[2]).name) for line in needed}
    assert names == {canonicalize_name(wanted.name) for wanted in DECLARED}
    for extra in EXTRA_LINES:
        assert f"Provides-Extra: {extra}\n" in metadata


@pytest.mark.slow
def test_the_installed_package_is_the_wheel_s_and_finds_its_weights(home: Path) -> None:
    code = "import deepfake, deepfake.models.detector_file as d; print(deepfake.__file__, d.shipped_weights())"
    package, weights = (Path(word) for word in run(home, "python", "-c", code).stdout.split())
    assert package.is_relative_to(home / "venv") and weights.is_relative_to(home / "venv")
    assert [sha256_of(weights)] == [sha256_of(path) for path in (PROJECT_ROOT / "data/weights").glob("*.safetensors")]
    missing = [name for name in EXTRAS if name != "packaging"]  # ONNX Runtime needs that one
    assert {"torch", "torchvision", "timm", "facenet_pytorch", "pandas", "scipy", "numba", "sklearn"} < set(missing)
    for module in missing:
        assert run(home, "python", "-c", f"import {module}").stderr.endswith(f"No module named '{module}'\n")
    assert run(home, "python", "-c", "import lab").stderr.endswith("No module named 'lab'\n")


@pytest.mark.slow
def test_the_installed_command_tells_what_there_is(home: Path) -> None:
    shown, version = run(home, "deepfake", "--help"), run(home, "deepfake", "--version")
    assert shown.returncode == 0 and "a verdict on one video" in shown.stdout, shown.stderr
    assert version.stdout == f"deepfake {__version__}\n"
    assert run(home, "deepfake", "check", "--help").returncode == 0


@pytest.mark.slow
def test_the_installed_command_checks_a_generated_clip(home: Path) -> None:
    done = run(home, "deepfake", "check", "clip.mp4")
    assert done.returncode in (0, 3, 4), done.stderr
    assert done.stdout.startswith("clip.mp4: ") and "face 0 in shot 0" in done.stdout
    (page,) = (home / "deepfake-checks").glob("clip-*.html")
    assert f"version {__version__}" in page.read_text()
    check = json.loads(page.with_suffix(".json").read_text())
    assert check["exit_code"] == done.returncode and check["shots"][0]["tracks"][0]["n_frames"] == 24
    assert any((home / "cache/deepfake").rglob("*.tar"))
    assert sorted(path.name for path in home.iterdir()) == ["cache", "clip.mp4", "deepfake-checks", "venv"]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "named"), [("auto", "ONNX Runtime"), ("torch", "PyTorch")])
def test_without_torch_the_verdict_is_that_of_the_checkout(home: Path, tmp_path: Path, engine: str, named: str) -> None:
    verdict, p_fake, ran = verdict_of(run(home, "deepfake", "check", "clip.mp4", "--json", "-"))
    assert ran == "ONNX Runtime"
    assert checked_here(home / "clip.mp4", tmp_path, engine) == (verdict, pytest.approx(p_fake, abs=1e-3), named)


@pytest.mark.slow
def test_the_installed_package_checks_from_python(home: Path) -> None:
    done = run(home, "python", "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    p_fake, again, n_faces, shape = done.stdout.splitlines()
    assert 0 <= float(p_fake) <= 1 and again == p_fake
    assert (n_faces, shape) == ("1", "(180, 200, 3)")


@pytest.mark.slow
def test_predict_and_probe_do_without_the_extras(home: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/clip.mp4").symlink_to(home / "clip.mp4")
    scores = tmp_path / "scores.csv"
    done = run(home, "deepfake", "predict", tmp_path / "one", "--out", scores)
    assert done.returncode == 0 and scores.read_text().startswith("filename,label"), done.stderr
    (row,) = list(csv.DictReader(io.StringIO(scores.read_text())))
    _, p_fake, _ = verdict_of(run(home, "deepfake", "check", "clip.mp4", "--json", "-"))
    assert float(row["label"]) == pytest.approx(p_fake, abs=1e-5) and row["fallback"] == ""
    assert json.loads(run(home, "deepfake", "probe", "clip.mp4").stdout)["n_frames"] == 24


@pytest.mark.slow
def test_evaluate_does_with_its_own_extra(wheel: Path, tmp_path: Path) -> None:
    home = environment(tmp_path, wheel, [*DECLARED, *EXTRA_LINES["evaluate"]])
    scores, labels = tmp_path / "scores.csv", tmp_path / "labels.csv"
    scores.write_text("filename,p_fake\na.mp4,0.9\nb.mp4,0.1\n")
    labels.write_text("file,label\na.mp4,FAKE\nb.mp4,REAL\n")
    done = run(home, "deepfake", "evaluate", "--scores", scores, "--labels", labels)
    assert done.returncode == 0 and "2 videos: 1 real, 1 fake" in done.stdout, done.stderr
    assert run(home, "python", "-c", "import torch").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        ("kaggle", "nbformat", "kaggle"),
        ("evaluate --scores a.csv --labels b.csv", "pandas", "evaluate"),
        ("train --config a.yaml", "torch", "train"),
        ("train --pack a.pack --minutes 1 --out b", "torch", "train"),
        ("export --weights a.safetensors", "torch", "train"),
        ("recalibrate --clips a --labels b.csv --out c", "torch", "train"),
        ("demo build --root a", "pandas", "evaluate"),
    ],
)
def test_a_command_that_needs_an_extra_says_which(home: Path, command: str, module: str, extra: str) -> None:
    done = run(home, "deepfake", *command.split())
    assert done.returncode == 2
    assert done.stderr == f"error: {module} is not installed; pip install 'deepfake[{extra}]' brings it\n"
    assert not (home / "b").exists() and not (home / "a").exists(), "nothing was begun"


@pytest.mark.slow
def test_a_detector_without_graphs_is_refused_with_both_ways_to_go_on(home: Path, tmp_path: Path) -> None:
    header = read_header(shipped_weights())
    del header["graphs"]
    tensors = {name: value for name, value in load_file(shipped_weights()).items() if not is_graph(name)}
    save_file(tensors, tmp_path / "old.safetensors", {HEADER: json.dumps(header)})
    done = run(home, "deepfake", "check", "clip.mp4", "--weights", tmp_path / "old.safetensors")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`deepfake export` writes them" in done.stderr and "pip install 'deepfake[train]'" in done.stderr


def modules_of(extra: str) -> set[str]:
    """The distributions, normalised, that an extra brings, those of extras that it names among them."""
    own = EXTRA_LINES[extra]
    nested = [modules_of(name) for wanted in own if wanted.name == "deepfake" for name in wanted.extras]
    return {canonicalize_name(wanted.name) for wanted in own}.union(*nested)


def test_every_module_that_a_command_misses_is_of_an_extra_that_there_is() -> None:
    distributions = metadata.packages_distributions()
    for module, extra in EXTRAS.items():
        if module == "pyspark" and module not in distributions:
            continue  # 0.6 GB, which `make spark` and CI alone bring
        assert {canonicalize_name(name) for name in distributions[module]} & modules_of(extra), module
    assert {canonicalize_name(wanted.name) for wanted in DECLARED}.isdisjoint(modules_of("all"))


def test_every_command_that_needs_an_extra_names_one_that_there_is() -> None:
    named = {
        name: getattr(importlib.import_module(f"deepfake.commands.{name.replace('-', '_')}"), "EXTRA", None)
        for name in COMMANDS
    }
    assert {extra for extra in named.values() if extra} == set(LOOKED_FOR) <= set(EXTRA_LINES)
    assert {name for name, extra in named.items() if extra is None} == {"check", "predict", "probe", "watch"}
    for extra, module in LOOKED_FOR.items():
        assert EXTRAS[module] == extra


@pytest.mark.slow
@pytest.mark.skipif(not REAL_CLIPS, reason="no real clip is here; `make demo` makes some")
def test_the_installed_command_says_of_a_real_clip_what_the_checkout_says(home: Path, tmp_path: Path) -> None:
    done = run(home, "deepfake", "check", REAL_CLIPS[0], "--json", "-", "--html", home / "venv/page.html")
    verdict, p_fake, engine = verdict_of(done)
    assert checked_here(REAL_CLIPS[0], tmp_path, "auto") == (verdict, pytest.approx(p_fake, abs=1e-5), engine)
    assert engine == "ONNX Runtime"
