from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deepfake.demo.build import KNOWN_TO_SHIPPED
from deepfake.demo.plan import SOURCES
from deepfake.demo.verdicts import Judged, caution, judge, outcome, table, tally
from deepfake.detector.judged import TrackScore
from deepfake.detector.score_videos import Scored
from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.evaluation.labelled import Labelled
from deepfake.settings import Ensemble

BAND = (0.3, 0.7)
DETECTOR: Any = SimpleNamespace(stack=Stack(("a",), (1.0,), Calibration("none"), 0.5, BAND), ensemble=Ensemble())


def scored(name: str, p_fake: float, fallback: str | None = None) -> Scored:
    """A score of a face that was seen well for eight seconds."""
    n, zeros = 32, np.zeros(32)
    boxes = np.tile([0.0, 0.0, 99.0, 99.0], (n, 1))
    track = TrackScore(0, 0, 0.0, zeros, np.arange(n) / 4, np.arange(n), boxes, np.zeros(1), trust=1.0, sharpness=99.0)
    tracks = [] if fallback else [track]
    return Scored(name, p_fake, n * len(tracks), len(tracks), fallback, None, tracks)


def labelled(name: str, family: str | None, identity: str = "man_in_car") -> Labelled:
    row = {"filename": name, "label": "FAKE" if family else "REAL", "family": family or "real", "identity": identity}
    return Labelled(name, int(family is not None), row)


@pytest.fixture
def judged() -> list[Judged]:
    """Two decided rightly, one wrongly, two open, one without a face and one unreadable."""
    results = [
        scored("f.mp4", 0.91),
        scored("e.mp4", 0.70),
        scored("d.mp4", 0.2),
        scored("c.mp4", 0.3),
        scored("b.mp4", 0.1),
        scored("a.mp4", 0.5, "no_face"),
        scored("g.mp4", 0.5, "unreadable: cut short"),
    ]
    truth = [
        labelled("g.mp4", None),
        labelled("f.mp4", "self_blend", "man_blue_wall+man_in_car"),
        labelled("e.mp4", "self_blend"),
        labelled("d.mp4", "cross_identity_swap"),
        labelled("c.mp4", None),
        labelled("b.mp4", None),
        labelled("a.mp4", None),
    ]
    return judge(results, truth, DETECTOR)


def test_a_video_on_the_bounds_of_the_band_is_inconclusive_and_never_right(judged: list[Judged]) -> None:
    verdicts = {video.file: (video.verdict, video.is_right) for video in judged}
    assert verdicts == {
        "a.mp4": ("no face found", False),
        "b.mp4": ("likely real", True),
        "c.mp4": ("inconclusive", False),
        "d.mp4": ("likely real", False),
        "e.mp4": ("inconclusive", False),
        "f.mp4": ("likely forged", True),
        "g.mp4": ("could not be read", False),
    }


def test_the_table_has_a_line_a_video_with_its_true_label_and_a_star_for_a_known_person(judged: list[Judged]) -> None:
    lines = table(judged).splitlines()
    assert lines[0].split() == ["file", "verdict", "p_fake", "truth"]
    assert [line.split()[0] for line in lines[1:]] == [f"{letter}.mp4" for letter in "abcdefg"]
    assert lines[1].split("  ")[-1].strip() == "REAL"
    assert "  -  " in lines[1], "without a score there is no p_fake to show"
    assert lines[4].endswith("0.20    FAKE (cross_identity_swap)")
    assert lines[6].endswith("0.91    FAKE (self_blend) *")
    assert len({line.index(word) for line in lines[1:] for word in ("REAL", "FAKE") if word in line}) == 1


def test_the_last_line_counts_the_decided_the_right_and_the_rest(judged: list[Judged]) -> None:
    assert tally(judged) == (
        "decided: 3 of 7, 2 of them rightly; inconclusive: 2, 1 no face, 1 unreadable; fakes found: 1 of 3"
    )


def test_nothing_decided_is_no_error() -> None:
    assert tally(judge([scored("a.mp4", 0.5)], [labelled("a.mp4", None)], DETECTOR)) == (
        "decided: 0 of 1, 0 of them rightly; inconclusive: 1; fakes found: 0 of 0"
    )


def test_that_the_detector_knows_a_person_is_said_only_where_one_got_a_score(judged: list[Judged]) -> None:
    assert "174 that chose" in (caution(judged) or "")
    strangers = judge([scored("a.mp4", 0.9)], [labelled("a.mp4", "self_blend")], DETECTOR)
    assert caution(strangers) is None
    faceless = judge([scored("a.mp4", 0.5, "no_face")], [labelled("a.mp4", None, "man_blue_wall")], DETECTOR)
    assert caution(faceless) is None
    assert "*" not in table(faceless)


def test_the_known_people_are_people_of_the_demo() -> None:
    assert {source.identity for source in SOURCES.values()} > KNOWN_TO_SHIPPED


def test_a_labelled_video_without_a_score_is_an_error_that_names_it() -> None:
    with pytest.raises(UserError, match=r"'b\.mp4'.*no score"):
        judge([scored("a.mp4", 0.5)], [labelled("b.mp4", None)], DETECTOR)


def report(value: float | None, low: float | None = 0.5, high: float | None = 0.9) -> dict[str, Any]:
    auc = {"value": value, "low": low, "high": high, "reason": None if value else "one class only"}
    return {"models": [{"metrics": {"roc_auc": auc}}], "counts": {"scored": 40, "groups": 4}}


def test_the_new_run_s_figure_has_its_interval_and_a_poor_one_its_reason() -> None:
    assert outcome(report(0.8)) == "out-of-fold AUC 0.80 [0.50, 0.90], 40 videos of 4 groups of people"
    assert outcome(report(0.75)).count("\n") == 0
    assert "below 0.75: every fold learns from fewer than 4 groups" in outcome(report(0.749))
    assert outcome(report(0.8, None, None)).startswith("out-of-fold AUC 0.80, 40 videos")
    assert outcome(report(None)) == "out-of-fold AUC: none, one class only"
