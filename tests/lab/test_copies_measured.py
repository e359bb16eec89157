"""The measurement of copies: clips are chosen apart, changed with known seconds, and counted as they are found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deepfake.faces import extractor
from deepfake.media.clips import write_clip
from lab import copies
from lab.copy_cost import cost
from moving_squares import SquareDetector
from wandering_pictures import FPS, moving


def test_invented_hashes_are_found_at_their_seconds(tmp_path: Path) -> None:
    said = copies.generated(30, tmp_path)
    assert said.startswith("30 videos, 1200 hashes: ") and said.endswith("found 000000000.mp4 2.9-6.9 s")


def test_copies_say_which_of_their_seconds_are_whose(tmp_path: Path) -> None:
    frames, other, filler = (moving(seed, 6.25) for seed in (1, 2, 3))  # 75 frames, 3 s at 25 a second
    made = {one.change: one for one in copies.copies_of("a.mp4", frames, ("b.mp4", other), filler, tmp_path)}
    assert tuple(made) == copies.CHANGES
    (name, from_s, to_s, copy_from_s, copy_to_s) = made["re-encode"].spans[0]
    assert (name, to_s, copy_from_s) == ("a.mp4", 3.0, 0.0) and copy_to_s == pytest.approx(3.0 - from_s)
    (_, from_s, to_s, copy_from_s, copy_to_s) = made["excerpt of 2 s in 10 s"].spans[0]
    assert to_s - from_s == pytest.approx(2.0) and copy_to_s - copy_from_s == pytest.approx(2.0)
    first, second = made["two excerpts spliced"].spans
    assert (first[0], second[0]) == ("a.mp4", "b.mp4") and first[4] == second[3] == 62 / 25


def test_recall_and_precision_are_counted_by_pairs(tmp_path: Path) -> None:
    for seed in range(5):
        write_clip(tmp_path / f"{seed}.mp4", moving(seed, 6.25), copies.FPS)
    labels = pd.DataFrame([{"file": f"{i}.mp4", "identity": f"p{i}"} for i in range(5)])
    labels = labels.assign(label="REAL", family="", frames=75, fps=25.0)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    chosen = copies.choose(tmp_path, tmp_path / "labels.csv", 2, 0)
    assert (len(chosen.originals), len(chosen.strangers), len(chosen.others)) == (2, 1, 2)
    first, other = chosen.originals
    span = (first, 0.0, 3.0, 0.0, 3.0)
    asked = [
        copies.Copy("mirror", tmp_path / first, (span,)),
        copies.Copy("mirror", tmp_path / other, (span,)),  # another is found instead
        copies.Copy("of nothing", tmp_path / chosen.strangers[0], ()),
    ]
    table = copies.measure(chosen, asked, tmp_path / "index").set_index("change")
    assert table.loc["mirror", ["wanted", "recall", "found", "precision"]].tolist() == [2, 0.5, 2, 0.5]
    assert table.loc["mirror", "within .5 s"] == 1.0
    assert table.loc["of nothing", "found"] == 0 and table.loc["all", "recall"] == 0.5


def test_the_cost_of_hashes_is_told_beside_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: SquareDetector())
    write_clip(tmp_path / "a.mp4", moving(1, 2.0), FPS)
    (row,) = cost([tmp_path / "a.mp4"]).to_dict("records")
    assert (row["clip"], row["hashes"]) == ("a.mp4", 8)
    assert row["extraction s"] > 0 and row["anew"] > 0 and row["in passing"] > -1
