"""A whole detector in one safetensors file: every network, the stack, and how crops are made.

The file's header holds plain values only; loading runs no code from it. Half precision by default: it
halves the file and moves a logit by less than the shown gate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor, nn

from deepfake import tables
from deepfake.checkpoints import CARD, finished, fold_folder, load_frames, load_model, save_model
from deepfake.config import Config, Ensemble, Extract, Predict, UserError, digest
from deepfake.detector_file import FORMAT, HEADER
from deepfake.detector_file import find_weights as find_weights
from deepfake.detector_file import read_header as read_header
from deepfake.ensemble import Stack
from deepfake.files import current_commit, sha256_of, write_whole
from deepfake.models import build
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads import TrackHead
from deepfake.scoring import FrameScorer
from deepfake.shards import read_crop

MAX_HALF_DIFFERENCE = 0.01  # logits; where half precision moves one by more, a detector is shipped in full


@dataclass(frozen=True)
class Part:
    """Where a member's networks lie, before they are put into one file; `name` is the stack's name for its frames."""

    name: str
    frames: Path
    heads: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """A frame network and the networks over tracks, by family, that were trained beside it.

    Members of one `name`, and heads of one family, count as one for the stack: the mean of their logits.
    """

    name: str
    frames: FrameClassifier
    heads: Mapping[str, TrackHead] = field(default_factory=dict)


@dataclass(frozen=True)
class Detector:
    """Everything needed to score a video."""

    name: str
    members: list[Member]
    stack: Stack
    extract: Extract
    ensemble: Ensemble
    about: dict[str, Any]


def run_parts(config: Config) -> list[Part]:
    """The networks of all folds of a run."""
    names = ("frames", *config.sequences.heads)
    folders = [{name: fold_folder(config.run_dir, name, k) for name in names} for k in range(config.folds.n_folds)]
    return [Part("frames", found.pop("frames"), found) for found in folders]


def save_detector(
    path: Path, name: str, parts: Sequence[Part], stack: Stack, config: Config, half: bool = True
) -> None:
    """Write networks and their stack as one file; the settings give extraction and pooling.

    `half`: in half precision.
    """
    tensors: dict[str, Tensor] = {}
    networks: dict[str, Any] = {}
    for number, part in enumerate(parts):
        for kind, folder in {"frames": part.frames, **part.heads}.items():
            model = load_model(folder, kind)
            networks[f"{kind}.{number}"] = dict(vars(model)["settings"])
            tensors |= {
                f"{kind}.{number}.{key}": _half(value) if half else value.contiguous()
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


def _half(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


def write_stack(path: Path, out: Path, stack: Stack) -> None:
    """Write a detector file's networks and settings with another stack; what was learnt stays byte by byte."""
    header = read_header(path)
    if set(stack.members) != set(header["stack"]["members"]):
        raise ValueError(f"a stack of {stack.members} does not fit the members {header['stack']['members']}")
    about = {**header["about"], "calibrated_by": current_commit()}
    text = json.dumps({**header, "stack": stack.to_dict(), "about": about}, sort_keys=True)
    tensors = safetensors.torch.load_file(path)
    write_whole(out, safetensors.torch.save(dict(sorted(tensors.items())), metadata={HEADER: text}))


def load_detector(path: Path) -> Detector:
    """Rebuild a detector from its file alone, in full precision."""
    header = read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
        members = []
        for number, name in enumerate(header["members"]):
            names = [str(network).rpartition(".") for network in header["networks"]]
            kinds = [kind for kind, _, of in names if of == str(number)]
            networks = {
                k: _rebuild(k, header["networks"][f"{k}.{number}"], _below(tensors, f"{k}.{number}.")) for k in kinds
            }
            frames = networks.pop("frames", None)
            if not isinstance(frames, FrameClassifier):
                raise ValueError(f"member {number} has no frame network")
            heads = {kind: head for kind, head in networks.items() if isinstance(head, TrackHead)}
            members.append(Member(str(name), frames, heads))
        stack = Stack.from_dict(header["stack"])
        have = {m.name for m in members} | {kind for m in members for kind in m.heads}
        if not members or set(stack.members) != have:
            raise ValueError(f"the stack weighs {', '.join(stack.members)}, the networks are {', '.join(sorted(have))}")
        return Detector(
            name=str(header["name"]),
            members=members,
            stack=stack,
            extract=Extract.model_validate(header["extract"]),
            ensemble=Ensemble.model_validate(header["ensemble"]),
            about=dict(header["about"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"weights {str(path)!r}: they do not fit the networks their header names: {reason}") from None


def pick_member(detector: Detector, name: str | None, weights: Path) -> Member:
    """The member of this name, the first of equals; None: the first of all. `weights` is what errors call the file."""
    names = [member.name for member in detector.members]
    if name is not None and name not in names:
        raise UserError(f"weights {str(weights)!r}: no member {name!r}; it has {', '.join(sorted(set(names)))}")
    return detector.members[names.index(name) if name is not None else 0]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _rebuild(kind: str, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    model = build(kind, settings)
    wanted = {name: value.dtype for name, value in model.state_dict().items()}
    model.load_state_dict({n: v.to(wanted[n]) if n in wanted else v for n, v in state.items()}, strict=True)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{kind}: tensor {name} holds values that are no numbers")
    return model.eval()


def unpack_frames(weights: Path, folder: Path, member: str | None = None, replace: bool = True) -> None:
    """Make a detector's frame network a finished network of a run, for others to be trained beside it.

    The first one, or that of the `member` of this name (the first of equals). At once if it lies there already;
    `replace`: another network that lies there makes room, else it is an error.
    """
    origin = sha256_of(weights) if weights.is_file() else ""
    detector = load_detector(weights)
    found = pick_member(detector, member, weights)
    key = digest([origin, found.name])
    if not finished(folder, key):
        if not replace and (folder / CARD).exists():
            raise UserError(f"{folder}: another network lies there; move it away, or give --force to replace it")
        about = {"margin_ratio": detector.extract.margin_ratio, "crop_px": detector.extract.crop_px}
        save_model(folder, "frames", found.frames, fold=None, settings_digest=key, metrics={}, about=about)


def half_precision_error(parts: Sequence[Part], path: Path, work_dir: Path, predict: Predict) -> float:
    """Largest difference of frame logits between networks and those of their file, over 64 crops of a data set."""
    faces = tables.spread(tables.read(tables.FACES, work_dir / "faces.parquet"), 64)
    crops = [read_crop(work_dir, *place) for place in faces[["shard", "offset", "size"]].itertuples(index=False)]
    fp32 = predict.model_copy(update={"precision": "fp32"})
    worst = 0.0
    for part, member in zip(parts, load_detector(path).members, strict=True):
        whole = load_frames(part.frames)
        logits, halved = (FrameScorer(model, fp32).crops(crops)[0] for model in (whole, member.frames))
        worst = max(worst, float(np.abs(logits - halved).max()))
    return worst
