"""Values kept in a cache: as they were written, or not at all."""

from pathlib import Path

import pytest

from deepfake.kept import keep, kept

VALUE = {"b": [1.5, -0.1, None, 1e-300], "a": "ä <b>", "nested": [{"frame": 3}]}


def test_a_value_comes_back_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path / "new" / "v.json", VALUE)
    assert kept(tmp_path / "new" / "v.json") == VALUE
    assert kept(tmp_path / "none.json") is None


def test_no_byte_may_be_another_and_none_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    keep(path, VALUE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kept(path) is None, f"byte {place}"
        path.write_bytes(whole[:place])
        assert kept(path) is None, f"cut at {place}"


@pytest.mark.parametrize("text", ["", "null", "[]", '{"value": 1}', '{"value": 1, "sha256": null}', "[" * 100_000])
def test_what_is_something_else_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.json").write_text(text)
    assert kept(tmp_path / "v.json") is None
