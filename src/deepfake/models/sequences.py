"""Features of a track's frames to one logit: a bidirectional LSTM with attention (LRCN).

Letters: B tracks, T frames (padded at the end), D features, H hidden states of both directions.
"""

from __future__ import annotations

from torch import Tensor, nn

from deepfake.models.heads import AttentionHead, Start, hide_logits, recurrent, register_head


@register_head("sequences")
class SequenceClassifier(AttentionHead):
    """Corrects the frame model's logits by what the whole track shows, and weighs the frames.

    It starts as the plain mean of the frame logits: the correction and the attention begin at zero.
    `logit_dropout` hides a track's frame logits while learning.
    """

    inputs = ("features",)

    @classmethod
    def begin(cls, start: Start) -> SequenceClassifier:
        """With the states and the dropouts of the settings."""
        wanted = start.sequences
        return cls(start.n_features, wanted.hidden, wanted.dropout, wanted.logit_dropout)

    def __init__(self, n_features: int, hidden: int, dropout: float = 0.0, logit_dropout: float = 0.0) -> None:
        super().__init__(2 * hidden, dropout)
        self.settings = {
            "n_features": n_features,
            "hidden": hidden,
            "dropout": dropout,
            "logit_dropout": logit_dropout,
        }
        self.logit_dropout = logit_dropout
        self.project = nn.Sequential(nn.LayerNorm(n_features), nn.Dropout(dropout), nn.Linear(n_features, hidden))
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, bidirectional=True)

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The tracks' logits_B and the corrected logits_BT of features_BTD, mask_BT and logits_BT."""
        features_BTD, mask_BT, logits_BT = inputs
        states_BTH = recurrent(self.lstm, self.project(features_BTD.float()), mask_BT)
        return self.pooled(states_BTH, mask_BT, hide_logits(logits_BT, self.logit_dropout * self.training))
