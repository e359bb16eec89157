"""The video score: a forged face is found among honest ones, a short fake in a long video."""

import numpy as np
import pandas as pd
import pytest

from deepfake.aggregate import (
    credible,
    draw_to_prior,
    heard,
    heard_tracks,
    track_logit,
    track_logits,
    trust,
    video_logits,
)
from deepfake.config import Ensemble

SETTINGS = Ensemble()
FAKE, REAL = np.log(0.97 / 0.03), np.log(0.03 / 0.97)


def p_of(tracks: list[list[float]]) -> float:
    rows = [
        {"model": "frames", "video_id": "v", "track": t, "frame_index": i, "logit": logit}
        for t, logits in enumerate(tracks)
        for i, logit in enumerate(logits)
    ]
    logit = video_logits(track_logits(pd.DataFrame(rows), SETTINGS), SETTINGS)["logit"].iloc[0]
    return float(1 / (1 + np.exp(-logit)))


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
    plain = Ensemble(prior_frames=0)
    assert track_logit(np.array([4.0, 0.0, 0.0, 0.0]), plain) == pytest.approx(0.5 * 4 + 0.5 * 1)


def test_a_track_of_one_frame_is_trusted_half() -> None:
    assert track_logit(np.array([3.0]), SETTINGS) == pytest.approx(1.5)


def test_a_track_without_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="without frames"):
        track_logit(np.array([]), SETTINGS)


def test_a_flicker_of_two_frames_does_not_decide_beside_a_long_track() -> None:
    assert p_of([[REAL] * 32, [FAKE] * 2]) < 0.1


def test_two_accusers_say_together_that_a_video_is_real_only_if_neither_finds_anything() -> None:
    settings = Ensemble(accusers=("borders", "mouths"))
    p = np.array([[0.02, 0.1], [0.9, 0.1], [0.9, 0.8]])
    logits = np.log(p / (1 - p))
    said = sum(heard(column, name, settings) for column, name in zip(logits.T, settings.accusers, strict=True))
    assert 1 - np.exp(-said) == pytest.approx(1 - (1 - p).prod(axis=1)), "the noisy or"
    assert np.array_equal(heard(logits, "frames", settings), logits), "who is no accuser may acquit"


def test_an_accuser_that_finds_nothing_hardly_moves_what_others_say_and_one_that_does_moves_it() -> None:
    rows = pd.DataFrame({
        "model": ["borders", "borders", "frames"], "video_id": ["v", "w", "v"], "track": 0, "n_frames": 9,
        "logit": [-6.0, 6.0, -6.0],
    })  # fmt: skip
    said = heard_tracks(rows, Ensemble(accusers=("borders",)))["logit"].tolist()
    assert 0 < said[0] < 0.003
    assert said[1:] == pytest.approx([6.0025, -6.0], abs=1e-4)
    assert rows["logit"].tolist() == [-6.0, 6.0, -6.0], "the rows given are left as they are"


def test_short_tracks_count_where_there_is_no_longer_one() -> None:
    assert credible(np.array([2, 1]), 3).tolist() == [True, True]
    assert p_of([[FAKE] * 2]) > 0.5


def test_the_order_of_faces_does_not_matter_and_ties_go_to_the_lower_track() -> None:
    rows = pd.DataFrame({"model": "m", "video_id": "v", "track": [1, 0], "n_frames": [32, 32], "logit": [1.0, 1.0]})
    assert video_logits(rows, SETTINGS)["track"].tolist() == [0]


def test_a_small_or_blurred_face_is_drawn_towards_the_prior_in_proportion() -> None:
    small, blurred = SETTINGS.small_face_px, SETTINGS.blurred_sharpness
    assert trust(np.full(3, 2 * small), np.full(3, 2 * blurred), SETTINGS) == 1.0
    assert trust(np.full(3, small / 2), np.full(3, 2 * blurred), SETTINGS) == pytest.approx(0.5)
    assert trust(np.full(3, small / 2), np.full(3, blurred / 4), SETTINGS) == pytest.approx(0.125)


def test_only_the_track_of_the_small_face_is_drawn_to_the_prior() -> None:
    side = SETTINGS.small_face_px / 2
    faces = pd.DataFrame({
        "video_id": ["a"] * 4, "track": [0, 0, 1, 1], "x0_px": 0.0, "y0_px": 0.0, "x1_px": [side, side, 200.0, 200.0],
        "y1_px": [side, side, 100.0, 100.0], "sharpness": 100.0,
    })  # fmt: skip
    tracks = pd.DataFrame({"model": "frames", "video_id": "a", "track": [1, 0], "n_frames": 2, "logit": [3.0, 3.0]})
    assert draw_to_prior(tracks, faces, SETTINGS)["logit"].tolist() == [3.0, 1.5]
