"""Find faces in pictures: the one door to MTCNN, by ONNX Runtime, or by facenet-pytorch in torch.

Their traps end here: object arrays, boxes outside the picture, floats that silently find nothing,
a crash on pictures smaller than the smallest face, and false alarms on cartoons and patterns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np

from deepfake.errors import UserError
from deepfake.faces.detections import Faces as Faces
from deepfake.faces.mtcnn_cascade import find_faces, iou, suppressed, surest
from deepfake.faces.mtcnn_networks import Networks, is_installed, threads_here

MTCNN_INPUT_PX = 12  # side of the picture its first network sees
Thresholds = tuple[float, float, float]


def _batched_nms(boxes_N4: Any, scores_N: Any, picture_N: Any, max_iou: float) -> Any:
    """What `torchvision.ops.batched_nms` returns: indices of boxes that no better one overlaps, best first."""
    return _of_each_picture(
        lambda boxes, scores: suppressed(boxes, scores, max_iou, iou), boxes_N4, scores_N, picture_N
    )


def _batched_nms_numpy(boxes_N4: Any, scores_N: Any, picture_N: Any, _share: float, _method: str) -> Any:
    """The same for facenet's last step, which has a function of its own."""
    return _of_each_picture(surest, boxes_N4, scores_N, picture_N)


def _of_each_picture(
    kept: Callable[[np.ndarray, np.ndarray], np.ndarray], boxes_N4: Any, scores_N: Any, picture_N: Any
) -> Any:
    """Suppress boxes of several pictures at once, laid so far apart that those of two pictures do not overlap."""
    import torch

    if not len(boxes_N4):
        return torch.empty(0, dtype=torch.int64, device=boxes_N4.device)
    apart = picture_N.to(boxes_N4) * (boxes_N4.max() + 1)
    boxes, scores = (boxes_N4 + apart[:, None]).cpu().numpy(), scores_N.cpu().numpy()
    return torch.from_numpy(kept(boxes, scores)).to(boxes_N4.device)


@lru_cache(maxsize=1)
def facenet_mtcnn() -> Any:
    """facenet-pytorch's class, imported without torchvision: it needs one function of it, at 160 MB and a second.

    Ties between faces are broken by their place, as in our own steps.
    """
    for package in ("torch", "facenet_pytorch"):
        if find_spec(package) is None:
            raise UserError(
                f"finding faces: neither onnxruntime nor {package} is installed here; pip install onnxruntime"
            )
    needed: dict[str, dict[str, Any]] = {
        "torchvision": {},
        "torchvision.transforms": {"functional": None},
        "torchvision.ops": {},
        "torchvision.ops.boxes": {"batched_nms": _batched_nms},
    }
    import torch  # noqa: F401  # before anything is hidden from it

    before = {name: sys.modules.get(name) for name in needed}
    for name, contents in needed.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(contents)
    try:
        from facenet_pytorch import MTCNN
        from facenet_pytorch.models.utils import detect_face
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    detect_face.batched_nms_numpy = _batched_nms_numpy
    return MTCNN


def are_plausible(faces: Faces) -> np.ndarray:
    """Which faces (n,) have landmarks where a face has them, judged inside their own box.

    Frontal to near-profile faces pass, turned by up to about 50 degrees in the picture's plane.
    """
    if not len(faces):
        return np.zeros(0, bool)
    corner, size = faces.boxes[:, None, :2], (faces.boxes[:, 2:] - faces.boxes[:, :2])[:, None, :]
    points = (faces.landmarks - corner) / np.maximum(size, 1e-6)
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouth - eyes
    length = np.hypot(down[:, 0], down[:, 1])
    across = np.maximum(
        np.linalg.norm(points[:, 1] - points[:, 0], axis=1), np.linalg.norm(points[:, 4] - points[:, 3], axis=1)
    )
    nose_share = ((points[:, 2] - eyes) * down).sum(1) / np.maximum(length**2, 1e-6)
    inside = (points > -0.15).all((1, 2)) & (points < 1.15).all((1, 2))
    shape_ratio = size[:, 0, 0] / np.maximum(size[:, 0, 1], 1e-6)
    upright = down[:, 1] > 0.6 * length
    return np.asarray(
        inside
        & upright
        & (length > 0.2)
        & (length < 0.75)
        & (across > 0.12)
        & (nose_share > 0.1)
        & (nose_share < 1.0)
        & (shape_ratio > 0.45)
        & (shape_ratio < 1.4)
    )


Engine = Literal["onnxruntime", "torch"]


class _Finder(Protocol):
    """A way to run MTCNN on one picture that it can take."""

    def find(self, picture_HWC: np.ndarray, min_face_px: int) -> Faces: ...


class _ByOnnxRuntime:
    """Our three steps around the three networks."""

    def __init__(self, thresholds: Thresholds, threads: int) -> None:
        self.thresholds = thresholds
        self.networks = Networks(threads)

    def find(self, picture_HWC: np.ndarray, min_face_px: int) -> Faces:
        return find_faces(picture_HWC, self.networks, min_face_px, self.thresholds)


class _ByFacenet:
    """facenet-pytorch, a copy for each smallest face."""

    def __init__(self, thresholds: Thresholds, device: str) -> None:
        self.thresholds = thresholds
        self.device = device
        self._mtcnn = facenet_mtcnn()
        self._networks: dict[int, Any] = {}

    def _network(self, min_face_px: int) -> Any:
        if min_face_px not in self._networks:
            self._networks[min_face_px] = self._mtcnn(
                keep_all=True,
                min_face_size=min_face_px,
                thresholds=list(self.thresholds),
                post_process=False,
                device=self.device,
            )
        return self._networks[min_face_px]

    def find(self, picture_HWC: np.ndarray, min_face_px: int) -> Faces:
        network = self._network(min_face_px)
        import torch

        # Planes one after the other in memory: area resizes take half as long on them, a detection 28 instead of 32 ms.
        planes_CHW = torch.from_numpy(np.ascontiguousarray(picture_HWC.transpose(2, 0, 1)))
        with torch.inference_mode():
            boxes, scores, landmarks = network.detect(planes_CHW.permute(1, 2, 0), landmarks=True)
        if boxes is None:
            return Faces.none()
        return Faces(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(landmarks, np.float32).reshape(-1, 5, 2),
        )


class FaceDetector:
    """MTCNN with settings that hold for pictures of any size.

    `engine`: which library runs it; None: ONNX Runtime on a CPU where it is installed, else torch. Their boxes agree
    (`python -m lab mtcnn-equality`). `threads` of ONNX Runtime; None: as many as the process was started with, or one.
    UserError where the networks cannot be loaded.
    """

    def __init__(
        self,
        min_face_ratio: float,
        min_score: float,
        device: str = "cpu",
        engine: Engine | None = None,
        threads: int | None = None,
    ) -> None:
        self.min_face_ratio = min_face_ratio
        self.min_score = min_score
        self.device = device
        self.engine: Engine = engine or ("onnxruntime" if device == "cpu" and is_installed() else "torch")
        thresholds = (0.6, 0.7, min_score)
        self._finder: _Finder = (
            _ByOnnxRuntime(thresholds, threads or threads_here())
            if self.engine == "onnxruntime"
            else _ByFacenet(thresholds, device)
        )

    def detect(self, pictures: Sequence[np.ndarray], min_face_px: int | None = None) -> list[Faces]:
        """Faces of each HWC uint8 RGB picture; pictures may differ in size.

        `min_face_px`: smallest face's side in the picture; None: `min_face_ratio` of the longer side.
        """
        return [self._detect(picture, min_face_px) for picture in pictures]

    def _detect(self, picture_HWC: np.ndarray, min_face_px: int | None) -> Faces:
        if picture_HWC.dtype != np.uint8 or picture_HWC.ndim != 3 or picture_HWC.shape[2] != 3:
            shape = f"{picture_HWC.dtype} {picture_HWC.shape}"
            raise ValueError(f"face detection: found a picture of {shape}, wanted uint8 (height, width, 3)")
        height_px, width_px = picture_HWC.shape[:2]
        min_face_px = max(20, min_face_px or round(self.min_face_ratio * max(height_px, width_px)))
        if min(height_px, width_px) < max(min_face_px, MTCNN_INPUT_PX * 2):
            min_face_px = 20
            if min(height_px, width_px) < min_face_px + 4:
                return Faces.none()
        found_faces = self._finder.find(picture_HWC, min_face_px)
        sides = found_faces.boxes[:, 2:] - found_faces.boxes[:, :2]
        real = np.isfinite(found_faces.boxes).all(1) & (sides > 4).all(1) & are_plausible(found_faces)
        centre = found_faces.boxes[:, :2] + sides / 2
        real &= (centre >= 0).all(1) & (centre < [width_px, height_px]).all(1)
        kept = found_faces.keep(real)
        return kept.keep(np.lexsort((kept.boxes[:, 0], -kept.scores)))


def plain_mtcnn(thresholds: Sequence[float], min_face_px: int = 20) -> Callable[[np.ndarray], int]:
    """MTCNN as others use it, for `make bench`: a function that counts the faces of an HWC uint8 RGB picture."""
    network = facenet_mtcnn()(margin=0, thresholds=list(thresholds), min_face_size=min_face_px)

    def count(picture_HWC: np.ndarray) -> int:
        boxes, _ = network.detect(picture_HWC)
        return 0 if boxes is None else len(boxes)

    return count
