"""Networks, one file a family; a short word in checkpoints names the family.

To add one, write `models/<name>.py` and give its builder a line in `BUILDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from deepfake.config import UserError
from deepfake.models.frames import FrameClassifier
from deepfake.models.sequences import SequenceClassifier

BUILDERS: dict[str, Callable[..., nn.Module]] = {"frames": FrameClassifier, "sequences": SequenceClassifier}


def build(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """A network of a family with random weights; `settings` are its constructor's arguments."""
    if kind not in BUILDERS:
        raise UserError(f"models: there is no {kind!r}; known: {', '.join(sorted(BUILDERS))}")
    try:
        return BUILDERS[kind](**settings)
    except TypeError as error:
        raise UserError(f"models: {kind} cannot be built from {dict(settings)}: {error}") from None
