"""Write graphs of a detector's frame networks into its file, once both engines give them the same logits."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy

from deepfake.errors import UserError
from deepfake.files import part_beside, write_whole
from deepfake.models import runtime
from deepfake.models.detector_file import HEADER, read_header
from deepfake.models.export import export
from deepfake.models.frames import FrameClassifier
from deepfake.models.graphs import (
    GRAPHS,
    OPSET,
    Graph,
    Graphs,
    NetworkGraphs,
    StoredNetwork,
    graph_bytes,
    graph_name,
    graphs_of,
    is_graph,
    probe_crop,
    sides_of,
    tensors_digest,
)
from deepfake.models.members import load_members
from deepfake.models.networks import Member, Runner
from deepfake.models.torch_network import TorchNetwork
from deepfake.settings import Ensemble, Predict

N_CROPS = 50  # that both engines are asked about
FP32 = Predict(device="cpu", precision="fp32", batch_size=8)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """How far two engines are apart at one side of a network's input: the most of any logit, feature and map."""

    network: str
    side_px: int
    logit: float
    feature: float
    map_logit: float


def made_up_crops(side_px: int, n: int = N_CROPS) -> np.ndarray:
    """Crops (n, 3, side, side) uint8 of every roughness: soft pictures, noise, and what lies between."""
    rng = np.random.default_rng(0)
    crops = []
    for number in range(n):
        grid = min(2 ** (1 + number % 8), side_px)
        nearest = np.arange(side_px) * grid // side_px
        low, high = sorted(rng.integers(0, 257, 2).tolist())
        coarse = rng.integers(low, max(high, low + 1), (3, grid, grid)).astype(np.uint8)
        crops.append(coarse[:, nearest][:, :, nearest])
    return np.stack(crops)


def compare(path: Path, members: Sequence[Member], crops: Callable[[int], np.ndarray]) -> Iterator[Difference]:
    """How far ONNX Runtime's answers lie from PyTorch's in float32: of each of a file's graphs.

    `members` are the file's, `crops(side)` gives what they are asked about: (N, 3, side, side) uint8.
    """
    header = read_header(path)
    graphs = graphs_of(header, path)
    for name, described in graphs.networks.items() if graphs else ():
        frames = members[int(name.rpartition(".")[2])].frames
        assert isinstance(frames, FrameClassifier), "load_members builds them"
        sides, settings = sorted(described.sizes), header["networks"][name]
        onnx = runtime.OnnxNetwork(StoredNetwork(path, name, described, sides), settings, FP32)
        torch = TorchNetwork(frames, FP32)
        for side in sides:
            yield _difference(name, torch, onnx, crops(side))


def _difference(network: str, torch: Runner, onnx: Runner, crops_NCHW: np.ndarray) -> Difference:
    worst = [0.0, 0.0, 0.0]
    for start in range(0, len(crops_NCHW), FP32.batch_size):
        part = crops_NCHW[start : start + FP32.batch_size]
        wanted, got = ([*one.run(part), *([one.maps(part)] if one.has_maps else [])] for one in (torch, onnx))
        for place, (a, b) in enumerate(zip(wanted, got, strict=True)):
            worst[place] = max(worst[place], float(np.abs(a - b).max()))
    return Difference(network, crops_NCHW.shape[-1], *worst)


def add_graphs(path: Path, out: Path) -> list[Difference]:
    """Write a detector's file anew with graphs of its frame networks at every size its views want.

    UserError where a network cannot be exported, or ONNX Runtime gives it other logits; `out` stays as it was then.
    """
    header, members = read_header(path), load_members(path)
    tensors = {name: value for name, value in safetensors.numpy.load_file(path).items() if not is_graph(name)}
    ensemble = Ensemble.model_validate(header["ensemble"])
    described: dict[str, NetworkGraphs] = {}
    for number, member in enumerate(members):
        name = f"frames.{number}"
        assert isinstance(member.frames, FrameClassifier), "load_members builds them"
        sides = sides_of(header["networks"][name], ensemble.views_of(member.name))
        described[name], models = _graphs(member.frames, name, sides, tensors)
        tensors |= models
    graphs = Graphs(opset=OPSET, networks=described)
    text = json.dumps({**header, GRAPHS: graphs.model_dump(mode="json")}, sort_keys=True)
    aside = part_beside(out)
    try:
        write_whole(aside, safetensors.numpy.save(dict(sorted(tensors.items())), metadata={HEADER: text}))
        differences = []
        for one in compare(aside, members, made_up_crops):
            if not one.logit <= runtime.MAX_DIFFERENCE:
                raise UserError(
                    f"weights {str(path)!r}: ONNX Runtime moves a logit of {one.network} at {one.side_px} px by "
                    f"{one.logit:.4f}, wanted {runtime.MAX_DIFFERENCE:g} at most; it stays without graphs"
                )
            differences.append(one)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    return differences


def add_graphs_where_possible(path: Path) -> None:
    """Give a detector's file its graphs; where it can have none, say why and leave it: PyTorch runs it then."""
    try:
        add_graphs(path, path)
    except UserError as error:
        log.warning("no graphs for ONNX Runtime: %s. PyTorch will run these networks", error)


def _graphs(
    network: FrameClassifier, name: str, sides: Iterable[int], tensors: Mapping[str, np.ndarray]
) -> tuple[NetworkGraphs, dict[str, np.ndarray]]:
    """What the header says of a network's graphs, and the graphs as tensors of the file."""
    scored = TorchNetwork(network, FP32)
    models, sizes = {}, {}
    names: tuple[str, ...] = ()
    for side in sides:
        exported = export(network, name, side)
        assert names in ((), exported.tensors), "the size of the input changes no weight"
        names = exported.tensors
        models[graph_name(name, side)] = graph_bytes(exported.model)
        probe_logit = float(scored.run(probe_crop(side)[None])[0][0])
        sizes[side] = Graph(sha256=hashlib.sha256(exported.model).hexdigest(), probe_logit=probe_logit)
    digest = tensors_digest(names, lambda key: tensors[f"{name}.{key}"])
    return NetworkGraphs(n_features=network.n_features, tensors=names, tensors_sha256=digest, sizes=sizes), models
