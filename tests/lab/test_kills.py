"""Kills at random moments: what differs, hangs or is left running is told; some kills of every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake.errors import UserError
from lab.kills import TARGETS, Tally, Target, digests, finish, parts_left, table, targets_of
from run_command import run

PROGRAM = "import sys; open(sys.argv[1], 'w').write('made'); sys.exit(3)"


def target(folder: Path, *exits: int) -> Target:
    (folder / "program.py").write_text(PROGRAM)
    return Target("t", lambda _: [str(folder / "program.py"), "out.txt"], ("*.txt",), good_exits=exits)


def test_a_command_is_run_to_its_end_in_its_folder_and_another_exit_than_the_good_ones_is_an_error(
    tmp_path: Path,
) -> None:
    finish(target(tmp_path, 3), tmp_path)
    assert (tmp_path / "out.txt").read_text() == "made"
    with pytest.raises(UserError, match="ended with 3, wanted one of"):
        finish(target(tmp_path, 0), tmp_path)


def test_what_a_command_made_is_compared_byte_by_byte(tmp_path: Path) -> None:
    made = target(tmp_path, 3)
    (tmp_path / "out.txt").write_text("one")
    one = digests(made, tmp_path)
    (tmp_path / "out.txt").write_text("two")
    assert one.keys() == {"out.txt"} and digests(made, tmp_path) != one


def test_the_table_counts_and_names_each_breach() -> None:
    fine = Tally("predict", {}, 5.04, kills=20, workers_killed=9, trials=4, equal=4)
    bad = Tally("check", {}, 6.0, kills=8, trials=1, breaches=["check, trial 1: other bytes in pages/all.json"])
    text = table([fine, bad])
    assert "| predict | 20 | 9 | 4 | 4 | 5.0 s |" in text
    assert text.endswith("BREACH check, trial 1: other bytes in pages/all.json\n1 breaches")


def test_what_was_begun_and_stayed_is_a_difference_and_told(tmp_path: Path) -> None:
    made = target(tmp_path, 3)
    before = digests(made, tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".out.txt.7.part").write_text("")
    assert digests(made, tmp_path) == before and parts_left(tmp_path) == ["sub/.out.txt.7.part"]


def test_some_of_the_commands_are_chosen_by_name_and_an_unknown_one_is_answered_with_those_there_are() -> None:
    assert targets_of(None) == TARGETS
    assert [one.name for one in targets_of("04_train_frames, check,check")] == ["04_train_frames", "check"]
    with pytest.raises(UserError, match="found '04', wanted some of predict, check, 02_extract_faces"):
        targets_of("check,04")


@pytest.mark.slow
def test_after_kills_of_every_command_the_same_bytes_are_made() -> None:
    done = run("lab.kills", "--seed", 24, "--n", 5, timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    for one in TARGETS:
        _, name, n_kills, _, n_trials, n_equal, *_ = (
            cell.strip() for line in done.stdout.splitlines() if f"| {one.name} " in line for cell in line.split("|")
        )
        assert (name, n_kills) == (one.name, "1") and n_trials == n_equal != "0"
