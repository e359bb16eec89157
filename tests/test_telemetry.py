"""Who checks a video tells nobody: ONNX Runtime reports nothing of its use and leaves no file of a session behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
QUIET_BY_ITSELF = ("CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY")  # where any of these stands, it is silent anyway


def test_the_library_that_runs_networks_leaves_no_file_of_a_session(tmp_path: Path) -> None:
    known = {name: value for name, value in os.environ.items() if name not in QUIET_BY_ITSELF}
    code = "import deepfake, os, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    made = subprocess.run(
        [sys.executable, "-c", code], env={**known, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == "1" and list(tmp_path.iterdir()) == []
