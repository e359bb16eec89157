"""`--help` answers at once: whatever takes long to import is imported after the arguments were read."""

import subprocess
import sys

import pytest

from deepfake import __version__
from deepfake.commands.main import COMMANDS
from deepfake.files import PROJECT_ROOT
from lab.__main__ import COMMANDS as RESEARCH

HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "pydantic",
    "scipy",
    "cv2",
    "av",
    "yaml",
    "sklearn",
    "numba",
}
PROGRAMS = [("deepfake", name) for name in ("--help", *COMMANDS)] + [("lab", name) for name in ("--help", *RESEARCH)]


@pytest.mark.parametrize(("program", "name"), PROGRAMS, ids=map(" ".join, PROGRAMS))
def test_help_is_there_before_any_heavy_library(program: str, name: str) -> None:
    # -X importtime writes every import to stderr: what a person waits for, listed instead of timed.
    command = [sys.executable, "-X", "importtime", "-m", program, name, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=PROJECT_ROOT / "src")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and done.stdout.startswith("usage: ")
    assert "argparse" in loaded and not loaded & HEAVY


def test_the_version_is_the_package_s() -> None:
    command = [sys.executable, "-m", "deepfake", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=PROJECT_ROOT / "src")
    assert done.stdout == f"deepfake {__version__}\n"
