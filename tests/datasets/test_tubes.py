import cv2
import numpy as np
import pytest

from deepfake.datasets.tubes import FLOW_PX, MAX_FLOW_PX, PLACES, TUBE_PX, face_tube, steady, tube_flow

SHARES = np.array([(0.4, 0.42), (0.6, 0.42), (0.5, 0.53), (0.42, 0.65), (0.58, 0.65)])


def dotted(points: np.ndarray, side: int = 160) -> np.ndarray:
    """A grey crop with a white dot at each landmark."""
    crop = np.full((side, side, 3), 60, np.uint8)
    for x, y in points * side:
        cv2.circle(crop, (round(x), round(y)), 4, (255, 255, 255), -1)
    return crop


def turned(points: np.ndarray, angle: float, scale: float) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - 0.5) @ turn + 0.5


def test_landmarks_stay_in_place_however_the_head_is_turned() -> None:
    poses = np.stack([turned(SHARES, a, s) for a, s in ((0, 1), (0.3, 1.2), (-0.4, 0.8), (0.1, 0.6))])
    tube = face_tube([dotted(pose) for pose in poses], poses, TUBE_PX)
    assert tube.shape == (4, TUBE_PX, TUBE_PX, 3)
    for frame in tube:
        for x, y in PLACES[:2] * TUBE_PX:
            assert frame[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].max() > 200


def test_a_crop_without_landmarks_gives_its_middle() -> None:
    crop = np.zeros((100, 100, 3), np.uint8)
    crop[25:75, 25:75] = 200
    points = np.full((1, 5, 2), np.nan)
    (frame,) = face_tube([crop], points, 62)
    assert frame[31, 31].tolist() == [200] * 3
    assert frame[3, 3].tolist() == [0] * 3
    assert (frame > 100).all(axis=2).sum() == pytest.approx(50 * 50, abs=250)


def test_short_gaps_of_landmarks_are_filled_and_points_in_one_place_are_none() -> None:
    points = np.stack([SHARES] * 5)
    points[2] = np.nan
    assert np.isfinite(steady(points)).all()
    assert np.isnan(steady(np.zeros((3, 5, 2)))).all()
    assert np.isnan(steady(np.zeros((1, 5, 2)))).all()


def test_flow_is_how_far_a_picture_moved_and_zero_for_a_static_one() -> None:
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8), (0, 0), 4)
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    tube = np.stack([wide[20 : 20 + TUBE_PX, 20 - 2 * t : 20 - 2 * t + TUBE_PX] for t in (0, 1, 1)])
    flow = tube_flow(tube)
    assert flow.shape == (3, 2, FLOW_PX, FLOW_PX)
    assert not flow[0].any()
    assert np.median(flow[1, 0]) * MAX_FLOW_PX == pytest.approx(2, abs=0.3)
    assert np.median(flow[1, 1]) * MAX_FLOW_PX == pytest.approx(0, abs=0.3)
    assert np.abs(flow[2]).max() * MAX_FLOW_PX < 0.1


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_flows_in_fewer_than_two_frames(n: int) -> None:
    assert tube_flow(np.zeros((n, TUBE_PX, TUBE_PX, 3), np.uint8)).shape == (n, 2, FLOW_PX, FLOW_PX)
