"""Rows that come in any order give the very file that `tables.write` gives; memory does not hold them."""

from pathlib import Path

import pandas as pd
import pytest

from deepfake import gathered, tables
from deepfake.gathered import Gathered


def rows(n: int) -> list[dict[str, object]]:
    return [{"stage": "02", "video_id": f"{i * 7919 % n:05d}.mp4", "reason": f"reason {i % 3}"} for i in range(n)]


@pytest.mark.parametrize("n", [0, 1, 9, 10, 57])
@pytest.mark.parametrize("in_memory", [1, 10, 1000])
@pytest.mark.parametrize("group_rows", [8, 1 << 20])
def test_the_file_is_that_of_all_rows_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, in_memory: int, group_rows: int
) -> None:
    monkeypatch.setattr(gathered, "ROWS_IN_MEMORY", in_memory)
    monkeypatch.setattr(gathered, "GROUP_ROWS", group_rows)
    with Gathered(tables.FAILURES, tmp_path) as made:
        for start in range(0, n, 4):
            made.add(rows(n)[start : start + 4])
        made.write(tmp_path / "made.parquet")
    wanted = pd.DataFrame(rows(n)) if n else tables.empty(tables.FAILURES)
    tables.write(tables.FAILURES, wanted, tmp_path / "wanted.parquet")
    assert tables.read(tables.FAILURES, tmp_path / "made.parquet").equals(
        tables.read(tables.FAILURES, tmp_path / "wanted.parquet")
    )
    if group_rows == 1 << 20:
        assert (tmp_path / "made.parquet").read_bytes() == (tmp_path / "wanted.parquet").read_bytes()
    assert made.n_rows == n
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.parquet", "wanted.parquet"]


@pytest.mark.parametrize("in_memory", [1, 3, 1000])
@pytest.mark.parametrize("group_rows", [1, 4, 1 << 20])
def test_a_key_that_comes_twice_is_refused_and_no_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int, group_rows: int
) -> None:
    monkeypatch.setattr(gathered, "ROWS_IN_MEMORY", in_memory)
    monkeypatch.setattr(gathered, "GROUP_ROWS", group_rows)
    with Gathered(tables.FAILURES, tmp_path) as made, pytest.raises(ValueError, match=r"repeat a key.*00003\.mp4"):
        for row in [*rows(10), {"stage": "02", "video_id": "00003.mp4", "reason": "again"}]:
            made.add([row])
        made.write(tmp_path / "made.parquet")
    assert list(tmp_path.iterdir()) == []
