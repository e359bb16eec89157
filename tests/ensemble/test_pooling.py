"""The video score: a forged face is found among honest ones, a short fake in a long video."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from deepfake.ensemble.pooling import (
    Line,
    Tracks,
    counted,
    credible,
    judged_length_trust,
    judged_with,
    length_trust,
    of_crowd,
    pool,
    track_logit,
    track_logits,
    trust,
    video_logits,
)
from deepfake.errors import UserError
from deepfake.settings import Ensemble

SETTINGS = Ensemble()
FAKE, REAL = np.log(0.97 / 0.03), np.log(0.03 / 0.97)


def p_of(tracks: list[list[float]]) -> float:
    rows = [
        {"model": "frames", "video_id": "v", "track": t, "frame_index": i, "logit": logit}
        for t, logits in enumerate(tracks)
        for i, logit in enumerate(logits)
    ]
    tracks = track_logits(pd.DataFrame(rows), SETTINGS)
    return float(expit(video_logits(pool(tracks, faces_of(tracks), SETTINGS), Line((1.0,)))[0][0]))


def faces_of(tracks: pd.DataFrame, side_px: float = 200.0) -> pd.DataFrame:
    """A large and sharp face of each track, all of one shot."""
    keys = tracks[["video_id", "track"]].drop_duplicates()
    return keys.assign(shot=0, x0_px=0.0, y0_px=0.0, x1_px=side_px, y1_px=side_px / 2, sharpness=100.0)


def track_rows(*rows: tuple[str, str, int, float], n_frames: int = 10) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["model", "video_id", "track", "logit"]).assign(n_frames=n_frames)


@pytest.mark.parametrize("faces", [3, 4])
def test_one_forged_face_among_honest_ones_is_found(faces: int) -> None:
    assert p_of([[FAKE] * 32] + [[REAL] * 32] * (faces - 1)) > 0.5
    assert p_of([[REAL] * 32] * (faces - 1) + [[FAKE] * 32]) > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_fake_in_ten_of_thirty_two_frames_is_found_wherever_they_are(seed: int) -> None:
    logits = np.array([FAKE] * 10 + [REAL] * 22)
    assert p_of([logits.tolist()]) > 0.5
    assert p_of([np.random.default_rng(seed).permutation(logits).tolist()]) > 0.5


def test_a_crowd_of_four_real_faces_stays_below_a_tenth() -> None:
    assert p_of([[REAL] * 32] * 4) < 0.1


def test_a_track_is_half_its_mean_and_half_its_worst_quarter() -> None:
    assert track_logit(np.array([4.0, 0.0, 0.0, 0.0]), SETTINGS) == pytest.approx(0.5 * 4 + 0.5 * 1)


def test_a_track_of_one_frame_is_trusted_half() -> None:
    assert length_trust(np.array([1, 3, 32]), SETTINGS) == pytest.approx([1 / 2, 3 / 4, 32 / 33])
    assert length_trust(np.array([1, 3]), Ensemble(prior_frames=0)).tolist() == [1, 1]


def test_a_track_without_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="without frames"):
        track_logit(np.array([]), SETTINGS)


def test_a_flicker_of_two_frames_does_not_decide_beside_a_long_track() -> None:
    assert p_of([[REAL] * 32, [FAKE] * 2]) < 0.1


def test_two_one_sided_members_say_together_that_a_video_is_real_only_if_neither_finds_anything() -> None:
    settings = Ensemble(one_sided_members=("borders", "mouths"))
    p = np.array([[0.02, 0.1], [0.9, 0.1], [0.9, 0.8]])
    logits = np.log(p / (1 - p))
    said = sum(
        counted(column, name, settings) for column, name in zip(logits.T, settings.one_sided_members, strict=True)
    )
    assert 1 - np.exp(-said) == pytest.approx(1 - (1 - p).prod(axis=1)), "the noisy or"
    assert np.array_equal(counted(logits, "frames", settings), logits), "of other members both signs count"


def test_a_one_sided_member_that_finds_nothing_hardly_moves_what_others_say_and_one_that_does_moves_it() -> None:
    rows = track_rows(
        ("borders", "v", 0, -6.0), ("borders", "w", 0, 6.0), ("frames", "v", 0, -6.0), ("frames", "w", 0, -6.0)
    )
    pooled = pool(rows, faces_of(rows), Ensemble(one_sided_members=("borders",)))
    assert pooled.members == ("borders", "frames")
    assert 0 < pooled.logits_KM[0, 0] < 0.003
    assert pooled.logits_KM[1, 0] == pytest.approx(6.0025, abs=1e-4)
    assert pooled.logits_KM[:, 1].tolist() == [-6.0, -6.0]
    assert rows["logit"].tolist() == [-6.0, 6.0, -6.0, -6.0], "the rows given are left as they are"


def test_short_tracks_count_where_there_is_no_longer_one_and_say_no_more_than_the_prior() -> None:
    assert credible(np.array([2, 1]), 3).tolist() == [True, True]
    assert p_of([[FAKE] * 2]) == p_of([[REAL]]) == 0.5
    assert p_of([[FAKE] * 3]) > 0.5
    assert judged_length_trust(np.array([1, 2, 3, 32]), SETTINGS) == pytest.approx([0, 0, 3 / 4, 32 / 33])


def test_the_order_of_faces_does_not_matter_and_ties_go_to_the_lower_track() -> None:
    rows = track_rows(("m", "v", 1, 1.0), ("m", "v", 0, 1.0))
    pooled = pool(rows, faces_of(rows), SETTINGS)
    assert pooled.track_K[video_logits(pooled, Line((1.0,)))[1]].tolist() == [0]


def test_a_small_or_blurred_face_is_trusted_in_proportion() -> None:
    small, blurred = SETTINGS.small_face_px, SETTINGS.blurred_sharpness
    assert trust(np.full(3, 2 * small), np.full(3, 2 * blurred), SETTINGS) == 1.0
    assert trust(np.full(3, small / 2), np.full(3, 2 * blurred), SETTINGS) == pytest.approx(0.5)
    assert trust(np.full(3, small / 2), np.full(3, blurred / 3), SETTINGS) == pytest.approx(1 / 6)


def test_a_face_more_blurred_than_a_verdict_wants_is_trusted_less_than_in_proportion() -> None:
    assert (SETTINGS.verdict_sharpness, SETTINGS.blurred_sharpness) == (5.0, 15.0)
    assert trust(np.full(3, 200.0), np.full(3, 2.5), SETTINGS) == pytest.approx(2.5 / 15 * 0.25)
    assert trust(np.full(3, 200.0), np.zeros(3), SETTINGS) == 0.0
    without = SETTINGS.model_copy(update={"verdict_sharpness": 0.0})
    assert trust(np.full(3, 200.0), np.full(3, 2.5), without) == pytest.approx(2.5 / 15)


def test_only_the_track_of_the_small_face_is_drawn_to_the_prior() -> None:
    rows = track_rows(("frames", "a", 0, 3.0), ("frames", "a", 1, 3.0))
    faces = pd.concat([faces_of(rows[:1], SETTINGS.small_face_px / 2), faces_of(rows[1:])])
    pooled = pool(rows, faces, Ensemble(prior_frames=0))
    assert pooled.trust_K.tolist() == [0.5, 1.0]
    line = Line((1.0,), slope=2.0, intercept=-1.0, neutral=0.25)
    assert line.logits(pooled.logits_KM, pooled.trust_K).tolist() == [0.25 + 0.5 * (5 - 0.25), 5.0]


# --- Crowds --------------------------------------------------------------------------------------------


def crowd(logits: list[float], neutral: float = 0.0) -> float:
    n = len(logits)
    return float(of_crowd(np.array(logits), np.ones(n, bool), np.zeros(n, int), neutral)[0])


def test_one_face_is_as_fake_as_it_is_and_alike_faces_are_as_fake_as_one() -> None:
    assert crowd([1.25]) == 1.25
    assert crowd([1.25] * 6) == pytest.approx(1.25) and crowd([-2.0] * 9, neutral=0.7) == pytest.approx(-2.0)


def test_the_odds_of_a_crowd_are_the_mean_of_the_odds_of_its_faces_by_hand() -> None:
    # p .9, .5, .2, .2: odds 9, 1, 1/4, 1/4; their mean 2.625 is p .724.
    logits = np.log([9, 1, 0.25, 0.25]).tolist()
    assert expit(crowd(logits)) == pytest.approx(2.625 / 3.625)
    # With a prior of 1 in 5 (odds 1/4) the ratios are 36, 4, 1, 1: mean 10.5, odds 2.625 again.
    assert expit(crowd(logits, neutral=np.log(0.25))) == pytest.approx(2.625 / 3.625)


@pytest.mark.parametrize("n", range(2, 10))
def test_the_most_suspicious_of_many_honest_faces_is_no_news_and_a_clear_fake_among_them_still_is(n: int) -> None:
    doubtful, honest, clear = 1.5, -1.0, 4.5  # p .82, .27, .99
    assert expit(crowd([doubtful])) > 0.8
    assert crowd([doubtful] + [honest] * (n - 1)) < doubtful - 0.4
    assert expit(crowd([clear] + [honest] * (n - 1))) > 0.9
    assert crowd([doubtful] + [honest] * n) < crowd([doubtful] + [honest] * (n - 1)), "more faces, less surprise"


def test_faces_that_cannot_be_judged_leave_a_crowd_between_its_signs_and_the_prior() -> None:
    assert crowd([0.0] * 5) == pytest.approx(0)
    assert 0 < crowd([2.0] + [0.0] * 3) < 2.0 and -2.0 < crowd([-2.0] + [0.0] * 3) < 0


@pytest.mark.parametrize("seed", range(10))
def test_a_face_that_looks_more_forged_never_makes_its_crowd_more_real(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, rng.integers(1, 9)).tolist()
    before, place = crowd(logits, 0.3), int(rng.integers(len(logits)))
    logits[place] += float(rng.uniform(0, 4))
    assert before <= crowd(logits, 0.3) + 1e-12
    assert min(logits) - 1e-9 <= crowd(logits, 0.3) <= max(logits) + 1e-9


def test_faces_seen_too_briefly_to_count_do_not_make_a_crowd() -> None:
    assert p_of([[FAKE] * 32, [REAL] * 2, [REAL] * 1]) == pytest.approx(p_of([[FAKE] * 32]))


# --- Short tracks of a video that is cut fast ----------------------------------------------------------


def cut_rows(logits: list[float], n_frames: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A track of so many frames in each shot, and its faces."""
    rows = track_rows(*[("m", "v", shot, logit) for shot, logit in enumerate(logits)], n_frames=n_frames)
    return rows, faces_of(rows).assign(shot=range(len(rows)))


def test_a_face_that_is_cut_to_a_frame_a_shot_is_judged_by_all_its_shots_together() -> None:
    rows, faces = cut_rows([3.0] * 32)
    pooled = pool(rows, faces, SETTINGS)
    assert (pooled.n_frames_K.tolist(), pooled.n_joined_K.tolist()) == ([32], [32])
    assert pooled.trust_K == pytest.approx([32 / 33]), "as a track of 32 frames in one shot"
    assert pooled.counts().to_dict("list") == {"n_faces": [32], "n_tracks": [32]}
    one = pool(*cut_rows([3.0], n_frames=32), SETTINGS)
    assert video_logits(pooled, Line((1.0,)))[0] == pytest.approx(video_logits(one, Line((1.0,)))[0])


def test_short_tracks_are_pooled_as_the_frames_of_a_track_are() -> None:
    logits = [4.0, 0.0, 0.0, 0.0, -1.0, 2.0, 1.0, 0.5]
    pooled = pool(*cut_rows(logits, n_frames=2), SETTINGS)
    assert pooled.logits_KM[:, 0] == pytest.approx([track_logit(np.array(logits), SETTINGS)])
    assert pooled.n_frames_K.tolist() == [16]


def test_two_people_in_every_shot_stay_two_and_a_long_track_stays_alone() -> None:
    video, shot = np.zeros(7, int), np.array([0, 0, 1, 1, 2, 2, 2])
    n_frames = np.array([1, 2, 1, 1, 1, 2, 9])
    assert judged_with(video, shot, n_frames, 3).tolist() == [0, 1, 0, 1, 0, 1, 6]


def test_flickers_within_one_shot_stay_apart_and_other_videos_stay_others() -> None:
    assert judged_with(np.zeros(3, int), np.zeros(3, int), np.ones(3, int), 3).tolist() == [0, 1, 2]
    assert judged_with(np.array([0, 1]), np.array([0, 1]), np.ones(2, int), 3).tolist() == [0, 1]


# --- One score of several members and tracks ---------------------------------------------------------


def test_members_are_added_up_within_a_track_and_not_each_at_a_track_of_its_own() -> None:
    # a finds track 0 worst, b finds track 1 worst: each at its own would give (4 + 6) / 2 = 5.
    rows = track_rows(("a", "v", 0, 4.0), ("a", "v", 1, -2.0), ("b", "v", 0, -3.0), ("b", "v", 1, 6.0))
    pooled = pool(rows, faces_of(rows), Ensemble(prior_frames=0))
    for weights, sums, track in (((0.5, 0.5), (0.5, 2), 1), ((0.9, 0.1), (3.3, -1.2), 0), ((0.7, 0.3), (1.9, 0.4), 0)):
        logits, chosen = video_logits(pooled, Line(weights))
        assert logits == pytest.approx([np.log((np.exp(sums[0]) + np.exp(sums[1])) / 2)])
        assert pooled.track_K[chosen].tolist() == [track], "the worst of the sums"
    calibrated = video_logits(pooled, Line((0.5, 0.5), slope=3.0, intercept=-1.0))[0]
    assert calibrated == pytest.approx([np.log((np.exp(3 * 0.5 - 1) + np.exp(3 * 2.0 - 1)) / 2)])


def test_a_track_trusted_less_may_lose_to_a_calmer_one() -> None:
    # 0.25 * 4 = 1.0 drawn towards 0; the other says 1.5 in full.
    pooled = Tracks(
        ("v",),
        ("a",),
        np.zeros(2, int),
        np.arange(2),
        np.full(2, 9),
        np.array([[4.0], [1.5]]),
        np.array([0.25, 1.0]),
        np.ones(2, bool),
        np.ones(2, int),
    )
    assert video_logits(pooled, Line((1.0,)))[1].tolist() == [1]
    assert video_logits(pooled, Line((1.0,), neutral=2.0))[1].tolist() == [0], "2 + (4 - 2) / 4 is above 1.5"
    assert Line((1.0,), neutral=2.0).logits(pooled.logits_KM, pooled.trust_K).tolist() == [2.5, 1.5]


@pytest.mark.parametrize("logit", [-4.0, 0.0, 5.0])
@pytest.mark.parametrize("prior", [0.1, 0.5, 0.8])
def test_as_trust_falls_p_goes_to_the_prior_and_never_past_it(logit: float, prior: float) -> None:
    neutral = float(np.log(prior / (1 - prior)))
    line = Line((1.0,), slope=2.4, intercept=-2.1, neutral=neutral)
    trusts = np.linspace(1, 0, 101)
    p = expit(line.logits(np.full((101, 1), logit), trusts))
    off = np.abs(p - prior)
    assert (np.diff(off) < 0).all(), "nearer with every step"
    assert (np.sign(p - prior)[:-1] == np.sign(p[0] - prior)).all(), "and always on one side"
    assert p[-1] == pytest.approx(prior, abs=1e-12)
    assert p[0] == pytest.approx(expit(2.4 * logit - 2.1))


def test_of_faces_too_small_to_see_the_prior_is_all_that_is_said() -> None:
    rows = track_rows(("a", "v", 0, 9.0), ("a", "v", 1, -9.0))
    pooled = pool(rows, faces_of(rows, 0.001), SETTINGS)
    assert expit(video_logits(pooled, Line((1.0,), 2.4, -2.1, neutral=0.0))[0]) == pytest.approx([0.5], abs=1e-3)


def slow_oracle(tracks: Tracks, line: Line, least: int) -> list[tuple[float, int]]:
    worst = []
    for video in range(len(tracks)):
        rows = [k for k in range(len(tracks.video_K)) if tracks.video_K[k] == video]
        long = [k for k in rows if tracks.n_frames_K[k] >= least] or rows
        values = {}
        for k in long:
            stacked = sum(w * float(z) for w, z in zip(line.weights, tracks.logits_KM[k], strict=True))
            calibrated = line.slope * stacked + line.intercept
            values[k] = line.neutral + float(tracks.trust_K[k]) * (calibrated - line.neutral)
        ratios = [math.exp(value - line.neutral) for value in values.values()]
        together = line.neutral + math.log(sum(ratios) / len(ratios))
        decisive = next(k for k, value in values.items() if value >= max(values.values()) - 1e-12)
        worst.append((together, decisive))
    return worst


@pytest.mark.parametrize("seed", range(20))
def test_pooling_all_videos_at_once_gives_what_pooling_one_after_the_other_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        (model, f"v{video:02d}", track, float(rng.integers(-3, 4)))  # whole numbers: ties happen
        for video in range(30)
        for track in range(rng.integers(1, 6))
        for model in ("a", "b", "c")
    ]
    table = track_rows(*rows)
    keys = table[["video_id", "track"]].drop_duplicates()
    lengths = dict(zip(map(tuple, keys.to_numpy()), rng.integers(1, 9, len(keys)), strict=True))
    table["n_frames"] = [lengths[key] for key in zip(table["video_id"], table["track"], strict=True)]
    faces = keys.assign(
        shot=0, x0_px=0.0, y0_px=0.0, x1_px=rng.choice([16.0, 32, 200], len(keys)), y1_px=9.0, sharpness=99.0
    )
    pooled = pool(table.sample(frac=1, random_state=seed), faces, SETTINGS)
    line = Line((0.5, 0.25, 0.25), slope=2.0, intercept=-1.0, neutral=0.5)
    logits, chosen = video_logits(pooled, line)
    wanted = slow_oracle(pooled, line, SETTINGS.min_track_frames)
    assert logits == pytest.approx([value for value, _ in wanted])
    assert chosen.tolist() == [row for _, row in wanted]
    some = rng.random(30) < 0.5
    assert video_logits(pooled.of_videos(some), line)[0] == pytest.approx(logits[some])


def test_a_member_that_says_nothing_of_a_track_of_others_is_a_user_error() -> None:
    rows = track_rows(("a", "v0", 0, 1.0), ("b", "v0", 0, 1.0), ("a", "v1", 0, 1.0))
    with pytest.raises(UserError, match="member 'b' has no value of track 0 of video 'v1'"):
        pool(rows, faces_of(rows), SETTINGS)
    with pytest.raises(UserError, match="no such track"):
        pool(rows[:2], faces_of(rows[2:]), SETTINGS)


def test_faces_and_tracks_are_counted_and_no_rows_are_no_videos() -> None:
    rows = track_rows(("a", "v1", 0, 1.0), ("a", "v1", 1, 3.0), ("a", "v0", 0, 0.5))
    pooled = pool(rows, faces_of(rows), SETTINGS)
    assert pooled.video_ids == ("v0", "v1")
    assert pooled.counts().to_dict("list") == {"n_faces": [10, 20], "n_tracks": [1, 2]}
    none = pool(rows[:0], faces_of(rows[:0]), SETTINGS, ["a"])
    assert len(none) == 0 and len(none.counts()) == 0 and len(video_logits(none, Line((1.0,)))[0]) == 0


def test_sets_of_tracks_are_joined_one_after_the_other() -> None:
    first = Tracks.one_each(np.array([[1.0], [2.0]]), ["m"], ["b", "a"])
    second = Tracks.one_each(np.array([[3.0]]), ["m"], ["c"])
    both = Tracks.joined([first, second])
    assert both.video_ids == ("b", "a", "c") and both.video_K.tolist() == [0, 1, 2]
    assert video_logits(both, Line((1.0,)))[0].tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="no video twice"):
        Tracks.joined([first, first])
    with pytest.raises(ValueError, match="the same members"):
        Tracks.joined([first, Tracks.one_each(np.array([[3.0]]), ["n"], ["c"])])
