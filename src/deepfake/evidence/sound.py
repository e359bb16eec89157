"""Sound and mouth (being built)."""

from __future__ import annotations

from deepfake.evidence.signs import Examined, Found


def find(examined: Examined) -> Found:
    """Nothing yet."""
    return Found()
