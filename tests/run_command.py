"""Run commands of `deepfake` and `python -m lab`, and the stages, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deepfake.files import PROJECT_ROOT

SOURCES = PROJECT_ROOT / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCES)}


def arguments_of(name: str) -> list[str]:
    """What python runs: a script of src, or PROGRAM.COMMAND, such as `deepfake.check`."""
    if name.endswith(".py"):
        return [str(SOURCES / name)]
    program, _, command = name.partition(".")
    return ["-m", program, command]


def run(
    name: str, *arguments: object, folder: Path = PROJECT_ROOT, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `name` is a script of src, or PROGRAM.COMMAND."""
    command = [sys.executable, *arguments_of(name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=folder, env=ENVIRONMENT)
