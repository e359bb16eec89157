"""A network in one small file: weights in half precision, what it is in the file's head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from deepfake.errors import UserError
from deepfake.files import write_whole
from deepfake.models.frames import FrameClassifier

FORMAT = 1


def halves(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half precision; statistics and biases, which are few and may be large, as they are."""
    return {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).detach().cpu().contiguous()
        for name, value in state.items()
    }


def save_snapshot(path: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """Write a `FrameClassifier`; `about` are plain values, such as its pairs and scores."""
    settings: Any = model.settings
    head = {"format": FORMAT, "settings": dict(settings), "about": dict(about)}
    data = safetensors.torch.save(halves(model.state_dict()), {"deepfake": json.dumps(head, sort_keys=True)})
    write_whole(path, data)


def read_snapshot(path: Path) -> tuple[FrameClassifier, dict[str, Any]]:
    """The network, ready to score, and what was written about it."""
    try:
        with safe_open(path, "pt") as file:
            head = json.loads((file.metadata() or {})["deepfake"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        if head["format"] != FORMAT:
            raise UserError(f"snapshot {path}: format {head['format']}, this version reads {FORMAT}")
        model = FrameClassifier(**head["settings"])
        kinds = model.state_dict()
        model.load_state_dict({name: value.to(kinds[name].dtype) for name, value in state.items()}, strict=True)
    except FileNotFoundError:
        raise UserError(f"snapshot {path}: there is no such file") from None
    except UserError:
        raise
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"snapshot {path}: not a network of a training from a pack ({reason})") from None
    return model.eval(), head["about"]


def start_weights(data: bytes) -> dict[str, Tensor]:
    """Weights of a backbone as a pack holds them, in full precision."""
    state = safetensors.torch.load(data)
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in state.items()}
