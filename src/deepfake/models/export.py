"""A frame network as an ONNX graph without weights, for `models.runtime`; the only door to the package onnx.

The tracing exporter of torch takes a second a network, the other (`dynamo`) took minutes here.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import get_same_padding
from torch import Tensor, nn

from deepfake.errors import UserError
from deepfake.models.class_tokens import unpack_layers
from deepfake.models.frames import FrameClassifier
from deepfake.models.graphs import OPSET
from deepfake.models.packed_weights import PACKED, PLAIN, SCALES

Pads = tuple[int, int, int, int]  # top, left, bottom, right, as ONNX has them


@dataclass(frozen=True)
class Exported:
    """A graph, and the names of the network's tensors that its initializers are or are unpacked from."""

    model: bytes
    tensors: tuple[str, ...]


class _Outputs(nn.Module):
    """All that is asked of a network, in one pass: logits, features and, where it has them, maps."""

    def __init__(self, network: FrameClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops_BCHW: Tensor) -> tuple[Tensor, ...]:
        if self.network.map_head is None:
            features_BD = self.network.features_BD(crops_BCHW)
            return self.network.logits_of(features_BD), features_BD
        features_BD, maps_BKHW = self.network.features_and_maps(crops_BCHW)
        return self.network.logits_of(features_BD), features_BD, maps_BKHW


@torch.no_grad()
def export(network: FrameClassifier, name: str, side_px: int) -> Exported:
    """The graph of a network at one side of its input, for any number of uint8 crops (N, 3, side, side).

    Initializers bear the names of the tensors behind `name` and a dot, packed ones that of the weights in them.
    UserError where it cannot be exported.
    """
    try:
        import onnx
    except ImportError:
        raise UserError("the package onnx is missing, which writes graphs: pip install 'deepfake[train]'") from None
    own = copy.deepcopy(network).cpu().eval()
    unpack_layers(own)
    crops_BCHW = torch.zeros(2, 3, side_px, side_px, dtype=torch.uint8)
    pads = _pad_evenly(own, crops_BCHW)
    outputs = ["logits", "features", *(["maps"] if network.map_head is not None else [])]
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "graph.onnx")
            warnings.simplefilter("ignore")  # the exporter is deprecated, and says so at every shape it traces
            torch.onnx.export(
                _Outputs(own),
                (crops_BCHW,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["crops"],
                output_names=outputs,
                dynamic_axes={tensor: {0: "N"} for tensor in ("crops", *outputs)},
                # Norms stay and names with them: ONNX Runtime folds them into the convolutions when it loads.
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
            )
            model = onnx.load(path)
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name} ({network.settings['backbone']}) cannot be written as ONNX: {reason}") from None
    return Exported(*_without_weights(onnx, model, name, pads))


def _pad_evenly(network: nn.Module, crops_BCHW: Tensor) -> dict[str, Pads]:
    """Give convolutions with TensorFlow's padding an even one of the same output size; return their true padding.

    Traced as it is it becomes 40 nodes a convolution, which ONNX Runtime runs at every call; as the convolution's own
    it costs nothing.
    """
    sides: dict[str, tuple[int, int]] = {}
    same = {name: part for name, part in network.named_modules() if isinstance(part, Conv2dSame)}

    def note(name: str) -> Any:
        return lambda _, inputs: sides.__setitem__(name, tuple(inputs[0].shape[-2:]))

    hooks = [part.register_forward_pre_hook(note(name)) for name, part in same.items()]
    cast(FrameClassifier, network).features_BD(crops_BCHW)
    for hook in hooks:
        hook.remove()
    pads = {}
    for name, side in sides.items():
        part = same[name]
        total = [get_same_padding(*of) for of in zip(side, part.kernel_size, part.stride, part.dilation, strict=True)]
        even = [-(-one // 2) for one in total]
        plain = nn.Conv2d.__new__(nn.Conv2d)
        vars(plain).update(vars(part) | {"padding": tuple(even)})
        grown = [_outputs(n + 2 * e, i, part) for i, (n, e) in enumerate(zip(side, even, strict=True))]
        if grown == [_outputs(n + t, i, part) for i, (n, t) in enumerate(zip(side, total, strict=True))]:
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, plain)
            (top, left), (bottom, right) = [one // 2 for one in total], [one - one // 2 for one in total]
            pads[f"{name}.weight"] = (top, left, bottom, right)
    return pads


def _outputs(padded: int, axis: int, part: nn.Conv2d) -> int:
    return (padded - part.dilation[axis] * (part.kernel_size[axis] - 1) - 1) // part.stride[axis] + 1


def _without_weights(onnx: Any, model: Any, name: str, pads: dict[str, Pads]) -> tuple[bytes, tuple[str, ...]]:
    """A model whose initializers are to be supplied, with true paddings, and the initializers' names."""
    graph, inside = model.graph, "network."
    names = {one.name: one.name.removeprefix(inside) for one in graph.initializer if one.name.startswith(inside)}
    for one in graph.initializer:
        if one.name not in names:
            continue  # a constant of the trace, not a weight
        one.name = f"{name}.{names[one.name]}"
        one.ClearField("raw_data")
        one.data_location = onnx.TensorProto.EXTERNAL
        one.external_data.add(key="location", value="the detector's file")
    for node in graph.node:
        weight = names.get(node.input[1]) if node.op_type == "Conv" else None
        if weight in pads:
            (attribute,) = (one for one in node.attribute if one.name == "pads")
            attribute.ints[:] = pads[weight]
        for place, used in enumerate(node.input):
            if used in names:
                node.input[place] = f"{name}.{names[used]}"
        node.doc_string = ""  # where in whose files it was traced
    return model.SerializeToString(), tuple(sorted(one for plain in names.values() for one in _stored_as(plain)))


def _stored_as(tensor: str) -> tuple[str, ...]:
    layer = tensor.removesuffix(PLAIN)
    return (tensor,) if layer == tensor else (layer + PACKED, layer + SCALES)
