"""A whole detector in one safetensors file: every network, the stack, and how crops are made.

The file's header holds plain values only; loading runs no code from it. Half precision by default: it
halves the file and moves a logit by less than the shown gate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from deepfake.ensemble.promise import KEY as PROMISE
from deepfake.ensemble.promise import Promise, read_promise
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.faces.crop_store import read_crop
from deepfake.files import current_commit, digest, sha256_of, write_whole
from deepfake.models import runtime
from deepfake.models.detector_file import FORMAT, HEADER, does_not_fit, extract_settings
from deepfake.models.detector_file import find_weights as find_weights
from deepfake.models.detector_file import read_header as read_header
from deepfake.models.engine import has_torch
from deepfake.models.graphs import Graphs, StoredNetwork, graphs_of, sides_of
from deepfake.models.networks import Member
from deepfake.scoring.frame_scorer import FrameScorer
from deepfake.settings import Config, Ensemble, Extract, Predict

if TYPE_CHECKING:  # torch costs seconds, and where ONNX Runtime scores it is not needed
    from torch import Tensor

MAX_HALF_DIFFERENCE = 0.01  # logits; where half precision moves one by more, a detector is shipped in full


@dataclass(frozen=True)
class Part:
    """Where a member's networks lie, before they are put into one file; `name` is the stack's name for its frames."""

    name: str
    frames: Path
    heads: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedDetector:
    """Everything needed to score a video."""

    name: str
    members: list[Member]
    stack: Stack
    extract: Extract
    ensemble: Ensemble
    about: dict[str, Any]
    promise: Promise | None = None

    def within(self, limits: Mapping[str, float]) -> TrainedDetector:
        """The same with other limits on reading a video: `deadline_s`, `memory_mb`."""
        return replace(self, extract=self.extract.model_copy(update=limits))


def run_parts(config: Config) -> list[Part]:
    """The networks of all folds of a run."""
    from deepfake.models.checkpoints import fold_folder

    names = ("frames", *config.sequences.heads)
    folders = [{name: fold_folder(config.run_dir, name, k) for name in names} for k in range(config.folds.n_folds)]
    return [Part("frames", own.pop("frames"), own) for own in folders]


def save_detector(
    path: Path, name: str, parts: Sequence[Part], stack: Stack, config: Config, half: bool = True
) -> None:
    """Write networks and their stack as one file; the settings give extraction and pooling.

    `half`: in half precision. With graphs for ONNX Runtime, where the networks can be written as such.
    """
    import safetensors.torch

    from deepfake.detector.graphs import add_graphs_where_possible
    from deepfake.models.checkpoints import load_model
    from deepfake.models.members import half_precision

    tensors: dict[str, Tensor] = {}
    networks: dict[str, Any] = {}
    for number, part in enumerate(parts):
        for kind, folder in {"frames": part.frames, **part.heads}.items():
            model = load_model(folder, kind)
            networks[f"{kind}.{number}"] = dict(vars(model)["settings"])
            tensors |= {
                f"{kind}.{number}.{key}": half_precision(value) if half else value.contiguous()
                for key, value in model.state_dict().items()
            }
    header = {
        "format": FORMAT,
        "name": name,
        "members": [part.name for part in parts],
        "networks": networks,
        "stack": stack.to_dict(),
        "extract": config.extract.model_dump(mode="json"),
        "ensemble": config.ensemble.model_dump(mode="json"),
        "about": {"run": config.run, "dataset": config.dataset, "commit": current_commit()},
    }
    text = json.dumps(header, sort_keys=True)
    write_whole(path, safetensors.torch.save(dict(sorted(tensors.items())), metadata={HEADER: text}))
    add_graphs_where_possible(path)


def write_stack(path: Path, out: Path, stack: Stack, promise: Promise | None = None) -> None:
    """Write a detector file's networks and settings with another stack; what was learnt stays byte by byte.

    `promise` is what the new stack was found to be worth on left-out sources; the old one's goes with the old stack.
    """
    header = read_header(path)
    if set(stack.members) != set(header["stack"]["members"]):
        raise ValueError(f"a stack of {stack.members} does not fit the members {header['stack']['members']}")
    about = {**header["about"], "calibrated_by": current_commit()}
    told = {} if promise is None else {PROMISE: promise.model_dump(mode="json")}
    kept = {key: value for key, value in header.items() if key != PROMISE}
    text = json.dumps({**kept, "stack": stack.to_dict(), "about": about, **told}, sort_keys=True)
    tensors = safetensors.numpy.load_file(path)
    write_whole(out, safetensors.numpy.save(dict(sorted(tensors.items())), metadata={HEADER: text}))
    if graphs_of(header, path) is None:
        from deepfake.detector.graphs import add_graphs_where_possible

        add_graphs_where_possible(out)


def load_detector(path: Path) -> TrainedDetector:
    """Rebuild a detector from its file alone, in full precision, with the networks that PyTorch runs and trains."""
    from deepfake.models.members import load_members

    return _detector(path, read_header(path), load_members(path))


def open_detector(path: Path, predict: Predict) -> TrainedDetector:
    """A detector from its file alone, to score with: ONNX Runtime runs its frame networks where it can.

    PyTorch is imported only where it runs some network: on a GPU, of a file without graphs, or over tracks.
    """
    header = read_header(path)
    try:
        may_use = predict.engine != "torch" and runtime.library() is not None
        graphs = _usable_graphs(path, header) if may_use else None
        if runtime.choose_library(path, graphs is not None, predict) == "torch" or graphs is None:
            return load_detector(path)
        return _detector(path, header, _onnx_members(path, header, graphs, predict))
    except (KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, UserError) else does_not_fit(path, error) from None


def _usable_graphs(path: Path, header: Mapping[str, Any]) -> Graphs | None:
    """A file's graphs, where it has one of each frame network for each of its views."""
    graphs, ensemble = graphs_of(header, path), Ensemble.model_validate(header["ensemble"])
    for number, name in enumerate(header["members"]):
        own = graphs.networks.get(f"frames.{number}") if graphs else None
        sides = sides_of(header["networks"][f"frames.{number}"], ensemble.views_of(name))
        if own is None or not own.sizes.keys() >= set(sides):
            return None
    return graphs


def _onnx_members(path: Path, header: Mapping[str, Any], graphs: Graphs, predict: Predict) -> list[Member]:
    """The members, their frame networks run by ONNX Runtime; networks over tracks, where there are any, by PyTorch."""
    heads: list[Mapping[str, Any]] = [{} for _ in header["members"]]
    over_tracks = [name for name in header["networks"] if not name.startswith("frames.")]
    if over_tracks and not has_torch():
        raise runtime.without_torch(path, f"{over_tracks[0]} is a network over tracks, which PyTorch alone runs")
    if over_tracks:
        from deepfake.models.members import load_members

        heads = [member.heads for member in load_members(path)]
    members = []
    for number, (name, own_heads) in enumerate(zip(header["members"], heads, strict=True)):
        network = f"frames.{number}"
        own = graphs.networks[network]
        stored = StoredNetwork(path, network, own, sorted(own.sizes))
        frames = runtime.OnnxNetwork(stored, header["networks"][network], predict)
        members.append(Member(str(name), frames, own_heads))
    return members


def _detector(path: Path, header: dict[str, Any], members: list[Member]) -> TrainedDetector:
    try:
        stack = Stack.from_dict(header["stack"])
        have = {m.name for m in members} | {kind for m in members for kind in m.heads}
        if not members or set(stack.members) != have:
            raise ValueError(f"the stack weighs {', '.join(stack.members)}, the networks are {', '.join(sorted(have))}")
        return TrainedDetector(
            name=str(header["name"]),
            members=members,
            stack=stack,
            extract=extract_settings(header),
            ensemble=Ensemble.model_validate(header["ensemble"]),
            about=dict(header["about"]),
            promise=read_promise(header),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise does_not_fit(path, error) from None


def unpack_frames(weights: Path, folder: Path, member: str | None = None, replace: bool = True) -> None:
    """Make a detector's frame network a finished network of a run, for others to be trained beside it.

    The first one, or that of the `member` of this name (the first of equals). At once if it lies there already;
    `replace`: another network that lies there makes room, else it is an error.
    """
    from deepfake.models.checkpoints import CARD, finished, save_model
    from deepfake.models.frames import FrameClassifier
    from deepfake.models.members import pick_member

    origin = sha256_of(weights) if weights.is_file() else ""
    detector = load_detector(weights)
    chosen = pick_member(detector.members, member, weights)
    key = digest([origin, chosen.name])
    if not finished(folder, key):
        if not replace and (folder / CARD).exists():
            raise UserError(f"{folder}: another network lies there; move it away, or give --force to replace it")
        about = {"margin_ratio": detector.extract.margin_ratio, "crop_px": detector.extract.crop_px}
        assert isinstance(chosen.frames, FrameClassifier), "load_detector's are torch's"
        save_model(folder, "frames", chosen.frames, fold=None, settings_digest=key, metrics={}, about=about)


def half_precision_error(parts: Sequence[Part], path: Path, work_dir: Path, predict: Predict) -> float:
    """Largest difference of frame logits between networks and those of their file, over 64 crops of a data set."""
    from deepfake import tables
    from deepfake.models.checkpoints import load_frames

    faces = tables.spread(tables.read(tables.FACES, work_dir / "faces.parquet"), 64)
    crops = [read_crop(work_dir, *place) for place in faces[["shard", "offset", "size"]].itertuples(index=False)]
    fp32 = predict.model_copy(update={"precision": "fp32"})
    worst = 0.0
    for part, member in zip(parts, load_detector(path).members, strict=True):
        whole = load_frames(part.frames)
        logits, halved = (FrameScorer(model, fp32).crops(crops)[0] for model in (whole, member.frames))
        worst = max(worst, float(np.abs(logits - halved).max()))
    return worst
