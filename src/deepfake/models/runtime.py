"""Frame networks of a detector's file run by ONNX Runtime on the CPU, in float32, without torch; its only door.

Letters: N crops, C channels, H rows, W columns, D features, K maps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from deepfake.errors import UserError
from deepfake.models.engine import Engine, has_torch, may_have_gpu
from deepfake.models.graphs import REMEDY, StoredNetwork, probe_crop, refusal
from deepfake.models.networks import Runner
from deepfake.settings import Predict

if TYPE_CHECKING:
    import torch

BRINGS_TORCH = "pip install 'deepfake[train]'"
NO_GRAPHS = "the file has no graphs for the views it wants: `deepfake export` writes them, where PyTorch is"
MAX_DIFFERENCE = 1e-3  # of a logit from torch's in float32
# Crops in one call: 2, 8 and 32 of them took 15, 16 and 17 ms of the processor each, and 22, 152 and 672 MB.
MOST_AT_ONCE = 2


@cache
def library() -> Any:
    """The module onnxruntime; None where it is missing or cannot be loaded."""
    try:
        import onnxruntime
    except (ImportError, OSError):
        return None
    return onnxruntime


def cores() -> int:
    """How many threads a network may have: the cores this process may use, fewer where OMP_NUM_THREADS says so."""
    have = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(have, int(said)) if said.isdecimal() and int(said) else have


class OnnxNetwork(Runner):
    """A frame network of a detector's file; each side of its input is opened when it is first asked for.

    `settings` are those that the file's header has of it.
    """

    def __init__(
        self, stored: StoredNetwork, settings: dict[str, Any], predict: Predict, most_at_once: int = MOST_AT_ONCE
    ) -> None:
        self._stored, self._most = stored, most_at_once
        self.threads = predict.threads or cores()
        self.input_px, self.view_ratio = int(settings["input_px"]), float(settings["view_ratio"])
        self.n_features, self.has_maps = stored.graphs.n_features, bool(settings.get("maps"))
        self._sessions: dict[int, Any] = {}

    @cached_property
    def engine(self) -> Engine:
        """What runs it."""
        return Engine(name="ONNX Runtime", version=library().__version__, device="CPU", precision="fp32")

    @property
    def device_type(self) -> str:
        """As torch calls it."""
        return "cpu"

    def run(self, crops_NCHW: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """float32 logits_N and features_ND of uint8 RGB crops at a side that has a graph."""
        logits_N, features_ND = self._run(np.asarray(crops_NCHW), "logits", "features")
        return logits_N, features_ND

    def maps(self, crops_NCHW: np.ndarray) -> np.ndarray:
        """Logits (N, K, H, W) of the maps of such crops; only of a network that has maps."""
        (maps_NKHW,) = self._run(crops_NCHW, "maps")
        return maps_NKHW

    def _run(self, crops_NCHW: np.ndarray, *outputs: str) -> list[np.ndarray]:
        session = self._session(crops_NCHW.shape[-1])
        parts = [
            session.run(outputs, {"crops": np.ascontiguousarray(crops_NCHW[start : start + self._most])})
            for start in range(0, len(crops_NCHW), self._most)
        ]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _session(self, side_px: int) -> Any:
        if side_px not in self._sessions:
            self._sessions[side_px] = self._proven(side_px, self._open(side_px))
        return self._sessions[side_px]

    def _open(self, side_px: int) -> Any:
        ort, stored = library(), self._stored
        try:
            model = stored.models[side_px]
        except KeyError:
            have = ", ".join(map(str, stored.models))
            raise refusal(stored.path, f"{stored.name} has graphs of {have} px and none of {side_px}") from None
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        # Threads that spin between two calls take the cores from the other networks and from what decodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if stored.is_packed:  # 150 MB less, and no slower
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = 4  # what fails is raised
        values = {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in stored.weights()}
        options.add_external_initializers(list(values), list(values.values()))
        try:
            return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no base of their own
            reason = " ".join(str(error).split())[:200]
            raise refusal(stored.path, f"{stored.name} at {side_px} px: {reason}") from None

    def _proven(self, side_px: int, session: Any) -> Any:
        """The session, once it gave the logit of torch for a crop that is known: an engine that errs is refused."""
        (logits_N,) = session.run(["logits"], {"crops": probe_crop(side_px)[None]})
        wanted = self._stored.graphs.sizes[side_px].probe_logit
        if not abs(float(logits_N[0]) - wanted) <= MAX_DIFFERENCE:
            raise UserError(
                f"weights {str(self._stored.path)!r}: {self.engine.name} {self.engine.version} on this machine gives "
                f"{self._stored.name} the logit {float(logits_N[0]):.4f}, PyTorch {wanted:.4f}; wanted a difference of "
                f"{MAX_DIFFERENCE:g} at most. Use --engine torch, or {REMEDY}"
            )
        return session


class PlainNetwork:
    """A network of one output out of an ONNX file that is not ours, such as another package's.

    Weights that the file holds as whole numbers are unpacked once, when it is opened: by default ONNX Runtime leaves
    that to each run.
    """

    def __init__(self, model: bytes, input_name: str, threads: int | None = None) -> None:
        self._input = input_name
        self._network = NamedNetwork(model, threads)

    def run(self, values: np.ndarray) -> np.ndarray:
        """The output for one input."""
        (output,) = self._network.run({self._input: values})
        return output


class NamedNetwork:
    """The same of a network with several inputs or outputs."""

    def __init__(self, model: bytes, threads: int | None = None) -> None:
        options = library().SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads or cores(), 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.log_severity_level = 4  # what fails is raised
        self._session = library().InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs, in the file's order, for inputs by their names."""
        values = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        return [np.asarray(output) for output in self._session.run(None, values)]


def choose_library(path: Path, has_graphs: bool, predict: Predict) -> Literal["onnxruntime", "torch"]:
    """What runs the frame networks of a file: ONNX Runtime where it can, unless there is a GPU or bf16 is asked for.

    `has_graphs`: whether the file has a graph for every view of each. PyTorch is imported only where it may be chosen.
    """
    reason = "" if library() is not None else "onnxruntime is not installed: pip install onnxruntime"
    reason = reason or ("" if has_graphs else NO_GRAPHS)
    if predict.engine == "onnxruntime":
        if reason:
            raise UserError(f"weights {str(path)!r}: predict.engine=onnxruntime, but {reason}")
        return "onnxruntime"
    if not has_torch():
        if predict.engine == "torch" or predict.device not in ("auto", "cpu"):
            reason = "predict.engine=torch" if predict.engine == "torch" else f"predict.device={predict.device}"
        if reason:
            raise without_torch(path, reason)
        return "onnxruntime"
    return "torch" if reason or predict.engine == "torch" or _wants_torch(predict) else "onnxruntime"


def without_torch(path: Path, reason: str) -> UserError:
    """The error of a file that PyTorch would have to score, for this reason, where PyTorch is missing."""
    return UserError(f"weights {str(path)!r}: {reason}; and PyTorch is missing here: {BRINGS_TORCH}")


def _wants_torch(predict: Predict) -> bool:
    """Whether PyTorch has a device or a precision that ONNX Runtime has not."""
    if predict.device not in ("auto", "cpu"):
        return True
    gpu = predict.device == "auto" and may_have_gpu()
    if not gpu and predict.precision == "fp32":
        return False
    from deepfake.models.devices import choose_device, is_fast_at_bf16

    device = choose_device(predict.device)
    fast = predict.precision == "auto" and is_fast_at_bf16(device)
    return device.type != "cpu" or predict.precision == "bf16" or fast
