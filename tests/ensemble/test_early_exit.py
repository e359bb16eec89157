"""When looking stops: orders that cover, intervals that hold, forgeries that are short, crops that do not change."""

import math

import numpy as np
import pytest

from deepfake.ensemble.calibration import Calibration
from deepfake.ensemble.early_exit import (
    USUAL_SPREAD,
    PartialScore,
    SkipGate,
    coarse_to_fine,
    is_settled,
    rounds,
    score_until_settled,
    standard_error,
)
from deepfake.ensemble.pooling import track_logit
from deepfake.ensemble.stack import Stack
from deepfake.settings import Ensemble

ON = Ensemble(early_exit="on", exit_most=1.0)
HALF = ON.model_copy(update={"exit_most": 0.5})
OFF, FORCED = (ON.model_copy(update={"early_exit": mode}) for mode in ("off", "forced"))
BAND = (-1.0, 1.0)
RNG = np.random.default_rng(0)


# --- From coarse to fine -----------------------------------------------------------------------------


def test_the_order_of_eight_and_of_sixteen_frames_halves_the_steps() -> None:
    assert coarse_to_fine(8).tolist() == [1, 5, 3, 7, 2, 6, 4, 0]
    assert sorted(coarse_to_fine(16)[:4]) == [2, 6, 10, 14], "the middles of four parts"
    assert sorted(coarse_to_fine(16)[:8]) == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize("n", [*range(1, 40), 100, 1000, 9999, 10_000])
def test_every_frame_comes_once_and_every_beginning_is_spread(n: int) -> None:
    order = coarse_to_fine(n)
    assert sorted(order) == list(range(n))
    for size in (4, 8, 16, 32):
        if size < n:
            edges = [-1, *np.sort(order[:size]), n]
            assert np.diff(edges).max() <= 2 * n / size + 1, "no gap is twice as wide as the mean one"


def test_rounds_double_and_end_with_all_frames() -> None:
    assert rounds(32, ON) == rounds(32, HALF) == [8, 16, 32]
    assert rounds(33, ON) == [8, 16, 32, 33]
    assert rounds(33, HALF) == [8, 16, 17, 32, 33], "one of them sees half"
    assert rounds(10, HALF) == [8, 10], "half of them are less than the first round"
    assert rounds(10_000, ON)[-2:] == [8192, 10_000]
    for n in (1, 2, 7, 8):
        assert rounds(n, ON) == [n]
    assert rounds(32, OFF) == [32]
    assert rounds(32, FORCED) == [8]


# --- How sure ----------------------------------------------------------------------------------------


def test_the_error_of_a_mean_falls_with_frames_and_is_none_once_all_are_seen() -> None:
    usual = USUAL_SPREAD * math.sqrt(3 / (3 + 3))  # four equal frames beside three usual ones
    assert standard_error(np.zeros(4), 16) == pytest.approx(usual * math.sqrt(1 / 4 - 1 / 16))
    assert standard_error(np.zeros(16), 16) == 0
    assert standard_error(np.zeros(1), 1) == 0
    assert standard_error(np.array([3.0]), 2) == pytest.approx(USUAL_SPREAD * math.sqrt(1 / 2))


def test_a_wider_spread_makes_a_wider_interval() -> None:
    calm, wild = (standard_error(np.array([-s, s] * 4), 32) for s in (0.1, 2.0))
    assert 3 * calm < wild


def test_the_interval_holds_the_logit_of_all_frames_about_as_often_as_a_standard_error_should() -> None:
    held = 0
    for _ in range(500):
        logits = RNG.normal(0, USUAL_SPREAD, 32)
        seen = logits[coarse_to_fine(32)[:8]]
        held += abs(seen.mean() - logits.mean()) <= standard_error(seen, 32)
    assert 0.63 < held / 500 < 0.78, "one standard error: 68 %"


# --- Settled or not ----------------------------------------------------------------------------------


def partial(logit: float, error: float = 0.1, n_seen: int = 16, n_frames: int = 32) -> PartialScore:
    return PartialScore(logit, error, n_seen, n_frames)


def test_a_video_is_settled_where_its_interval_holds_no_bound() -> None:
    for logit, settled in ((-1.2, True), (-1.05, False), (-0.95, False), (0.0, True), (0.95, False), (1.2, True)):
        assert is_settled([partial(logit)], BAND, ON) is settled, logit


def test_a_margin_widens_the_interval() -> None:
    assert not is_settled([partial(1.2)], BAND, ON.model_copy(update={"exit_margin": 0.2}))


def test_forged_may_be_said_after_eight_frames_and_nothing_else() -> None:
    assert is_settled([partial(3.0, n_seen=8)], BAND, ON)
    for n_seen, settled in ((8, False), (15, False), (16, True)):
        assert is_settled([partial(-3.0, n_seen=n_seen)], BAND, ON) is settled
        assert is_settled([partial(0.0, n_seen=n_seen)], BAND, ON) is settled


def test_a_short_track_needs_eight_calm_frames_or_all_it_has() -> None:
    assert not is_settled([partial(-3.0, n_seen=4, n_frames=8)], BAND, ON)
    assert is_settled([partial(-3.0, n_seen=6, n_frames=6)], BAND, ON)
    assert is_settled([partial(-1.0, n_seen=6, n_frames=6)], BAND, ON), "there is no more to see"


def test_one_track_above_the_band_settles_the_video_and_one_that_may_get_there_keeps_it_open() -> None:
    assert is_settled([partial(-3.0, n_seen=8), partial(3.0, n_seen=8)], BAND, ON)
    assert not is_settled([partial(-3.0), partial(1.6, error=0.3)], BAND, ON), "ln((e^1.6 + e^-3) / 2) is .92"
    assert not is_settled([partial(-3.0), partial(-3.0, n_seen=8)], BAND, ON)


def test_a_track_too_short_to_count_is_not_waited_for() -> None:
    assert is_settled([partial(-3.0), partial(3.0, error=9.0, n_seen=1, n_frames=2)], BAND, ON)


def test_without_a_band_all_frames_are_scored_and_with_one_bound_that_one_counts() -> None:
    assert not is_settled([partial(9.0)], (-math.inf, math.inf), ON)
    assert is_settled([partial(0.0)], (-math.inf, 1.0), ON)
    assert not is_settled([partial(1.0)], (-math.inf, 1.0), ON)


def test_half_of_a_track_is_enough_where_that_is_asked_whatever_its_score() -> None:
    for logit, error in ((1.05, 0.1), (-0.95, 0.1), (0.9, 9.0)):
        assert not is_settled([partial(logit, error)], BAND, ON)
        assert is_settled([partial(logit, error)], BAND, HALF)
        assert not is_settled([partial(logit, error, n_seen=15)], BAND, HALF)
        assert not is_settled([partial(-3.0), partial(logit, error, n_seen=8)], BAND, HALF), "half of every track"
    assert not is_settled([partial(0.95, n_seen=6, n_frames=12)], BAND, HALF), "eight of them at least"
    assert is_settled([partial(9.0)], (-math.inf, math.inf), HALF)


def test_the_band_in_logits_is_that_of_calibrated_ones() -> None:
    stack = Stack(("a",), (1.0,), Calibration("platt", slope=2.0, intercept=-0.5), 0.5, (0.25, 0.75))
    assert stack.band_logits == pytest.approx((-math.log(3), math.log(3))), "calibrated, as the scores are"
    open_ended = Stack(("a",), (1.0,), Calibration("none"), 0.5)
    with np.errstate(divide="raise"):
        assert open_ended.band_logits == (-math.inf, math.inf)


# --- Whole tracks ------------------------------------------------------------------------------------


def watch(tracks: list[np.ndarray], settings: Ensemble, band: tuple[float, float] = BAND) -> list[PartialScore]:
    def one(track: int, positions: np.ndarray) -> PartialScore:
        seen = tracks[track][positions]
        return PartialScore(
            track_logit(seen, settings),
            standard_error(seen, len(tracks[track])),
            len(seen),
            len(tracks[track]),
        )

    return score_until_settled([len(track) for track in tracks], one, band, settings)


def test_a_plain_forgery_takes_eight_frames_and_a_calm_clip_sixteen() -> None:
    assert [watch([np.full(32, logit)], ON)[0].n_seen for logit in (3.0, -3.0, 0.0)] == [8, 16, 16]
    assert [watch([np.full(32, logit)], HALF)[0].n_seen for logit in (3.0, -3.0, 1.0)] == [8, 16, 16]
    assert watch([np.full(32, 1.0)], ON)[0].n_seen == 32, "undecided"


def test_off_scores_all_frames_and_forced_eight() -> None:
    assert watch([np.full(32, 3.0)], OFF)[0].n_seen == 32
    assert watch([np.zeros(32)], FORCED)[0].n_seen == 8


@pytest.mark.parametrize("n_forged", [6, 10])
def test_a_forgery_of_six_or_ten_frames_of_32_is_never_called_real(n_forged: int) -> None:
    for start in range(33 - n_forged):
        logits = np.full(32, -2.5)
        logits[start : start + n_forged] = 3.5
        (seen,) = watch([logits], ON)
        assert seen.logit > BAND[0] and track_logit(logits, ON) > BAND[0], start


def test_verdicts_stay_the_same_and_scores_move_by_little_on_frames_that_spread_as_usual() -> None:
    same = moved = saved = 0.0
    for _ in range(200):
        logits = RNG.normal(RNG.normal(0, 2), USUAL_SPREAD, 32)
        early, full = watch([logits], ON)[0], track_logit(logits, ON)
        same += np.digitize(early.logit, BAND) == np.digitize(full, BAND)
        moved = max(moved, abs(early.logit - full))
        saved += 1 - early.n_seen / 32
    assert same / 200 >= 0.97
    assert moved < 1.0
    assert saved / 200 > 0.5


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10_000])
@pytest.mark.parametrize("settings", [ON, HALF, OFF, FORCED], ids=lambda s: f"{s.early_exit}-{s.exit_most}")
def test_tracks_of_any_length_end(n: int, settings: Ensemble) -> None:
    (seen,) = watch([RNG.normal(0, 1, n)], settings)
    assert 1 <= seen.n_seen <= n and math.isfinite(seen.logit) and math.isfinite(seen.error)


# --- Crops that do not change ------------------------------------------------------------------------


def crop(grey: int) -> np.ndarray:
    return np.full((64, 64, 3), grey, np.uint8)


def sources(greys: list[int], difference: float, order: list[int] | None = None) -> list[int]:
    gate = SkipGate(difference)
    chosen = {i: gate.source(i, crop(greys[i])) for i in order or range(len(greys))}
    return [chosen[i] for i in range(len(greys))]


def test_a_crop_like_the_nearest_one_scored_gets_its_score() -> None:
    assert sources([100, 101, 102, 104, 104], 2.0) == [0, 0, 0, 3, 3], "compared with what was scored: no drift"
    assert sources([100, 100, 100], 0.0) == [0, 1, 2], "0: off"
    assert sources([0, 255, 0], 255.0) == [0, 0, 0]


def test_out_of_order_the_nearest_in_time_is_asked() -> None:
    assert sources([100, 100, 150, 150, 150], 1.0, [0, 4, 2, 1, 3]) == [0, 0, 2, 2, 4]


def test_a_tracks_logit_moves_by_no_more_than_its_frames_logits_do() -> None:
    for n in (1, 2, 7, 32):
        logits = RNG.normal(0, 2, n)
        changed = logits + RNG.uniform(-0.3, 0.3, n)
        assert abs(track_logit(changed, ON) - track_logit(logits, ON)) <= np.abs(changed - logits).max() + 1e-12
