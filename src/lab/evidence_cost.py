"""What `deepfake check --evidence` costs beside `deepfake check`: seconds of the clock and of the processor."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from deepfake.errors import UserError

ROUNDS = 3
VERDICTS = (0, 3, 4, 5)  # exit codes of a check that was made


def cost_table(clips: list[Path], rounds: int = ROUNDS) -> pd.DataFrame:
    """A row a clip, the best of some rounds of each, in turns; every check reads the file anew."""
    return pd.DataFrame(list(_rows(clips, rounds)))


def _rows(clips: list[Path], rounds: int) -> Iterator[dict[str, object]]:
    for clip in clips:
        plain, more = zip(*[(_check(clip), _check(clip, "--evidence")) for _ in range(rounds)], strict=True)
        wall_s, cpu_s = (min(values) for values in zip(*plain, strict=True))
        more_wall_s, more_cpu_s = (min(values) for values in zip(*more, strict=True))
        yield {
            "clip": clip.name,
            "check_s": wall_s,
            "with_evidence_s": more_wall_s,
            "more": more_wall_s / wall_s - 1,
            "check_cpu_s": cpu_s,
            "with_evidence_cpu_s": more_cpu_s,
            "more_cpu": more_cpu_s / cpu_s - 1,
        }


def _check(clip: Path, *flags: str) -> tuple[float, float]:
    """Seconds of the clock and of the processor of one check."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = ["--cache", folder, "--html", f"{folder}/page.html", "--json", f"{folder}/page.json"]
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "deepfake", "check", *flags, *outputs, "--", str(clip)],
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in VERDICTS:
        raise UserError(f"clip {str(clip)!r}: its check failed: {done.stderr.strip()[-300:]}")
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
