"""Quantities of a moving mesh: what a made-up face does is what they say, wherever the head is and however turned."""

import numpy as np
import pytest

from deepfake.mesh_motion import (
    N_MESH_MOTION,
    N_STILL,
    PLACE,
    POINTS,
    RIGID,
    STILL,
    UNSTEADY,
    USUAL_JITTER,
    in_head,
    mesh_features,
)

EYES_PX = 80.0
RNG = np.random.default_rng(0)


def made_face() -> np.ndarray:
    """Points (P, 3) in eye distances, in the head's own frame: scattered, but those that give the axes stand right."""
    face = RNG.uniform(-0.5, 0.5, (len(POINTS), 3))
    for number, place in {
        33: (-0.5, 0, 0), 263: (0.5, 0, 0), 168: (0, 0, -0.2), 2: (0, 0.5, -0.2), 13: (0, 0.7, 0), 14: (0, 0.8, 0),
        61: (-0.3, 0.75, 0), 291: (0.3, 0.75, 0), 152: (0.05, 1.1, 0), 172: (-0.5, 0.8, 0.2), 397: (0.5, 0.8, 0.2),
    }.items():  # fmt: skip
        face[PLACE[number]] = place
    return face


FACE = made_face()


def turned(roll: float = 0, yaw: float = 0, pitch: float = 0) -> np.ndarray:
    """The rotation by pitch about x, then yaw about y, then roll about z."""
    (cr, sr), (cy, sy), (cp, sp) = ((np.cos(a), np.sin(a)) for a in (roll, yaw, pitch))
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return np.asarray(about_z @ about_y @ about_x)


def placed(
    face: np.ndarray, turn: np.ndarray, size_px: float = EYES_PX, at: tuple[float, ...] = (200, 150, 0)
) -> np.ndarray:
    return face @ turn.T * size_px + at


def still(points_TP3: np.ndarray) -> np.ndarray:
    """The quantities before they are squeezed (T, K)."""
    return np.sinh(mesh_features(points_TP3, np.arange(len(points_TP3)) / 25)[:, :N_STILL])


def test_the_measures_are_those_of_the_face_that_was_made() -> None:
    found = dict(zip(STILL, still(np.stack([placed(FACE, np.eye(3))] * 3))[0], strict=True))
    wanted = {
        "yaw": 0, "pitch": 0, "roll": 0, "log_size": 0, "head_x": 0, "mouth_open": 0.1, "mouth_width": 0.6,
        "mouth_x": 0, "mouth_y": 0.75, "mouth_tilt": 0, "mouth_depth": 0, "chin_x": 0.05, "chin_y": 1.1, "jaw_width": 1,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-5)


def test_a_head_that_turns_and_comes_nearer_changes_its_pose_alone() -> None:
    turns = [turned(), turned(), turned(), turned(roll=0.2), turned(yaw=0.3), turned(pitch=-0.25)]
    sizes, places = (80, 80, 80, 80, 88, 80), [(200, 150, 0)] * 5 + [(240, 110, 0)]
    head = still(np.stack([placed(FACE, *one) for one in zip(turns, sizes, places, strict=True)]))
    pose = head[:, : STILL.index("head_y") + 1]
    assert pose[3:, :4] == pytest.approx(
        np.array([[0, 0, 0.2, 0], [0.3, 0, 0, np.log(1.1)], [0, -0.25, 0, 0]]), abs=1e-5
    )
    assert pose[5, 4:] == pytest.approx([0.5, -0.5], abs=1e-5)
    assert head[:, 6:] == pytest.approx(np.tile(head[0, 6:], (6, 1)), abs=1e-5)


def test_the_pose_explains_all_of_a_rigid_head_and_nothing_of_a_shaken_one() -> None:
    rng = np.random.default_rng(1)
    rigid = np.stack([placed(FACE, turned(*rng.normal(0, 0.2, 3)), rng.uniform(60, 90)) for _ in range(20)])
    _, _, rest_T = in_head(rigid)
    assert rest_T.max() < 1e-6
    _, _, shaken_T = in_head(rigid + rng.normal(0, 2.0, rigid.shape))
    # 2 px on each of three axes at 75 px between the eyes; seven degrees of freedom of 51 are fitted away.
    assert np.median(shaken_T) == pytest.approx(np.sqrt(3 * (1 - 7 / (3 * len(RIGID)))) * 2 / 75, rel=0.2)


def test_a_mouth_that_opens_has_a_speed_and_no_jitter_until_it_jumps() -> None:
    frames = np.stack([placed(FACE, np.eye(3))] * 9)
    frames[:, PLACE[14], 1] += 0.01 * EYES_PX * np.arange(9)  # 0.01 eye distances a frame, 25 frames a second
    found = mesh_features(frames, np.arange(9) / 25)
    assert found[1:, N_STILL + STILL.index("mouth_open")] == pytest.approx(np.arcsinh(0.25), abs=1e-4)
    jitter = found[:, 2 * N_STILL : -2]
    floor = np.log(1e-4 / USUAL_JITTER)
    assert jitter[1:-1] == pytest.approx(floor)
    frames[4, PLACE[14], 1] += 0.12 * EYES_PX
    jumped = mesh_features(frames, np.arange(9) / 25)[:, 2 * N_STILL : -2]
    mouth = UNSTEADY.index("mouth_jitter")
    assert jumped[4, mouth] == pytest.approx(np.log(0.12 / np.sqrt(12) / USUAL_JITTER), abs=1e-4)
    assert jumped[3, mouth] == pytest.approx(np.log(0.06 / np.sqrt(12) / USUAL_JITTER), abs=1e-4)
    assert np.delete(jumped, mouth, axis=1)[1:-1] == pytest.approx(floor)


def test_uneven_frames_of_an_even_movement_are_no_jitter() -> None:
    times = np.array([0, 0.1, 0.4, 0.5, 1.0])
    frames = np.stack([placed(FACE, np.eye(3))] * 5)
    frames[:, PLACE[14], 1] += 20 * times
    assert mesh_features(frames, times)[1:-1, 2 * N_STILL : -2].max() == pytest.approx(np.log(1e-4 / USUAL_JITTER))


def test_frames_without_a_face_are_zeros_and_the_others_are_measured_across_them() -> None:
    frames = np.stack([placed(FACE, np.eye(3))] * 6)
    frames[[0, 3], 5] = np.nan
    frames[4] = placed(FACE, np.eye(3), size_px=1.0)  # smaller than a face can be told
    found = mesh_features(frames, np.arange(6) / 25)
    assert not found[[0, 3, 4]].any()
    assert found[:, -1].tolist() == [0, 1, 1, 0, 0, 1]
    assert found[5, -2] == pytest.approx(np.log(3), abs=1e-5), "three usual steps since the last face"


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10_000])
def test_any_number_of_frames_gives_as_many_rows(n: int) -> None:
    found = mesh_features(np.tile(placed(FACE, np.eye(3)), (n, 1, 1)), np.zeros(n))
    assert found.shape == (n, N_MESH_MOTION)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("points", [np.nan, 0.0, 7.0])
def test_points_that_are_no_face_are_no_frames(points: float) -> None:
    assert not mesh_features(np.full((3, len(POINTS), 3), points), np.arange(3.0)).any()


def test_a_flat_or_mirrored_face_breaks_nothing() -> None:
    flat, mirrored = placed(FACE * (1, 1, 0), np.eye(3)), placed(FACE * (-1, 1, 1), np.eye(3))
    line = np.linspace((0, 0, 0), (100, 0, 0), len(POINTS))
    assert np.isfinite(mesh_features(np.stack([flat, mirrored, line]), np.arange(3.0))).all()


def test_no_point_is_named_twice() -> None:
    assert len(set(POINTS)) == len(POINTS) == len(PLACE)
