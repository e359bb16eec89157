"""What members cost: sums of parts, notes that survive or are not there, parts that are shared."""

import json
from pathlib import Path

import pytest

from deepfake.ensemble.costs import Cost, cost_path, costs_ms, read_cost, run_costs, total, write_cost


def test_parts_add_up_and_unknown_or_empty_ones_count_nothing() -> None:
    parts = [Cost(1.5, 3, machine="CPU"), None, Cost(0.25, 0, ("other",), "GPU"), Cost(0.5, 1, ("frames",), "CPU")]
    assert total(parts) == Cost(2.0, 4, ("frames",), "CPU")
    assert total([]) == total([None]) == Cost(0, 0)
    assert total([Cost(1, 1, machine="b"), Cost(1, 1, machine="a")]).machine == "a; b"


def test_a_note_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    cost = Cost(0.125, 7, ("frames",), "CPU, 2 threads")
    path = cost_path(tmp_path, "sequences", "oof")
    write_cost(path, cost)
    assert path == tmp_path / "sequences" / "cost_oof.json" and read_cost(path) == cost


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "{}", '{"seconds": 1, "n_videos": 1}', '{"seconds": 1, "n_videos": 1, "needs": [], "x": 1}']
    + [json.dumps({"seconds": s, "n_videos": n, "needs": []}) for s, n in ((-1, 1), (1, -1), ("a", 1), (1, None))]
    + ['{"seconds": NaN, "n_videos": 1, "needs": []}', '{"seconds": 1, "n_videos": 1, "needs": null}'],
)
def test_what_is_no_note_is_an_unknown_cost(tmp_path: Path, text: str) -> None:
    assert read_cost(tmp_path / "none.json") is None
    (tmp_path / "note.json").write_text(text)
    assert read_cost(tmp_path / "note.json") is None


def test_a_run_s_members_cost_what_both_notes_say_together(tmp_path: Path) -> None:
    write_cost(cost_path(tmp_path, "frames", "oof"), Cost(6.0, 12))
    write_cost(cost_path(tmp_path, "frames", "test"), Cost(2.0, 4))
    write_cost(cost_path(tmp_path, "motion", "oof"), Cost(0.0, 0))
    costs = run_costs(tmp_path, ["frames", "motion", "sequences"])
    assert costs == {"frames": Cost(8.0, 16)}, "scored nothing, and scored before times were noted: unknown"
    assert costs_ms(costs) == {"frames": {"frames": 500.0}}


def test_a_member_costs_what_it_needs_too_and_is_unknown_where_that_is() -> None:
    costs = {"frames": Cost(4.0, 10), "sequences": Cost(0.5, 10, ("frames",)), "motion": Cost(0.25, 5)}
    assert costs_ms(costs) == {
        "frames": {"frames": 400.0},
        "sequences": {"frames": 400.0, "sequences": 50.0},
        "motion": {"motion": 50.0},
    }
    del costs["frames"]
    assert costs_ms(costs) == {"motion": {"motion": 50.0}}
