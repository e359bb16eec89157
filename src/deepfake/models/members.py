"""The networks of a detector file: members, each a frame network and the networks over tracks beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from deepfake.errors import UserError
from deepfake.models.build import build
from deepfake.models.detector_file import does_not_fit, read_header
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.base import TrackHead
from deepfake.models.networks import Member as Member


def load_members(path: Path) -> list[Member]:
    """All members of a detector file, rebuilt in full precision from it alone."""
    header = read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
        named = enumerate(header["members"])
        return [_member(str(name), number, header["networks"], tensors) for number, name in named]
    except (KeyError, TypeError, ValueError, SafetensorError, RuntimeError) as error:
        raise does_not_fit(path, error) from None


def _member(name: str, number: int, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Member:
    kinds = [kind for kind, _, of in (str(network).rpartition(".") for network in settings) if of == str(number)]
    networks = {k: _rebuild(k, settings[f"{k}.{number}"], _below(tensors, f"{k}.{number}.")) for k in kinds}
    frames = networks.pop("frames", None)
    if not isinstance(frames, FrameClassifier):
        raise ValueError(f"member {number} has no frame network")
    return Member(name, frames, {kind: head for kind, head in networks.items() if isinstance(head, TrackHead)})


def half_precision(value: Tensor) -> Tensor:
    """A tensor as a file in half precision holds it; whole numbers stay."""
    return (value.half() if value.is_floating_point() else value).contiguous()


def pick_member(members: Sequence[Member], name: str | None, weights: Path) -> Member:
    """The member of this name, the first of equals; None: the first of all. `weights` is what errors call the file."""
    names = [member.name for member in members]
    if name is not None and name not in names:
        raise UserError(f"weights {str(weights)!r}: no member {name!r}; it has {', '.join(sorted(set(names)))}")
    return members[names.index(name) if name is not None else 0]


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
