"""What harmless changes do to scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake.errors import UserError
from lab.distortions import ALWAYS, KINDS, Distortion, choose
from lab.stability import CHANGES, chosen, moves, write_moves

BAND = (0.3, 0.7)


def cell(kind: str, p: dict[str, float | None], level: float | None = None) -> dict[str, Any]:
    videos = {
        name: {"p_fake": 0.5 if x is None else x, "fallback": "no_face" if x is None else None} for name, x in p.items()
    }
    return {"kind": kind, "level": level, "videos": videos}


def test_a_move_is_told_beside_the_same_video_without_a_change() -> None:
    cells = [
        cell("original", {"a": 0.2, "b": 0.9, "c": 0.5}),
        cell("none", {"a": 0.2, "b": 0.8, "c": 0.5}),
        cell("grey", {"a": 0.4, "b": 0.7, "c": None}, 1),
    ]
    original, grey = moves(cells, BAND)
    assert (original["change"], original["n"], original["verdicts_changed"]) == ("original", 3, 0)
    assert (original["mean_move"], original["largest_move"]) == (pytest.approx(0.1 / 3), pytest.approx(0.1))
    assert grey["change"] == "grey 1" and (grey["n"], grey["without_score"]) == (2, 1)
    assert grey["mean_move"] == pytest.approx(0.15) and grey["mean_shift"] == pytest.approx(0.05)
    assert grey["verdicts_changed"] == 2, ".2 is likely real and .4 is not; .7 lies on the bound"


def test_the_table_and_both_files_are_written(tmp_path: Path) -> None:
    cells = [cell("none", {"a": 0.2}), cell("mirror", {"a": None}, 1)]
    text = write_moves(cells, {"about": 1}, BAND, tmp_path)
    assert "| mirror 1 | 0 | 1 | - | - | - | - | 0 |" in text
    assert (tmp_path / "stability.csv").read_text().splitlines()[1] == "mirror 1,0,1,,,,,0"
    assert (tmp_path / "stability.json").is_file()


def test_harmless_changes_are_measured_where_they_are_named_and_not_as_damage() -> None:
    assert not [one for one in choose() if KINDS[one.kind].harmless and one.kind not in ALWAYS]
    assert Distortion("grey", 1) in choose(["grey"])
    assert {one.kind for one in CHANGES} >= {"none", "grey", "gamma", "mirror", "crop", "h264", "scale"}


def test_some_changes_come_with_what_they_are_compared_with_and_an_unknown_one_is_refused() -> None:
    assert chosen(None) == list(CHANGES)
    assert [one.name for one in chosen(["h264", "gamma"])] == ["none", "gamma 0.8", "gamma 1.25", "h264 20"]
    with pytest.raises(UserError, match="found 'jpeg', wanted of original, grey, gamma"):
        chosen(["crop", "jpeg"])


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_keeps_what_it_does_not_change(change: Distortion) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 100, 3), dtype=np.uint8)
    (made,) = change.apply([frame.copy()], 0)
    assert made.dtype == np.uint8
    if change.kind == "grey":
        assert (np.ptp(made, axis=2) == 0).all() and made.shape == frame.shape
    elif change.kind == "mirror":
        assert np.array_equal(made[:, ::-1], frame)
    elif change.kind == "crop":
        assert made.shape == (50, 98, 3) and np.array_equal(made, frame[:, 1:99]), "half a row is none"
    elif change.kind == "gamma":
        table = {int(a): int(b) for a, b in zip(frame.ravel(), made.ravel(), strict=True)}
        assert table[0] == 0 and table[255] == 255 and sorted(table.values()) == [table[key] for key in sorted(table)]
        assert table[128] == round(255 * (128 / 255) ** change.level)
    elif change.kind == "scale":
        assert made.shape == (48, 95, 3)
    else:
        assert np.array_equal(made, frame)
