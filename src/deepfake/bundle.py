"""A whole detector in one safetensors file: every network, the stack, and how crops are made.

The file's header holds plain values only; loading runs no code from it. Half precision by default: it
halves the file and moves a logit by less than the shown gate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from deepfake import tables
from deepfake.checkpoints import load_model
from deepfake.config import Config, Ensemble, Extract, UserError
from deepfake.ensemble import Stack
from deepfake.files import current_commit, write_whole
from deepfake.models import build
from deepfake.models.frames import FrameClassifier
from deepfake.models.sequences import SequenceClassifier
from deepfake.scoring import FrameScorer
from deepfake.shards import read_crop

FORMAT = 1
HEADER = "detector"


@dataclass(frozen=True)
class Member:
    """A frame network and the LRCN head that was trained on its features."""

    frames: FrameClassifier
    sequences: SequenceClassifier


@dataclass(frozen=True)
class Detector:
    """Everything needed to score a video."""

    name: str
    members: list[Member]
    stack: Stack
    extract: Extract
    ensemble: Ensemble
    about: dict[str, Any]


def save_run(config: Config, stack: Stack, path: Path, folds: int | None = None) -> None:
    """Write a run's networks (of the first `folds` folds; None: all) and its stack as one file."""
    n_folds = config.folds.n_folds if folds is None else folds
    tensors: dict[str, Tensor] = {}
    settings: dict[str, Any] = {}
    for kind in ("frames", "sequences"):
        for fold in range(n_folds):
            model = load_model(config.run_dir / kind / f"fold{fold}", kind)
            settings[f"{kind}.{fold}"] = dict(vars(model)["settings"])
            tensors |= {f"{kind}.{fold}.{name}": _half(value) for name, value in model.state_dict().items()}
    header = {
        "format": FORMAT,
        "name": config.run,
        "n_members": n_folds,
        "networks": settings,
        "stack": stack.to_dict(),
        "extract": config.extract.model_dump(mode="json"),
        "ensemble": config.ensemble.model_dump(mode="json"),
        "about": {"run": config.run, "dataset": config.dataset, "commit": current_commit()},
    }
    text = json.dumps(header, sort_keys=True)
    write_whole(path, safetensors.torch.save(dict(sorted(tensors.items())), metadata={HEADER: text}))


def _half(value: Tensor) -> Tensor:
    return (value.half() if value.is_floating_point() else value).contiguous()


def read_header(path: Path) -> dict[str, Any]:
    """The plain values of a detector file."""
    try:
        with safe_open(path, "pt") as stored:
            metadata = stored.metadata() or {}
    except FileNotFoundError:
        have = ", ".join(sorted(p.name for p in path.parent.glob("*.safetensors"))) or "none"
        raise UserError(f"weights {str(path)!r} do not exist; {path.parent} has: {have}") from None
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"weights {str(path)!r}: not a whole safetensors file ({error}); "
            "fetch it again, or make it with 07_ensemble"
        ) from None
    if HEADER not in metadata:
        raise UserError(
            f"weights {str(path)!r}: a safetensors file of another kind (its header names "
            f"{sorted(metadata) or 'nothing'}); wanted a detector written by 07_ensemble"
        )
    try:
        header: dict[str, Any] = json.loads(metadata[HEADER])
    except ValueError:
        raise UserError(f"weights {str(path)!r}: damaged header; fetch it again") from None
    if header.get("format") != FORMAT:
        raise UserError(f"weights {str(path)!r}: format {header.get('format')!r}, this version reads {FORMAT}")
    return header


def load_detector(path: Path) -> Detector:
    """Rebuild a detector from its file alone, in full precision."""
    header = read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
        n_members = int(header["n_members"])
        members = []
        for number in range(n_members):
            frames, sequences = (
                _rebuild(kind, header["networks"][f"{kind}.{number}"], _below(tensors, f"{kind}.{number}."))
                for kind in ("frames", "sequences")
            )
            assert isinstance(frames, FrameClassifier) and isinstance(sequences, SequenceClassifier)
            members.append(Member(frames, sequences))
        return Detector(
            str(header["name"]),
            members,
            Stack.from_dict(header["stack"]),
            Extract.model_validate(header["extract"]),
            Ensemble.model_validate(header["ensemble"]),
            dict(header["about"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"weights {str(path)!r}: they do not fit the networks their header names: {reason}") from None


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


def find_weights(folder: Path) -> Path:
    """The shipped detector: the only safetensors file of the folder."""
    paths = sorted(folder.glob("*.safetensors"))
    if len(paths) != 1:
        have = ", ".join(path.name for path in paths) or "none"
        raise UserError(f"{folder}: {len(paths)} detectors ({have}); say which one with --weights")
    return paths[0]


def half_precision_error(config: Config, path: Path) -> float:
    """Largest difference of frame logits between a run's networks and the file's, over 64 crops of the data set."""
    faces = tables.spread(tables.read(tables.FACES, config.work_dir / "faces.parquet"), 64)
    crops = [read_crop(config.work_dir, *place) for place in faces[["shard", "offset", "size"]].itertuples(index=False)]
    fp32 = config.predict.model_copy(update={"precision": "fp32"})
    worst = 0.0
    for fold, member in enumerate(load_detector(path).members):
        whole = load_model(config.run_dir / "frames" / f"fold{fold}", "frames")
        assert isinstance(whole, FrameClassifier)
        logits, halved = (FrameScorer(model, fp32).crops(crops)[0] for model in (whole, member.frames))
        worst = max(worst, float(np.abs(logits - halved).max()))
    return worst
