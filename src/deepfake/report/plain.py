"""Tables as plain values that JSON can hold, and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfake.ensemble.submission import csv_bytes


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; what is missing is None."""
    return [{str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The named columns of rows; what is missing or None is an empty cell, numbers have six digits."""
    return csv_bytes([list(columns), *([_cell(row.get(name)) for name in columns] for row in rows)])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def flat_measures(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Measures side by side: NAME, NAME_low, NAME_high."""
    return {
        f"{name}{suffix}": measure[part]
        for name, measure in measures.items()
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high"))
    }
