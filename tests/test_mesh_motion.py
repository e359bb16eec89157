"""Quantities of a moving mesh: what a made-up face does is what they say, wherever the head is and however turned."""

import numpy as np
import pytest

from deepfake.mesh_motion import (
    EYES,
    MOUTH,
    N_MESH_MOTION,
    N_STILL,
    PLACE,
    POINTS,
    RIGID,
    STILL,
    UNSTEADY,
    USUAL_JITTER,
    in_head,
    jitter,
    measures,
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
    """The quantities as they are, before they are told against the track's usual (T, K)."""
    head, pose, _ = in_head(points_TP3)
    return np.column_stack([pose, measures(head)])


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


def test_jitter_is_how_far_a_part_is_from_halfway_between_before_and_after() -> None:
    head = np.stack([FACE] * 9)
    head[:, PLACE[14], 1] += 0.01 * np.arange(9)
    times = np.arange(9) / 25
    assert jitter(head, times, MOUTH)[1:-1].max() < 1e-9, "an even movement is none"
    head[4, PLACE[14], 1] += 0.12
    jumped = jitter(head, times, MOUTH)
    assert jumped[4] == pytest.approx(0.12 / np.sqrt(len(MOUTH)))
    assert jumped[[3, 5]] == pytest.approx(0.06 / np.sqrt(len(MOUTH)))
    assert jumped[[0, 8]].tolist() == [USUAL_JITTER] * 2
    assert jitter(head, times, EYES)[1:-1].max() < 1e-9


def test_an_even_movement_in_uneven_frames_is_no_jitter() -> None:
    times = np.array([0, 0.1, 0.4, 0.5, 1.0])
    head = np.stack([FACE] * 5)
    head[:, PLACE[14], 1] += 0.3 * times
    assert jitter(head, times, MOUTH)[1:-1].max() < 1e-9


def test_a_part_that_shakes_ten_times_as_much_as_the_rigid_ones_says_so() -> None:
    rng = np.random.default_rng(2)
    shakes = np.full((len(POINTS), 1), 0.002)
    shakes[[PLACE[number] for number in MOUTH]] = 0.02
    frames = np.stack([placed(FACE + shakes * rng.normal(0, 1, FACE.shape), np.eye(3)) for _ in range(200)])
    ratios = mesh_features(frames, np.arange(200) / 25)[1:-1, 2 * N_STILL : -2]
    found = dict(zip(UNSTEADY, np.median(ratios, axis=0), strict=True))
    assert found["mouth_jitter"] == pytest.approx(np.log(10), abs=0.35)
    assert found["outline_jitter"] == pytest.approx(0, abs=0.35)


def test_twice_the_same_movement_gives_the_same_rows() -> None:
    def nodding(much: float) -> np.ndarray:
        frames = []
        for t in range(40):
            face = FACE.copy()
            face[PLACE[14], 1] += much * 0.05 * (1 + np.sin(t / 3))
            frames.append(placed(face, turned(pitch=much * 0.1 * np.sin(t / 5), roll=much * 0.05 * np.cos(t / 4))))
        return mesh_features(np.stack(frames), np.arange(40) / 25)

    one, other = nodding(1.0), nodding(2.0)
    moving = [STILL.index(name) for name in ("pitch", "roll", "mouth_open")]
    assert one[:, moving].std(axis=0).min() > 0.5
    assert other[:, moving] == pytest.approx(one[:, moving], abs=0.05)


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
