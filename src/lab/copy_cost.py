"""What the index of copies costs beside extraction: made by it in passing, or by decoding the videos anew."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import pandas as pd

from deepfake.catalog.hashing import Job as HashJob
from deepfake.catalog.hashing import hash_video
from deepfake.faces.copy_hashes import Settings, kept_hashes
from deepfake.faces.extracted import Job
from deepfake.faces.extractor import extract
from deepfake.settings import Extract

TIMES = 3  # each way, in turn; the least counts


def cost(clips: Sequence[Path]) -> pd.DataFrame:
    """Processor seconds of each clip's extraction alone, what hashes made in passing add, and decoding anew."""
    with tempfile.TemporaryDirectory(prefix="deepfake-") as folder:
        return pd.DataFrame([_cost(clip, Path(folder)) for clip in clips])


def _cost(clip: Path, folder: Path) -> dict[str, object]:
    job = Job(clip.name, clip, folder, "clip.tar", Extract())
    extract(job)  # the detector is loaded
    alone, with_hashes, anew = [], [], []
    for _ in range(TIMES):
        with patch("deepfake.faces.passes.is_hashed_in_passing", return_value=False):
            alone.append(_seconds(lambda: extract(job)))
        with_hashes.append(_seconds(lambda: extract(job)))
        anew.append(_seconds(lambda: hash_video(HashJob(clip, Settings()))))
    kept = kept_hashes(folder, "clip.tar", Settings())
    return {
        "clip": clip.name,
        "extraction s": min(alone),
        "in passing": min(with_hashes) / min(alone) - 1,
        "anew": min(anew) / min(alone),
        "hashes": 0 if kept is None else len(kept.times_N),
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
