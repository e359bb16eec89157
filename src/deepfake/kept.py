"""Plain values kept in a cache between runs, with a digest of what was written: a damaged file counts as none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepfake.files import digest, write_whole


def keep(path: Path, value: Any) -> None:
    """Write a value of lists, dicts, texts and numbers, whole or not at all."""
    write_whole(path, json.dumps({"sha256": digest(value), "value": value}).encode())


def kept(path: Path) -> Any | None:
    """The value that `keep` wrote; None where there is none, or not all of it as it was written."""
    try:
        stored = json.loads(path.read_bytes())
        value = stored["value"]
        return value if digest(value) == stored["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
