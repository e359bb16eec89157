import cv2
import numpy as np
import pytest

from deepfake.forging.damage import Degradation, Levels, jpeg_round_trip
from deepfake.media.clips import h264_round_trip
from face_pictures import face

PICTURE = face(0, 96, grain=3.0).picture


def moved(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


def test_jpeg_of_high_quality_moves_levels_little_and_of_low_quality_more() -> None:
    high, low = (moved(PICTURE, jpeg_round_trip(PICTURE, quality)) for quality in (95, 15))
    assert high < 4 < low


def test_full_colour_jpeg_keeps_thin_coloured_lines() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::2] = (255, 0, 0)
    lines[:, 1::2] = (0, 80, 255)
    assert moved(lines, jpeg_round_trip(lines, 95, full_colour=True)) < moved(lines, jpeg_round_trip(lines, 95)) / 3


@pytest.mark.parametrize("size", [(96, 96), (97, 96), (96, 95), (33, 47), (16, 16), (17, 19)])
@pytest.mark.parametrize("n_frames", [1, 4])
def test_h264_gives_back_as_many_frames_of_the_same_size(size: tuple[int, int], n_frames: int) -> None:
    frames = [np.resize(PICTURE, (*size, 3)) for _ in range(n_frames)]
    decoded = h264_round_trip(frames, 28)
    assert len(decoded) == n_frames
    assert {frame.shape for frame in decoded} == {(*size, 3)}
    assert {frame.dtype for frame in decoded} == {np.dtype(np.uint8)}


def test_h264_keeps_the_frames_order_and_their_colours() -> None:
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (120, 120, 120)]
    frames = [np.full((48, 48, 3), colour, np.uint8) for colour in colours]
    for colour, decoded in zip(colours, h264_round_trip(frames, 16), strict=True):
        assert np.abs(decoded.mean((0, 1)) - colour).max() < 6


def test_h264_loses_more_at_a_higher_crf_and_the_same_each_time() -> None:
    fine, coarse, again = (h264_round_trip([PICTURE], crf)[0] for crf in (16, 40, 40))
    assert moved(PICTURE, fine) < moved(PICTURE, coarse) / 1.3
    assert coarse.tobytes() == again.tobytes()


def test_equal_seeds_draw_equal_damage() -> None:
    first, same, other = (Degradation.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == same != other
    assert first([PICTURE])[0].tobytes() == same([PICTURE])[0].tobytes()


def test_a_picture_and_its_fake_get_the_very_same_damage_down_to_the_noise() -> None:
    fake = PICTURE.copy()
    fake[:24, :24] = 255 - fake[:24, :24]
    damage = Degradation(noise_std=6.0, gamma=1.2, saturation=0.8, gain=(1.05, 1.0, 0.95), noise_seed=5)
    real_out, fake_out = damage([PICTURE])[0], damage([fake])[0]
    assert (real_out[24:, 24:] == fake_out[24:, 24:]).all()
    assert moved(PICTURE, real_out) > 3


def test_frames_of_a_clip_get_one_damage_and_noise_of_their_own() -> None:
    first, second = Degradation(noise_std=6.0)([PICTURE, PICTURE])
    assert moved(first, second) > 3
    first, second = Degradation(scale=0.5, gamma=0.8)([PICTURE, PICTURE])
    assert (first == second).all()


@pytest.mark.parametrize("seed", range(12))
def test_damage_keeps_size_kind_and_number_also_for_odd_sides(seed: int) -> None:
    frames = [PICTURE[:91, :77]] * (1 + seed % 3)
    damaged = Degradation.draw(np.random.default_rng(seed), strength=1.5)(frames)
    assert [frame.shape for frame in damaged] == [(91, 77, 3)] * len(frames)
    assert {frame.dtype for frame in damaged} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("seed", range(5))
def test_strength_nothing_leaves_the_picture_as_it_is(seed: int) -> None:
    damage = Degradation.draw(np.random.default_rng(seed), strength=0.0)
    assert moved(PICTURE, damage([PICTURE])[0]) <= 0.5


def test_more_strength_damages_more_often() -> None:
    def share(strength: float) -> float:
        draws = [Degradation.draw(np.random.default_rng(seed), strength=strength) for seed in range(300)]
        return float(np.mean([draw.crf is not None for draw in draws]))

    assert 0.47 < share(1.0) < 0.63  # 0.55 of the draws
    assert share(0.4) < 0.3 < 0.75 < share(1.5)


def test_without_h264_no_draw_has_a_crf() -> None:
    assert all(Degradation.draw(np.random.default_rng(seed), h264=False).crf is None for seed in range(50))


def test_a_lone_picture_in_a_video_comes_back_in_its_place() -> None:
    for steps in (0, 1, 2):
        assert moved(PICTURE, Degradation(crf=18, steps=steps)([PICTURE])[0]) < 6


def test_a_tiny_picture_survives_the_strongest_shrinking() -> None:
    tiny = PICTURE[:32, :32]
    assert Degradation(scale=0.4, crf=35, jpeg_quality=(35, 35))([tiny])[0].shape == (32, 32, 3)


def middle_levels(picture: np.ndarray) -> tuple[float, float, float, float]:
    """Mean and spread of the luma of the middle half, and its red and blue away from grey."""
    middle = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[24:72, 24:72].astype(float)
    return middle[..., 0].mean(), middle[..., 0].std(), middle[..., 1].mean() - 128, middle[..., 2].mean() - 128


@pytest.mark.parametrize("light", [0.4, 0.7, 1.0])
def test_levels_come_out_as_drawn_whatever_the_picture_had(light: float) -> None:
    given = np.clip(PICTURE * light, 0, 255).astype(np.uint8)
    out = Levels(luma_mean=120, luma_std=40, red=10, blue=-8)(given)
    assert out.shape == given.shape and out.dtype == np.uint8
    spread = middle_levels(given)[1]
    assert middle_levels(out) == pytest.approx((120, min(40, 2 * spread), 10, -8), abs=4)


def test_a_flat_picture_is_stretched_no_more_than_twice() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(100, 5, (96, 96, 1)).repeat(3, axis=2).clip(0, 255).astype(np.uint8)
    assert middle_levels(Levels(128, 60, 0, 0)(flat))[1] == pytest.approx(10, abs=1)
    even = np.full((96, 96, 3), 60, np.uint8)
    assert middle_levels(Levels(128, 60, 0, 0)(even))[:2] == pytest.approx((128, 0), abs=1)


def test_equal_seeds_draw_equal_levels_within_what_faces_have() -> None:
    draws = [Levels.draw(np.random.default_rng(seed)) for seed in range(50)]
    assert draws[3] == Levels.draw(np.random.default_rng(3)) != draws[4]
    assert all(80 <= d.luma_mean <= 165 and 32 <= d.luma_std <= 68 for d in draws)
    assert all(0 <= d.red <= 24 and -22 <= d.blue <= 2 for d in draws)
