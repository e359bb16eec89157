"""Networks, one file a family; a short word in checkpoints names the family.

To add one, write `models/<name>.py` and give its builder a line in `BUILDERS`, or in `HEADS` if it looks at tracks;
such a network is a choice of the settings (sequences.heads), too, and `new_head` says what it is built with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

import deepfake.models.no_compiler  # noqa: F401 - first: it decides how timm is imported
from deepfake.config import Sequences, UserError
from deepfake.models.clips import Mc3, R2Plus1d, SlowFast
from deepfake.models.frames import FrameClassifier
from deepfake.models.heads import TrackHead
from deepfake.models.inflated import InflatedClassifier
from deepfake.models.motion import MotionClassifier
from deepfake.models.sequences import SequenceClassifier
from deepfake.models.two_stream import TwoStreamClassifier
from deepfake.motion import N_MOTION

HEADS: dict[str, type[TrackHead]] = {
    "sequences": SequenceClassifier,
    "motion": MotionClassifier,
    "two_stream": TwoStreamClassifier,
    "r2plus1d_18": R2Plus1d,
    "mc3_18": Mc3,
    "slowfast": SlowFast,
    "inflated": InflatedClassifier,
}
BUILDERS: dict[str, Callable[..., nn.Module]] = {"frames": FrameClassifier, **HEADS}


def build(kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """A network of a family with random weights; `settings` are its constructor's arguments."""
    if kind not in BUILDERS:
        raise UserError(f"models: there is no {kind!r}; known: {', '.join(sorted(BUILDERS))}")
    try:
        return BUILDERS[kind](**_of_all_stages(kind, settings))
    except TypeError as error:
        raise UserError(f"models: {kind} cannot be built from {dict(settings)}: {error}") from None


def _of_all_stages(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without `stages`, which files of earlier versions hold; they named a whole backbone by None."""
    rest = dict(settings)
    stages = rest.pop("stages", None)
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
    dropout, logit_dropout = sequences.dropout, sequences.logit_dropout
    if kind == "inflated":
        if frames is None:
            raise ValueError("inflated: wanted the frame network whose weights it begins with, found none")
        return InflatedClassifier.made_of(frames(), dropout)
    settings: dict[str, dict[str, Any]] = {
        "sequences": {"n_features": n_features, "hidden": sequences.hidden, "logit_dropout": logit_dropout},
        # Some hundred tracks of thirty quantities: more states learn them by heart.
        "motion": {"n_features": N_MOTION, "hidden": min(sequences.hidden, 64)},
        "two_stream": {"n_features": n_features, "logit_dropout": logit_dropout},
    }
    return HEADS[kind](dropout=dropout, **settings.get(kind, {}))
