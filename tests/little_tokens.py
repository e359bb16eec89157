"""Class-token networks with made-up weights, and tables of clips of two collections."""

from __future__ import annotations

import pandas as pd
import torch
from torch import nn

from deepfake.models.frames import FrameClassifier


def random_tokens(n_blocks: int, of: str = "token") -> FrameClassifier:
    torch.manual_seed(3)
    network = FrameClassifier(f"clip_b16_{of}{n_blocks}", 224, view_ratio=0.7)
    for name, value in network.backbone.state_dict().items():
        if name.endswith("packed"):
            value.random_(0, 256)
        elif "norm" in name and name.endswith("weight"):
            value.fill_(1)
        else:
            value.normal_(0, 0.02)
    nn.init.normal_(network.head.weight, std=0.07)
    return network


def clips(rows: list[tuple[str, int, str, str]]) -> pd.DataFrame:
    """A table of (collection, label, family, publisher); every clip shows a person of its own."""
    names = [f"clip{number}" for number in range(len(rows))]
    return pd.DataFrame(
        {
            "clip": names,
            "label": [label for _, label, _, _ in rows],
            "family": [family for _, _, family, _ in rows],
            "generator": [
                f"made by {name}" if label else "" for name, (_, label, _, _) in zip(names, rows, strict=True)
            ],
            "identity": names,
            "source": [source for _, _, _, source in rows],
            "split": [collection for collection, _, _, _ in rows],
        }
    )


def two_collections(n: int = 12) -> pd.DataFrame:
    rows = []
    for collection in ("here", "there"):
        for number in range(n):
            label = number % 2
            family = "real" if not label else ("swap" if number % 4 == 1 else "lipsync")
            rows.append((collection, label, family, f"{collection}-{number}"))
    return clips(rows)
