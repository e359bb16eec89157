"""Tables between stages: what breaks the contract is refused, on write and on read."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepfake import tables
from deepfake.errors import UserError


def folds(*rows: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["video_id", "group", "fold"])


TWO = folds(("b.mp4", "a.mp4", 1), ("a.mp4", "a.mp4", 0))


@pytest.mark.parametrize("table", tables.ALL_TABLES, ids=lambda table: table.name)
def test_every_column_says_what_it_means_and_the_key_is_never_empty(table: tables.Table) -> None:
    assert all(column.meaning for column in table.columns)
    filled = {column.name for column in table.columns if not column.nullable}
    assert set(table.key) <= filled


@pytest.mark.parametrize("table", tables.ALL_TABLES, ids=lambda table: table.name)
def test_a_table_without_rows_goes_to_disk_and_back(table: tables.Table, tmp_path: Path) -> None:
    tables.write(table, tables.empty(table), tmp_path / "t.parquet")
    back = tables.read(table, tmp_path / "t.parquet")
    assert len(back) == 0 and list(back.columns) == [column.name for column in table.columns]


def test_rows_come_back_sorted_by_their_key(tmp_path: Path) -> None:
    tables.write(tables.FOLDS, TWO, tmp_path / "folds.parquet")
    back = tables.read(tables.FOLDS, tmp_path / "folds.parquet")
    assert back["video_id"].tolist() == ["a.mp4", "b.mp4"] and back["fold"].tolist() == [0, 1]


def test_equal_rows_in_another_order_give_equal_bytes(tmp_path: Path) -> None:
    shuffled = TWO.iloc[::-1][["fold", "video_id", "group"]].reset_index(drop=True)
    tables.write(tables.FOLDS, TWO, tmp_path / "one")
    tables.write(tables.FOLDS, shuffled, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_missing_and_an_unknown_column_are_refused_together() -> None:
    with pytest.raises(ValueError, match=r"table folds: missing columns \['fold'\], unknown columns \['fould'\]"):
        tables.check(tables.FOLDS, TWO.rename(columns={"fold": "fould"}))


def test_an_empty_cell_is_refused_where_it_must_be_filled() -> None:
    with pytest.raises(ValueError, match="column group is empty in 1 rows"):
        tables.check(tables.FOLDS, folds(("a", None, 0), ("b", "b", 1)))  # type: ignore[arg-type]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    row = {"model": "m", "video_id": "v", "p_fake": float("nan"), "n_faces": 1, "n_tracks": 1, "fallback": None}
    with pytest.raises(ValueError, match="column p_fake is empty"):
        tables.check(tables.VIDEO_SCORES, pd.DataFrame([row]))


def test_a_repeated_key_is_refused_with_the_first_of_them() -> None:
    with pytest.raises(ValueError, match=r"1 rows repeat a key, the first \{'video_id': 'a.mp4'\}"):
        tables.check(tables.FOLDS, folds(("a.mp4", "a", 0), ("a.mp4", "b", 1)))


@pytest.mark.parametrize("value", ["two", 300, 0.5])
def test_a_value_that_does_not_fit_its_column_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"table folds: .*column fold"):
        tables.check(tables.FOLDS, pd.DataFrame({"video_id": ["a"], "group": ["a"], "fold": [value]}))


def test_names_with_any_letters_come_back_unchanged(tmp_path: Path) -> None:
    names = ["Ünïcode 视频.mp4", 'a "b" <i>.mp4', "line\nend.mp4", " space .mp4"]
    tables.write(tables.FOLDS, folds(*((n, n, 0) for n in names)), tmp_path / "t")
    assert set(tables.read(tables.FOLDS, tmp_path / "t")["video_id"]) == set(names)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folds.parquet"
    tables.write(tables.FOLDS, TWO, path)
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tables.write(tables.FOLDS, folds(("c", "c", 0)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["folds.parquet"]


def test_rows_that_break_the_contract_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folds.parquet"
    tables.write(tables.FOLDS, TWO, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="repeat a key"):
        tables.write(tables.FOLDS, folds(("a", "a", 0), ("a", "a", 0)), path)
    assert path.read_bytes() == before


def test_a_table_that_is_not_there_names_the_way_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folds.parquet does not exist; run the stage that makes it"):
        tables.read(tables.FOLDS, tmp_path / "folds.parquet")


@pytest.mark.parametrize("change", ["renamed", "retyped", "reordered"])
def test_a_parquet_file_with_other_columns_is_refused(tmp_path: Path, change: str) -> None:
    arrow = tables.check(tables.FOLDS, TWO)
    if change == "renamed":
        arrow = arrow.rename_columns(["video_id", "group", "part"])
    elif change == "retyped":
        arrow = arrow.set_column(2, "fold", arrow["fold"].cast(pa.int64()))
    else:
        arrow = arrow.select(["fold", "group", "video_id"])
    pq.write_table(arrow, tmp_path / "folds.parquet")
    with pytest.raises(UserError, match="has other columns"):
        tables.read(tables.FOLDS, tmp_path / "folds.parquet")


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -9])
def test_a_damaged_parquet_file_is_a_user_error(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "folds.parquet"
    tables.write(tables.FOLDS, TWO, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        tables.read(tables.FOLDS, path)


def test_flipped_bytes_never_end_in_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "folds.parquet"
    tables.write(tables.FOLDS, folds(*((f"video{i}.mp4", f"g{i % 7}", i % 3) for i in range(300))), path)
    good = path.read_bytes()
    for place in range(0, len(good), 41):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x5A]) + good[place + 1 :])
        try:
            tables.read(tables.FOLDS, path)
        except UserError as error:
            assert "folds" in str(error)


def test_a_limit_takes_rows_from_the_whole_table() -> None:
    frame = pd.DataFrame({"n": range(10)})
    assert tables.spread(frame, 3)["n"].tolist() == [0, 3, 6]
    assert tables.spread(frame, None)["n"].tolist() == list(range(10))
    assert tables.spread(frame, 99)["n"].tolist() == list(range(10))
