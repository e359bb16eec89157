import cv2
import numpy as np
import pytest

from deepfake.demo import manipulations
from deepfake.faces import geometry
from deepfake.faces.geometry import FaceClip, Region
from deepfake.forging import blending

HEIGHT_PX, WIDTH_PX = 160, 200


def points(x_px: float = 100.0, y_px: float = 60.0, unit_px: float = 30.0, turn: float = 0.0) -> np.ndarray:
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return geometry.CANONICAL_POINTS @ rotation.T * unit_px + [x_px, y_px]


def drawn_face(landmarks: np.ndarray, skin: tuple[int, int, int] = (200, 150, 120), mouth: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    frame = rng.integers(60, 110, (HEIGHT_PX, WIDTH_PX, 3)).astype(np.uint8)
    unit_px = geometry.eye_distance_px(landmarks)
    outline = geometry.apply_affine(geometry.face_frame(landmarks), geometry.outline_points("face"))
    cv2.fillPoly(frame, [outline.astype(np.int32)], skin)
    for eye in landmarks[:2]:
        cv2.circle(frame, eye.astype(int).tolist(), round(unit_px * 0.15), (30, 60, 90), -1)
    cv2.line(frame, landmarks[2].astype(int).tolist(), landmarks[:2].mean(0).astype(int).tolist(), (150, 100, 80), 3)
    middle = landmarks[3:].mean(0).astype(int).tolist()
    cv2.ellipse(frame, (middle, (unit_px * 0.8, unit_px * 0.4), 0), (mouth, 20, 20), -1)
    return frame


def drawn_clip(n_frames: int = 12, skin: tuple[int, int, int] = (200, 150, 120)) -> FaceClip:
    landmarks = np.stack([points(100 + i, 60 + 0.5 * i, turn=0.01 * i) for i in range(n_frames)])
    return FaceClip([drawn_face(five, skin, mouth=20 * i) for i, five in enumerate(landmarks)], landmarks)


def forgeries() -> dict[str, blending.Callable[..., list[np.ndarray]]]:
    donor = drawn_clip(skin=(140, 110, 100))
    return {
        **manipulations.MANIPULATIONS,
        "cross_identity_swap": lambda c, rng: manipulations.cross_identity_swap(c, donor, rng),
    }


def test_an_affine_fit_gives_back_the_matrix_that_moved_the_points() -> None:
    matrix = np.array([[2.0, 0.5, 3.0], [-1.0, 1.5, 7.0]])
    fitted = geometry.fit_affine(geometry.CANONICAL_POINTS, geometry.apply_affine(matrix, geometry.CANONICAL_POINTS))
    assert np.allclose(fitted, matrix)


def test_a_similarity_fit_turns_scales_and_shifts_only() -> None:
    matrix = np.array([[0.0, -2.0, 5.0], [2.0, 0.0, 1.0]])
    moved = geometry.apply_affine(matrix, geometry.CANONICAL_POINTS)
    assert np.allclose(geometry.fit_similarity(geometry.CANONICAL_POINTS, moved), matrix)
    squeezed = geometry.fit_similarity(geometry.CANONICAL_POINTS, geometry.CANONICAL_POINTS * [0.5, 1.0])
    assert squeezed[0, 0] == pytest.approx(squeezed[1, 1])


def test_the_unit_of_a_frontal_face_is_its_eye_distance() -> None:
    assert geometry.eye_distance_px(points(unit_px=30.0)) == pytest.approx(30.0)


def test_outlines_are_symmetric_closed_and_hold_the_points_they_should() -> None:
    for name in geometry.HALF_OUTLINES:
        polygon = geometry.outline_points(name)
        mirrored = {(round(-x, 6) + 0.0, round(y, 6)) for x, y in polygon}
        assert mirrored == {(round(x, 6) + 0.0, round(y, 6)) for x, y in polygon}
    inside = [
        cv2.pointPolygonTest(geometry.outline_points("face").astype(np.float32), p, False)
        for p in geometry.CANONICAL_POINTS.tolist()
    ]
    assert min(inside) > 0
    with pytest.raises(ValueError, match="face, inner, eyes, mouth"):
        geometry.outline_points("ear")


def test_a_face_half_outside_has_a_region_inside_the_frame_and_one_far_outside_none() -> None:
    region = geometry.face_region(points(x_px=0.0), HEIGHT_PX, WIDTH_PX)
    assert region is not None
    assert region.x0 == 0
    assert region.x1 == pytest.approx(54, abs=2)
    assert geometry.face_region(points(x_px=-500.0), HEIGHT_PX, WIDTH_PX) is None


def test_landmarks_are_carried_over_short_gaps_and_not_over_long_ones() -> None:
    landmarks = np.full((40, 5, 2), np.nan)
    for index in (0, 1, 2, 4, 5, 30, 31):
        landmarks[index] = points(100.0 + index)
    smooth = geometry.smooth_in_time(landmarks)
    assert np.isfinite(smooth[:6]).all()
    assert np.isnan(smooth[6:30]).all()
    assert np.isfinite(smooth[30:32]).all()
    assert np.isnan(smooth[32:]).all()
    assert np.abs(smooth[3] - points(103.0)).max() < 0.6


def test_no_landmarks_at_all_stay_none() -> None:
    assert np.isnan(geometry.smooth_in_time(np.full((3, 5, 2), np.nan))).all()


def test_a_mask_is_soft_inside_its_square_and_nothing_at_the_border() -> None:
    mask = manipulations.canonical_mask("face", np.random.default_rng(0))
    assert mask.shape == (blending.MASK_PX, blending.MASK_PX)
    assert mask.max() == pytest.approx(1.0, abs=0.01)
    assert mask[[0, -1]].max() == mask[:, [0, -1]].max() == 0
    assert ((mask > 0.1) & (mask < 0.9)).sum() > 200


def test_a_warp_meets_the_five_points_and_is_affine_far_away() -> None:
    here, there = points(), points(80, 70, 25, turn=0.2)
    there[2] += [6, 2]
    warp = blending.Warp.between(here, there)
    assert np.abs(warp(here) - there).max() < 0.01
    far = np.array([[1000.0, 1000.0]])
    assert np.allclose(warp(far), geometry.apply_affine(warp.affine, far))
    assert np.abs(blending.Warp.between(here, there, strength=0.0)(here) - there).max() > 1


def test_sampling_through_no_warp_gives_the_region_back() -> None:
    frame = drawn_face(points())
    region = Region(20, 10, 150, 140)
    assert np.abs(blending.sample_through(frame, lambda p: p, region).astype(int) - region.of(frame)).max() <= 1


def test_colour_transfer_hits_the_wanted_mean_and_strength_nothing_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    reddish = rng.normal([170, 120, 110], 6, (60, 60, 3)).clip(0, 255).astype(np.uint8)
    brown = rng.normal([120, 90, 80], 6, (60, 60, 3)).clip(0, 255).astype(np.uint8)
    everywhere = np.ones((60, 60), np.float32)
    moved = blending.match_colour(reddish, brown, everywhere)
    assert np.abs(moved.mean((0, 1)) - brown.mean((0, 1))).max() < 1.5
    assert np.abs(blending.match_colour(reddish, brown, everywhere, strength=0.0).astype(int) - reddish).max() <= 1


def test_a_wall_under_the_mask_does_not_colour_the_face() -> None:
    skin = np.full((60, 60, 3), (190, 140, 120), np.uint8)
    beside_wall = skin.copy()
    beside_wall[:, :20] = (40, 90, 240)
    moved = blending.match_colour(skin, beside_wall, np.ones((60, 60), np.float32))
    assert np.abs(moved.astype(int) - skin).max() <= 2


def test_a_seamless_patch_meets_the_target_at_the_border() -> None:
    target = np.full((80, 80, 3), 120, np.uint8)
    patch = np.full((80, 80, 3), 105, np.uint8)
    mask = np.zeros((80, 80), np.float32)
    cv2.circle(mask, (40, 40), 28, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 4)
    bent = blending.seamless(patch, target, mask)
    ring = (mask > 0.02) & (mask < 0.6)
    assert np.abs(bent[ring].astype(int) - 120).max() <= 3


@pytest.mark.parametrize("name", sorted(forgeries()))
def test_a_forgery_changes_the_face_and_nothing_outside_its_region(name: str) -> None:
    clip = drawn_clip()
    originals = [frame.copy() for frame in clip.frames]
    forged = forgeries()[name](clip, np.random.default_rng(1))
    assert len(forged) == len(clip.frames)
    for frame, original, landmarks in zip(forged, originals, clip.landmarks, strict=True):
        region = geometry.face_region(landmarks, HEIGHT_PX, WIDTH_PX)
        assert region is not None
        outside = np.ones(frame.shape[:2], bool)
        region.of(outside)[:] = False
        assert (frame[outside] == original[outside]).all()
        assert (frame != original).any()
    assert all((now == before).all() for now, before in zip(clip.frames, originals, strict=True)), "inputs were changed"


@pytest.mark.parametrize("name", sorted(forgeries()))
def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(name: str) -> None:
    first, again, other = (forgeries()[name](drawn_clip(), np.random.default_rng(seed)) for seed in (1, 1, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", sorted(forgeries()))
def test_frames_without_a_face_are_left_alone(name: str) -> None:
    clip = drawn_clip()
    clip.landmarks[3:6] = np.nan
    forged = forgeries()[name](clip, np.random.default_rng(1))
    for index in (3, 4, 5):
        assert (forged[index] == clip.frames[index]).all()
    assert (forged[8] != clip.frames[8]).any()


def test_a_clip_without_a_face_cannot_give_one() -> None:
    clip = drawn_clip(3)
    empty = FaceClip(clip.frames, np.full((3, 5, 2), np.nan))
    with pytest.raises(ValueError, match="no face in any"):
        manipulations.cross_identity_swap(clip, empty, np.random.default_rng(0))


def test_a_mouth_comes_from_another_time_of_the_clip() -> None:
    still = np.repeat(points()[None], 8, axis=0)
    frames = [drawn_face(still[0], mouth=20) if i < 4 else drawn_face(still[0], mouth=250) for i in range(8)]
    forged = manipulations.mouth_from_another_time(FaceClip(frames, still), np.random.default_rng(0))
    x_px, y_px = still[0, 3:].mean(0).astype(int)
    reds = np.array([frame[y_px, x_px, 0] for frame in forged], float)
    changed = [i for i in range(8) if abs(reds[i] - float(frames[i][y_px, x_px, 0])) > 60]
    assert changed, "every frame kept its own mouth"
    eye_x, eye_y = still[0, 0].astype(int)
    assert all((frame[eye_y, eye_x] == frames[0][eye_y, eye_x]).all() for frame in forged)


def test_a_swap_brings_the_inner_face_of_the_donor() -> None:
    target, donor = drawn_clip(), drawn_clip()
    for frame, landmarks in zip(donor.frames, donor.landmarks, strict=True):
        cv2.circle(frame, (landmarks[2] + [0, 3]).astype(int).tolist(), 6, (20, 20, 20), -1)
    forged = manipulations.cross_identity_swap(target, donor, np.random.default_rng(0))
    x_px, y_px = (target.landmarks[5, 2] + [0, 3]).astype(int)
    assert int(forged[5][y_px, x_px].max()) < 110 < int(target.frames[5][y_px, x_px].max())


def test_low_rank_keeps_what_few_components_can_say_and_loses_the_rest() -> None:
    rng = np.random.default_rng(0)
    simple = rng.normal(size=(6, 1, 1)) * rng.normal(size=(1, 4, 5))
    assert np.allclose(manipulations.low_rank(simple, 1), simple)
    rich = rng.normal(size=(6, 4, 5))
    assert np.abs(manipulations.low_rank(rich, 1) - rich).max() > 0.1
    assert np.allclose(manipulations.low_rank(rich, 99), rich)


def test_an_autoencoder_texture_has_less_detail_than_the_face() -> None:
    clip = drawn_clip()
    rng = np.random.default_rng(5)
    for frame in clip.frames:
        noise = rng.normal(0, 12, frame.shape)
        frame[:] = np.clip(frame + noise, 0, 255)
    forged = manipulations.autoencoder_texture(clip, np.random.default_rng(0))
    region = Region(80, 65, 125, 80)
    before = cv2.Laplacian(region.of(clip.frames[4]), cv2.CV_64F).var()
    assert cv2.Laplacian(region.of(forged[4]), cv2.CV_64F).var() < 0.5 * before
