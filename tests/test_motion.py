"""Trajectories of five landmarks, against the same in plain NumPy."""

import numpy as np
import pytest

from deepfake.motion import MIN_STEP_S, N_MOTION, N_STATIC, ROLL, STATIC, motion_features

FACE = np.array([(40.0, 50.0), (60.0, 50.0), (50.0, 60.0), (42.0, 72.0), (58.0, 72.0)])
BOX = np.array([30.0, 30.0, 70.0, 90.0])


def oracle(landmarks: np.ndarray, boxes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The features by complex numbers and loops."""
    z = landmarks[..., 0] + 1j * landmarks[..., 1]
    known = np.isfinite(z).all(1) & (np.abs(z[:, 1] - z[:, 0]) >= 2)
    out = np.zeros((len(z), N_MOTION))
    middle = (z[:, 0] + z[:, 1]) / 2
    centre = np.median(middle[known].real) + 1j * np.median(middle[known].imag)
    usual = np.median(np.abs(z[known, 1] - z[known, 0]))
    last = None
    for t in np.flatnonzero(known):
        axis = z[t, 1] - z[t, 0]
        nose, left, right = (z[t, 2:] - middle[t]) / axis
        box = (boxes[t, 0] + boxes[t, 2]) / 2 + 0.5j * (boxes[t, 1] + boxes[t, 3])
        head, beside = (middle[t] - centre) / usual, (box - middle[t]) / abs(axis)
        side = max(boxes[t, 2] - boxes[t, 0], boxes[t, 3] - boxes[t, 1])
        now = [
            *(v for p in (nose, left, right) for v in (p.real, p.imag)),
            abs(left - right),
            (left.imag + right.imag) / 2 - nose.imag,
            np.angle(axis),
            np.log(abs(axis) / usual),
            head.real,
            head.imag,
            beside.real,
            beside.imag,
            np.log(side / abs(axis)),
        ]
        out[t, :N_STATIC], out[t, -1] = np.arcsinh(now), 1
        if last is not None:
            change = np.array(now) - last[1]
            change[ROLL] = np.angle(np.exp(1j * change[ROLL]))
            step = max(times[t] - times[last[0]], MIN_STEP_S)
            out[t, N_STATIC:-2], out[t, -2] = np.arcsinh(change / step), np.log(step / 0.04)
        last = t, np.array(now)
    return out


def test_the_kernel_gives_what_plain_numpy_gives() -> None:
    rng = np.random.default_rng(0)
    landmarks = FACE + np.cumsum(rng.normal(0, 1, (30, 5, 2)), axis=0)
    landmarks[[3, 4, 17]] = np.nan
    boxes = BOX + rng.normal(0, 1, (30, 4))
    times = np.cumsum(rng.uniform(0.0, 0.1, 30))
    found = motion_features(landmarks, boxes, times)
    assert found.shape == (30, N_MOTION)
    assert found == pytest.approx(oracle(landmarks, boxes, times), abs=1e-5)
    assert found[:, -1].sum() == 27


def test_place_size_and_tilt_of_a_still_face_do_not_show_in_its_shape() -> None:
    turn = 1.7 * np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    shape = slice(0, STATIC.index("roll"))
    here, there = (
        motion_features(np.stack([points] * 2), np.stack([BOX] * 2), np.array([0.0, 1.0]))
        for points in (FACE, FACE @ turn + 300)
    )
    assert there[:, shape] == pytest.approx(here[:, shape], abs=1e-6)
    assert there[0, ROLL] == pytest.approx(np.arcsinh(0.4), abs=1e-6)
    assert not here[:, N_STATIC : 2 * N_STATIC].any()


def test_equal_movement_has_the_same_speed_at_any_frame_rate() -> None:
    def speeds(fps: int) -> np.ndarray:
        times = np.arange(0, 1.01, 1 / fps)
        landmarks = np.stack([FACE] * len(times))
        landmarks[:, 3:, 1] += 8 * times[:, None]  # the mouth opens by 0.4 eye distances a second
        found = motion_features(landmarks, np.stack([BOX] * len(times)), times)
        return found[1:, N_STATIC + STATIC.index("mouth_drop")]

    for fps in (5, 120):
        assert speeds(fps) == pytest.approx(np.arcsinh(0.4), abs=1e-4)


def test_a_face_that_turns_over_does_not_spin_all_the_way_back() -> None:
    nearly, beyond = (
        FACE @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in (np.pi - 0.05, np.pi + 0.05)
    )
    found = motion_features(np.stack([nearly, beyond]), np.stack([BOX] * 2), np.array([0.0, 1.0]))
    assert found[1, N_STATIC + ROLL] == pytest.approx(np.arcsinh(0.1), abs=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 10_000])
def test_any_number_of_frames_gives_as_many_rows(n: int) -> None:
    found = motion_features(np.tile(FACE, (n, 1, 1)), np.tile(BOX, (n, 1)), np.zeros(n))
    assert found.shape == (n, N_MOTION)
    assert np.isfinite(found).all()


def test_eyes_in_one_place_and_frames_without_landmarks_are_not_known() -> None:
    none = np.full((3, 5, 2), np.nan)
    none[1] = 0
    assert not motion_features(none, np.tile(BOX, (3, 1)), np.arange(3.0)).any()
