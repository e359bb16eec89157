"""A face's trajectory to one logit: a bidirectional GRU with attention over how its landmarks move.

Letters: B tracks, T frames (padded at the end), M quantities (deepfake.motion, the last says whether a frame is
known), H hidden states of both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepfake.models.heads import AttentionHead, Start, recurrent, register_head
from deepfake.motion import N_MOTION

MOST_HIDDEN = 64  # some hundred tracks of thirty quantities: more states learn them by heart


@register_head("motion")
class MotionClassifier(AttentionHead):
    """Looks at no picture and at no other network's logit; says 0 of tracks with landmarks in one frame alone."""

    inputs = ("motion",)
    min_frames = 2

    @classmethod
    def begin(cls, start: Start) -> MotionClassifier:
        """With at most MOST_HIDDEN states."""
        return cls(N_MOTION, min(start.sequences.hidden, MOST_HIDDEN), start.sequences.dropout)

    def __init__(self, n_features: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(2 * hidden, dropout)
        self.settings = {"n_features": n_features, "hidden": hidden, "dropout": dropout}
        self.norm = nn.BatchNorm1d(n_features, affine=False)
        self.project = nn.Sequential(nn.Dropout(dropout / 2), nn.Linear(n_features, hidden), nn.Tanh())
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits_B and logits_BT of motion_BTM and mask_BT, whatever the frame model says."""
        motion_BTM, mask_BT, _ = inputs
        known_BT = mask_BT & (motion_BTM[..., -1] > 0)
        normal_BTM = torch.zeros_like(motion_BTM)
        if int(known_BT.sum()) > 1 or not self.training:
            normal_BTM[known_BT] = self.norm(motion_BTM[known_BT])
        states_BTH = recurrent(self.gru, self.project(normal_BTM), mask_BT)
        logits_B, logits_BT = self.pooled(states_BTH, mask_BT)
        moves_B = known_BT.sum(dim=1) >= self.min_frames
        return logits_B * moves_B, logits_BT * moves_B[:, None]
