"""MTCNN's three networks for ONNX Runtime, from a file in this package: facenet-pytorch's weights, without torch.

`python -m lab export-mtcnn` makes the file; what is in it, its source and licence: `mtcnn.LICENSE` beside it.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deepfake.errors import UserError
from deepfake.faces.area_resize import Floats

NETWORKS_FILE = Path(__file__).with_name("mtcnn.zip")
NETWORKS_SHA256 = "8200443f49dbf211afb74e0855c86988be8470a45e59b8340d229db90b77e520"
NAMES = ("pnet", "rnet", "onet")
INPUT = "pictures"  # (n, 3, height, width) float32, 0..255
# facenet-pytorch 2.5.3, in facenet_pytorch/data.
FACENET_SHA256 = {
    "pnet": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
REMEDY = "install deepfake again, or, in a checkout, take the file from git or `python -m lab export-mtcnn`"


def is_installed() -> bool:
    """Whether ONNX Runtime is here and can be loaded: on a processor or system it was not made for it cannot."""
    try:
        import onnxruntime  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def threads_here() -> int:
    """What a worker process may use: as many as it was started with (`workers`), else one."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else 1


def read_networks(path: Path = NETWORKS_FILE, sha256: str = NETWORKS_SHA256) -> dict[str, bytes]:
    """The three networks as ONNX; UserError where the file is not the one that this version was tried with."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"MTCNN's networks {str(path)!r}: {error.strerror}; {REMEDY}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"MTCNN's networks {str(path)!r}: cut short, damaged or of another version (found SHA-256 {found[:12]}..., "
            f"wanted {sha256[:12]}...); {REMEDY}"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return {name: packed.read(f"{name}.onnx") for name in NAMES}


class Networks:
    """The three of them; what they give is told by `mtcnn_cascade.Judges`."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._sessions = self._load()

    def _load(self) -> dict[str, Any]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # made for one size of picture; the pyramid has many: 15 MB a worker
        options.log_severity_level = 3
        # Waiting threads would take the core that the decoder runs on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        try:
            return {
                name: onnxruntime.InferenceSession(network, options, providers=providers)
                for name, network in read_networks().items()
            }
        except UserError:
            raise
        except Exception as error:  # its classes have no other common parent
            raise UserError(
                f"MTCNN's networks cannot be loaded by ONNX Runtime {onnxruntime.__version__}: {error}; install the "
                "version that requirements.txt names"
            ) from None

    def propose(self, picture_1CHW: Floats) -> tuple[Floats, Floats]:
        """PNet on a whole picture."""
        logits, boxes = self._sessions["pnet"].run(["logits", "boxes"], {INPUT: picture_1CHW})
        return _sigmoid(logits[0, 0]), boxes[0]

    def refine(self, crops: Iterator[Floats]) -> tuple[Floats, Floats]:
        """RNet on the candidates."""
        logits, boxes = self._run("rnet", ["logits", "boxes"], crops)
        return _sigmoid(logits[:, 0]), boxes

    def decide(self, crops: Iterator[Floats]) -> tuple[Floats, Floats, Floats]:
        """ONet on those that are left."""
        logits, boxes, landmarks = self._run("onet", ["logits", "boxes", "landmarks"], crops)
        return _sigmoid(logits[:, 0]), boxes, landmarks

    def _run(self, name: str, outputs: list[str], crops: Iterator[Floats]) -> list[Floats]:
        batches = [self._sessions[name].run(outputs, {INPUT: batch}) for batch in crops]
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _sigmoid(logits: Floats) -> Floats:
    """Rounded as torch rounds a softmax: many candidates are nearly sure, and the last bit decides which is kept.

    ONNX Runtime's own sigmoid is an approximation; with it eight of 424 pictures had another box by 2 to 9 px.
    """
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits > 0, np.float32(1), small) / (1 + small))
