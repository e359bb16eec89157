"""Networks on the disk: finished models that rebuild themselves, and states to continue a training from.

A finished model is `model.safetensors` (weights) beside `model.json` (family, settings, fold, metrics,
commit). Only plain tensors and plain values are read back, never pickled objects.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from deepfake.config import UserError
from deepfake.files import current_commit, write_whole
from deepfake.models import build
from deepfake.models.frames import FrameClassifier

FORMAT = 1
CARD, WEIGHTS = "model.json", "model.safetensors"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Card:
    """What a finished model says about itself; `about` holds plain values such as the crops' margin."""

    kind: str
    settings: dict[str, Any]
    fold: int | None
    settings_digest: str
    metrics: dict[str, float]
    about: dict[str, Any]
    commit: str
    weights_sha256: str
    format: int = FORMAT


def save_model(
    folder: Path,
    kind: str,
    model: nn.Module,
    *,
    fold: int | None,
    settings_digest: str,
    metrics: Mapping[str, float],
    about: Mapping[str, Any],
) -> Path:
    """Write weights and card, the card last; return the card's path."""
    weights = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()})
    write_whole(folder / WEIGHTS, weights)
    settings: Any = model.settings
    sha256 = hashlib.sha256(weights).hexdigest()
    commit = current_commit()
    card = Card(
        kind=kind,
        settings=dict(settings),
        fold=fold,
        settings_digest=settings_digest,
        metrics=dict(metrics),
        about=dict(about),
        commit=commit,
        weights_sha256=sha256,
    )
    write_whole(folder / CARD, (json.dumps(asdict(card), indent=2, sort_keys=True) + "\n").encode())
    return folder / CARD


def read_card(path: Path) -> Card:
    """The card of a finished model; `path` is the card or its folder."""
    path = path / CARD if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        card = Card(**values)
    except FileNotFoundError:
        raise UserError(f"model {path}: there is no such file; run the training stage first") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"model {path}: not the card of a model ({error}); train it again or fetch it anew") from None
    if card.format != FORMAT:
        raise UserError(f"model {path}: format {card.format}, this version reads {FORMAT}; train it again")
    return card


def load_model(path: Path, kind: str | None = None) -> nn.Module:
    """The finished model, ready to score; `kind` is the family that is wanted, None for any."""
    card = read_card(path)
    weights_path = (path if path.is_dir() else path.parent) / WEIGHTS
    if kind is not None and card.kind != kind:
        raise UserError(f"model {path}: it is one of {card.kind!r}, wanted one of {kind!r}")
    try:
        data = weights_path.read_bytes()
    except OSError as error:
        raise UserError(f"weights {weights_path}: {error.strerror}; train the model again or fetch it anew") from None
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise UserError(
            f"weights {weights_path}: {len(data)} bytes that are not those {CARD} was written for (cut short, changed, "
            "or of another model); train the model again or fetch both files anew"
        )
    model = build(card.kind, card.settings)
    try:
        model.load_state_dict(safetensors.torch.load(data), strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"weights {weights_path}: they do not fit the model {card.settings}: {reason}") from None
    return model.eval()


def load_frames(path: Path) -> FrameClassifier:
    """The finished image classifier, ready to score."""
    model = load_model(path, "frames")
    assert isinstance(model, FrameClassifier)
    return model


def finished(folder: Path, settings_digest: str) -> bool:
    """Whether a whole model of these settings lies in the folder."""
    if not (folder / CARD).exists():
        return False
    try:
        card = read_card(folder)
        same = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() == card.weights_sha256
    except (UserError, OSError):
        return False
    return same and card.settings_digest == settings_digest


def fold_folder(run_dir: Path, kind: str, fold: int | None) -> Path:
    """Where a fold's model lies; None: the model that learns from all folds."""
    return run_dir / kind / ("all" if fold is None else f"fold{fold}")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training's state (plain tensors and values), whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path, settings_digest: str) -> dict[str, Any] | None:
    """The state to continue from; None, with a sentence in the log, where there is none that fits."""
    if not path.exists():
        return None
    try:
        if not zipfile.is_zipfile(path):  # torch.load would try formats of its past, and fail in many ways
            raise ValueError("not a zip archive")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state["settings_digest"]
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        log.warning("%s is damaged (%s): training starts from the beginning", path, type(error).__name__)
        return None
    if found != settings_digest:
        log.warning("%s was made with other settings or data: training starts from the beginning", path)
        return None
    return state
