"""Faces: what looks like one passes, what cannot be one does not, and odd pictures give none."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deepfake.errors import UserError
from deepfake.faces import extractor, mtcnn, mtcnn_networks
from deepfake.faces.extractor import Job, extract
from deepfake.faces.mtcnn import FaceDetector, Faces, _batched_nms, are_plausible
from deepfake.settings import Extract
from drawn_faces import person_frames

# Landmarks of a frontal face as shares of its box: eyes, nose, mouth corners.
FRONTAL = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.58), (0.35, 0.78), (0.65, 0.78)], np.float32)


def face(points: np.ndarray, box: tuple[float, float, float, float] = (100, 50, 200, 170)) -> Faces:
    boxes = np.array([box], np.float32)
    landmarks = boxes[0, :2] + points * (boxes[0, 2:] - boxes[0, :2])
    return Faces(boxes, np.array([0.99], np.float32), landmarks[None].astype(np.float32))


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - 0.55) @ turn.T + 0.55


def moved(**points: tuple[float, float]) -> np.ndarray:
    names = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    return np.array([points.get(name, place) for name, place in zip(names, FRONTAL, strict=True)], np.float32)


def test_a_frontal_face_is_plausible_wherever_and_however_large() -> None:
    for box in ((100, 50, 200, 170), (0, 0, 24, 30), (1000, 1000, 2800, 3000), (-20, -10, 60, 80)):
        assert are_plausible(face(FRONTAL, box)).tolist() == [True]


@pytest.mark.parametrize("degrees", [-45, -20, 20, 45])
def test_a_tilted_face_is_plausible(degrees: float) -> None:
    assert are_plausible(face(turned(FRONTAL, degrees))).all()


def test_a_half_profile_is_plausible() -> None:
    profile = [(0.15, 0.4), (0.4, 0.4), (0.12, 0.58), (0.2, 0.78), (0.4, 0.78)]
    assert are_plausible(face(np.array(profile, np.float32))).all()


@pytest.mark.parametrize(
    ("why", "points"),
    [
        ("upside down", 1 - FRONTAL),
        ("lying on its side", turned(FRONTAL, 90)),
        ("all points in one place", np.full((5, 2), 0.5, np.float32)),
        ("eyes upon the mouth", moved(left_mouth=(0.35, 0.45), right_mouth=(0.65, 0.45))),
        ("all points on one line down", FRONTAL * (0, 1) + (0.5, 0)),
        ("an eye outside the box", moved(left_eye=(-0.3, 0.4))),
        ("the mouth below the box", moved(left_mouth=(0.35, 1.3), right_mouth=(0.65, 1.3))),
        ("the nose above the eyes", moved(nose=(0.5, 0.2))),
        ("the nose below the mouth", moved(nose=(0.5, 0.95))),
        ("points that are no numbers", np.full((5, 2), np.nan, np.float32)),
    ],
)
def test_what_cannot_be_a_face_is_not(why: str, points: np.ndarray) -> None:
    assert are_plausible(face(points)).tolist() == [False], why


@pytest.mark.parametrize("box", [(0, 0, 300, 100), (0, 0, 30, 100), (50, 50, 50, 50)])
def test_a_box_of_another_shape_is_no_face(box: tuple[float, float, float, float]) -> None:
    assert not are_plausible(face(FRONTAL, box)).any()


def test_no_faces_are_judged_as_no_faces() -> None:
    assert are_plausible(Faces.none()).shape == (0,)


def test_faces_scale_with_their_picture() -> None:
    scaled = face(FRONTAL).scaled(2, 0.5)
    assert scaled.boxes.tolist() == [[200, 25, 400, 85]]
    assert (
        scaled.landmarks[0, 0].tolist() == pytest.approx([260, 49])
        and scaled.scores.tolist() == face(FRONTAL).scores.tolist()
    )


def test_keeping_takes_boxes_scores_and_landmarks_together() -> None:
    two = Faces(*(np.concatenate([getattr(face(FRONTAL), n)] * 2) for n in ("boxes", "scores", "landmarks")))
    assert len(two) == 2 and len(two.keep(np.array([True, False]))) == 1 and len(two.keep(np.array([], int))) == 0


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(0.0625, 0.9)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.int64),
    ],
    ids=["float", "grey", "alpha", "int64"],
)
def test_a_picture_of_another_kind_is_refused_instead_of_finding_nothing(
    detector: FaceDetector, picture: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"wanted uint8 \(height, width, 3\)"):
        detector.detect([picture])


@pytest.mark.parametrize("size", [(1, 1), (2, 640), (640, 2), (20, 20), (23, 24), (24, 24), (25, 400)])
def test_a_tiny_picture_has_no_faces(detector: FaceDetector, size: tuple[int, int]) -> None:
    assert len(detector.detect([np.full((*size, 3), 128, np.uint8)])[0]) == 0


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_plain_picture_has_no_faces(detector: FaceDetector, grey: int) -> None:
    faces = detector.detect([np.full((120, 160, 3), grey, np.uint8)])[0]
    assert faces.boxes.shape == (0, 4) and faces.scores.shape == (0,) and faces.landmarks.shape == (0, 5, 2)


def test_pictures_of_several_sizes_go_through_one_by_one(detector: FaceDetector) -> None:
    assert [len(faces) for faces in detector.detect([np.zeros((s, 2 * s, 3), np.uint8) for s in (30, 60)])] == [0, 0]
    assert detector.detect([]) == []


class Network:
    """MTCNN's answers: object arrays, boxes that leave the picture, None."""

    def __init__(self, *faces: Faces) -> None:
        self.faces = faces

    def detect(self, picture: np.ndarray, landmarks: bool) -> tuple[object, object, object]:
        if not self.faces:
            return None, [None], None
        joined = [np.concatenate([getattr(f, n) for f in self.faces]) for n in ("boxes", "scores", "landmarks")]
        return tuple(array.astype(object) for array in joined)  # type: ignore[return-value]


def faces_by(network: Network, monkeypatch: pytest.MonkeyPatch) -> Faces:
    detector = FaceDetector(0.0625, 0.9, engine="torch")
    monkeypatch.setattr(detector._finder, "_network", lambda min_face_px: network)
    return detector.detect([np.zeros((240, 320, 3), np.uint8)])[0]


def test_object_arrays_come_back_as_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = faces_by(Network(face(FRONTAL)), monkeypatch)
    assert (faces.boxes.dtype, faces.scores.dtype, faces.landmarks.dtype) == (np.float32,) * 3
    assert faces.boxes.tolist() == [[100, 50, 200, 170]]


def test_faces_come_best_first_and_equal_ones_from_the_left(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [(200.0, 50.0, 300.0, 170.0), (100.0, 50.0, 200.0, 170.0), (10.0, 50.0, 110.0, 170.0)]
    three = [face(FRONTAL, box) for box in places]
    three[0] = Faces(three[0].boxes, np.array([0.995], np.float32), three[0].landmarks)
    faces = faces_by(Network(*three), monkeypatch)
    assert faces.boxes[:, 0].tolist() == [200, 10, 100]


def test_a_face_whose_middle_is_outside_the_picture_and_a_false_alarm_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outside = face(FRONTAL, (-90, 50, 10, 170))
    faces = faces_by(Network(outside, face(1 - FRONTAL), face(FRONTAL)), monkeypatch)
    assert faces.boxes.tolist() == [[100, 50, 200, 170]]


def test_none_from_mtcnn_is_no_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(faces_by(Network(), monkeypatch)) == 0


@pytest.mark.parametrize("max_iou", [0.5, 0.6, 0.7])
@pytest.mark.parametrize("seed", range(8))
def test_overlapping_boxes_are_dropped_as_torchvision_drops_them(seed: int, max_iou: float) -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import batched_nms

    draw = torch.Generator().manual_seed(seed)
    n_boxes = 40 * seed
    corners = 100 * torch.rand(n_boxes, 2, generator=draw)
    boxes = torch.cat([corners, corners + 60 * torch.rand(n_boxes, 2, generator=draw)], 1)
    scores = torch.rand(n_boxes, generator=draw)
    if seed % 2:  # equal scores, touching sides, boxes without an area
        boxes, scores = (boxes / 20).round(), (scores * 10).round()
    pictures = torch.randint(0, 2, (n_boxes,), generator=draw)
    ours = _batched_nms(boxes, scores, pictures, max_iou)
    assert ours.tolist() == batched_nms(boxes, scores, pictures, max_iou).tolist()


SRC = Path(__file__).parents[2] / "src"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=SRC, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_worker_finds_faces_without_the_large_libraries() -> None:
    pytest.importorskip("onnxruntime")
    code = (
        "import sys, numpy, deepfake.faces.extractor as e; "
        "e.FaceDetector(0.0625, 0.9).detect([numpy.zeros((60, 80, 3), numpy.uint8)]); "
        "print({'torch', 'torchvision', 'facenet_pytorch', 'pandas', 'numba', 'timm'} & set(sys.modules))"
    )
    assert run_python(code) == "set()"


def test_torchvision_is_whole_after_facenet_was_imported() -> None:
    pytest.importorskip("facenet_pytorch")
    code = (
        "from deepfake.faces import mtcnn; mtcnn.facenet_mtcnn(); "
        "import torchvision, timm; print(torchvision.ops.batched_nms.__module__)"
    )
    assert run_python(code) == "torchvision.ops.boxes"


def test_onnx_runtime_is_taken_on_a_processor_and_torch_on_a_gpu() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("facenet_pytorch")
    assert FaceDetector(0.0625, 0.9).engine == "onnxruntime"
    assert FaceDetector(0.0625, 0.9, device="cuda").engine == "torch"


def test_torch_is_taken_where_onnx_runtime_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("facenet_pytorch")
    monkeypatch.setattr(mtcnn, "is_installed", lambda: False)
    detector = FaceDetector(0.0625, 0.9)
    assert detector.engine == "torch" and len(detector.detect(person_frames(0, n_frames=1))[0]) == 1


def test_an_onnx_runtime_that_cannot_be_loaded_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("facenet_pytorch")
    (tmp_path / "onnxruntime.py").write_text("raise OSError('GLIBC_2.99 not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert FaceDetector(0.0625, 0.9).engine == "torch"


def test_without_either_library_a_sentence_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtcnn, "is_installed", lambda: False)
    monkeypatch.setattr(mtcnn, "find_spec", lambda name: None)
    mtcnn.facenet_mtcnn.cache_clear()
    with pytest.raises(UserError, match="neither onnxruntime nor torch is installed here; pip install onnxruntime"):
        FaceDetector(0.0625, 0.9)


def test_a_damaged_file_of_networks_stops_the_command_and_is_no_fault_of_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "mtcnn.zip").write_bytes(b"cut short")
    damaged = partial(mtcnn_networks.read_networks, tmp_path / "mtcnn.zip")
    monkeypatch.setattr(mtcnn_networks, "read_networks", damaged)
    extractor._detector.cache_clear()
    job = Job("clip", tmp_path / "clip.mp4", tmp_path, "clip.tar", Extract())
    with pytest.raises(UserError, match="cut short, damaged or of another version"):
        extract(job)


@pytest.mark.parametrize("n_people", [1, 2])
def test_both_libraries_find_the_same_faces(n_people: int) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("facenet_pytorch")
    frames = [frame for person in range(3) for frame in person_frames(person, (False,) * n_people, n_frames=1)]
    ours, theirs = (FaceDetector(0.0625, 0.9, engine=engine).detect(frames) for engine in ("onnxruntime", "torch"))
    assert [len(faces) for faces in ours] == [n_people] * 3 == [len(faces) for faces in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.boxes == pytest.approx(other.boxes, abs=0.01)
        assert one.landmarks == pytest.approx(other.landmarks, abs=0.01)
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
