"""What every network over a track has in common: what it is given, and how frames become one logit.

Letters: B tracks, T frames (padded at the end), H hidden states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from deepfake.models.frames import FrameClassifier
from deepfake.registry import Registry

if TYPE_CHECKING:
    from deepfake.settings import Sequences


@dataclass(frozen=True)
class Start:
    """What a network over tracks can be made from before its first step.

    `n_features` are those of the frame network beside it; `frames` gives that network, where there is one.
    """

    n_features: int
    sequences: Sequences
    frames: Callable[[], FrameClassifier] | None = None


class TrackHead(nn.Module):
    """A network over a track.

    `inputs` are names out of `datasets.track_clips.INPUTS`; it is called with one padded tensor for each of them,
    then mask_BT (True for real frames, which come before the padding; each track has at least one) and the frame
    model's logits_BT. Of longer tracks it is given parts of `window` frames; it abstains on fewer than
    `min_frames`.
    """

    inputs: ClassVar[tuple[str, ...]]
    window: ClassVar[int] = 1024
    min_frames: ClassVar[int] = 1
    settings: dict[str, Any]

    @classmethod
    def begin(cls, start: Start) -> TrackHead:
        """The network before its first step, by the settings; `settings` are to be its constructor's arguments."""
        return cls(dropout=start.sequences.dropout)

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The tracks' logits_B and their frames' logits_BT, 0 where the mask is False."""
        raise NotImplementedError

    def forward(self, *inputs: Tensor, with_frames: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits_B of tracks; `with_frames`: and logits_BT of their frames."""
        logits_B, logits_BT = self.frame_logits(*inputs)
        return (logits_B, logits_BT) if with_frames else logits_B


HEADS: Registry[type[TrackHead]] = Registry("head")
Head = TypeVar("Head", bound=TrackHead)


def register_head(name: str) -> Callable[[type[Head]], type[Head]]:
    """Make a class a network over tracks of this name, which sequences.heads chooses by it."""
    return HEADS.register(name)


class AttentionHead(TrackHead):
    """Adds what states say to the frames' logits, and weighs the frames; both begin at zero."""

    def __init__(self, n_states: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.Linear(n_states, 1)
        self.head = nn.Linear(n_states, 1)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.attention, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def pooled(self, states_BTH: Tensor, mask_BT: Tensor, base_BT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits_B and logits_BT of states; `base_BT` is what they correct, None: nothing."""
        logits_BT: Tensor = self.head(self.dropout(states_BTH)).squeeze(-1)
        logits_BT = (logits_BT if base_BT is None else base_BT + logits_BT).masked_fill(~mask_BT, 0.0)
        pull_BT = self.attention(states_BTH).squeeze(-1).masked_fill(~mask_BT, -torch.inf)
        return (pull_BT.softmax(dim=1) * logits_BT).sum(dim=1), logits_BT


def hide_logits(logits_BT: Tensor, share: float) -> Tensor:
    """Frame logits with those of a share of the tracks set to 0.

    For learning: the frame model has seen these very tracks and would leave nothing to learn.
    """
    if not share:
        return logits_BT
    return logits_BT * (torch.rand(len(logits_BT), 1, device=logits_BT.device) >= share)


def recurrent(network: nn.LSTM | nn.GRU, states_BTH: Tensor, mask_BT: Tensor) -> Tensor:
    """A recurrent network's states_BTH of padded tracks."""
    lengths = mask_BT.sum(dim=1).cpu()
    packed = pack_padded_sequence(states_BTH, lengths, batch_first=True, enforce_sorted=False)
    out_BTH, _ = pad_packed_sequence(network(packed)[0], batch_first=True, total_length=mask_BT.shape[1])
    return out_BTH
