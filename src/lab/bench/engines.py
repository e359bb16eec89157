"""Libraries that can run a detector's frame networks on a processor, side by side: time an image, and the same logits?

They take turns, and the best of some rounds counts: on a machine that does other things, too, only ratios mean
something. ONEDNN_MAX_CPU_ISA=AVX2 in the environment takes AVX-512 and AMX from PyTorch and OpenVINO.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from deepfake.datasets.views import see
from deepfake.detector.graphs import FP32, made_up_crops
from deepfake.errors import UserError
from deepfake.models.detector_file import read_header
from deepfake.models.frames import FrameClassifier
from deepfake.models.graphs import REMEDY, StoredNetwork, graphs_of
from deepfake.models.members import load_members
from deepfake.models.runtime import OnnxNetwork
from deepfake.models.torch_network import TorchNetwork

N_REAL = 200
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
Run = Callable[[np.ndarray], np.ndarray]  # logits_N of crops_NCHW


@dataclass(frozen=True)
class Network:
    """A frame network of a detector's file, for every library: its weights and its graph, and itself."""

    name: str
    torch: FrameClassifier
    stored: StoredNetwork
    settings: dict[str, Any]

    @property
    def side_px(self) -> int:
        """The side of its input."""
        return int(self.settings["input_px"])


@dataclass(frozen=True)
class Timing:
    """Milliseconds an image at best, by the clock and of the processor; ratios to PyTorch's with as many of both."""

    network: str
    engine: str
    threads: int
    batch: int
    ms: float
    cpu_ms: float
    ratio: float
    cpu_ratio: float


def networks_of(weights: Path) -> list[Network]:
    """The frame networks of a detector's file that has graphs."""
    header = read_header(weights)
    graphs = graphs_of(header, weights)
    if graphs is None:
        raise UserError(f"weights {str(weights)!r}: the file has no graphs for ONNX Runtime; {REMEDY}")
    networks = []
    for number, member in enumerate(load_members(weights)):
        name = f"frames.{number}"
        settings = header["networks"][name]
        stored = StoredNetwork(weights, name, graphs.networks[name], [int(settings["input_px"])])
        assert isinstance(member.frames, FrameClassifier), "load_members builds them"
        networks.append(Network(name, member.frames, stored, settings))
    return networks


def _torch(network: Network, threads: int) -> Run:
    scored = TorchNetwork(network.torch, FP32)

    def run(crops_NCHW: np.ndarray) -> np.ndarray:
        torch.set_num_threads(threads)
        return scored.run(crops_NCHW)[0]

    return run


def _onnxruntime(network: Network, threads: int) -> Run:
    predict = FP32.model_copy(update={"threads": threads})
    opened = OnnxNetwork(network.stored, network.settings, predict, most_at_once=10**6)
    return lambda crops_NCHW: opened.run(crops_NCHW)[0]


def _openvino(network: Network, threads: int) -> Run:
    core = importlib.import_module("openvino").Core()
    # Without the hint it computes in bf16 on processors that can, and says nothing of it.
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(with_weights(network)), "CPU", config)
    return lambda crops_NCHW: np.asarray(compiled(np.ascontiguousarray(crops_NCHW))[0])


ENGINES: dict[str, tuple[str, Callable[[Network, int], Run]]] = {
    "PyTorch fp32": ("torch", _torch),
    "ONNX Runtime fp32": ("onnxruntime", _onnxruntime),
    "OpenVINO f32": ("openvino", _openvino),
}


def with_weights(network: Network) -> bytes:
    """The network's graph with its weights inside, for libraries that cannot be handed them."""
    import onnx

    model, weights = onnx.load_from_string(network.stored.models[network.side_px]), dict(network.stored.weights())
    for place, one in enumerate(model.graph.initializer):
        if one.name in weights:
            model.graph.initializer[place].CopyFrom(onnx.numpy_helper.from_array(weights[one.name], one.name))
    return bytes(model.SerializeToString())


def installed() -> tuple[list[str], list[str]]:
    """The engines that can be measured here, and those that are missing."""
    have, missing = [], []
    for engine, (library, _) in ENGINES.items():
        try:
            importlib.import_module(library)
            have.append(engine)
        except ImportError:
            missing.append(engine)
    return have, missing


def time_engines(
    networks: Sequence[Network], engines: Sequence[str], threads: Sequence[int], batches: Sequence[int], rounds: int
) -> Iterator[Timing]:
    """Times of every network by every engine, one after the other in each round; the best round counts."""
    rng = np.random.default_rng(0)
    for network in networks:
        runs = {(engine, n): ENGINES[engine][1](network, n) for engine in engines for n in threads}
        best: dict[tuple[str, int, int], tuple[float, float]] = {}
        for batch in batches:
            crops_NCHW = rng.integers(0, 256, (batch, 3, network.side_px, network.side_px), dtype=np.uint8)
            for _ in range(rounds):
                for (engine, n), run in runs.items():
                    began, began_cpu = time.perf_counter(), time.process_time()
                    run(crops_NCHW)
                    ms, cpu_ms = (
                        1000 * (now - then) / batch
                        for now, then in ((time.perf_counter(), began), (time.process_time(), began_cpu))
                    )
                    before = best.get((engine, n, batch), (ms, cpu_ms))
                    best[engine, n, batch] = min(ms, before[0]), min(cpu_ms, before[1])
        for (engine, n, batch), (ms, cpu_ms) in sorted(best.items(), key=lambda item: (item[0][1], item[0][2])):
            torch_ms, torch_cpu_ms = best[engines[0], n, batch]
            yield Timing(network.name, engine, n, batch, ms, cpu_ms, ms / torch_ms, cpu_ms / torch_cpu_ms)


@dataclass(frozen=True)
class Asked:
    """A detector's file whose networks are to be timed."""

    weights: Path
    threads: Sequence[int]
    batches: Sequence[int]
    rounds: int


def times_of(asked: Asked) -> list[Timing]:
    """`time_engines` of all that is installed; for a process whose environment says which instructions it may use."""
    networks, (engines, _) = networks_of(asked.weights), installed()
    return list(time_engines(networks, engines, asked.threads, asked.batches, asked.rounds))


def real_crops(folder: Path, network: Network, n: int = N_REAL) -> np.ndarray:
    """Pictures of a folder, spread over it, as the network sees crops: (n, 3, side, side) uint8."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not paths:
        raise UserError(f"--crops {str(folder)!r}: no picture below it; wanted face crops ({', '.join(PICTURES)})")
    seen = []
    for place in np.unique(np.linspace(0, len(paths) - 1, n).round().astype(int)):
        picture = cv2.imread(str(paths[place]))
        if picture is None:
            continue
        side = min(picture.shape[:2])
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        square = np.ascontiguousarray(picture[top : top + side, left : left + side, ::-1])
        seen.append(see(square, float(network.settings["view_ratio"]), network.side_px))
    return np.stack(seen).transpose(0, 3, 1, 2)


def differences(networks: Sequence[Network], engines: Sequence[str], crops: Path | None) -> Iterator[list[str]]:
    """Rows of how far each engine's logits lie from PyTorch's in fp32: engine, network, crops, how many, the most."""
    for network in networks:
        shown = {"made-up": made_up_crops(network.side_px)}
        if crops is not None:
            shown["real"] = real_crops(crops, network)
        for kind, crops_NCHW in shown.items():
            logits = {engine: _in_parts(ENGINES[engine][1](network, 1), crops_NCHW) for engine in engines}
            for engine in engines[1:]:
                worst = float(np.abs(logits[engine] - logits[engines[0]]).max())
                yield [engine, network.name, kind, str(len(crops_NCHW)), f"{worst:.1e}"]


def _in_parts(run: Run, crops_NCHW: np.ndarray, size: int = 8) -> np.ndarray:
    return np.concatenate([run(crops_NCHW[start : start + size]) for start in range(0, len(crops_NCHW), size)])
