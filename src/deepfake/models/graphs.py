"""Graphs of a detector's frame networks inside its file: what ONNX Runtime runs, without torch.

A graph is ONNX without weights: its initializers are the file's own tensors, by name. The header says to which
tensors each belongs, so one of other weights, of another version or damaged is refused, never run.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open

from deepfake.errors import UserError
from deepfake.models.packed_weights import PACKED, PLAIN, SCALES, unpacked_IO
from deepfake.settings import CropView
from deepfake.values import Sha256, Value

GRAPHS = "graphs"  # the header's key
OPSET = 18
PROBE_PX = 14
MAX_GRAPH_BYTES = 2**26  # without weights: one of CLIP's blocks has a tenth of a megabyte
REMEDY = "make them anew with `deepfake export` (pip install 'deepfake[train]')"


class Graph(Value):
    """A frame network at one side of its input; `probe_logit` is torch's, of the crop that `probe_crop` draws."""

    sha256: Sha256
    probe_logit: float


class NetworkGraphs(Value):
    """The graphs of a frame network, by the side of their input.

    `tensors` are the names of its weights, without the network's own; `tensors_sha256` is `tensors_digest` of them.
    """

    n_features: int = Field(ge=1)
    tensors: tuple[str, ...]
    tensors_sha256: Sha256
    sizes: dict[int, Graph]


class Graphs(Value):
    """What the header says of all graphs of a file; `networks` by the names that the header gives them."""

    opset: int
    networks: dict[str, NetworkGraphs]


def graph_name(network: str, side_px: int) -> str:
    """The tensor that holds a graph's bytes."""
    return f"onnx/{network}/{side_px}"


def graph_bytes(model: bytes) -> np.ndarray:
    """A graph as the file's tensor holds it, compressed: its operations repeat."""
    return np.frombuffer(zlib.compress(model, 9), np.uint8)


def graph_of(stored: bytes) -> bytes:
    """The graph that `graph_bytes` was given, and those of files that hold it plain; ValueError where it is neither."""
    if not stored.startswith(b"\x78"):  # zlib's first byte, which no ONNX file begins with
        return stored
    reading = zlib.decompressobj()
    try:
        model = reading.decompress(stored, MAX_GRAPH_BYTES)
    except zlib.error as error:
        raise ValueError(f"damaged ({error})") from None
    if not reading.eof:
        raise ValueError(f"damaged: it does not end, or is of more than {MAX_GRAPH_BYTES // 2**20} MiB")
    return model


def is_graph(tensor: str) -> bool:
    """Whether a tensor of the file is a graph, not weights."""
    return tensor.startswith("onnx/")


def sides_of(settings: Mapping[str, Any], views: Sequence[CropView]) -> list[int]:
    """The sides at which a network is shown crops: its own, by which it learnt, and those of its views."""
    return sorted({side_of(int(settings["input_px"]), view) for view in (CropView(), *views)})


def side_of(input_px: int, view: CropView) -> int:
    """The side at which a view shows crops to a network."""
    return round(input_px * view.size_ratio)


def probe_crop(side_px: int) -> np.ndarray:
    """A soft picture (3, side, side) uint8, alike under every version of NumPy: what an engine makes of it is known."""
    places = np.arange(3 * PROBE_PX**2)
    coarse = ((places * places * 31 + places * 17) % 251).astype(np.uint8).reshape(3, PROBE_PX, PROBE_PX)
    nearest = np.arange(side_px) * PROBE_PX // side_px
    return np.asarray(coarse[:, nearest][:, :, nearest])


def tensors_digest(names: Sequence[str], tensor: Callable[[str], np.ndarray]) -> str:
    """A hash of tensors with their names and shapes, as a file holds them."""
    hashed = hashlib.sha256()
    for name in names:
        value = np.ascontiguousarray(tensor(name))
        hashed.update(f"{name} {value.dtype} {value.shape}\n".encode())
        hashed.update(value.data)
    return hashed.hexdigest()


def graphs_of(header: Mapping[str, Any], path: Path) -> Graphs | None:
    """The graphs that a header names; None where the file has none, UserError where they are of another version."""
    if GRAPHS not in header:
        return None
    try:
        graphs = Graphs.model_validate(header[GRAPHS])
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:3])
        raise refusal(path, f"its header's description of them is none that this version knows ({fields})") from None
    if graphs.opset != OPSET:
        raise refusal(path, f"found ONNX opset {graphs.opset}, wanted {OPSET}")
    return graphs


def refusal(path: Path, reason: str) -> UserError:
    """The error for graphs that are not run."""
    return UserError(f"weights {str(path)!r}: the graphs for ONNX Runtime do not fit: {reason}; {REMEDY}")


class StoredNetwork:
    """A network's weights and graphs as they lie in a file, held against what the header says of them."""

    def __init__(self, path: Path, name: str, graphs: NetworkGraphs, sides: Sequence[int]) -> None:
        self.path, self.name, self.graphs = path, name, graphs
        try:
            with safe_open(path, "np") as stored:
                values = {key: stored.get_tensor(f"{name}.{key}") for key in graphs.tensors}
                kept = {side: stored.get_tensor(graph_name(name, side)).tobytes() for side in sides}
        except (SafetensorError, OSError) as error:
            raise refusal(path, f"{name}: {error}") from None
        if tensors_digest(graphs.tensors, values.__getitem__) != graphs.tensors_sha256:
            raise refusal(path, f"{name}: they are of other weights than the file's")
        self.models: dict[int, bytes] = {}
        for side, stored_model in kept.items():
            try:
                model = self.models[side] = graph_of(stored_model)
            except ValueError as error:
                raise refusal(path, f"{name} at {side} px: {error}") from None
            if hashlib.sha256(model).hexdigest() != graphs.sizes[side].sha256:
                raise refusal(path, f"{name} at {side} px: damaged")
        self._values = values
        for key, value in values.items():
            if not np.isfinite(value).all():
                raise UserError(
                    f"weights {str(path)!r}: tensor {name}.{key} holds values that are no numbers; fetch it again"
                )

    @property
    def is_packed(self) -> bool:
        """Whether weights are unpacked, to ten times their size."""
        return any(key.endswith(PACKED) for key in self._values)

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each initializer's name and values, float32; packed ones are unpacked one by one."""
        for key, value in self._values.items():
            layer = key.removesuffix(PACKED)
            if layer != key:
                yield f"{self.name}.{layer}{PLAIN}", unpacked_IO(value, self._values[f"{layer}{SCALES}"])
            elif not (key.endswith(SCALES) and f"{key.removesuffix(SCALES)}{PACKED}" in self._values):
                yield f"{self.name}.{key}", np.asarray(value, np.float32)
