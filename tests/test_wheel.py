"""The wheel: what is in it, and that it works alone, in an environment of its own outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deepfake import __version__
from deepfake.commands.guard import EXTRAS
from deepfake.files import PROJECT_ROOT, sha256_of
from deepfake.kaggle.build import pins, with_dependencies
from drawn_faces import write_person

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [Requirement(line) for line in PROJECT["dependencies"]]
OPTIONAL = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
RECORDED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # what could lead back to the checkout
REAL_CLIPS = [
    path
    for folder in (PROJECT_ROOT / "data/raw/demo/test_videos", PROJECT_ROOT.parent / "shared/data/clips/dev")
    for path in sorted(folder.rglob("*.mp4"))
]


@pytest.mark.parametrize("wanted", [*DECLARED, *OPTIONAL], ids=str)
def test_the_pinned_version_is_in_the_range_that_the_package_asks_for(wanted: Requirement) -> None:
    if wanted.name != "deepfake":
        pinned = pins((PROJECT_ROOT / "requirements.txt").read_text())
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


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment `venv`: the wheel, and what it declares to need as it is installed here.

    That is linked, not installed again: torch alone would be gigabytes. What only the extras need is not there.
    """
    folder = tmp_path_factory.mktemp("home")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (site,) = (folder / "venv/lib").glob("python3*/site-packages")
    for name in with_dependencies(wanted.name for wanted in DECLARED):
        for entry in metadata.distribution(name).files or ():
            first = Path(entry.parts[0])
            if first.name not in ("..", "__pycache__") and not (site / first).exists():
                (site / first).symlink_to(Path(str(entry.locate())).parents[len(entry.parts) - 1] / first)
    command = [sys.executable, "-m", "pip", "--python", folder / "venv/bin/python", "install", "--quiet", "--no-deps"]
    done = subprocess.run([*command, wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    write_person(folder / "clip.mp4", 0)
    return folder


def run(home: Path, program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment, its user at home there."""
    environment = {name: value for name, value in os.environ.items() if name not in RECORDED}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [home / "venv/bin" / program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)


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
    assert "Requires-Dist: facenet-pytorch==2.5.3" in metadata and "Provides-Extra: train" in metadata


@pytest.mark.slow
def test_the_installed_package_is_the_wheel_s_and_finds_its_weights(home: Path) -> None:
    code = "import deepfake, deepfake.models.detector_file as d; print(deepfake.__file__, d.shipped_weights())"
    package, weights = (Path(word) for word in run(home, "python", "-c", code).stdout.split())
    assert package.is_relative_to(home / "venv") and weights.is_relative_to(home / "venv")
    assert [sha256_of(weights)] == [sha256_of(path) for path in (PROJECT_ROOT / "data/weights").glob("*.safetensors")]
    for extra in ("accelerate", "albumentations", "matplotlib", "nbformat", "sklearn"):
        assert run(home, "python", "-c", f"import {extra}").stderr.endswith(f"No module named '{extra}'\n")
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
def test_the_installed_package_checks_from_python(home: Path) -> None:
    done = run(home, "python", "-c", "import deepfake; print(deepfake.check('clip.mp4').p_fake)")
    assert 0 <= float(done.stdout) <= 1, done.stderr


@pytest.mark.slow
def test_the_other_installed_commands_do_without_the_extras(home: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/clip.mp4").symlink_to(home / "clip.mp4")
    scores, labels = tmp_path / "scores.csv", tmp_path / "labels.csv"
    done = run(home, "deepfake", "predict", tmp_path / "one", "--out", scores)
    assert done.returncode == 0 and scores.read_text().startswith("filename,label"), done.stderr
    assert json.loads(run(home, "deepfake", "probe", "clip.mp4").stdout)["n_frames"] == 24
    scores.write_text("filename,p_fake\na.mp4,0.9\nb.mp4,0.1\n")
    labels.write_text("file,label\na.mp4,FAKE\nb.mp4,REAL\n")
    done = run(home, "deepfake", "evaluate", "--scores", scores, "--labels", labels)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_command_that_needs_an_extra_says_which(home: Path) -> None:
    done = run(home, "deepfake", "kaggle")
    assert done.returncode == 2
    assert done.stderr == "error: nbformat is not installed; pip install 'deepfake[kaggle]' brings it\n"


def test_every_module_that_a_command_misses_is_of_an_extra_that_there_is() -> None:
    extras = PROJECT["optional-dependencies"]
    distributions = metadata.packages_distributions()
    for module, extra in EXTRAS.items():
        names = {Requirement(line).name.lower().replace("_", "-") for line in extras[extra]}
        assert {name.lower().replace("_", "-") for name in distributions[module]} & names


@pytest.mark.slow
@pytest.mark.skipif(not REAL_CLIPS, reason="no real clip is here; `make demo` makes some")
def test_the_installed_command_checks_a_real_clip(home: Path) -> None:
    done = run(home, "deepfake", "check", REAL_CLIPS[0], "--json", "-", "--html", home / "venv/page.html")
    assert done.returncode in (0, 3, 4), done.stderr
    assert json.loads(done.stdout)["shots"][0]["tracks"]
