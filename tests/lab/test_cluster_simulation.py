"""The cluster on paper: hand-worked schedules, and timings that are measured and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake.errors import UserError
from deepfake.faces import extractor
from deepfake.settings import Extract
from lab.cluster_simulation import (
    Outcomes,
    Timing,
    about,
    bytes_of_a_clip,
    draw,
    measure,
    moved,
    read_timings,
    simulate,
    size,
    table,
    write_timings,
)
from moving_squares import SquareDetector

SHORT = Timing("short.mp4", 10, 1.0, 0, 0, 0, 0, 1_000_000, 500_000, 9_000, 0)
LONG = Timing("long.mp4", 600, 12.0, 3.0, 6.0, 3.0, 3, 9_000_000, 600_000, 20_000, 300_000)


def test_two_cores_share_four_equal_clips() -> None:
    assert simulate([SHORT] * 4, 2, cut=False, longest_first=False) == Outcomes(2.0, 0.0, 1.0)


def test_a_long_clip_that_comes_last_is_the_tail_and_first_it_is_not() -> None:
    clips = [SHORT] * 4 + [LONG]
    last = simulate(clips, 2, cut=False, longest_first=False)
    assert (last.makespan_s, last.tail_s) == (14.0, 12.0), "begun at 2 s, and the other core has nothing from then on"
    assert last.busy == pytest.approx(16 / 28)
    first = simulate(clips, 2, cut=False, longest_first=True)
    assert (first.makespan_s, first.tail_s) == (12.0, 8.0)


def test_the_rounds_of_a_cut_clip_follow_each_other_and_use_all_cores() -> None:
    # 1 s alone, three parts of 2 s, 1 s alone, three parts of 1 s, 1 s alone.
    assert simulate([LONG], 3, cut=True, longest_first=True).makespan_s == 1 + 2 + 1 + 1 + 1
    assert simulate([LONG], 2, cut=True, longest_first=True).makespan_s == 1 + 4 + 1 + 2 + 1
    assert simulate([LONG], 3, cut=False, longest_first=True).makespan_s == 12
    beside = simulate([LONG, *[SHORT] * 6], 3, cut=True, longest_first=True)
    assert beside.makespan_s == 6.0 and beside.busy == 1.0, "short clips fill what the rounds leave idle"


def test_clips_are_drawn_alike_each_time_and_in_the_wanted_share() -> None:
    drawn = draw([SHORT, LONG], 10_000, 0.01)
    assert drawn == draw([SHORT, LONG], 10_000, 0.01)
    assert 60 <= sum(clip is LONG for clip in drawn) <= 140
    assert sum(clip is LONG for clip in draw([SHORT, LONG], 10_000)) == pytest.approx(5000, abs=200)
    with pytest.raises(UserError, match="--long-share: 0 of the clips are cut and 1 are not"):
        draw([SHORT], 10, 0.5)


def test_tables_have_a_row_for_each_archive_cluster_and_way() -> None:
    lines = table([SHORT], [100], [10, 20], None).splitlines()
    assert len(lines) == 2 + 2 * 4
    assert lines[2] == "| 100 | 10 | no | no | 10.0 s | 0.0 s | 100.0% |"
    row = moved([SHORT, LONG], [1000], 0.0).splitlines()[2]
    assert row.startswith("| 1,000 | 1.0 GB | 500.0 MB | 9.0 MB | ")
    assert (size(999), size(2.5e12)) == ("1 kB", "2.5 TB")
    assert "1 of them are long" in about([SHORT, LONG])


def test_what_the_driver_holds_of_a_clip_is_some_kilobytes() -> None:
    assert 300 < bytes_of_a_clip() < 3000


def test_clips_are_timed_and_the_timings_kept(
    square_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = SquareDetector(score=0.998)
    monkeypatch.setattr(extractor, "_detector", lambda *arguments: detector)
    short = square_clip(lambda i: [(20, 30, 50, 60)], n_frames=16, name="short.mp4")
    long = square_clip(lambda i: [(20, 30, 50, 60)], n_frames=600, name="long.mp4")
    (tmp_path / "bad.mp4").write_text("no video")
    told: list[str] = []
    settings = Extract(crop_px=32, chunk_from_s=60, chunk_s=40)
    kept = write_timings(measure([short, tmp_path / "bad.mp4", long], settings, told.append), tmp_path / "t.csv")
    assert [timing.clip for timing in kept] == ["short.mp4", "long.mp4"] and any("left out" in line for line in told)
    assert read_timings(tmp_path / "t.csv") == kept
    one, other = kept
    assert (one.n_chunks, one.serial_s, one.waiting_bytes) == (0, 0, 0) and one.seconds > 0
    assert other.n_chunks == 2 and min(other.serial_s, other.search_s, other.sample_s, other.waiting_bytes) > 0
    assert other.file_bytes == long.stat().st_size and other.duration_s == pytest.approx(75)


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("filename,label\na.mp4,0.5\n")
    with pytest.raises(UserError, match="no table of timings"):
        read_timings(path)
    path.write_text("")
    with pytest.raises(UserError, match="no row"):
        read_timings(path)
