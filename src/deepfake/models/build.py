"""Networks, one file a family; a short word in checkpoints and settings names the family.

To add one over tracks, write a class with `@register_head` in a file of `heads/`, or in a module of your own
(settings: plugins); its `begin` says how the settings make it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from deepfake.errors import UserError
from deepfake.models import heads
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads.base import HEADS as HEADS
from deepfake.models.heads.base import Start, TrackHead
from deepfake.models.heads.base import register_head as register_head

for _module in pkgutil.iter_modules(heads.__path__):
    importlib.import_module(f"{heads.__name__}.{_module.name}")  # each registers what it holds

if TYPE_CHECKING:
    from deepfake.settings import Sequences


def build(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """A network of a family with random weights; `settings` are its constructor's arguments."""
    builder: Callable[..., nn.Module] = FrameClassifier if kind == "frames" else HEADS[kind]
    try:
        return builder(**_of_all_stages(kind, settings))
    except TypeError as error:
        raise UserError(f"models: {kind} cannot be built from {dict(settings)}: {error}") from None


def _of_all_stages(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without `stages`, which files of earlier versions hold; they named a whole backbone by None."""
    rest = dict(settings)
    stages = rest.pop("stages", None) if kind in ("frames", "inflated") else None
    if stages is not None:
        raise UserError(
            f"models: {kind} of the first {stages} stages of its backbone; this version builds whole ones only. "
            "Train it again, or use commit c8ac245, the last that reads it"
        )
    return rest


def new_head(
    kind: str, n_features: int, sequences: Sequences, frames: Callable[[], FrameClassifier] | None = None
) -> TrackHead:
    """A network over tracks before its first step; `n_features` are those of the frame network beside it.

    `frames` gives that network, for those that begin with its weights.
    """
    return HEADS[kind].begin(Start(n_features, sequences, frames))
