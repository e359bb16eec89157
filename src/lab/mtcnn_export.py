"""facenet-pytorch's three networks of MTCNN as ONNX, in one file for `deepfake.faces.mtcnn_networks`.

The graphs are written node by node, so that the same weights give the same bytes with any version of torch.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deepfake.faces.mtcnn_networks import FACENET_SHA256, INPUT, NAMES
from deepfake.files import packaged_file

OPSET, IR_VERSION = 17, 8  # old enough for any ONNX Runtime since 2022
PIXEL_MEAN, PIXEL_RANGE = 127.5, 128.0  # of the pictures MTCNN learnt from
REMEDY = "pip install --no-deps facenet-pytorch==2.5.3"
SOURCE = "facenet-pytorch 2.5.3, https://github.com/timesler/facenet-pytorch, MIT License, (c) 2019 Timothy Esler"
Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Plan:
    """Layers of a network by facenet's names; `pool3` is no layer there: 3 x 3, every second pixel.

    `heads`: the output and its last layer; `logits` is the difference of two numbers, for and against a face.
    `dense_CHW`: the shape of what reaches the first dense layer.
    """

    side_px: int | None
    layers: str
    heads: dict[str, str]
    dense_CHW: tuple[int, int, int] = (0, 0, 0)


PLANS = {
    "pnet": Plan(
        None,
        "conv1 prelu1 pool2 conv2 prelu2 conv3 prelu3",
        {"logits": "conv4_1", "boxes": "conv4_2"},
    ),
    "rnet": Plan(
        24,
        "conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 dense4 prelu4",
        {"logits": "dense5_1", "boxes": "dense5_2"},
        (64, 3, 3),
    ),
    "onet": Plan(
        48,
        "conv1 prelu1 pool3 conv2 prelu2 pool3 conv3 prelu3 pool2 conv4 prelu4 dense5 prelu5",
        {"logits": "dense6_1", "boxes": "dense6_2", "landmarks": "dense6_3"},
        (128, 3, 3),
    ),
}


def facenet_weights(name: str) -> Weights:
    """One network's weights as facenet-pytorch 2.5.3 brings them; UserError where it is another version."""
    import torch

    path = packaged_file("facenet-pytorch", f"facenet_pytorch/data/{name}.pt", REMEDY, FACENET_SHA256[name])
    return {key: value.numpy() for key, value in torch.load(path, weights_only=True).items()}


def networks_file() -> bytes:
    """The whole file, uncompressed: three networks, and where they come from."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in NAMES:
            archive.writestr(zipfile.ZipInfo(f"{name}.onnx"), as_onnx(name, facenet_weights(name)))
        note = {"source": SOURCE, "sha256": {f"{name}.pt": FACENET_SHA256[name] for name in NAMES}}
        archive.writestr(zipfile.ZipInfo("source.json"), json.dumps(note, indent=1) + "\n")
    return packed.getvalue()


def as_onnx(name: str, weights: Weights) -> bytes:
    """One network: 0..255 in, logits and corrections out."""
    plan, graph = PLANS[name], _Graph(weights)
    value = INPUT
    for layer in plan.layers.split():
        value = graph.add_layer(layer, value, plan.dense_CHW)
    for output, layer in plan.heads.items():
        graph.add_head(output, layer, value)
    height, width = (plan.side_px or side for side in ("height", "width"))
    shape = [1 if plan.side_px is None else "n", 3, height, width]
    # Their shapes are inferred, but checked only where there are any.
    outputs = [helper.make_tensor_value_info(o, TensorProto.FLOAT, [None] * _rank(plan)) for o in plan.heads]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
            outputs,
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="deepfake",
    )
    helper.set_model_props(model, {"source": SOURCE, "sha256": FACENET_SHA256[name]})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _rank(plan: Plan) -> int:
    return 4 if plan.side_px is None else 2


@dataclass
class _Graph:
    """Nodes and constants as they are added."""

    weights: Weights
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    is_flat: bool = False

    def add_layer(self, layer: str, value: str, dense_CHW: tuple[int, int, int]) -> str:
        """A layer after `value`; gives the name of what comes out."""
        if layer.startswith("pool"):
            side = int(layer.removeprefix("pool"))
            return self._node("MaxPool", [value], kernel_shape=[side] * 2, strides=[2, 2], ceil_mode=1)
        if layer.startswith("prelu"):
            return self._prelu(layer, value)
        weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
        if layer == "conv1":
            weight, bias = _for_raw_pixels(weight, bias)
        if layer.startswith("dense") and not self.is_flat:
            self.is_flat = True
            value = self._node("Flatten", [value])
            weight = _for_rows_first(weight, dense_CHW)
        return self._linear(layer, value, weight, bias)

    def add_head(self, output: str, layer: str, value: str) -> None:
        """A last layer; of the numbers for and against a face the difference, of which a sigmoid makes the softmax."""
        weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
        if output == "logits":
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        self._linear(layer, value, weight, bias, output)

    def _prelu(self, layer: str, value: str) -> str:
        """Slope * x + (1 - slope) * relu(x): ONNX Runtime's PRelu takes longer than a whole convolution."""
        slope = self.weights[f"{layer}.weight"]
        slope = slope if self.is_flat else slope[:, None, None]
        whole = self._node("Mul", [value, self._constant(f"{layer}.slope", slope)])
        above = self._node("Mul", [self._node("Relu", [value]), self._constant(f"{layer}.rest", 1 - slope)])
        return self._node("Add", [whole, above])

    def _linear(self, layer: str, value: str, weight: np.ndarray, bias: np.ndarray, output: str | None = None) -> str:
        constants = [self._constant(f"{layer}.weight", weight), self._constant(f"{layer}.bias", bias)]
        if weight.ndim == 4:
            return self._node("Conv", [value, *constants], output)
        return self._node("Gemm", [value, *constants], output, transB=1)

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        output = output or f"{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def _for_raw_pixels(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first layer's weights for pixels of 0..255 instead of -1..1."""
    shift = weight.sum(axis=(1, 2, 3), dtype=np.float64) * PIXEL_MEAN / PIXEL_RANGE
    return weight / np.float32(PIXEL_RANGE), (bias - shift).astype(np.float32)


def _for_rows_first(weight: np.ndarray, shape_CHW: tuple[int, int, int]) -> np.ndarray:
    """A dense layer's weights for features in the order colour, y, x; facenet's are in the order x, y, colour."""
    channels, height, width = shape_CHW
    return weight.reshape(len(weight), width, height, channels).transpose(0, 3, 2, 1).reshape(len(weight), -1)
