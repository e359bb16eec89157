"""The exported networks: the file in the package is what the command makes."""

from pathlib import Path

import pytest

from deepfake.faces.mtcnn_networks import NETWORKS_FILE, NETWORKS_SHA256
from deepfake.files import sha256_of
from lab.__main__ import COMMANDS


def test_the_package_s_file_is_the_one_its_code_names() -> None:
    assert sha256_of(NETWORKS_FILE) == NETWORKS_SHA256


def test_the_command_makes_the_package_s_file_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("facenet_pytorch")
    from lab.commands import export_mtcnn

    path = tmp_path / "mtcnn.zip"
    export_mtcnn.run(export_mtcnn.arguments().parse_args(["--out", str(path)]))
    assert path.read_bytes() == NETWORKS_FILE.read_bytes()
    assert capsys.readouterr().out.endswith(f"SHA-256 {NETWORKS_SHA256}\n")
    assert "export-mtcnn" in COMMANDS


def test_the_networks_name_their_source_and_its_hash() -> None:
    onnx = pytest.importorskip("onnx")
    from deepfake.faces.mtcnn_networks import FACENET_SHA256, read_networks

    for name, network in read_networks().items():
        notes = {prop.key: prop.value for prop in onnx.load_from_string(network).metadata_props}
        assert notes["sha256"] == FACENET_SHA256[name] and "MIT License" in notes["source"]
