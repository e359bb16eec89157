"""Clips damaged step by step: what must not be is named, on invented scores and on a drawn person."""

from pathlib import Path

import pytest

from deepfake.detector.check import FORGED, INCONCLUSIVE, REAL, UNREADABLE, Verdict
from deepfake.errors import UserError
from deepfake.media.video import probe
from drawn_faces import write_person
from lab import damage_steps
from lab.cheap_detector import write_cheap_detector
from lab.damage_steps import (
    WHOLE,
    Step,
    as_csv,
    as_markdown,
    check_steps,
    distortions,
    in_order,
    remarks,
    turned,
    write_steps,
)
from lab.distortions import Distortion

PRIOR = 0.5


def step(kind: str, level: float | None, p_fake: float, verdict: Verdict = INCONCLUSIVE) -> Step:
    return Step("a", Distortion(kind, level), p_fake, verdict)


FADES = [
    step("none", None, 0.9, FORGED),
    step("blur", 13, 0.8, FORGED),
    step("blur", 25, 0.805, FORGED),
    step("blur", 37, 0.6),
    step("blur", 61, 0.5),
]


def test_a_score_that_fades_to_the_prior_is_as_it_should_be_and_a_hundredth_is_no_move() -> None:
    assert remarks(FADES, PRIOR) == [""] * 5 and turned(FADES, PRIOR) == 0


def test_each_ladder_begins_with_the_clip_without_damage() -> None:
    assert remarks([*FADES, step("brightness", 0.35, 0.85, FORGED)], PRIOR)[-1] == "", (
        "nearer than .9, though not than .5"
    )
    assert remarks([*FADES, step("brightness", 0.35, 0.95, FORGED)], PRIOR)[-1] == "farther than before"
    assert remarks([*FADES[:4], step("blur", 61, 0.7)], PRIOR)[-1] == "farther than before", "than .6"


def test_past_the_prior_and_a_turned_verdict_are_named() -> None:
    assert remarks([*FADES, step("h264", 45, 0.4)], PRIOR)[-1] == "past the prior"
    steps = [*FADES, step("h264", 45, 0.1, REAL)]
    assert remarks(steps, PRIOR)[-1] == "VERDICT TURNED, past the prior" and turned(steps, PRIOR) == 1


def test_a_real_one_comes_to_the_prior_from_below() -> None:
    steps = [step("none", None, 0.1, REAL), step("cut", 2, 0.3), step("cut", 1, 0.2), step("h264", 45, 0.6)]
    assert remarks(steps, PRIOR) == ["", "", "farther than before", "past the prior"]


def test_a_clip_that_was_not_read_is_no_good_sign() -> None:
    assert remarks([*FADES, step("h264", 45, PRIOR, UNREADABLE)], PRIOR)[-1] == "NO SCORE"


def test_the_table_counts_what_must_not_be() -> None:
    text = as_markdown([*FADES, step("h264", 45, 0.1, REAL)], PRIOR)
    assert "| none | 0.90 likely forged |" in text
    assert "| h264 45 | 0.10 likely real **VERDICT TURNED, past the prior** |" in text
    assert "5 damaged clips, prior 0.50: 4 as near" in text
    assert "0 farther, 1 past it, 1 of turned verdict, 0 not scored" in text


def test_twelve_damages_are_measured_from_light_to_heavy() -> None:
    names = [damage.name for damage in distortions()]
    assert names[0] == WHOLE.name and len(set(names)) == 1 + 12


def test_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'a'.*twice"):
        write_steps([tmp_path / "a.mp4", tmp_path / "b" / "a.mp4"], tmp_path / "out")


def test_steps_are_written_once_and_a_cut_leaves_the_first_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage_steps, "LADDERS", (("cut", (2,)),))
    write_person(tmp_path / "a.mp4", 1, n_frames=6)
    made = write_steps([tmp_path / "a.mp4"], tmp_path / "out")
    assert [(clip, damage.name, probe(path).n_frames) for clip, damage, path in made] == [
        ("a", "none", 6),
        ("a", "cut 2", 2),
    ]
    (tmp_path / "a.mp4").unlink()
    assert write_steps([tmp_path / "a.mp4"], tmp_path / "out") == made, "nothing is written again"


@pytest.mark.slow
def test_every_step_of_a_drawn_person_is_written_and_checked(tmp_path: Path) -> None:
    from deepfake.detector.file import load_detector

    write_person(tmp_path / "a.mp4", 1, n_frames=8)
    write_cheap_detector(tmp_path / "cheap.safetensors", {"frames_per_video": 4})
    detector = load_detector(tmp_path / "cheap.safetensors")
    steps = in_order(list(check_steps([tmp_path / "a.mp4"], detector, "0" * 64, tmp_path / "out")))
    assert [one.damage for one in steps] == distortions()
    by_name = {one.damage.name: one for one in steps}
    assert by_name["cut 1"].verdict == INCONCLUSIVE or by_name["cut 1"].reason, "one frame is too little"
    assert by_name["blur 61"].sharpness < by_name["none"].sharpness
    rows = as_csv(steps, detector.stack.prior).decode().splitlines()
    assert rows[0].startswith("clip,damage,p_fake") and len(rows) == len(distortions()) + 1
