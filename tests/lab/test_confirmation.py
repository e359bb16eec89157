"""Clips kept for confirmation: asked only when it is meant, counted, logged by the asking itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_cross_validation import many

from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.pooling import Tracks
from deepfake.ensemble.stack import Stack
from deepfake.errors import UserError
from deepfake.settings import Ensemble
from lab.commands import confirm as command
from lab.confirmation import TITLE, Confirmed, append_asking, askings, confirm, confirm_stack, refuse_unasked

FOUND = Confirmed({"swap": 0.7, "all": 0.65, "lipsync": float("nan")}, 0.66, 0.25, 0.1)


def test_without_a_reason_the_clips_are_not_asked_and_it_says_how_often_they_were(tmp_path: Path) -> None:
    log = tmp_path / "ablations.md"
    log.write_text("# Log\n")
    with pytest.raises(UserError, match="asked 0 times"):
        refuse_unasked(log, False)
    append_asking(log, "2026-11-27", "borders2/600", "it won", FOUND)
    with pytest.raises(UserError, match="asked once, the last time by borders2/600 on 2026-11-27"):
        refuse_unasked(log, False)
    refuse_unasked(log, True)


def test_each_asking_is_a_numbered_row_and_the_rest_of_the_log_stays(tmp_path: Path) -> None:
    log = tmp_path / "ablations.md"
    log.write_text("# Log\n\n## Earlier\n\n| 7 | of another table |\n")
    first = append_asking(log, "2026-11-27", "a", "it won | twice\nover", FOUND)
    log.write_text(log.read_text() + "\n## Later\n\n| 9 | of another table |\n")
    second = append_asking(log, "2026-11-28", "b", "again", FOUND)
    assert first == "| 1 | 2026-11-27 | a | it won / twice over | 0.70 | - | - | - | 0.65 | 0.660 | 25% | 10% |"
    assert askings(log) == [first, second] and second.startswith("| 2 | ")
    text = log.read_text()
    assert text.count(TITLE) == 1 and text.index(second) < text.index("## Later") and "## Earlier" in text


def test_probabilities_come_from_the_known_clips_alone() -> None:
    known, logits = many()
    fresh, fresh_logits = many(4, seed=5)
    found = confirm(
        known,
        Tracks.one_each(logits[:, None], ["m"]),
        fresh,
        Tracks.one_each(fresh_logits[:, None], ["m"]),
        Ensemble(),
    )
    flipped = fresh.assign(label=1 - fresh["label"])
    other = confirm(
        known,
        Tracks.one_each(logits[:, None], ["m"]),
        flipped,
        Tracks.one_each(fresh_logits[:, None], ["m"]),
        Ensemble(),
    )
    assert found.aucs["all"] > 0.7 and other.aucs["all"] == pytest.approx(1 - found.aucs["all"])
    assert found.decided == other.decided and found.log_loss < other.log_loss
    if found.decided:
        assert other.wrong == pytest.approx(1 - found.wrong)
    assert np.isfinite(found.log_loss)


def test_a_file_is_asked_as_it_is_with_its_own_band() -> None:
    fresh, _ = many(1)  # four reals, then four fakes
    logits = np.array([-3.0, -2.0, 0.5, 3.0, -3.0, 0.0, 2.0, 3.0])
    tracks = Tracks.one_each(np.column_stack([logits, 9 * logits]), ["m", "without a weight"])
    stack = Stack(("m", "without a weight"), (1.0, 0.0), Calibration("none"), 0.5, (0.2, 0.8))
    found = confirm_stack(fresh, tracks, stack, Ensemble())
    assert found.decided == pytest.approx(6 / 8) and found.wrong == pytest.approx(2 / 6), "one real, one fake"
    # Pairs of a fake above a real: 0 and a tie, 2, 3, 3 and a tie of 16.
    assert found.aucs["swap"] == pytest.approx((0.5 + 2 + 3 + 3.5) / 16)
    shut = confirm_stack(fresh, tracks, replace(stack, band=(0.0, 1.0)), Ensemble())
    assert shut.decided == 0 and np.isnan(shut.wrong) and shut.log_loss == found.log_loss


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "wanted either --run, once or more, or --weights"),
        (["--run", "a", "--weights", "b"], "wanted either --run, once or more, or --weights"),
        (["--run", "a"], "--run wants --config, --clips and --labels"),
        (["--weights", "b"], "have been asked 0 times"),
    ],
)
def test_half_a_question_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    args = command.arguments().parse_args([*arguments, "--log", str(tmp_path / "log.md")])
    with pytest.raises(UserError, match=message):
        command.run(args)
