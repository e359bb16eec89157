"""Rates and thresholds of traces, by hand; and clips of which it is known what was done to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake.media.clips import write_clip
from lab import traces, traces_clips
from lab.traces_clips import PLAIN, Source


def values(rows: list[tuple[str, int, float]], trace: str = "earlier_grid") -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["change", "half", "value"])
    return table.assign(trace=trace, group="g", path="p")


def test_a_rate_stands_beside_its_interval() -> None:
    assert str(traces.Rate(0, 20)) == "0/20 = 0% (0%..17%)"  # 1 - .025 ** (1 / 20)
    assert str(traces.Rate(0, 0)) == "-"


def test_the_threshold_lies_above_all_but_two_percent_of_each_plain_kind_of_the_first_half() -> None:
    plain = [(PLAIN[0], 0, float(value)) for value in range(100)] + [(PLAIN[1], 0, 5.0)]
    others = [(PLAIN[0], 1, 1000.0), ("cropped", 0, 2000.0), (PLAIN[2], 0, float("nan"))]
    assert traces.threshold_of(values(plain + others)) == pytest.approx(97 * 1.02)


def test_rates_are_those_of_the_other_half() -> None:
    high = 100.0
    rows = [(PLAIN[0], 0, 0.1), ("cropped", 0, 0.0), ("cropped", 1, high), ("cropped", 1, 0.0), (PLAIN[1], 1, high)]
    table = traces.table(values(rows)).set_index("trace")
    assert table.loc["earlier_grid", "found"].startswith("1/2")
    assert table.loc["earlier_grid", PLAIN[1]].startswith("1/1") and table.loc["earlier_grid", PLAIN[0]] == "-"


def test_no_publisher_is_in_both_halves_and_none_is_empty() -> None:
    sources = [
        Source(Path(f"{group}{i}"), group, "REAL") for group, n in (("a", 5), ("b", 3), ("c", 1)) for i in range(n)
    ]
    assert traces_clips.halves(sources) == {"a": 0, "b": 1, "c": 1}


@pytest.mark.slow
def test_a_change_is_made_once_and_its_clip_taken_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(60)]
    labels = "file,label,identity,source\n"
    for name in ("a", "b"):
        write_clip(tmp_path / f"{name}.mp4", frames, traces_clips.FPS, crf=40)
        labels += f"{name}.mp4,REAL,{name},{name}\n"
    (tmp_path / "labels.csv").write_text(labels)
    chosen, everything = traces_clips.choose(tmp_path, tmp_path / "labels.csv", 1)
    made = {clip.change: clip.path for clip in traces_clips.make(chosen, everything, tmp_path / "made")}
    assert set(made) == {traces_clips.UNTOUCHED, *traces_clips.CHANGES}
    before = {path: path.stat().st_mtime_ns for path in made.values()}
    again = list(traces_clips.make(chosen, everything, tmp_path / "made"))
    assert {clip.path: clip.path.stat().st_mtime_ns for clip in again} == before
