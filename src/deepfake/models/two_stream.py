"""Two streams, fused late: what each frame shows, and how the still face flows from frame to frame.

Letters: B tracks, T frames (padded at the end), D features, C flow directions, H rows, W columns.
"""

from __future__ import annotations

from torch import Tensor, nn

from deepfake.models.heads import AttentionHead, Start, hide_logits, register_head

CHANNELS = (16, 32, 64)


@register_head("two_stream")
class TwoStreamClassifier(AttentionHead):
    """The sum of two logits a frame: the frame model's, corrected by its features, and that of a small CNN on flow."""

    inputs = ("features", "flow")
    window = 256

    @classmethod
    def begin(cls, start: Start) -> TwoStreamClassifier:
        """With the dropouts of the settings."""
        return cls(start.n_features, start.sequences.dropout, start.sequences.logit_dropout)

    def __init__(self, n_features: int, dropout: float = 0.0, logit_dropout: float = 0.0) -> None:
        super().__init__(CHANNELS[-1], dropout)
        self.settings = {"n_features": n_features, "dropout": dropout, "logit_dropout": logit_dropout}
        self.logit_dropout = logit_dropout
        self.look = nn.Sequential(nn.LayerNorm(n_features), nn.Dropout(dropout), nn.Linear(n_features, 1))
        layers: list[nn.Module] = []
        for before, after in zip((2, *CHANNELS[:-1]), CHANNELS, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        self.flow = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def frame_logits(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits_B and logits_BT of features_BTD, flow_BTCHW, mask_BT and logits_BT."""
        features_BTD, flow_BTCHW, mask_BT, logits_BT = inputs
        seen_BT = self.look(features_BTD.float()).squeeze(-1)
        states_NH = self.flow(flow_BTCHW[mask_BT])
        states_BTH = states_NH.new_zeros(*mask_BT.shape, states_NH.shape[-1])
        states_BTH[mask_BT] = states_NH
        base_BT = hide_logits(logits_BT, self.logit_dropout * self.training) + seen_BT
        return self.pooled(states_BTH, mask_BT, base_BT)
