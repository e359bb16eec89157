"""The header of a detector file: plain values, read without torch; `bundle` writes and loads the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from deepfake.errors import UserError
from deepfake.files import PACKAGE, PROJECT_ROOT
from deepfake.settings import SPEED_ONLY, Extract

FORMAT = 3
HEADER = "detector"


def read_header(path: Path) -> dict[str, Any]:
    """The plain values of a detector file."""
    try:
        with safe_open(path, "np") as stored:
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
        raise UserError(
            f"weights {str(path)!r}: format {header.get('format')!r}, this version reads {FORMAT}; "
            "make it again with 07_ensemble or `deepfake ship`, or take the one that came with this version"
        )
    return header


def does_not_fit(path: Path, error: Exception) -> UserError:
    """The error for a detector file whose header and tensors contradict each other."""
    reason = " ".join(str(error).split())[:300]
    return UserError(f"weights {str(path)!r}: they do not fit the networks their header names: {reason}")


def extract_settings(header: dict[str, Any]) -> Extract:
    """How a detector wants faces extracted; what only costs time was the choice of the machine that wrote the file."""
    return Extract.model_validate({k: v for k, v in header["extract"].items() if k not in SPEED_ONLY["extract"]})


def shipped_weights() -> Path:
    """The detector that came with this version: inside the installed package, or in data/weights of a source tree."""
    inside = PACKAGE / "weights"
    return find_weights(inside if inside.is_dir() else PROJECT_ROOT / "data/weights")


def find_weights(folder: Path) -> Path:
    """The shipped detector: the only safetensors file of the folder."""
    paths = sorted(folder.glob("*.safetensors"))
    if len(paths) != 1:
        have = ", ".join(path.name for path in paths) or "none"
        raise UserError(f"{folder}: {len(paths)} detectors ({have}); say which one with --weights")
    return paths[0]
