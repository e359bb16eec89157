"""Groups of signs over a video, each within limits of its own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from deepfake.detector.check import Check
from deepfake.evidence import gathering
from deepfake.evidence.gathering import fewer_points
from deepfake.evidence.signs import GROUPS, Curve, Found
from deepfake.faces.extracted import Extraction
from deepfake.workers import ONE_THREAD, Kept, Limits, start_ahead
from evidence_groups import bare_check


@pytest.fixture(autouse=True)
def groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GROUPS", {"drawn": "evidence_groups"})


def gathered(*names: str, deadline_s: float = 30.0) -> list[tuple[Check, Found]]:
    with gathering.gathering(Limits(1, deadline_s, 1500)) as gather:
        return [gather(bare_check(name), Extraction("v"), Path("cache")) for name in names]


def test_what_a_group_finds_stands_in_the_check_and_nothing_else_changes() -> None:
    ((made, found),) = gathered("clip.mp4")
    assert [sign.finding for sign in made.evidence or ()] == ["Found in clip."]
    assert found.signs == made.evidence
    assert made.model_copy(update={"evidence": None}) == bare_check("clip.mp4")


@pytest.mark.slow
def test_a_group_that_raises_hangs_or_dies_says_so_and_the_next_video_is_examined() -> None:
    checks = [made for made, _ in gathered("raises.mp4", "hangs.mp4", "dies.mp4", "clip.mp4", deadline_s=4)]
    signs = [sign for made in checks for sign in made.evidence or ()]
    assert [sign.kind for sign in signs] == [*["drawn.not_examined"] * 3, "drawn.found"]
    assert [sign.strength for sign in signs] == [0, 0, 0, 0.5]
    for sign, words in zip(
        signs, ("an <odd> file; of two lines", "took longer than 4 s", "process died"), strict=False
    ):
        assert words in sign.finding and "--" not in sign.finding, "no option moves these limits"


def test_what_was_begun_early_is_found_once_and_by_a_process_that_is_there() -> None:
    kept: Kept = list(start_ahead(1, ONE_THREAD, []))
    process = kept[0].process
    with gathering.gathering(kept=kept) as gather:
        for name in ("clip.mp4", "other.mp4"):
            gather.begin(bare_check(name), Extraction("v"), Path("cache"))
        made = [gather(bare_check(name), Extraction("v"), Path("cache"))[0] for name in ("other.mp4", "clip.mp4")]
        assert [worker.process for worker in kept] == [process], "no other was started"
    assert [sign.finding for check in made for sign in check.evidence or ()] == ["Found in other.", "Found in clip."]
    assert not process.is_alive()


def test_what_still_runs_when_the_block_ends_is_stopped() -> None:
    with gathering.gathering(Limits(1, 60, 1500)) as gather:
        gather.begin(bare_check("hangs.mp4"), Extraction("v"), Path("cache"))
        started = time.monotonic()
    assert time.monotonic() - started < 10


def test_what_is_found_without_end_is_cut_to_what_a_page_can_bear() -> None:
    ((made, found),) = gathered("floods.mp4")
    strengths = [sign.strength for sign in made.evidence or ()]
    assert strengths == [i / 1000 for i in range(960, 1000)], "the strongest, in their order"
    assert max(len(sign.finding) for sign in found.signs) == 600
    assert len(found.parts) == 200 and len(found.curves) == 12
    assert max(len(curve.times_s) for curve in found.curves) == 600


def test_a_curve_of_fewer_points_holds_the_means_of_stretches_and_is_broken_where_it_was() -> None:
    curve = Curve("lane", "name", np.arange(8.0), np.array([0, 2, 4, 6, np.nan, np.nan, 1, np.nan]), 0, 1)
    fewer = fewer_points(curve, 4)
    assert fewer.values.tolist()[:2] == [1, 5] and np.isnan(fewer.values[2]) and fewer.values[3] == 1
    assert (np.diff(fewer.times_s) > 0).all()
    assert fewer_points(curve, 8).values.tolist()[1] == 2


def test_every_group_has_a_name_for_sentences() -> None:
    assert set(GROUPS) <= set(gathering.NAMES)
