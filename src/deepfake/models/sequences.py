"""Features of a track's frames to one logit: a bidirectional LSTM with attention (LRCN).

Letters: B tracks, T frames (padded at the end), D features, H hidden states of both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class SequenceClassifier(nn.Module):
    """Corrects the frame model's logits by what the whole track shows, and weighs the frames.

    It starts as the plain mean of the frame logits: the correction and the attention begin at zero.
    `logit_dropout` hides a track's frame logits while learning, because the frame model has seen
    these very tracks and would leave nothing to learn.
    """

    def __init__(self, n_features: int, hidden: int, dropout: float = 0.0, logit_dropout: float = 0.0) -> None:
        super().__init__()
        self.settings = {
            "n_features": n_features, "hidden": hidden, "dropout": dropout, "logit_dropout": logit_dropout,
        }  # fmt: skip
        self.logit_dropout = logit_dropout
        self.project = nn.Sequential(nn.LayerNorm(n_features), nn.Dropout(dropout), nn.Linear(n_features, hidden))
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(2 * hidden, 1)
        self.head = nn.Linear(2 * hidden, 1)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.attention, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def frame_logits(self, features_BTD: Tensor, mask_BT: Tensor, logits_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The tracks' logits_B and the corrected logits_BT of their frames (0 where `mask_BT` is False).

        `mask_BT` is True for real frames, which come before the padding; each track has at least one.
        """
        states_BTH = self._states(features_BTD, mask_BT)
        if self.training and self.logit_dropout:
            keep_B1 = torch.rand(len(logits_BT), 1, device=logits_BT.device) >= self.logit_dropout
            logits_BT = logits_BT * keep_B1
        corrected_BT = logits_BT + self.head(self.dropout(states_BTH)).squeeze(-1)
        pull_BT = self.attention(states_BTH).squeeze(-1).masked_fill(~mask_BT, -torch.inf)
        corrected_BT = corrected_BT.masked_fill(~mask_BT, 0.0)
        return (pull_BT.softmax(dim=1) * corrected_BT).sum(dim=1), corrected_BT

    def forward(self, features_BTD: Tensor, mask_BT: Tensor, logits_BT: Tensor) -> Tensor:
        """Logits_B of tracks; see `frame_logits`."""
        return self.frame_logits(features_BTD, mask_BT, logits_BT)[0]

    def _states(self, features_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        lengths = mask_BT.sum(dim=1).cpu()
        projected_BTH = self.project(features_BTD.float())
        packed = pack_padded_sequence(projected_BTH, lengths, batch_first=True, enforce_sorted=False)
        states_BTH, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=mask_BT.shape[1])
        return states_BTH
